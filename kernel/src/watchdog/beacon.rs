//! What each worker shows of itself: whether it is inside a module's code, and for which request.
//!
//! Only the worker writes its beacon, with two plain stores on the way in and one on the way out; it reads no clock and
//! takes no lock. How long it has been inside is for whoever looks to say: a count that has not moved between two looks.

use std::cell::OnceCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use midplane_abi::Request;

thread_local! {
    /// The calling worker's place. Empty on every other thread.
    static OWN: OnceCell<(Arc<Beacons>, usize)> = const { OnceCell::new() };
}

/// The beacons of all workers, and who is woken when one is lit while nobody looks.
pub(crate) struct Beacons {
    all: Box<[Beacon]>,
    /// Somebody looks at them from time to time.
    looked_at: AtomicBool,
    looker: OnceLock<Thread>,
}

/// On a cache line of its own, and its neighbour, which is fetched with it.
#[derive(Default)]
#[repr(align(128))]
struct Beacon {
    /// Grows on the way in and on the way out: odd while the worker is inside.
    crossings: AtomicU64,
    request: AtomicU64,
}

/// What a beacon shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) crossings: u64,
    /// The request that the worker is inside for.
    pub(super) inside: Option<Request>,
}

/// The worker is inside a module's code until this is dropped.
pub(crate) struct Inside {
    /// Whether this is the outermost crossing.
    entered: bool,
    /// It belongs to the thread that made it.
    _thread: PhantomData<*const ()>,
}

impl Beacons {
    pub(crate) fn new(workers: usize) -> Arc<Beacons> {
        Arc::new(Beacons {
            all: std::iter::repeat_with(Beacon::default)
                .take(workers)
                .collect(),
            looked_at: AtomicBool::new(false),
            looker: OnceLock::new(),
        })
    }

    /// Makes the calling thread the worker `number`, from 0.
    pub(crate) fn adopt(self: &Arc<Beacons>, number: usize) {
        OWN.with(|own| {
            // Once for each thread.
            let _ = own.set((Arc::clone(self), number));
        });
    }

    /// Makes the calling thread the one that is woken.
    pub(super) fn look_from_here(&self) {
        // Once.
        let _ = self.looker.set(std::thread::current());
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn read(&self) -> impl Iterator<Item = Reading> {
        self.all.iter().map(Beacon::read)
    }

    /// Nobody looks any more: the next crossing wakes the looker. A crossing at this moment may still believe the
    /// opposite, so look once more before waiting for good.
    pub(super) fn look_away(&self) {
        self.looked_at.store(false, Ordering::SeqCst);
    }

    /// Undoes [`Beacons::look_away`].
    pub(super) fn keep_looking(&self) {
        self.looked_at.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_looked_at(&self) -> bool {
        self.looked_at.load(Ordering::SeqCst)
    }

    /// Waits for a crossing or for `timeout`; may return early.
    pub(super) fn wait(&self, timeout: Option<Duration>) {
        match timeout {
            Some(timeout) => std::thread::park_timeout(timeout),
            None => std::thread::park(),
        }
    }

    #[cold]
    fn ask_for_a_look(&self) {
        if !self.looked_at.swap(true, Ordering::SeqCst)
            && let Some(looker) = self.looker.get()
        {
            looker.unpark();
        }
    }
}

impl Beacon {
    fn read(&self) -> Reading {
        let crossings = self.crossings.load(Ordering::Acquire);
        let request = Request(self.request.load(Ordering::Relaxed));
        Reading {
            crossings,
            inside: (crossings % 2 == 1).then_some(request),
        }
    }
}

/// The calling thread goes into a module's code for `request`. Shown if it is a worker.
pub(crate) fn inside(request: Request) -> Inside {
    // A thread that ends has no place any more.
    let entered = OWN.try_with(|own| {
        let Some((beacons, number)) = own.get() else {
            return false;
        };
        let beacon = &beacons.all[*number];
        let crossings = beacon.crossings.load(Ordering::Relaxed);
        if crossings % 2 == 1 {
            return false;
        }
        beacon.request.store(request.0, Ordering::Relaxed);
        beacon.crossings.store(crossings + 1, Ordering::Release);
        if !beacons.looked_at.load(Ordering::Relaxed) {
            beacons.ask_for_a_look();
        }
        true
    });
    Inside {
        entered: entered.unwrap_or(false),
        _thread: PhantomData,
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if !self.entered {
            return;
        }
        let _ = OWN.try_with(|own| {
            if let Some((beacons, number)) = own.get() {
                let crossings = &beacons.all[*number].crossings;
                crossings.store(crossings.load(Ordering::Relaxed) + 1, Ordering::Release);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on a worker's thread of its own.
    fn on_worker(beacons: &Arc<Beacons>, number: usize, work: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                beacons.adopt(number);
                work();
            });
        });
    }

    fn readings(beacons: &Beacons) -> Vec<(u64, Option<u64>)> {
        beacons
            .read()
            .map(|reading| (reading.crossings, reading.inside.map(|request| request.0)))
            .collect()
    }

    #[test]
    fn a_worker_shows_what_it_is_inside_for() {
        let beacons = Beacons::new(2);
        assert_eq!(readings(&beacons), [(0, None), (0, None)]);
        on_worker(&beacons, 1, || {
            let outer = inside(Request(7));
            assert_eq!(readings(&beacons), [(0, None), (1, Some(7))]);
            drop(inside(Request(8)));
            assert_eq!(
                readings(&beacons),
                [(0, None), (1, Some(7))],
                "the outermost counts"
            );
            drop(outer);
            assert_eq!(readings(&beacons), [(0, None), (2, None)]);
        });
    }

    #[test]
    fn other_threads_show_nothing() {
        let beacons = Beacons::new(1);
        let _inside = inside(Request(7));
        assert_eq!(readings(&beacons), [(0, None)]);
        assert!(!beacons.is_looked_at());
    }

    #[test]
    fn a_crossing_that_nobody_looks_at_asks_for_a_look() {
        let beacons = Beacons::new(1);
        on_worker(&beacons, 0, || drop(inside(Request(1))));
        assert!(beacons.is_looked_at());
        beacons.look_away();
        on_worker(&beacons, 0, || {});
        assert!(!beacons.is_looked_at());
        on_worker(&beacons, 0, || drop(inside(Request(2))));
        assert!(beacons.is_looked_at());
    }
}
