//! Whose code signals are handled by.

#![expect(unsafe_code, reason = "the system is asked for its table of handlers")]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ops::Range;

/// One past the last signal of Linux on the architectures that are served (signal(7)).
const SIGNALS_END: i32 = 65;

/// The signals whose handler is within `span`.
pub(super) fn handled_within(span: &Range<usize>) -> Vec<String> {
    (1..SIGNALS_END)
        .filter(|signal| handler(*signal).is_some_and(|handler| span.contains(&handler)))
        .map(name)
        .collect()
}

/// `None` for the two that the C library keeps to itself.
fn handler(signal: i32) -> Option<usize> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: changes nothing, and writes the action if it succeeds.
    let status = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: written, as it succeeded.
    (status == 0).then(|| unsafe { action.assume_init() }.sa_sigaction)
}

fn name(signal: i32) -> String {
    // SAFETY: gives a C string that lives until the thread's next call of it, or NULL.
    let text = unsafe { libc::strsignal(signal) };
    if text.is_null() {
        return format!("signal {signal}");
    }
    // SAFETY: as above.
    let text = unsafe { CStr::from_ptr(text) };
    format!("signal {signal}, {}", text.to_string_lossy())
}
