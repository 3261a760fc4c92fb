//! Requests in a module process: each lane has a thread, on which the executor polls the requests that come over it.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use serde_json::Map;
use tokio::sync::oneshot;

use super::body::Body;
use super::socket::{self, Inbound};
use crate::isolation::lane::{Lane, ReadError};
use crate::isolation::wire::{
    Begin, Field, FromModule, Outcome, PIECE_LEN_MAX, REQUEST_FRAME_LEN_MAX, SessionView, ToModule,
};
use crate::modules::exchange::socket::{Close, Kind};
use crate::modules::exchange::{Head, OUTPUT_WINDOW_LEN};
use crate::modules::executor::{
    self, Actor, Call, Fault, Incipient, Offer, RequestBody, SocketLimits, Surroundings, Turn,
};
use crate::modules::generation::Generation;
use crate::secrets::{Secret, SecretError};
use crate::session::{NewSession, Session};

/// What the kernel bounds, this process does not: streams, and pauses in a body.
const UNBOUNDED: Duration = Duration::from_secs(365 * 24 * 3600);

/// A lane that is served by a thread.
pub(super) struct Serving {
    lane: Arc<Lane>,
    thread: JoinHandle<()>,
}

impl Serving {
    /// Ends its thread. Blocks.
    pub(super) fn stop(self) {
        self.lane.close();
        // It ends the process if it fails.
        let _ = self.thread.join();
    }
}

/// Serves each lane on a thread of its own.
pub(super) fn serve(
    lanes: Vec<UnixStream>,
    generation: &Arc<Generation>,
) -> io::Result<Vec<Serving>> {
    let serve = |(number, socket)| {
        let lane = Arc::new(Lane::new(socket, REQUEST_FRAME_LEN_MAX));
        let (served, generation) = (Arc::clone(&lane), Arc::clone(generation));
        let thread = std::thread::Builder::new()
            .name(format!("lane-{number}"))
            .spawn(move || {
                if let Err(error) = serve_lane(&served, generation) {
                    eprintln!("midplane worker: {error}");
                    crate::modules::loader::end_process(super::CONFUSED);
                }
            })?;
        Ok(Serving { lane, thread })
    };
    lanes.into_iter().enumerate().map(serve).collect()
}

/// Until the kernel is gone, or the lane is closed.
fn serve_lane(lane: &Arc<Lane>, generation: Arc<Generation>) -> Result<(), ReadError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let socket = lane
        .claim()
        .ok_or(ReadError::Forbidden("a lane served twice"))?;
    let requests = Requests {
        generation,
        lane: Arc::clone(lane),
        open: Arc::default(),
    };
    runtime.block_on(lane.serve(socket, |frame| requests.take(postcard::from_bytes(frame)?)))
}

type Open = Arc<Mutex<HashMap<u64, Arc<Stream>>>>;

struct Requests {
    generation: Arc<Generation>,
    lane: Arc<Lane>,
    /// By the kernel's handle.
    open: Open,
}

/// What the lane's reader and a request's task share.
#[derive(Default)]
pub(super) struct Stream {
    body: Arc<Body>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    cancelled: bool,
    pub(super) inbound: Inbound,
    /// Bytes of the answer that the kernel has room for; less than none after a piece that was larger.
    credit: isize,
    waker: Option<Waker>,
    /// Whoever waits for the session's secret.
    refreshing: Option<oneshot::Sender<Result<Arc<Secret>, SecretError>>>,
}

impl Requests {
    fn take(&self, message: ToModule<'_>) -> Result<(), ReadError> {
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
                if let Some(stream) = self.find(request)
                    && let Some(waiting) = stream.lock().refreshing.take()
                {
                    let outcome = match outcome {
                        Ok(secret) => Secret::parse(secret)
                            .map(Arc::new)
                            .map_err(SecretError::from),
                        Err(reason) => Err(SecretError::Unavailable(reason.to_owned())),
                    };
                    // Whoever waited may have left.
                    let _ = waiting.send(outcome);
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
        }
    }

    fn begin(&self, begin: &Begin<'_>) -> Result<(), ReadError> {
        let stream = self.add(begin.request);
        let parts = head(begin).ok_or(ReadError::Forbidden("a head that is not valid"))?;
        let outcome = match self.generation.pin() {
            Err(_refused) => Err(None),
            Ok(pin) => executor::begin(
                Incipient {
                    pin,
                    parts: &parts,
                    path: begin.path,
                    request_id: header(begin.request_id),
                    actor: begin.session.as_ref().map(|session| self.actor(session)),
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
        let stream = self.add(request);
        let outcome = match self.generation.pin() {
            Err(_refused) => Err(None),
            Ok(pin) => executor::begin_check(
                pin,
                self.actor(session),
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
        begun: Result<Result<Call, Fault>, Option<crate::problem::Problem>>,
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
            lock(&open).remove(&request);
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
        });
    }

    fn add(&self, request: u64) -> Arc<Stream> {
        let stream = Arc::new(Stream::default());
        stream.lock().credit = OUTPUT_WINDOW_LEN.cast_signed();
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
            refresh: Arc::new(move |session| {
                let (sender, refreshed) = oneshot::channel();
                stream.lock().refreshing = Some(sender);
                // A lane that is closed ends the process.
                let _ = lane.send(&FromModule::Refresh { request });
                Box::pin(async move {
                    match refreshed.await {
                        Ok(secret) => session.replace_secret(secret?),
                        Err(_request_over) => return Err(SecretError::Timeout),
                    }
                    Ok(())
                })
            }),
        }
    }
}

impl Stream {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when the kernel has cancelled it; else whoever polls is woken by what comes.
    pub(super) fn poll_cancelled(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.cancelled {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Whether the kernel has room for more of the answer.
    pub(super) fn has_credit(&self) -> bool {
        self.lock().credit > 0
    }

    pub(super) fn spend(&self, bytes: usize) {
        let mut state = self.lock();
        state.credit = state.credit.saturating_sub_unsigned(bytes);
    }

    /// Waits until the kernel has room, and takes that of a piece of `len` bytes; `None` when it was cancelled.
    async fn take_room(&self, len: usize) -> Option<()> {
        std::future::poll_fn(|cx| {
            if self.poll_cancelled(cx).is_ready() {
                return Poll::Ready(None);
            }
            let mut state = self.lock();
            if state.credit <= 0 {
                return Poll::Pending;
            }
            state.credit = state.credit.saturating_sub_unsigned(len);
            Poll::Ready(Some(()))
        })
        .await
    }
}

/// Passes on what the module answers; `None` when the kernel has cancelled it.
async fn drive(
    mut call: Call,
    request: u64,
    stream: &Stream,
    lane: &Lane,
) -> Option<Result<(), Fault>> {
    let mut body = false;
    loop {
        let turn = std::future::poll_fn(|cx| match stream.poll_cancelled(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => call.poll_turn(cx).map(Some),
        });
        match turn.await? {
            Turn::Head(head, Some(whole)) if whole.len() <= OUTPUT_WINDOW_LEN => {
                if !put_head(lane, request, &head, Some(&whole)) {
                    return Some(Err(too_long()));
                }
            }
            Turn::Head(mut head, whole) => {
                if let Some(whole) = &whole {
                    head.headers
                        .insert(http::header::CONTENT_LENGTH, whole.len().into());
                }
                if !put_head(lane, request, &head, None) {
                    return Some(Err(too_long()));
                }
                body = true;
                put_bytes(lane, request, stream, whole.unwrap_or_default()).await?;
            }
            Turn::Accepted(accepted) => {
                let accept = FromModule::Accept {
                    request,
                    protocol: accepted
                        .protocol
                        .as_ref()
                        .map(|protocol| Field(protocol.as_bytes())),
                    headers: fields(&accepted.headers),
                    message_len_max: accepted.message_len_max,
                };
                if lane.queue(&accept, false).is_err() {
                    return Some(Err(too_long()));
                }
                lane.flush();
                return socket::drive(&mut call, request, stream, lane).await;
            }
            Turn::Bytes(bytes) => put_bytes(lane, request, stream, bytes).await?,
            Turn::Finished => {
                if body {
                    // It goes with what comes next.
                    let _ = lane.queue(&FromModule::End { request }, false);
                }
                return Some(Ok(()));
            }
            Turn::Fault(fault) => return Some(Err(fault)),
            Turn::End(_) => return Some(Err(Fault::Failed("it was cut here".to_owned()))),
        }
    }
}

/// Queues a head, to be sent with what comes next; whether it fits.
fn put_head(lane: &Lane, request: u64, head: &Head, whole: Option<&Bytes>) -> bool {
    let head = FromModule::Head {
        request,
        status: head.status.as_u16(),
        headers: fields(&head.headers),
        whole: whole.map(|body| Field(body)),
    };
    lane.queue(&head, false).is_ok()
}

fn fields(headers: &HeaderMap) -> Vec<(&str, Field<'_>)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), Field(value.as_bytes())))
        .collect()
}

/// Sends the bytes as the kernel has room for them: in one piece, as the module wrote them, so that a stream that is ended
/// from outside ends between two of its events.
async fn put_bytes(lane: &Lane, request: u64, stream: &Stream, mut bytes: Bytes) -> Option<()> {
    lane.flush();
    while !bytes.is_empty() {
        let part = bytes.split_to(bytes.len().min(PIECE_LEN_MAX));
        stream.take_room(part.len()).await?;
        // A lane that is closed ends the process.
        let _ = lane.send(&FromModule::Bytes {
            request,
            bytes: &part,
        });
    }
    Some(())
}

fn too_long() -> Fault {
    Fault::Failed(format!(
        "the head of its answer does not fit into {REQUEST_FRAME_LEN_MAX} bytes"
    ))
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
