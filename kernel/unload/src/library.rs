//! A library in the process: opened, settled thread by thread, closed.
//!
//! Dropping it never unmaps it: only [`Library::close`] does, when nothing holds it.

#![expect(
    unsafe_code,
    reason = "the dynamic linker is called here, and nowhere else"
)]

use std::ffi::{CStr, CString, c_void};
use std::fmt::{self, Display, Formatter};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use libloading::os::unix::{self as linker, RTLD_LOCAL, RTLD_NOW};

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
    /// `None` once the dynamic linker was told to close it. It is never closed by a drop.
    library: Option<ManuallyDrop<linker::Library>>,
    load: Load,
    findings: Findings,
}

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
        // SAFETY: constructors that may run by the contract.
        let opened = unsafe { linker::Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
        let handle = match opened {
            Ok(library) => library.into_raw(),
            Err(error) => {
                load.failed();
                return Err(OpenError::Linker(said(&error)));
            }
        };
        // SAFETY: the handle that was given up a moment ago.
        let library = ManuallyDrop::new(unsafe { linker::Library::from_raw(handle) });
        if !NonNull::new(handle).is_some_and(|handle| load.opened(&name, handle)) {
            load.failed();
            // The library stays, for whoever opened it first.
            let _ = ManuallyDrop::into_inner(library).close();
            return Err(OpenError::AlreadyOpen);
        }
        company.keep();
        Ok(Library {
            library: Some(library),
            load,
            findings,
        })
    }

    /// The address of what the library exports under this name.
    pub fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        let library = self.library.as_deref()?;
        // SAFETY: the address is only passed on.
        let symbol = unsafe { library.get::<*mut c_void>(name.to_bytes_with_nul()) }.ok()?;
        NonNull::new(symbol.into_raw())
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
    pub unsafe fn close(mut self, patience: Duration) -> Result<(), Box<Resident>> {
        let start = Instant::now();
        loop {
            let pins = self.pins();
            if pins.is_empty() && (self.library.is_none() || self.load.closing()) {
                break;
            }
            let may_pass = pins.iter().all(Pin::may_pass);
            if !pins.is_empty() && (!may_pass || start.elapsed() >= patience) {
                return Err(Box::new(Resident {
                    library: self,
                    pins,
                }));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        if let Some(library) = self.library.take() {
            // Nothing of the library runs or will run: the caller's part by the contract, and the rest because nothing holds it.
            // Whether it went is read from the map.
            let _ = ManuallyDrop::into_inner(library).close();
        }
        if self.load.closed() {
            Ok(())
        } else {
            let pins = vec![Pin::Mapped];
            Err(Box::new(Resident {
                library: self,
                pins,
            }))
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

/// What the linker said, without the words around it.
fn said(error: &libloading::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}
