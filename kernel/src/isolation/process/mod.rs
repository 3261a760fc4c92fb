//! The kernel's side of a module process: what is known of it, and its orders.

mod calls;
mod descriptors;
mod instance;
mod lanes;
mod liveness;
mod output;
mod socket;
mod spawn;
mod task;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};

pub(crate) use instance::{Instance, Opened, Opening};
use lanes::RequestLane;
pub(crate) use spawn::Start;
pub(crate) use task::Task;

use super::confine::Report;
use super::lane::{Lane, ReadError};
use super::wire::{Answer, Line, Notice, Order, ToModule};
use crate::modules::generation::Generation;
use crate::modules::loader::Owner;
use crate::modules::private_copy::PrivateCopy;
use crate::telemetry;

/// How long the system may take to say how a process ended whose sockets are closed.
const END_KNOWN_WITHIN: Duration = Duration::from_secs(4);

/// As many requests that were under way are told when it crashes.
const ROUTES_TOLD_MAX: usize = 8;

/// How long a process whose sockets are closed may take to end.
const END_SEEN_WITHIN: Duration = Duration::from_secs(1);
/// A text of the process's that goes to the log beside a message is longer than this only if it is meant to do harm.
const TEXT_LEN_MAX: usize = 256;

/// A module process.
pub(crate) struct Process {
    owner: Arc<Owner>,
    /// What it has opened, and what is opened again after it.
    _copy: Arc<PrivateCopy>,
    pid: u32,
    control: Lane,
    lanes: Vec<RequestLane>,
    orders: Mutex<Orders>,
    end: watch::Receiver<Option<End>>,
    killer: Arc<spawn::Killer>,
    /// It was told to end.
    ending: AtomicBool,
    /// Once there is one.
    generation: OnceLock<Weak<Generation>>,
    last_routes: OnceLock<Vec<String>>,
    /// Set when it has ended by itself, until that has been dealt with: a generation that only waited for its last requests is
    /// over as soon as they end.
    crashed: Mutex<Option<Arc<Generation>>>,
    confined: OnceLock<Report>,
    /// Requests are under way that nobody looks at yet.
    busy: Notify,
    looked_at: AtomicBool,
}

#[derive(Default)]
struct Orders {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Result<Answer, String>>>,
    /// The process is gone.
    closed: bool,
}

/// How a module process ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct End {
    pub(crate) status: Option<ExitStatus>,
    /// Why the kernel killed it, if it did.
    pub(crate) killed: Option<String>,
}

impl End {
    /// The name of the signal that ended it.
    pub(crate) fn signal(&self) -> Option<&'static str> {
        use std::os::unix::process::ExitStatusExt as _;
        let signal = self.status?.signal()?;
        Signal::try_from(signal).ok().map(Signal::as_str)
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may have ended by itself just before.
        if let (Some(why), Some("SIGKILL") | None) = (&self.killed, self.signal()) {
            return f.write_str(why);
        }
        match (self.signal(), self.status.and_then(|status| status.code())) {
            (Some(signal), _) => f.write_str(signal),
            (None, Some(code)) => write!(f, "exit status {code}"),
            (None, None) => f.write_str("an unknown end"),
        }
    }
}

/// The processes of each module.
static ALIVE: Mutex<BTreeMap<Arc<str>, BTreeSet<u32>>> = Mutex::new(BTreeMap::new());

/// Processes of `name` that have not ended.
pub(crate) fn alive(name: &str) -> u64 {
    alive_of().get(name).map_or(0, |pids| pids.len() as u64)
}

/// All that have been started, and may have ended.
static STARTED: Mutex<Vec<Weak<Process>>> = Mutex::new(Vec::new());

/// A secret has changed, and is in no session any more: nor is it in the images that module processes have of them. What is
/// on its way to one while this is called is taken back by who sent it.
pub(crate) fn forget_secret(secret_key_id: &str) {
    let started = STARTED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    for process in started.iter().filter_map(Weak::upgrade) {
        for lane in process.lanes.iter().filter(|lane| lane.is_busy()) {
            // A process that has ended has nothing to forget.
            let _ = lane.lane.send(&ToModule::Forget { secret_key_id });
        }
    }
}

/// Whether it is a module's.
pub(crate) fn is_one(pid: u32) -> bool {
    alive_of().values().any(|pids| pids.contains(&pid))
}

fn alive_of() -> MutexGuard<'static, BTreeMap<Arc<str>, BTreeSet<u32>>> {
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why an order was not carried out.
pub(crate) enum Undone {
    /// The module's reason.
    Refused(String),
    Ended(String),
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, once it has. Cancel-safe.
    pub(crate) async fn ended(&self) -> End {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone(),
            Err(_gone) => None,
        }
        .unwrap_or_default()
    }

    /// What it may do; `None` before its library is opened.
    pub(crate) fn confined(&self) -> Option<&Report> {
        self.confined.get()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Whether its end was asked for.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// Its end is no crash from here on.
    pub(crate) fn set_ending(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Ends it at once; `why` is for people. Nothing when it has ended.
    pub(crate) fn kill(&self, why: impl Into<String>) {
        self.killer.kill(why.into());
    }

    /// From here on what it says of itself belongs to `generation`.
    pub(crate) fn adopt(&self, generation: &Arc<Generation>) {
        // Once.
        let _ = self.generation.set(Arc::downgrade(generation));
    }

    /// The requests that were under way in it when it ended: method and path, newest first.
    pub(crate) fn last_routes(&self) -> Vec<String> {
        self.last_routes.get().cloned().unwrap_or_default()
    }

    /// It has ended, and nobody knows yet: what has to be noted before.
    fn note_end(&self) {
        self.owner.set_ended();
        let mut routes = lanes::routes(&self.lanes);
        routes.truncate(ROUTES_TOLD_MAX);
        // Once.
        let _ = self.last_routes.set(routes);
        if !self.is_ending()
            && let Some(generation) = self.generation()
        {
            generation.start_restarting();
            *self.crashed() = Some(generation);
        }
    }

    /// The generation that it was, if it has ended by itself; once.
    pub(crate) fn take_crashed(&self) -> Option<Arc<Generation>> {
        self.crashed().take()
    }

    fn crashed(&self) -> MutexGuard<'_, Option<Arc<Generation>>> {
        self.crashed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_log_level(&self, level: u32) {
        // It may have ended.
        let _ = self.control.send(&Order::LogLevel(level));
    }

    /// Gives an order and waits until it is carried out. Blocks: call it on a control thread.
    fn order(&self, order: &Order) -> Result<Answer, Undone> {
        let (done, answered) = oneshot::channel();
        {
            let mut orders = self.orders();
            if orders.closed {
                drop(done);
            } else {
                let number = orders.next;
                orders.next += 1;
                orders.waiting.insert(number, done);
                // What cannot be sent is answered by the end.
                let _ = self.control.send(order);
            }
        }
        match answered.blocking_recv() {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(reason)) => Err(Undone::Refused(reason)),
            Err(_closed) => Err(Undone::Ended(self.wait_end().to_string())),
        }
    }

    /// How it ended. Blocks.
    fn wait_end(&self) -> End {
        self.killer.wait_end(END_KNOWN_WITHIN)
    }

    /// Resolves when it has ended and everything it said must have been read. Cancel-safe.
    async fn long_ended(&self) {
        self.ended().await;
        tokio::time::sleep(END_SEEN_WITHIN).await;
    }

    /// How it ended, when one of its sockets is closed; one that goes on without is killed. Cancel-safe.
    async fn ended_or_killed(&self, socket: &str) -> End {
        if tokio::time::timeout(END_SEEN_WITHIN, self.ended())
            .await
            .is_err()
        {
            self.kill(format!("it closed {socket}, and was killed"));
        }
        self.ended().await
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what it says on its control lane until it is gone.
    async fn serve_control(self: Arc<Self>) {
        let Some(socket) = self.control.claim() else {
            return;
        };
        let read = self.control.serve(socket, |frame| self.take_notice(frame));
        // A copy of the process may hold the other end open.
        let outcome = tokio::select! {
            read = read => read,
            () = self.long_ended() => Ok(()),
        };
        self.control.close();
        if let Err(error) = outcome {
            self.kill(format!("its control lane failed: {error}"));
        }
        {
            let mut orders = self.orders();
            orders.closed = true;
            orders.waiting.clear();
        }
        self.ended_or_killed("its control lane").await;
    }

    fn take_notice(&self, frame: &[u8]) -> Result<(), ReadError> {
        match postcard::from_bytes(frame)? {
            Notice::Answer { order, answer } => {
                let waiting = self.orders().waiting.remove(&order);
                let waiting = waiting.ok_or(ReadError::Forbidden("an answer without an order"))?;
                // Whoever gave the order may have been given up.
                let _ = waiting.send(answer);
            }
            Notice::Confined(report) => {
                // The first is the kernel's own code's; any other would be the module's.
                let _ = self.confined.set(report);
            }
            Notice::Line(line) => self.write_line(&line),
            Notice::Counted(changes) => {
                let (owner, is_over) = (&self.owner, self.owner.is_over());
                owner.metrics.take(owner.number, is_over, &changes);
            }
            Notice::SlowPoll {
                route,
                request_id,
                poll_ns,
            } => {
                if let Some(generation) = self.generation() {
                    let taken = Duration::from_nanos(poll_ns);
                    generation.slow_poll(&plain(route), &plain(request_id), taken);
                }
            }
            Notice::Denied { request_id } => {
                if let Some(generation) = self.generation() {
                    generation.denied_secret(&plain(request_id));
                }
            }
        }
        Ok(())
    }

    fn write_line(&self, line: &Line<'_>) {
        let [request_id, session] = [line.request_id, line.session].map(|text| text.map(plain));
        let line = telemetry::ModuleLine {
            module: &self.owner.name,
            generation: self.owner.number,
            request_id: request_id.as_deref(),
            session: session.as_deref(),
            level: telemetry::level_of(line.level),
            target: &plain(line.target),
            message: line.message,
            fields: line.fields,
        };
        self.owner.log.line(line);
    }

    fn generation(&self) -> Option<Arc<Generation>> {
        self.generation.get()?.upgrade()
    }

    fn label(&self) -> String {
        format!("{}#{}", self.owner.name, self.owner.number)
    }
}

/// A text of the process's, cut, and without what would break a line.
fn plain(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_LEN_MAX)].replace(char::is_control, "\u{fffd}")
}

/// A process that somebody needs; dropping it ends the process.
pub(crate) struct Needed(Arc<Process>);

impl std::ops::Deref for Needed {
    type Target = Arc<Process>;
    fn deref(&self) -> &Arc<Process> {
        &self.0
    }
}

impl Drop for Needed {
    /// One that was given up, or never served; every other has ended before. Waits for its end where it may block.
    fn drop(&mut self) {
        self.0.set_ending();
        self.0.kill("nobody needs it any more");
        if Handle::try_current().is_err() {
            self.0.wait_end();
        }
    }
}

/// Numbers for what is shown of requests, so that the newest can be told.
static ORDER: AtomicU64 = AtomicU64::new(0);

fn next_in_order() -> u64 {
    ORDER.fetch_add(1, Ordering::Relaxed)
}
