//! Modules in processes of their own.

mod hostile;
