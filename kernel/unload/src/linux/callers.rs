//! The functions on this thread's stack.

#![expect(unsafe_code, reason = "the unwinder is a C library")]

use std::ffi::{c_int, c_void};

/// Any code but 0 ends the walk (`_URC_NO_REASON`; Itanium C++ ABI, exception handling).
const GO_ON: c_int = 0;
const STOP: c_int = 5;

// The unwinder that std itself links.
unsafe extern "C" {
    fn _Unwind_Backtrace(
        each: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
}

type Ask<'a, T> = &'a dyn Fn(usize) -> Option<T>;

struct Walk<'a, T> {
    ask: Ask<'a, T>,
    answer: Option<T>,
}

/// The first answer for a return address, from the innermost on. Frames without unwinding tables end the walk.
pub(super) fn find<T>(ask: impl Fn(usize) -> Option<T>) -> Option<T> {
    let mut walk = Walk {
        ask: &ask,
        answer: None,
    };
    // SAFETY: `look` has the type that is called, with the walk that lives until the call returns.
    unsafe { _Unwind_Backtrace(look::<T>, (&raw mut walk).cast()) };
    walk.answer
}

unsafe extern "C" fn look<T>(frame: *mut c_void, walk: *mut c_void) -> c_int {
    // SAFETY: what `find` gave, and it uses it for nothing else meanwhile.
    let walk = unsafe { &mut *walk.cast::<Walk<'_, T>>() };
    // SAFETY: the unwinder's frame, valid for this call.
    let address = unsafe { _Unwind_GetIP(frame) };
    walk.answer = (walk.ask)(address);
    if walk.answer.is_some() { STOP } else { GO_ON }
}

#[cfg(test)]
mod tests {
    use super::find;
    use crate::platform::objects;

    #[test]
    fn the_caller_is_on_the_stack_and_what_was_not_called_is_not() {
        let program = objects::program();
        assert_eq!(
            find(|address| program.contains(&address).then_some(1)),
            Some(1)
        );
        assert_eq!(find(|address| (address == 0x1000).then_some(1)), None);
    }
}
