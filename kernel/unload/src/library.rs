//! A library in the process: opened, settled thread by thread, closed.
//!
//! Dropping it never unmaps it: only [`Library::close`] does, when nothing holds it.

#![expect(
    unsafe_code,
    reason = "the dynamic linker is called here, and nowhere else"
)]

use std::ffi::{CStr, CString, c_void};
use std::fmt::{self, Display, Formatter};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::findings::Findings;
use crate::pin::Pin;
use crate::platform::{self, Company, Load};

/// How often the threads that hold a library are looked at while they are waited for. Nothing reports the end of a thread
/// that was detached.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Why a library was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the path needs a directory, and neither a NUL byte nor `$`, to which the dynamic linker gives a meaning"
    )]
    Path,
    #[error("{0}")]
    Linker(String),
    #[error(
        "the file is mapped already: the dynamic linker gave the library that was loaded from it before"
    )]
    AlreadyOpen,
}

/// A library that was opened, and what its file said.
#[derive(Debug)]
pub struct Library {
    /// `None` once the dynamic linker was told to close it.
    handle: Option<Handle>,
    load: Load,
    findings: Findings,
}

/// What `dlopen` gave.
#[derive(Debug, Clone, Copy)]
struct Handle(NonNull<c_void>);

// SAFETY: dlopen's handles belong to the process, and every function that takes one may be called on any thread.
unsafe impl Send for Handle {}
// SAFETY: as above; the handle itself is never written to.
unsafe impl Sync for Handle {}

/// Runs on a thread what a library left there. It names the library and holds nothing: after the library was closed it does
/// nothing.
#[derive(Debug, Clone, Copy)]
pub struct Settler(Load);

/// What was run to settle a library on a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Destructors of thread-locals and of key values.
    pub ran: usize,
    /// Those that were left, because they register others without end.
    pub left: usize,
}

/// A library that was not unmapped, with the reasons.
#[derive(Debug)]
pub struct Resident {
    /// As before, to ask again.
    pub library: Library,
    /// At least one.
    pub pins: Vec<Pin>,
}

impl Library {
    /// Maps the library and runs its constructors; their names stay local to it (`RTLD_NOW | RTLD_LOCAL`). Blocks for as long
    /// as they do, and as those of any library that is opened at the same time.
    ///
    /// The shared libraries that it needs, and that were not mapped before, are never unmapped.
    ///
    /// `findings` are those of [`prepare`](crate::prepare) on the very bytes of the file. The file should be a private copy
    /// under a name of its own.
    ///
    /// # Errors
    /// Nothing is mapped then, or nothing that was not mapped before.
    ///
    /// # Safety
    /// The library's constructors are sound to run, and nobody writes to the file while it is mapped.
    pub unsafe fn open(path: &Path, findings: Findings) -> Result<Library, OpenError> {
        // What the C library has is looked up before its dynamic linker can be busy.
        let _ = platform::availability();
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| OpenError::Path)?;
        if !name.as_bytes().contains(&b'/') || name.as_bytes().contains(&b'$') {
            return Err(OpenError::Path);
        }
        let load = Load::begin(&name).ok_or(OpenError::AlreadyOpen)?;
        let company = Company::before();
        // SAFETY: a C string, and constructors that may run by the contract.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        let Some(handle) = NonNull::new(handle) else {
            // Before anything else that could replace it.
            let why = linker_error();
            load.failed();
            return Err(OpenError::Linker(why));
        };
        if !load.opened(&name, handle) {
            load.failed();
            // SAFETY: a handle of dlopen's, not used afterwards. The library stays, for whoever opened it first.
            unsafe { libc::dlclose(handle.as_ptr()) };
            return Err(OpenError::AlreadyOpen);
        }
        company.keep();
        Ok(Library {
            handle: Some(Handle(handle)),
            load,
            findings,
        })
    }

    /// The address of what the library exports under this name.
    pub fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        let handle = self.handle?;
        // SAFETY: a handle of dlopen's that was not closed, and a C string.
        NonNull::new(unsafe { libc::dlsym(handle.0.as_ptr(), name.as_ptr()) })
    }

    /// For the threads that ran functions of the library.
    pub fn settler(&self) -> Settler {
        Settler(self.load)
    }

    /// What holds the library now; nothing, and [`close`](Library::close) would unmap it. Never waits for the dynamic linker.
    pub fn pins(&self) -> Vec<Pin> {
        let mut pins = self.findings.pins();
        pins.extend(self.load.pins());
        pins
    }

    /// Unmaps the library. Runs its destructors for the process (`.fini_array`, `atexit`) on this thread, and blocks for as long
    /// as they do; first waits up to `patience` for threads that are ending.
    ///
    /// # Errors
    /// The library, still mapped and whole, with the reasons; nothing of it was run, unless the reason is [`Pin::Mapped`].
    ///
    /// # Safety
    /// Nobody calls a function of the library or uses memory of its image from now on, and no call is under way, but what this
    /// crate follows: the library's own threads, and destructors that were registered on any thread.
    pub unsafe fn close(mut self, patience: Duration) -> Result<(), Resident> {
        let start = Instant::now();
        loop {
            let pins = self.pins();
            if pins.is_empty() && (self.handle.is_none() || self.load.closing()) {
                break;
            }
            let may_pass = pins.iter().all(Pin::may_pass);
            if !pins.is_empty() && (!may_pass || start.elapsed() >= patience) {
                return Err(Resident {
                    library: self,
                    pins,
                });
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        if let Some(handle) = self.handle.take() {
            // SAFETY: a handle of dlopen's, closed once. Nothing of the library runs or will run: the caller's part by the
            // contract, and the rest because nothing holds it.
            unsafe { libc::dlclose(handle.0.as_ptr()) };
        }
        if self.load.closed() {
            Ok(())
        } else {
            let pins = vec![Pin::Mapped];
            Err(Resident {
                library: self,
                pins,
            })
        }
    }
}

impl Settler {
    /// Runs the library's destructors on this thread, and those of the values of its keys, until none is left.
    ///
    /// # Safety
    /// No function of the library is on this thread's stack, and none is called on it afterwards.
    pub unsafe fn settle_here(self) -> Settled {
        // SAFETY: by the contract.
        unsafe { self.0.settle_here() }
    }
}

impl Display for Resident {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, pin) in self.pins.iter().enumerate() {
            write!(f, "{}{pin}", if i > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Resident {}

fn linker_error() -> String {
    // SAFETY: gives the calling thread's last error, as a C string until its next call of the dynamic linker, or NULL.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "the dynamic linker gave no reason".to_owned();
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
