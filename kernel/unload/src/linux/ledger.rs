//! Which libraries are mapped, and what each has left where: destructors, keys, threads. Bookkeeping only: no call leaves
//! this file but to the allocator, so that its lock is never held for longer than a few look-ups.

use std::ffi::{CStr, CString, c_void};
use std::ops::Range;
use std::sync::atomic::AtomicPtr;
use std::sync::{Mutex, PoisonError};

use super::maps::FileId;
use super::thread::Thread;

/// A destructor of a thread-local or of a key's value.
pub(super) type Destructor = unsafe extern "C" fn(*mut c_void);

/// One load of a library; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u64);

impl Id {
    /// What is registered in the program's own name.
    pub(super) const PROGRAM: Id = Id(0);
}

/// Whose image has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Known(Id),
    Nobody,
    /// The dynamic linker's list of what is mapped tells.
    Ask,
}

/// Everything that is known.
pub(super) struct Ledger {
    last: u64,
    libraries: Vec<Entry>,
    holds: Vec<Hold>,
    pending: Vec<Pending>,
    keys: Vec<Key>,
}

struct Entry {
    id: Id,
    path: CString,
    /// Empty until it is known.
    span: Range<usize>,
    /// What it is mapped from, if that could be read.
    file: Option<FileId>,
    phase: Phase,
}

/// Where a library is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) path: CString,
    pub(super) span: Range<usize>,
    pub(super) file: Option<FileId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its constructors may be running.
    Loading,
    Open,
    /// Nothing holds it, and it is being unmapped; its destructors for the process may be running.
    Closing,
    /// The dynamic linker was told to unmap it, and did not. It may do so at any time.
    Left,
}

/// A thread that can still run code of a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    /// Of this hold; never used twice.
    pub(super) serial: u64,
    library: Id,
    pub(super) by: By,
    /// `None` between the call that starts a thread and its first instruction.
    pub(super) thread: Option<Thread>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A thread that the library started: until it has ended.
    Own,
    /// A thread that has destructors of the library: until they were run, or it has ended.
    Destructors,
}

/// A thread-local's destructor that a thread has to run.
struct Pending {
    library: Id,
    thread: Thread,
    call: Call,
}

/// A destructor with its object.
pub(super) struct Call {
    pub(super) destructor: Destructor,
    // An atomic is the safe way to say that a raw pointer may be kept by another thread than the one that uses it.
    pub(super) object: AtomicPtr<c_void>,
}

#[derive(Clone, Copy)]
pub(super) struct Key {
    library: Id,
    pub(super) number: libc::pthread_key_t,
    pub(super) destructor: Option<Destructor>,
}

/// What becomes of a registration.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Registered {
    /// It is kept here.
    Kept,
    /// It goes to the C library.
    Forward,
    /// Its library is being unmapped, so that it can never be run.
    Forgotten,
}

/// Looks something up or changes it. `act` must call nothing but the ledger.
pub(super) fn with<T>(act: impl FnOnce(&mut Ledger) -> T) -> T {
    static LEDGER: Mutex<Ledger> = Mutex::new(Ledger::new());
    // Nothing in this file leaves it half changed.
    act(&mut LEDGER.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Ledger {
    const fn new() -> Ledger {
        Ledger {
            last: 0,
            libraries: Vec::new(),
            holds: Vec::new(),
            pending: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// A library is about to be mapped from `path`; `None` if one is known under that path.
    pub(super) fn loading(&mut self, path: &CStr) -> Option<Id> {
        if self.has_path(path) {
            return None;
        }
        let id = Id(self.serial());
        self.libraries.push(Entry {
            id,
            path: path.to_owned(),
            span: 0..0,
            file: None,
            phase: Phase::Loading,
        });
        Some(id)
    }

    pub(super) fn has_path(&self, path: &CStr) -> bool {
        self.libraries.iter().any(|entry| *entry.path == *path)
    }

    /// Another library whose constructors may be running.
    pub(super) fn loading_besides(&self, id: Id) -> Option<CString> {
        self.libraries
            .iter()
            .find(|entry| entry.phase == Phase::Loading && entry.id != id)
            .map(|entry| entry.path.clone())
    }

    /// Whose image has this address.
    pub(super) fn owner(&self, address: usize) -> Owner {
        let found = self
            .libraries
            .iter()
            .find(|entry| entry.span.contains(&address));
        match found {
            Some(entry) if entry.phase != Phase::Closing => Owner::Known(entry.id),
            // Its image may have been unmapped a moment ago, and be another's by now.
            Some(_) => Owner::Ask,
            None if self
                .libraries
                .iter()
                .any(|entry| entry.phase == Phase::Loading) =>
            {
                Owner::Ask
            }
            None => Owner::Nobody,
        }
    }

    /// Whether the constructors of a library may be running.
    pub(super) fn is_loading(&self) -> bool {
        self.libraries
            .iter()
            .any(|entry| entry.phase == Phase::Loading)
    }

    /// What [`Owner::Ask`] has found to be mapped at an address; it is told which library that is, if any.
    pub(super) fn located(&mut self, path: &CStr, span: &Range<usize>) -> Option<Id> {
        let entry = self.libraries.iter().find(|entry| *entry.path == *path)?;
        let (id, phase) = (entry.id, entry.phase);
        if phase == Phase::Loading {
            self.place(id, span);
        }
        Some(id)
    }

    /// The library's constructors are done. Says whether it is a mapping of its own, and not that of another load.
    pub(super) fn loaded(&mut self, id: Id, span: &Range<usize>, file: Option<FileId>) -> bool {
        let is_taken = self.libraries.iter().any(|entry| {
            let is_mapped = matches!(entry.phase, Phase::Loading | Phase::Open);
            entry.id != id && is_mapped && overlap(&entry.span, span)
        });
        if is_taken {
            return false;
        }
        self.place(id, span);
        if let Some(entry) = self.entry(id) {
            entry.file = file;
            entry.phase = Phase::Open;
        }
        true
    }

    fn place(&mut self, id: Id, span: &Range<usize>) {
        for entry in &mut self.libraries {
            // What was at these addresses is not mapped any more.
            if overlap(&entry.span, span) {
                entry.span = 0..0;
            }
            if entry.id == id {
                entry.span = span.clone();
            }
        }
    }

    /// Every library that code may be running of.
    pub(super) fn all(&self) -> Vec<Id> {
        self.libraries
            .iter()
            .filter(|entry| entry.phase != Phase::Left)
            .map(|entry| entry.id)
            .collect()
    }

    /// From here on nothing that the library registers is ever run.
    pub(super) fn closing(&mut self, id: Id) {
        if let Some(entry) = self.entry(id) {
            entry.phase = Phase::Closing;
        }
    }

    pub(super) fn is_closing(&self, id: Id) -> bool {
        self.libraries
            .iter()
            .any(|entry| entry.id == id && entry.phase == Phase::Closing)
    }

    /// The library was closed, but stays mapped.
    pub(super) fn left(&mut self, id: Id) {
        if let Some(entry) = self.entry(id) {
            entry.phase = Phase::Left;
        }
    }

    /// The library is not mapped any more. Gives its keys, to be deleted.
    pub(super) fn gone(&mut self, id: Id) -> Vec<Key> {
        let keys = self.keys(id);
        self.libraries.retain(|entry| entry.id != id);
        self.holds.retain(|hold| hold.library != id);
        self.pending.retain(|pending| pending.library != id);
        self.keys.retain(|key| key.library != id);
        keys
    }

    /// A thread-local's destructor is registered on `thread`.
    pub(super) fn register(&mut self, id: Id, thread: Thread, call: Call) -> Registered {
        if id != Id::PROGRAM {
            match self.entry(id).map(|entry| entry.phase) {
                Some(Phase::Loading | Phase::Open) => self.hold(id, thread),
                Some(Phase::Closing) => return Registered::Forgotten,
                // Something else uses it, and it is the C library that must know then.
                Some(Phase::Left) | None => return Registered::Forward,
            }
        }
        self.pending.push(Pending {
            library: id,
            thread,
            call,
        });
        Registered::Kept
    }

    /// The destructor to run next on `thread`: the last that was registered, of one library or of any.
    pub(super) fn take_pending(&mut self, id: Option<Id>, thread: Thread) -> Option<Call> {
        let last = self.pending.iter().rposition(|pending| {
            pending.thread == thread && id.is_none_or(|id| pending.library == id)
        })?;
        Some(self.pending.remove(last).call)
    }

    /// How many destructors `thread` has to run for the library.
    pub(super) fn pending_len(&self, id: Id, thread: Thread) -> usize {
        self.pending
            .iter()
            .filter(|pending| pending.thread == thread && pending.library == id)
            .count()
    }

    /// Notes that `thread` can still run code of the library, if it is not noted yet.
    fn hold(&mut self, id: Id, thread: Thread) {
        let holds = |hold: &Hold| hold.library == id && hold.thread == Some(thread);
        if !self.holds.iter().any(holds) {
            let serial = self.serial();
            self.holds.push(Hold {
                serial,
                library: id,
                by: By::Destructors,
                thread: Some(thread),
            });
        }
    }

    pub(super) fn holds(&self, id: Id) -> Vec<Hold> {
        self.holds
            .iter()
            .filter(|hold| hold.library == id)
            .copied()
            .collect()
    }

    /// The libraries that `thread` holds.
    pub(super) fn held_by(&self, thread: Thread) -> Vec<Id> {
        self.holds
            .iter()
            .filter(|hold| hold.thread == Some(thread))
            .map(|hold| hold.library)
            .collect()
    }

    /// The libraries that started `thread`.
    pub(super) fn started(&self, thread: Thread) -> Vec<Id> {
        self.holds
            .iter()
            .filter(|hold| hold.thread == Some(thread) && hold.by == By::Own)
            .map(|hold| hold.library)
            .collect()
    }

    /// A thread has run all its destructors of the library.
    pub(super) fn settled(&mut self, id: Id, thread: Thread) {
        self.holds
            .retain(|hold| hold.library != id || hold.thread != Some(thread) || hold.by == By::Own);
    }

    /// The thread of this hold has ended; what it did not run is never run.
    pub(super) fn ended(&mut self, serial: u64) {
        let Some(at) = self.holds.iter().position(|hold| hold.serial == serial) else {
            return;
        };
        let hold = self.holds.swap_remove(at);
        self.pending.retain(|pending| {
            pending.library != hold.library || Some(pending.thread) != hold.thread
        });
    }

    /// A thread is about to be started by these libraries. `None` when one of them is being unmapped.
    pub(super) fn starting(&mut self, ids: &[Id]) -> Option<Vec<u64>> {
        if ids.iter().any(|id| self.is_closing(*id)) {
            return None;
        }
        let first = self.holds.len();
        for id in ids {
            let serial = self.serial();
            self.holds.push(Hold {
                serial,
                library: *id,
                by: By::Own,
                thread: None,
            });
        }
        Some(self.holds[first..].iter().map(|hold| hold.serial).collect())
    }

    /// The thread with these holds has begun to run.
    pub(super) fn runs(&mut self, serials: &[u64], thread: Thread) {
        for hold in &mut self.holds {
            if serials.contains(&hold.serial) {
                hold.thread = Some(thread);
            }
        }
    }

    /// A key was created; call it before anyone can use the key.
    pub(super) fn add_key(
        &mut self,
        id: Id,
        number: libc::pthread_key_t,
        destructor: Option<Destructor>,
    ) {
        self.keys.push(Key {
            library: id,
            number,
            destructor,
        });
    }

    /// A key is about to be deleted; call it before its number can be given out again.
    pub(super) fn remove_key(&mut self, number: libc::pthread_key_t) {
        self.keys.retain(|key| key.number != number);
    }

    /// A value is about to be stored on `thread`; of a key whose destructor would have to be run.
    pub(super) fn value_set(&mut self, number: libc::pthread_key_t, thread: Thread) {
        let key = self.keys.iter().find(|key| key.number == number).copied();
        if let Some(key) = key.filter(|key| key.destructor.is_some()) {
            self.hold(key.library, thread);
        }
    }

    pub(super) fn keys(&self, id: Id) -> Vec<Key> {
        self.keys
            .iter()
            .filter(|key| key.library == id)
            .copied()
            .collect()
    }

    /// Nowhere, if others are mapped there since.
    pub(super) fn place_of(&self, id: Id) -> Place {
        self.libraries
            .iter()
            .find(|entry| entry.id == id)
            .map(|entry| Place {
                path: entry.path.clone(),
                span: entry.span.clone(),
                file: entry.file.clone(),
            })
            .unwrap_or_default()
    }

    fn entry(&mut self, id: Id) -> Option<&mut Entry> {
        self.libraries.iter_mut().find(|entry| entry.id == id)
    }

    fn serial(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}
