//! Notices workers that a module holds and does not give back, and ends the process when too few are left to serve.
//!
//! It is a thread of its own and not a task of the control runtime: the last resort must not wait behind a drain, a
//! registry lock or a timer wheel that whatever went wrong may hold up. It takes no lock that a worker may hold while
//! module code runs, and what it does last does not depend on anybody's reading standard error.
//!
//! It costs nothing while the kernel is idle. It sleeps for good until a worker goes into a module; then it looks four
//! times in `[limits] stuck_after`, or once a `quarantine_after` if that is more often, and goes back to sleep when two looks in a row found nobody inside and nothing that
//! moved. A busy kernel pays for these looks and for three plain stores a poll.
//!
//! A worker that is stuck accepts nothing: new connections go to the others, and the connections that it had accepted
//! before are what is lost with it.

pub(crate) mod beacon;
pub(crate) mod held_by;
mod sight;

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use midplane_abi::Request;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::events::{Event, Events};
use crate::modules::exchange;
use crate::modules::loader::end_process;
use crate::secrets;
use beacon::Beacons;
use held_by::HeldBy;
use sight::{Change, Sight};
pub(crate) use sight::{Limits, Verdict, verdict};

/// Looks in one `stuck_after`: a worker is told to be stuck a quarter late at most.
const LOOKS: u32 = 4;
/// Of the time between two looks, this many times the planned one counts: a process that was stopped, or a machine that
/// was, has not been inside a poll for all of that time.
const LOOKS_COUNTED_MAX: u32 = 2;
/// How long the last words may take: nobody may be reading standard error.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the worker that is left has to tell those who listen on `GET /events`.
const EVENT_GRACE: Duration = Duration::from_millis(100);
/// sysexits.h: `EX_SOFTWARE`.
const EXIT_SOFTWARE: u8 = 70;

/// A worker that a module holds.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct StuckWorker {
    /// From 0; the thread is called `worker-<number>`.
    pub(crate) worker: usize,
    #[serde(flatten)]
    pub(crate) held_by: HeldBy,
    #[serde(skip)]
    since: Instant,
}

impl StuckWorker {
    pub(crate) fn held_for(&self) -> Duration {
        self.since.elapsed()
    }
}

/// What the watchdog has found, for whoever asks.
#[derive(Default)]
pub(crate) struct Findings(Mutex<Vec<StuckWorker>>);

impl Findings {
    /// The workers that are stuck, by number.
    pub(crate) fn stuck(&self) -> Vec<StuckWorker> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<StuckWorker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running thread; dropping it ends it.
pub(crate) struct Watchdog {
    beacons: Arc<Beacons>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works with.
struct Watch {
    beacons: Arc<Beacons>,
    findings: Arc<Findings>,
    events: Arc<Events>,
    /// Cancelled when the kernel drains: the process ends anyway then, with the code that was asked for.
    closing: CancellationToken,
    stop: Arc<AtomicBool>,
    limits: Limits,
    sights: Vec<Sight>,
}

impl Watchdog {
    pub(crate) fn start(
        beacons: &Arc<Beacons>,
        findings: &Arc<Findings>,
        events: &Arc<Events>,
        closing: CancellationToken,
        limits: Limits,
    ) -> io::Result<Watchdog> {
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Watch {
            beacons: Arc::clone(beacons),
            findings: Arc::clone(findings),
            events: Arc::clone(events),
            closing,
            stop: Arc::clone(&stop),
            limits,
            sights: vec![Sight::default(); beacons.len()],
        };
        let thread = std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch.run())?;
        Ok(Watchdog {
            beacons: Arc::clone(beacons),
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It ends at once, and a panic of its has been printed.
            let _ = thread.join();
        }
        self.beacons.look_away();
    }
}

impl Watch {
    fn run(mut self) {
        self.beacons.look_from_here();
        let tick = (self.limits.stuck_after / LOOKS).min(self.limits.quarantine_after);
        while !self.stop.load(Ordering::SeqCst) {
            if !self.beacons.is_looked_at() {
                self.beacons.wait(None);
                continue;
            }
            self.look_until_idle(tick);
        }
    }

    /// Looks from time to time, until two looks in a row find nobody inside and nothing that moved.
    fn look_until_idle(&mut self, tick: Duration) {
        let mut last = Instant::now();
        loop {
            self.wait_until(last + tick);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let elapsed = last.elapsed().min(tick * LOOKS_COUNTED_MAX);
            last = Instant::now();
            let busy = self.look(elapsed);
            match (busy, self.beacons.is_looked_at()) {
                (true, true) => {}
                // A crossing that did not see that we looked away.
                (true, false) => self.beacons.keep_looking(),
                (false, true) => self.beacons.look_away(),
                (false, false) => return,
            }
        }
    }

    fn wait_until(&self, then: Instant) {
        while let Some(left) = then.checked_duration_since(Instant::now())
            && !left.is_zero()
            && !self.stop.load(Ordering::SeqCst)
        {
            self.beacons.wait(Some(left));
        }
    }

    /// Whether any worker is inside a module, or was since the last look.
    fn look(&mut self, elapsed: Duration) -> bool {
        let mut busy = false;
        let mut changed = false;
        for (worker, reading) in self.beacons.read().enumerate() {
            let sight = &mut self.sights[worker];
            let change = sight.look(reading, elapsed, self.limits);
            busy |= sight.is_inside() || change != Change::Still;
            match change {
                Change::Moving | Change::Still => {}
                Change::Slow(request) => quarantine(request, self.limits.quarantine_after),
                Change::Stuck(request) => {
                    changed = true;
                    let stuck = StuckWorker {
                        worker,
                        held_by: held_by(request),
                        since: Instant::now()
                            .checked_sub(self.limits.stuck_after)
                            .unwrap_or_else(Instant::now),
                    };
                    tell(&stuck, &self.events);
                    self.findings.lock().push(stuck);
                }
                Change::Freed => {
                    self.findings.lock().retain(|stuck| stuck.worker != worker);
                    tracing::info!(worker, "a worker that a module held is free again");
                }
            }
        }
        let stuck = self.findings.stuck();
        if changed
            && verdict(stuck.len(), self.beacons.len()) == Verdict::Lost
            && !self.closing.is_cancelled()
        {
            give_up(&stuck, self.beacons.len(), &self.events);
        }
        busy
    }
}

/// What holds the worker that is inside for `request`. Does not wait for the request's lock: who holds that may be stuck.
fn held_by(request: Request) -> HeldBy {
    exchange::try_describe(request).map_or_else(
        || HeldBy {
            module: "unknown".to_owned(),
            generation: 0,
            route: String::new(),
            request_id: String::new(),
        },
        |(_generation, held_by)| held_by,
    )
}

/// Keeps further requests from the module that has held a worker for so long.
fn quarantine(request: Request, after: Duration) {
    if let Some((generation, held_by)) = exchange::try_describe(request) {
        generation.quarantine(&format!(
            "one poll of {} has taken longer than {after:?} and goes on",
            held_by.route
        ));
    }
}

fn tell(stuck: &StuckWorker, events: &Events) {
    let HeldBy {
        module,
        generation,
        route,
        request_id,
    } = &stuck.held_by;
    let held_ms = u64::try_from(stuck.held_for().as_millis()).unwrap_or(u64::MAX);
    tracing::error!(worker = stuck.worker, module = %format_args!("{module}#{generation}"), route, request_id, held_ms, "a module holds a worker and does not give it back");
    events.publish(Event::WorkerStuck {
        worker: stuck.worker,
        held_by: stuck.held_by.clone(),
    });
}

/// Ends the process, so that whoever started it starts it again.
fn give_up(stuck: &[StuckWorker], workers: usize, events: &Events) -> ! {
    events.publish(Event::KernelStuck {
        stuck: stuck.len(),
        workers,
    });
    let words = last_words(stuck, workers);
    let (written, done) = mpsc::channel();
    let writing = std::thread::Builder::new()
        .name("last-words".to_owned())
        .spawn(move || {
            // Nobody may be there to be told, or to wait for it.
            let _ = io::stderr().write_all(words.as_bytes());
            let _ = written.send(());
        });
    if writing.is_ok() {
        let _ = done.recv_timeout(LAST_WORDS_TIMEOUT);
    }
    std::thread::sleep(EVENT_GRACE);
    secrets::end_commands();
    end_process(EXIT_SOFTWARE)
}

/// One line for the end, and one for each worker.
fn last_words(stuck: &[StuckWorker], workers: usize) -> String {
    let mut words = format!(
        "midplane: {} of {workers} workers are held by modules that do not give them back; ending with {EXIT_SOFTWARE} to be started again\n",
        stuck.len()
    );
    for stuck in stuck {
        let HeldBy {
            module,
            generation,
            route,
            request_id,
        } = &stuck.held_by;
        words += &format!(
            "midplane: worker {} is held by {module}#{generation} in {route:?} for {:.1} s (request {request_id})\n",
            stuck.worker,
            stuck.held_for().as_secs_f64(),
        );
    }
    words
}
