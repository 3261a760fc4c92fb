//! A module's code in the process: mapped for one generation, and unmapped when nothing holds it any more.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_void};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use midplane_unload::{Findings, Library, OpenError, Settler};

use super::Owner;
use crate::memory;
use crate::modules::private_copy::PrivateCopy;

/// How many libraries of each module are mapped.
static MAPPED: Mutex<BTreeMap<Arc<str>, u64>> = Mutex::new(BTreeMap::new());
/// Code that something held when it was to go; it is tried again.
static RESIDENT: Mutex<Vec<RetiredCode>> = Mutex::new(Vec::new());

/// How long the unloading of a library that never served may wait for its threads to end. Nobody waits for it.
const DISCARD_PATIENCE: Duration = Duration::from_secs(1);

/// A library whose functions may be called. It stays mapped when it is dropped.
pub(super) struct Code {
    library: Library,
    /// For as long as the library is mapped.
    copy: Arc<PrivateCopy>,
    name: Arc<str>,
    generation: u64,
}

/// A library whose functions nobody calls any more. One that is dropped is kept, and tried again.
pub(crate) struct RetiredCode(Option<Box<Code>>);

/// A library that could not be unmapped, and why.
pub(crate) struct StillMapped {
    pub(crate) code: RetiredCode,
    pub(crate) reason: String,
}

impl Code {
    /// Maps the copy, and runs the library's constructors.
    pub(super) fn open(
        copy: Arc<PrivateCopy>,
        findings: Findings,
        owner: &Owner,
    ) -> Result<Code, OpenError> {
        // SAFETY: running a module's constructors is what loading is; the operator named the file, its ownership, descriptor
        // and hash have been checked, and nobody else knows the copy.
        let library = unsafe { Library::open(copy.path_to_open(), findings) }?;
        *mapped_of().entry(Arc::clone(&owner.name)).or_default() += 1;
        Ok(Code {
            library,
            copy,
            name: Arc::clone(&owner.name),
            generation: owner.number,
        })
    }

    pub(super) fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        self.library.symbol(name)
    }

    /// From here on nobody calls a function of it, and no call is under way.
    pub(super) fn retire(self) -> RetiredCode {
        RetiredCode(Some(Box::new(self)))
    }
}

impl RetiredCode {
    pub(crate) fn name(&self) -> &str {
        &self.code().name
    }

    pub(crate) fn generation(&self) -> u64 {
        self.code().generation
    }

    fn code(&self) -> &Code {
        self.0.as_deref().expect("only closing it takes it")
    }

    /// What every thread that called functions of it has to run: the destructors that it left there.
    pub(crate) fn settle(&self) -> impl Fn() + Send + Sync + use<> {
        let settler: Settler = self.code().library.settler();
        move || {
            // SAFETY: whoever runs this is between two pieces of work, so that nothing of the library is on the stack, and by
            // the type nobody calls it afterwards.
            let settled = unsafe { settler.settle_here() };
            if settled.left > 0 {
                tracing::warn!(
                    left = settled.left,
                    "destructors of a module register others without end"
                );
            }
        }
    }

    /// Unmaps it, once threads that are ending have ended, for which it waits for up to `patience`. Blocks: call it on a
    /// control thread.
    pub(crate) fn close(mut self, patience: Duration) -> Result<(), StillMapped> {
        let Code {
            library,
            copy,
            name,
            generation,
        } = *self.0.take().expect("closed once");
        // SAFETY: by the type nobody calls it any more, and the kernel keeps no pointer into it but the table of the instance
        // that is over.
        match unsafe { library.close(patience) } {
            Ok(()) => {
                // The copy goes with it.
                if let Some(mapped) = mapped_of().get_mut(&name) {
                    *mapped -= 1;
                }
                drop(copy);
                memory::give_back();
                Ok(())
            }
            Err(resident) => {
                let reason = resident.to_string();
                let code = Code {
                    library: resident.library,
                    copy,
                    name,
                    generation,
                };
                let code = code.retire();
                Err(StillMapped { code, reason })
            }
        }
    }

    /// Whether what holds it stays for as long as the process.
    pub(crate) fn is_held_for_good(&self) -> bool {
        self.code().library.pins().iter().any(|pin| !pin.may_pass())
    }

    /// Unmaps it if that is possible here and now: for what never served, on the thread that loaded it.
    pub(super) fn discard(self) {
        self.settle()();
        if let Err(StillMapped { code, reason }) = self.close(DISCARD_PATIENCE) {
            tracing::warn!(
                module = code.name(),
                generation = code.generation(),
                reason,
                "a module that was not taken stays in memory"
            );
            code.keep();
        }
    }

    /// Leaves it mapped until somebody tries again.
    pub(crate) fn keep(self) {
        drop(self);
    }

    /// Everything that was kept.
    pub(crate) fn take_kept() -> Vec<RetiredCode> {
        std::mem::take(&mut resident())
    }
}

/// Opens a library for the sake of what happens then, in a process that is there for nothing else.
pub(crate) fn try_open(path: &Path) {
    // SAFETY: as in `Code::open`; the process ends with what it runs.
    let opened = unsafe { Library::open(path, Findings::default()) };
    drop(opened);
}

impl Drop for RetiredCode {
    fn drop(&mut self) {
        if let Some(code) = self.0.take() {
            resident().push(RetiredCode(Some(code)));
        }
    }
}

/// How many libraries of the module `name` are mapped.
pub(crate) fn mapped(name: &str) -> u64 {
    mapped_of().get(name).copied().unwrap_or(0)
}

fn mapped_of() -> MutexGuard<'static, BTreeMap<Arc<str>, u64>> {
    MAPPED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn resident() -> MutexGuard<'static, Vec<RetiredCode>> {
    RESIDENT.lock().unwrap_or_else(PoisonError::into_inner)
}
