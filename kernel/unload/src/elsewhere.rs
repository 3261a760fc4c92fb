//! Where nothing can be unloaded: libraries are opened as anywhere, and stay.

#![expect(
    unsafe_code,
    reason = "the functions have the contracts that they have where they do something"
)]

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use crate::library::Settled;
use crate::pin::{Pin, Unavailable};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Load;

#[derive(Debug)]
pub(crate) struct Company;

impl Company {
    pub(crate) fn before() -> Company {
        Company
    }

    pub(crate) fn keep(self) {}
}

pub(crate) fn availability() -> Result<(), Unavailable> {
    Err(Unavailable::Platform)
}

/// # Safety
/// As in the crate's root.
pub(crate) unsafe fn settle_thread() {}

impl Load {
    pub(crate) fn begin(_path: &CStr) -> Option<Load> {
        Some(Load)
    }

    pub(crate) fn failed(self) {}

    pub(crate) fn opened(self, _path: &CStr, _handle: NonNull<c_void>) -> bool {
        true
    }

    pub(crate) fn pins(self) -> Vec<Pin> {
        vec![Pin::Unavailable(Unavailable::Platform)]
    }

    /// # Safety
    /// As [`Settler::settle_here`](crate::Settler::settle_here).
    pub(crate) unsafe fn settle_here(self) -> Settled {
        Settled::default()
    }

    /// Not reached: it is always pinned.
    pub(crate) fn closing(self) -> bool {
        false
    }

    pub(crate) fn closed(self) -> bool {
        false
    }
}
