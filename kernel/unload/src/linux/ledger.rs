//! What libraries have left where: destructors, keys, threads. Bookkeeping only: nothing is called from here but the
//! allocator, so that the lock is never held for longer than a few look-ups.

use std::ffi::c_void;
use std::sync::atomic::AtomicPtr;
use std::sync::{Mutex, PoisonError};

use super::images::{Id, Images, Phase};
use super::thread::Thread;

/// A destructor of a thread-local or of a key's value.
pub(super) type Destructor = unsafe extern "C" fn(*mut c_void);

/// Everything that is known.
pub(super) struct Ledger {
    pub(super) images: Images,
    last: u64,
    holds: Vec<Hold>,
    pending: Vec<Pending>,
    keys: Vec<Key>,
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

#[derive(Debug, Clone, Copy)]
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
            images: Images::new(),
            last: 0,
            holds: Vec::new(),
            pending: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// From here on nothing that the library registers is ever run; unless a thread holds it, which is said.
    pub(super) fn closing(&mut self, id: Id) -> bool {
        let is_free = self.holds.iter().all(|hold| hold.library != id);
        if is_free {
            self.images.closing(id);
        }
        is_free
    }

    /// The library is not mapped any more. Gives its keys, to be deleted.
    pub(super) fn gone(&mut self, id: Id) -> Vec<Key> {
        let keys = self.keys(id);
        self.images.gone(id);
        self.holds.retain(|hold| hold.library != id);
        self.pending.retain(|pending| pending.library != id);
        self.keys.retain(|key| key.library != id);
        keys
    }

    /// A thread-local's destructor is registered on `thread`.
    pub(super) fn register(&mut self, id: Id, thread: Thread, call: Call) -> Registered {
        if id != Id::PROGRAM {
            match self.images.phase(id) {
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
        let is_closing = |id: &Id| self.images.phase(*id) == Some(Phase::Closing);
        if ids.iter().any(is_closing) {
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

    fn serial(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::ops::Range;
    use std::sync::atomic::Ordering;

    use super::super::images::Owner;
    use super::*;

    extern "C" fn nothing(_object: *mut c_void) {}

    fn call(number: usize) -> Call {
        Call {
            destructor: nothing,
            object: AtomicPtr::new(std::ptr::without_provenance_mut(number)),
        }
    }

    fn open(ledger: &mut Ledger, path: &CStr, span: Range<usize>) -> Id {
        let id = ledger.images.loading(path).unwrap();
        assert!(ledger.images.loaded(id, &span, None));
        id
    }

    fn drain(ledger: &mut Ledger, id: Option<Id>, thread: Thread) -> Vec<usize> {
        std::iter::from_fn(|| ledger.take_pending(id, thread))
            .map(|call| call.object.load(Ordering::Relaxed).addr())
            .collect()
    }

    #[test]
    fn destructors_are_kept_by_thread_and_library_and_given_last_first() {
        let ledger = &mut Ledger::new();
        let (a, b) = (open(ledger, c"/a", 10..20), open(ledger, c"/b", 20..30));
        let (one, two) = (Thread::numbered(1), Thread::numbered(2));
        for (number, (id, thread)) in [(a, one), (b, one), (a, one), (a, two), (Id::PROGRAM, one)]
            .into_iter()
            .enumerate()
        {
            assert_eq!(ledger.register(id, thread, call(number)), Registered::Kept);
        }
        assert_eq!(
            (ledger.pending_len(a, one), ledger.pending_len(a, two)),
            (2, 1)
        );
        assert_eq!(drain(ledger, Some(a), one), [2, 0]);
        assert_eq!(drain(ledger, Some(a), one), []);
        assert_eq!(drain(ledger, None, one), [4, 1]);
        assert_eq!(drain(ledger, None, two), [3]);
    }

    #[test]
    fn a_thread_holds_what_it_has_destructors_of_until_it_has_settled_or_ended() {
        let ledger = &mut Ledger::new();
        let (a, b) = (open(ledger, c"/a", 10..20), open(ledger, c"/b", 20..30));
        let (one, two) = (Thread::numbered(1), Thread::numbered(2));
        for id in [a, a, b, Id::PROGRAM] {
            ledger.register(id, one, call(0));
        }
        ledger.add_key(a, 7, Some(nothing));
        ledger.add_key(b, 8, None);
        for key in [7, 8, 9] {
            ledger.value_set(key, two);
        }
        assert_eq!(
            (ledger.held_by(one), ledger.held_by(two)),
            (vec![a, b], vec![a])
        );
        ledger.settled(a, one);
        assert_eq!(ledger.held_by(one), [b]);

        let [hold] = ledger.holds(b)[..] else {
            panic!("{:?}", ledger.holds(b));
        };
        ledger.ended(hold.serial);
        ledger.ended(hold.serial);
        assert_eq!(ledger.held_by(one), []);
        // What it did not run is forgotten; what it had of others is not.
        assert_eq!(
            (ledger.pending_len(b, one), ledger.pending_len(a, one)),
            (0, 2)
        );
    }

    #[test]
    fn a_librarys_thread_holds_from_before_it_runs_until_it_has_ended() {
        let ledger = &mut Ledger::new();
        let a = open(ledger, c"/a", 10..20);
        let own = Thread::numbered(3);
        let serials = ledger.starting(&[a]).unwrap();
        assert!(matches!(
            ledger.holds(a)[..],
            [Hold {
                by: By::Own,
                thread: None,
                ..
            }]
        ));
        ledger.runs(&serials, own);
        assert_eq!(ledger.started(own), [a]);
        ledger.register(a, own, call(0));
        ledger.settled(a, own);
        assert_eq!(ledger.holds(a).len(), 1);
        ledger.ended(serials[0]);
        assert_eq!(ledger.holds(a), []);
    }

    #[test]
    fn nothing_is_taken_on_for_a_library_that_is_being_unmapped() {
        let ledger = &mut Ledger::new();
        let a = open(ledger, c"/a", 10..20);
        ledger.add_key(a, 7, None);
        ledger.closing(a);
        let one = Thread::numbered(1);
        assert_eq!(ledger.register(a, one, call(0)), Registered::Forgotten);
        assert_eq!(ledger.starting(&[a]), None);
        ledger.add_key(a, 8, None);
        ledger.remove_key(7);
        let keys: Vec<_> = ledger.gone(a).iter().map(|key| key.number).collect();
        assert_eq!(keys, [8]);
        assert_eq!(ledger.register(a, one, call(0)), Registered::Forward);
        assert_eq!(ledger.images.ids(), []);
    }

    #[test]
    fn what_was_left_to_the_linker_is_the_c_librarys_business() {
        let ledger = &mut Ledger::new();
        let a = open(ledger, c"/a", 10..20);
        ledger.closing(a);
        ledger.images.left(a);
        assert_eq!(
            ledger.register(a, Thread::numbered(1), call(0)),
            Registered::Forward
        );
        assert_eq!(ledger.images.owner(15), Owner::Ask);
        assert_eq!(ledger.images.loading(c"/a"), None);
        // The linker has unmapped it after all, and put another one there.
        let b = open(ledger, c"/b", 15..25);
        assert_eq!(ledger.images.owner(15), Owner::Known(b));
        assert_eq!(ledger.images.owner(12), Owner::Nobody);
        assert_eq!(ledger.images.place_of(a).span, 0..0);
    }
}
