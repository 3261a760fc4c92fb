//! The end of a process that has modules' code on its stacks.

/// Ends the process at once, without the destructors and exit handlers of any library: what a module registered must not
/// run beside its own code, and could hold up the end.
pub(crate) fn end_process(code: u8) -> ! {
    // SAFETY: `_exit` has no precondition, and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}
