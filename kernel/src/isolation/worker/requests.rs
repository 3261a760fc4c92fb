//! Requests in a module process: what the kernel says of them on one lane.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};
use serde_json::Map;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::answer::drive;
use super::calls::{LaneCalls, LaneCarrier};
use super::stream::{State, Stream};
use crate::isolation::lane::{Lane, ReadError};
use crate::isolation::wire::{Begin, FromModule, Outcome, SessionView, ToModule};
use crate::memory;
use crate::modules::calls::Caller;
use crate::modules::exchange::socket::{Close, Kind};
use crate::modules::executor::{
    self, Actor, Call, Fault, Incipient, Offer, RequestBody, SocketLimits, Surroundings,
};
use crate::modules::generation::Generation;
use crate::problem::Problem;
use crate::secrets::{Secret, SecretError};
use crate::session::{NewSession, Session};

/// When so much has gone over a lane and it falls idle, what it took is given back to the system: a walk through the heap, which
/// takes a millisecond or two, and keeps nobody waiting then.
const BUSY_LEN: usize = 16 * 1024 * 1024;
/// What the kernel bounds, this process does not: streams, and pauses in a body.
const UNBOUNDED: Duration = Duration::from_secs(365 * 24 * 3600);

type Open = Arc<Mutex<HashMap<u64, Arc<Stream>>>>;

pub(super) struct Requests {
    generation: Arc<Generation>,
    lane: Arc<Lane>,
    /// By the kernel's handle.
    open: Open,
    calls: Arc<LaneCalls>,
}

impl Requests {
    pub(super) fn new(generation: Arc<Generation>, lane: &Arc<Lane>) -> Requests {
        Requests {
            generation,
            lane: Arc::clone(lane),
            open: Arc::default(),
            calls: Arc::default(),
        }
    }

    pub(super) fn take(&self, message: ToModule<'_>) -> Result<(), ReadError> {
        let Some(message) = self.calls.take(message)? else {
            return Ok(());
        };
        match message {
            ToModule::Begin(begin) => self.begin(&begin),
            ToModule::Check {
                request,
                request_id,
                session,
            } => self.check(request, request_id, &session),
            ToModule::Body { request, bytes } => {
                if let Some(stream) = self.find(request) {
                    stream.body.push(Bytes::copy_from_slice(bytes));
                }
                Ok(())
            }
            ToModule::BodyEnd { request, end } => {
                if let Some(stream) = self.find(request) {
                    stream.body.end(end);
                }
                Ok(())
            }
            ToModule::Credit { request, bytes } => {
                self.change(request, |state| {
                    state.credit = state.credit.saturating_add_unsigned(bytes);
                });
                Ok(())
            }
            ToModule::Refreshed { request, outcome } => {
                if let Some(stream) = self.find(request) {
                    refreshed(&mut stream.lock(), outcome);
                }
                Ok(())
            }
            ToModule::Forget { secret_key_id } => {
                for stream in lock(&self.open).values() {
                    let state = stream.lock();
                    if let Some(session) = &state.session
                        && session.secret_key_id() == Some(secret_key_id)
                    {
                        session.wipe_secret();
                    }
                }
                Ok(())
            }
            ToModule::Message {
                request,
                text,
                bytes,
                last,
            } => {
                let kind = if text { Kind::Text } else { Kind::Binary };
                self.change(request, |state| state.inbound.push(kind, bytes, last));
                Ok(())
            }
            ToModule::SocketEnd {
                request,
                code,
                reason,
            } => {
                let close = Close::because(code, reason.to_owned());
                self.change(request, |state| state.inbound.end(close));
                Ok(())
            }
            ToModule::Cancel { request } => {
                self.change(request, |state| state.cancelled = true);
                Ok(())
            }
            ToModule::Ping => {
                let _ = self.lane.send(&FromModule::Pong);
                Ok(())
            }
            ToModule::CallHead { .. }
            | ToModule::CallBytes { .. }
            | ToModule::CallEnd { .. }
            | ToModule::CallFailed { .. }
            | ToModule::CallRoom { .. }
            | ToModule::CallBodyUnread { .. } => {
                unreachable!("what is said of calls was taken before")
            }
        }
    }

    fn begin(&self, begin: &Begin<'_>) -> Result<(), ReadError> {
        let actor = begin.session.as_ref().map(|session| self.actor(session));
        let stream = self.add(begin.request, actor.as_ref());
        let parts = head(begin).ok_or(ReadError::Forbidden("a head that is not valid"))?;
        let outcome = match self.generation.pin() {
            Err(_refused) => Err(None),
            Ok(pin) => executor::begin(
                Incipient {
                    pin,
                    parts: &parts,
                    path: begin.path,
                    request_id: header(begin.request_id),
                    actor,
                    caller: begin.caller.map(|(module, generation)| Caller {
                        module: Arc::from(module),
                        generation,
                    }),
                    // The kernel counts.
                    depth: 0,
                    content_length: begin.content_length,
                    body: RequestBody::Lane(stream.body.reader(&self.lane, begin.request)),
                    offer: begin.offer.as_ref().map(|offer| Offer {
                        protocols: offer
                            .protocols
                            .iter()
                            .filter_map(|value| HeaderValue::from_bytes(value.0).ok())
                            .collect(),
                        message_len_max: offer.message_len_max,
                    }),
                },
                u64::MAX,
                self.surroundings(begin.request, &stream),
            )
            .map_err(Some),
        };
        self.go_on(begin.request, stream, outcome);
        Ok(())
    }

    fn check(
        &self,
        request: u64,
        request_id: &str,
        session: &SessionView<'_>,
    ) -> Result<(), ReadError> {
        let actor = self.actor(session);
        let stream = self.add(request, Some(&actor));
        let outcome = match self.generation.pin() {
            Err(_refused) => Err(None),
            Ok(pin) => executor::begin_check(
                pin,
                actor,
                &header(request_id),
                self.surroundings(request, &stream),
            )
            .map_err(Some),
        };
        self.go_on(request, stream, outcome);
        Ok(())
    }

    /// Polls a request's task on this thread until it has ended.
    fn go_on(
        &self,
        request: u64,
        stream: Arc<Stream>,
        begun: Result<Result<Call, Fault>, Option<Problem>>,
    ) {
        let (lane, open) = (Arc::clone(&self.lane), Arc::clone(&self.open));
        let generation = Arc::clone(&self.generation);
        tokio::spawn(async move {
            let outcome = match begun {
                Ok(Ok(call)) => drive(call, request, &stream, &lane).await,
                Ok(Err(fault)) => Some(Err(fault)),
                Err(problem) => {
                    let reason = problem
                        .map_or("it takes no requests any more".to_owned(), |problem| {
                            problem.detail.into_owned()
                        });
                    Some(Err(Fault::Failed(reason)))
                }
            };
            let idle = {
                let mut open = lock(&open);
                open.remove(&request);
                open.is_empty()
            };
            let Some(outcome) = outcome else {
                // Nobody waits for it.
                return;
            };
            let done = FromModule::Done {
                request,
                outcome: match &outcome {
                    Ok(()) => Outcome::Ready,
                    Err(Fault::Panicked(reason)) => Outcome::Panicked(reason),
                    Err(Fault::Failed(reason)) => Outcome::Failed(reason),
                    Err(_) => Outcome::Failed("the request came over the lane in a wrong way"),
                },
                poll_ns: generation.stats.poll_ns.swap(0, Ordering::Relaxed),
            };
            // A lane that is closed ends the process.
            let _ = lane.send(&done);
            if idle && lane.take_moved(BUSY_LEN) {
                memory::give_back();
            }
        });
    }

    fn add(&self, request: u64, actor: Option<&Actor>) -> Arc<Stream> {
        let stream = Stream::new();
        stream.lock().session = actor.map(|actor| Arc::clone(&actor.session));
        lock(&self.open).insert(request, Arc::clone(&stream));
        stream
    }

    fn find(&self, request: u64) -> Option<Arc<Stream>> {
        lock(&self.open).get(&request).cloned()
    }

    fn change(&self, request: u64, change: impl FnOnce(&mut State)) {
        let Some(stream) = self.find(request) else {
            return;
        };
        let mut state = stream.lock();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn actor(&self, view: &SessionView<'_>) -> Actor {
        let new = NewSession {
            user: view.user.to_owned(),
            modules: vec![self.generation.name.to_string()],
            scope: view.scope.to_owned(),
            environment: view.environment.to_owned(),
            secret_key_id: view.secret_key_id.map(str::to_owned),
            metadata: Map::new(),
            rate_limit: None,
            expires_in: 0,
        };
        let secret = view
            .secret
            .and_then(|secret| Secret::parse(secret).ok())
            .map(Arc::new);
        Actor {
            session: Arc::new(Session::image(
                view.id.to_owned(),
                new,
                view.metadata.to_owned(),
                secret,
                view.expires_at,
            )),
            expires_at: view.expires_at,
            stream_grace: UNBOUNDED,
        }
    }

    fn surroundings(&self, request: u64, stream: &Arc<Stream>) -> Surroundings {
        let (lane, stream) = (Arc::clone(&self.lane), Arc::clone(stream));
        Surroundings {
            body_stall_timeout: UNBOUNDED,
            // The kernel has the wire.
            sockets: SocketLimits::NONE,
            calls: Arc::new(LaneCarrier {
                lane: Arc::clone(&self.lane),
                calls: Arc::clone(&self.calls),
                request: Some(request),
                runtime: Handle::current(),
            }),
            refresh: Arc::new(move |_session, _module| {
                let (sender, refreshed) = oneshot::channel();
                stream.lock().refreshing = Some(sender);
                // A lane that is closed ends the process.
                let _ = lane.send(&FromModule::Refresh { request });
                Box::pin(async move {
                    let request_over = Err(SecretError::Timeout);
                    refreshed.await.unwrap_or(request_over)
                })
            }),
        }
    }
}

/// The answer to `Refresh`. The secret is put into the session here and now, and not by whoever waits: what the kernel says
/// next may be that it changed.
fn refreshed(state: &mut State, outcome: Result<&str, &str>) {
    let secret = match outcome {
        Ok(secret) => Secret::parse(secret).map_err(SecretError::from),
        Err(reason) => Err(SecretError::Unavailable(reason.to_owned())),
    };
    let outcome = secret.map(|secret| {
        if let Some(session) = &state.session {
            session.replace_secret(Arc::new(secret));
        }
    });
    if let Some(waiting) = state.refreshing.take() {
        // Whoever waited may have left.
        let _ = waiting.send(outcome);
    }
}

fn head(begin: &Begin<'_>) -> Option<http::request::Parts> {
    let uri = match begin.query {
        Some(query) => format!("/?{query}"),
        None => "/".to_owned(),
    };
    let mut request = Request::builder().method(begin.method).uri(uri);
    for (name, value) in &begin.headers {
        request = request.header(*name, value.0);
    }
    Some(request.body(()).ok()?.into_parts().0)
}

fn header(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
