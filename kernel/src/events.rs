//! What happens in the kernel, told to whoever listens on `GET /events`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use serde::{Serialize, Serializer};
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};

use crate::clock;
use crate::modules::crash::Crash;
use crate::watchdog::held_by::HeldBy;

/// How far a listener may fall behind before it loses events, and is told so. Events are a few a second at most.
const BACKLOG_LEN: usize = 256;

/// One thing that happened. `type` is stable; other members may be added.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum Event {
    #[serde(rename = "session.issued")]
    SessionIssued {
        session: String,
        user: String,
        modules: Vec<String>,
    },
    #[serde(rename = "session.revoked")]
    SessionRevoked { session: String },
    #[serde(rename = "module.loaded")]
    ModuleLoaded {
        module: String,
        generation: u64,
        version: String,
    },
    /// New requests go to another generation.
    #[serde(rename = "module.swapped")]
    ModuleSwapped {
        module: String,
        from: u64,
        to: u64,
        version: String,
    },
    /// The version before has taken the place of one that failed too often.
    #[serde(rename = "module.rolled_back")]
    ModuleRolledBack {
        module: String,
        from: u64,
        to: u64,
        version: String,
        reason: String,
    },
    /// It was not loaded; what ran before goes on.
    #[serde(rename = "module.refused")]
    ModuleRefused { module: String, reason: String },
    /// It is in quarantine until it is reloaded.
    #[serde(rename = "module.faulted")]
    ModuleFaulted {
        module: String,
        generation: u64,
        reason: String,
    },
    /// Its process ended by itself.
    #[serde(rename = "module.crashed")]
    ModuleCrashed {
        module: String,
        #[serde(flatten, serialize_with = "untimed")]
        #[cfg_attr(feature = "schema", schemars(with = "Untimed<'static>"))]
        crash: Crash,
        /// `null`: it is not started again, or was to end anyway.
        restart_in_ms: Option<u64>,
        quarantined: bool,
    },
    /// Its process crashed, and there is a new one; or the one to replace an exclusive module was refused, and the old code runs anew.
    #[serde(rename = "module.restarted")]
    ModuleRestarted { module: String, from: u64, to: u64 },
    /// A watched one is loaded again.
    #[serde(rename = "module.changed")]
    ModuleChanged { module: String, cause: Cause },
    /// A watched one's file changed and is not whole; told once.
    #[serde(rename = "module.incomplete")]
    ModuleIncomplete { module: String, reason: String },
    /// The file changed and is not valid; what was in force stays so.
    #[serde(rename = "configuration.refused")]
    ConfigurationRefused { reason: String },
    /// A generation has ended; `unloaded`: its code has left the process.
    #[serde(rename = "module.unloaded")]
    ModuleUnloaded {
        module: String,
        generation: u64,
        unloaded: bool,
    },
    /// A module holds it and does not give it back.
    #[serde(rename = "worker.stuck")]
    WorkerStuck {
        worker: usize,
        #[serde(flatten)]
        held_by: HeldBy,
    },
    /// Too few workers are left to it: the process ends.
    #[serde(rename = "kernel.stuck")]
    KernelStuck { stuck: usize, workers: usize },
    #[serde(rename = "host.attached")]
    HostAttached { host: String },
    /// Its bridge ended.
    #[serde(rename = "host.gone")]
    HostGone { host: String },
    /// Tokens are signed with a new key.
    #[serde(rename = "keys.rotated")]
    KeysRotated { kid: String },
    /// The last one.
    #[serde(rename = "kernel.draining")]
    KernelDraining,
    /// The listener was too slow for so many.
    #[serde(rename = "events.lost")]
    Lost { count: u64 },
}

/// Why a watched module is loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum Cause {
    File,
    Configuration,
}

pub(crate) struct Events {
    sender: Sender<Timed>,
}

/// An event, and when it happened, in Unix seconds.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "KernelEvent"))]
pub(crate) struct Timed {
    #[serde(flatten)]
    event: Event,
    /// Unix seconds.
    at: u64,
}

/// A crash without its time, since an event has one.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Untimed<'a> {
    generation: u64,
    /// A signal's name, an exit status, or why the kernel killed it.
    reason: &'a str,
    /// The name of the signal that ended it, if one did.
    signal: Option<&'static str>,
    /// Method and path of the requests that were under way in it, newest first; eight at most.
    routes: &'a [String],
}

fn untimed<S: Serializer>(crash: &Crash, serializer: S) -> Result<S::Ok, S::Error> {
    let Crash {
        generation,
        reason,
        signal,
        routes,
        at: _,
    } = crash;
    let crash = Untimed {
        generation: *generation,
        reason,
        signal: *signal,
        routes,
    };
    crash.serialize(serializer)
}

impl Events {
    pub(crate) fn new() -> Events {
        Events {
            sender: broadcast::channel(BACKLOG_LEN).0,
        }
    }

    pub(crate) fn publish(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.sender.send(Timed::now(event));
    }

    /// What happens from here on.
    pub(crate) fn listen(&self) -> Listener {
        Listener(self.sender.subscribe())
    }

    pub(crate) fn stream(&self) -> EventStream {
        EventStream {
            next: Box::pin(next(self.listen())),
            opened: false,
            over: false,
        }
    }
}

/// Hears every event, or of how many it missed.
pub(crate) struct Listener(Receiver<Timed>);

impl Listener {
    /// `None` at the end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Timed> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(count)) => Some(Timed::now(Event::Lost { count })),
            Err(RecvError::Closed) => None,
        }
    }
}

/// The next event, `None` at the end, and where to wait for the one after.
type Next = (Option<Timed>, Listener);

/// Events as `text/event-stream` (WHATWG HTML, "server-sent events").
pub(crate) struct EventStream {
    next: Pin<Box<dyn Future<Output = Next> + Send>>,
    opened: bool,
    over: bool,
}

impl EventStream {
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.over {
            return Poll::Ready(None);
        }
        if !self.opened {
            // A comment, so that the listener knows that from here on nothing is missed.
            self.opened = true;
            return Poll::Ready(Some(Bytes::from_static(b": listening\n\n")));
        }
        let (timed, listener) = ready!(self.next.as_mut().poll(cx));
        self.next = Box::pin(next(listener));
        // Nothing happens after the kernel has drained.
        self.over = timed
            .as_ref()
            .is_none_or(|timed| matches!(timed.event, Event::KernelDraining));
        Poll::Ready(timed.map(|timed| timed.frame()))
    }
}

impl Timed {
    fn now(event: Event) -> Timed {
        Timed {
            event,
            at: clock::unix_now(),
        }
    }

    fn frame(&self) -> Bytes {
        let json = serde_json::to_string(self).expect("an event is plain strings and numbers");
        Bytes::from(format!("data: {json}\n\n"))
    }
}

async fn next(mut listener: Listener) -> Next {
    (listener.next().await, listener)
}
