//! A module that takes requests, and a request under way in it: in this process, or in one of its own.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use super::calls::Caller;
use super::exchange::Lease;
use super::generation::Pin;
use super::loader::{self, LoadError, Owner, RetiredCode};
use super::state::SavedState;
use crate::isolation::process::{self, Process};
use crate::session::Session;

/// A module that takes requests.
pub(crate) enum Instance {
    Here(loader::Instance),
    Apart(process::Instance),
}

/// A request or a session check under way in the module.
pub(crate) enum Task {
    Here(loader::Task),
    Apart(process::Task),
}

/// How one poll ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ready,
    Pending,
    /// The module says that it failed, and why.
    Failed(String),
    Panicked(String),
    /// Its process ended, and how.
    Crashed(String),
}

/// The outcome of `begin`.
pub(crate) type Begun = Result<Task, Outcome>;

/// What is left of an instance that has ended.
pub(crate) enum Retired {
    /// Its code, which is to be unmapped.
    Code(RetiredCode),
    /// Nothing: its process is gone.
    Process,
}

/// The head of a request, as it comes to a module.
pub(crate) struct RequestHead<'a> {
    pub(crate) parts: &'a Parts,
    /// Below the module's prefix.
    pub(crate) path: &'a str,
    pub(crate) request_id: &'a str,
    /// And when the token at hand ends, in Unix seconds.
    pub(crate) session: Option<(&'a Session, u64)>,
    /// 0: there is no body.
    pub(crate) content_length: Option<u64>,
    /// Whether it is a WebSocket's handshake; then the exchange has a socket for it.
    pub(crate) websocket: bool,
    /// The module that makes it; `None`: a client does.
    pub(crate) caller: Option<&'a Caller>,
}

impl Instance {
    /// The process that it has to itself.
    pub(crate) fn process(&self) -> Option<&Arc<Process>> {
        match self {
            Instance::Here(_) => None,
            Instance::Apart(instance) => Some(instance.process()),
        }
    }

    pub(crate) fn needs_secret(&self) -> bool {
        match self {
            Instance::Here(instance) => instance.needs_secret(),
            Instance::Apart(instance) => instance.facts().needs_secret,
        }
    }

    pub(crate) fn checks_sessions(&self) -> bool {
        match self {
            Instance::Here(instance) => instance.checks_sessions(),
            Instance::Apart(instance) => instance.facts().checks_sessions,
        }
    }

    /// Gives the instance what the generation before left. May block for as long as the module likes: call it on a control
    /// thread.
    pub(crate) fn restore(&mut self, state: Option<&SavedState>) -> Result<(), LoadError> {
        match self {
            Instance::Here(instance) => instance.restore(state),
            Instance::Apart(instance) => instance.restore(state),
        }
    }

    /// Asks the instance whether it can serve. May block, as `restore`.
    pub(crate) fn probe(&mut self, owner: &Owner) -> Result<(), LoadError> {
        match self {
            Instance::Here(instance) => instance.probe(),
            Instance::Apart(instance) => instance.probe(owner),
        }
    }

    /// Whether the instance may have state to hand over.
    pub(crate) fn saves(&self) -> bool {
        match self {
            Instance::Here(instance) => instance.saves(),
            Instance::Apart(instance) => instance.facts().saves,
        }
    }

    /// What the instance hands over, if anything. May block, as `restore`; one at a time.
    pub(crate) fn save(&self, owner: &Owner) -> Result<Option<SavedState>, LoadError> {
        match self {
            Instance::Here(instance) => instance.save(owner),
            Instance::Apart(instance) => instance.save(owner),
        }
    }

    /// The module's OpenAPI document.
    pub(crate) fn openapi(&self) -> Option<String> {
        match self {
            Instance::Here(instance) => instance.openapi(),
            Instance::Apart(instance) => instance.openapi(),
        }
    }

    /// Tells the module that no new request will come.
    pub(crate) fn quiesce(&self, drain: Duration) {
        match self {
            Instance::Here(instance) => instance.quiesce(drain),
            Instance::Apart(instance) => instance.quiesce(drain),
        }
    }

    /// Ends the instance and its threads; a second call gives nothing. Blocks: call it on a control thread, when no pin is
    /// left and none can be taken.
    pub(crate) fn end(&self) -> Option<Retired> {
        match self {
            Instance::Here(instance) => instance.end().map(Retired::Code),
            Instance::Apart(instance) => {
                instance.end();
                Some(Retired::Process)
            }
        }
    }
}

impl Task {
    /// Hands a request over.
    pub(crate) fn begin(pin: Pin, lease: &Lease, head: &RequestHead<'_>) -> Begun {
        match pin.instance().process().cloned() {
            None => loader::Task::begin(pin, lease, head).map(Task::Here),
            Some(process) => process::Task::begin(pin, process, lease, head).map(Task::Apart),
        }
    }

    /// Has the module look at a session that is about to be issued.
    pub(crate) fn check_session(
        pin: Pin,
        lease: &Lease,
        request_id: &str,
        session: &Session,
        expires_at: u64,
    ) -> Begun {
        match pin.instance().process().cloned() {
            None => loader::Task::check_session(pin, lease, session, expires_at).map(Task::Here),
            Some(process) => {
                process::Task::check_session(pin, process, lease, request_id, session, expires_at)
                    .map(Task::Apart)
            }
        }
    }

    /// The answer has begun.
    pub(crate) fn set_streaming(&mut self) {
        match self {
            Task::Here(task) => task.set_streaming(),
            Task::Apart(task) => task.set_streaming(),
        }
    }

    /// Goes on with the task, for a reason of [`midplane_abi::why`].
    pub(crate) fn poll(&mut self, why: u32) -> Outcome {
        match self {
            Task::Here(task) => task.poll(why),
            Task::Apart(task) => task.poll(why),
        }
    }
}
