#![doc = include_str!("../README.md")]

mod findings;
mod library;
mod pin;
#[cfg_attr(can_unload, path = "linux/mod.rs")]
#[cfg_attr(not(can_unload), path = "elsewhere.rs")]
mod platform;

pub use findings::{Findings, prepare};
pub use library::{Library, OpenError, Resident, Settled, Settler};
pub use pin::{Pin, Unavailable};

/// Whether libraries can be unloaded in this process. It looks once, and later answers the same; ask it at start.
///
/// # Errors
/// Says what is missing. Everything else of this crate works all the same, but that [`Library::close`] always refuses.
pub fn availability() -> Result<(), Unavailable> {
    platform::availability()
}

/// Runs what libraries have left on this thread, whichever they are, because it is about to end.
///
/// When it has returned, nothing of a library is run on this thread any more. Without it the same happens while the thread
/// ends, and each of them is held until it has ended.
///
/// # Safety
/// No function of a library is on this thread's stack, and none is called on it afterwards.
#[expect(unsafe_code, reason = "the contract is the caller's to keep")]
pub unsafe fn settle_thread() {
    // SAFETY: by the contract.
    unsafe { platform::settle_thread() }
}
