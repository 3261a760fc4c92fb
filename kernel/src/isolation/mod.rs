//! Modules in processes of their own.

pub(crate) mod confine;
