//! A destructor of the library's, run when its code is unmapped or its process ends in good order.

use std::sync::Mutex;

use crate::fault::Fault;

static FAULT: Mutex<Option<Fault>> = Mutex::new(None);

/// What it is to do.
pub(crate) fn set(fault: Option<Fault>) {
    if let Ok(mut set) = FAULT.lock() {
        *set = fault;
    }
}

extern "C" fn end() {
    let fault = FAULT.lock().ok().and_then(|set| *set);
    if let Some(fault) = fault {
        fault.commit();
    }
}

#[expect(
    unsafe_code,
    reason = "the section that the system calls the functions of"
)]
#[cfg_attr(
    target_os = "macos",
    unsafe(link_section = "__DATA,__mod_term_func,mod_term_funcs")
)]
#[cfg_attr(not(target_os = "macos"), unsafe(link_section = ".fini_array"))]
#[used]
static END: extern "C" fn() = end;
