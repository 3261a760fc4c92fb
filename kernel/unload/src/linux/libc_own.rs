//! The C library's own functions, behind those that this crate exports under the same names.

#![expect(
    unsafe_code,
    reason = "an address becomes a function of the type that the C library gives it"
)]

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::ledger::Destructor;
use crate::pin::Unavailable;

/// What a thread starts with. It may be left by unwinding: that is how `pthread_exit` and cancellation end a thread.
pub(super) type Routine = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;
pub(super) type ThreadAtexit = unsafe extern "C" fn(Destructor, *mut c_void, *mut c_void) -> c_int;
pub(super) type Create = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    Routine,
    *mut c_void,
) -> c_int;
pub(super) type KeyCreate =
    unsafe extern "C" fn(*mut libc::pthread_key_t, Option<Destructor>) -> c_int;
pub(super) type KeyDelete = unsafe extern "C" fn(libc::pthread_key_t) -> c_int;
pub(super) type SetSpecific = unsafe extern "C" fn(libc::pthread_key_t, *const c_void) -> c_int;

// Each has the type of the function of that name (glibc, `stdlib.h` and `pthread.h`).
pub(super) static THREAD_ATEXIT: Own<ThreadAtexit> = Own::new(c"__cxa_thread_atexit_impl");
pub(super) static CREATE: Own<Create> = Own::new(c"pthread_create");
pub(super) static KEY_CREATE: Own<KeyCreate> = Own::new(c"pthread_key_create");
pub(super) static KEY_DELETE: Own<KeyDelete> = Own::new(c"pthread_key_delete");
pub(super) static SET_SPECIFIC: Own<SetSpecific> = Own::new(c"pthread_setspecific");

/// A function of the C library's, looked up once.
pub(super) struct Own<F> {
    name: &'static CStr,
    // No OnceLock: whatever the dynamic linker may call while it looks, a second look does no harm.
    found: AtomicPtr<c_void>,
    function: PhantomData<F>,
}

impl<F: Copy> Own<F> {
    const fn new(name: &'static CStr) -> Own<F> {
        Own {
            name,
            found: AtomicPtr::new(ptr::null_mut()),
            function: PhantomData,
        }
    }

    /// The first look waits while the dynamic linker is busy.
    pub(super) fn find(&self) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        let mut found = self.found.load(Ordering::Relaxed);
        if found.is_null() {
            // SAFETY: a C string; the next definition behind that of this program is looked for.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            self.found.store(found, Ordering::Relaxed);
        }
        if found.is_null() {
            return None;
        }
        // SAFETY: the C library's function of this name has the type F (above), and a function is its address.
        Some(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&found) })
    }

    /// Whether `exported`, this program's function of the name, is the one that libraries find, and has one behind it.
    pub(super) fn pair(&self, exported: *const ()) -> Result<(), Unavailable> {
        let symbol = self.name.to_str().unwrap_or_default();
        // SAFETY: a C string; what a library's reference is bound to is looked for.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, self.name.as_ptr()) };
        if !std::ptr::addr_eq(found, exported) {
            return Err(Unavailable::NotExported { symbol });
        }
        self.find()
            .map(|_| ())
            .ok_or(Unavailable::NotInLibc { symbol })
    }

    /// For a call that was made, so that the function is there.
    pub(super) fn get(&self) -> F {
        self.find()
            .expect("glibc has had these functions since 2.18")
    }
}
