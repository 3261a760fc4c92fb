//! One load, between the dynamic linker and the ledger.

#![expect(
    unsafe_code,
    reason = "a handle is looked into, and destructors run, under the callers' contracts"
)]

use std::ffi::{CStr, CString, c_void};
use std::ptr::NonNull;

use super::images::Id;
use super::ledger::{self, By, Hold, Key};
use super::thread::Thread;
use super::{interpose, maps, objects, signals, thread_end};
use crate::library::Settled;
use crate::pin::Pin;

/// One load of a library.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load(Id);

/// What is mapped besides the libraries that are loaded, before one is.
#[derive(Debug)]
pub(crate) struct Company(Vec<CString>);

impl Company {
    pub(crate) fn before() -> Company {
        Company(objects::paths())
    }

    /// Keeps what has been mapped since, but for libraries that are loaded: the shared libraries that one needs. What they
    /// leave behind is not followed.
    pub(crate) fn keep(self) {
        let mut newcomers = objects::paths();
        newcomers.retain(|path| !self.0.contains(path));
        ledger::with(|ledger| newcomers.retain(|path| !ledger.images.has_path(path)));
        newcomers.iter().for_each(|path| objects::keep(path));
    }
}

impl Load {
    /// Before `dlopen`: constructors register things already. `None` if a library is known under this path.
    pub(crate) fn begin(path: &CStr) -> Option<Load> {
        ledger::with(|ledger| ledger.images.loading(path)).map(Load)
    }

    /// `dlopen` has not mapped it.
    pub(crate) fn failed(self) {
        self.forget();
    }

    /// `dlopen` gave this handle. Says whether it is a mapping of its own.
    pub(crate) fn opened(self, path: &CStr, handle: NonNull<c_void>) -> bool {
        // SAFETY: dlopen's handle, just given.
        let Some(mapped) = (unsafe { objects::of_handle(handle) }) else {
            // The linker lists whatever it has mapped; without that the library could not be followed.
            return false;
        };
        if *mapped.path != *path {
            // Another name of a file that is mapped.
            return false;
        }
        let file = maps::read().and_then(|maps| maps::file_within(&maps, &mapped.span));
        ledger::with(|ledger| ledger.images.loaded(self.0, &mapped.span, file))
    }

    /// What holds it, but for what its file says. Forgets threads that have ended.
    pub(crate) fn pins(self) -> Vec<Pin> {
        if let Err(why) = interpose::availability() {
            return vec![Pin::Unavailable(why)];
        }
        let (mut own, mut unsettled) = (Vec::new(), Vec::new());
        for hold in self.holds() {
            match (hold.by, hold.thread) {
                (By::Own, None) => own.push("starting".to_owned()),
                (By::Own, Some(thread)) => own.push(thread.name()),
                (By::Destructors, thread) => unsettled.extend(thread.map(Thread::name)),
            }
        }
        // After the threads: the last one may have left a handler.
        let (span, busy) = ledger::with(|ledger| {
            let busy = ledger.images.loading_besides(self.0);
            (ledger.images.place_of(self.0).span, busy)
        });
        let some = |names: Vec<String>| (!names.is_empty()).then_some(names);
        [
            some(own).map(Pin::OwnThreads),
            some(unsettled).map(Pin::UnsettledThreads),
            some(signals::handled_within(&span)).map(Pin::SignalHandlers),
            busy.map(|path| Pin::LinkerBusy(path.to_string_lossy().into_owned())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The threads that hold it. Forgets those that have ended.
    fn holds(self) -> Vec<Hold> {
        loop {
            let holds = ledger::with(|ledger| ledger.holds(self.0));
            let is_over = |hold: &&Hold| hold.thread.is_some_and(Thread::has_ended);
            let over: Vec<_> = holds
                .iter()
                .filter(is_over)
                .map(|hold| hold.serial)
                .collect();
            if over.is_empty() {
                return holds;
            }
            // Before it ended, a thread may have started another that was not there yet when the holds were read.
            ledger::with(|ledger| over.iter().for_each(|serial| ledger.ended(*serial)));
        }
    }

    /// # Safety
    /// As [`Settler::settle_here`](crate::Settler::settle_here).
    pub(crate) unsafe fn settle_here(self) -> Settled {
        // SAFETY: by the contract.
        unsafe { thread_end::settle(self.0) }
    }

    /// Before `dlclose`. Says whether no thread holds it, and from here on none will.
    pub(crate) fn closing(self) -> bool {
        ledger::with(|ledger| ledger.closing(self.0))
    }

    /// After `dlclose`: says whether it is gone.
    pub(crate) fn closed(self) -> bool {
        let place = ledger::with(|ledger| ledger.images.place_of(self.0));
        let in_maps = || {
            let (maps, file) = (maps::read()?, place.file.as_ref()?);
            Some(maps::is_mapped(&maps, &place.span, file))
        };
        if objects::is_mapped(&place.path, &place.span) || in_maps().unwrap_or(false) {
            ledger::with(|ledger| ledger.images.left(self.0));
            return false;
        }
        self.forget();
        true
    }

    /// Only now its keys are deleted: until it was unmapped it could delete them itself, and the number of one that was
    /// deleted before could have been another's by then. No thread had a value of them any more.
    fn forget(self) {
        let keys = ledger::with(|ledger| ledger.gone(self.0));
        interpose::delete_keys(keys.iter().map(|key: &Key| key.number));
    }
}
