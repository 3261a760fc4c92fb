//! Polls a module's task inline, on the worker that has the connection, as the HTTP response that it becomes.
//!
//! [`call`] is the future of a response's head; a body that is not whole by then goes on as a [`ModuleBody`], which polls the
//! same task. Nothing is polled while the client does not read, and the client's body is not read while the module does
//! not: that is the whole back-pressure.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use midplane_abi::why;

use super::exchange::{self, Head, INPUT_WINDOW_LEN, InputEnd, Lease, Refresh};
use super::generation::{self, Generation, SLOW_POLL};
use super::loader::{Begun, Outcome, Task};
use crate::body::Body;
use crate::clock;
use crate::problem::{Code, Problem};
use crate::secrets::SecretError;
use crate::session::Session;
use crate::stall::StallTimer;

/// How long a module may go on with a request whose client has left, once it was told.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// How often a module that always has more to do is polled in a row before other requests get their turn, and before the
/// session and the drain are looked at. A megabyte of body, at the window's size.
const POLLS_IN_ROW_MAX: u32 = 16;

/// The session a request acts for.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) session: Arc<Session>,
    /// Unix seconds: when the token that came with the request ends.
    pub(crate) expires_at: u64,
    /// How long a stream may outlive the token.
    pub(crate) stream_grace: Duration,
}

impl Actor {
    /// How long a stream may go on from now.
    fn stream_left(&self) -> Duration {
        let end = Duration::from_secs(self.expires_at) + self.stream_grace;
        end.saturating_sub(Duration::from_secs(clock::unix_now()))
    }
}

/// Asks the source of a session's secret again and gives the session what it answers.
pub(crate) type RefreshSecret = Arc<
    dyn Fn(Arc<Session>) -> Pin<Box<dyn Future<Output = Result<(), SecretError>> + Send>>
        + Send
        + Sync,
>;

/// What a call needs of its surroundings.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) body_stall_timeout: Duration,
    pub(crate) refresh: RefreshSecret,
}

/// A request on its way into a module.
pub(crate) struct Incipient<'a> {
    pub(crate) pin: generation::Pin,
    pub(crate) parts: &'a Parts,
    /// Below the module's prefix.
    pub(crate) path: &'a str,
    pub(crate) request_id: HeaderValue,
    pub(crate) actor: Option<Actor>,
    pub(crate) body: Incoming,
}

/// Hands a request to a module and answers with the response's head; the body follows as the module makes it.
///
/// Dropping the future or the body is the client leaving.
pub(crate) async fn call(
    incipient: Incipient<'_>,
    surroundings: &Surroundings,
) -> Result<Response<Body>, Problem> {
    let Incipient {
        pin,
        parts,
        path,
        request_id,
        actor,
        body,
    } = incipient;
    let limit = pin.generation().body_limit(path);
    let length = body.size_hint().exact();
    if length.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let lease = lease(
        &pin,
        actor.as_ref().map(|actor| &actor.session),
        &request_id,
    )?;
    if length == Some(0) {
        lease.lock().input.end = InputEnd::Whole;
    }
    let begun = Task::begin(
        pin,
        &lease,
        parts,
        path,
        request_id.as_bytes(),
        actor
            .as_ref()
            .map(|actor| (&*actor.session, actor.expires_at)),
        length,
    );
    let mut call = Call::new(begun, lease, actor, surroundings.clone(), &request_id)?;
    call.input = (length != Some(0)).then_some(Upload {
        body,
        limit,
        left: limit,
        stall: StallTimer::default(),
    });
    std::future::poll_fn(|cx| call.poll_head(cx))
        .await
        .map(|(head, whole)| call.respond(head, whole))
}

/// Asks a module whether it accepts a session that is about to be issued.
///
/// # Errors
/// The module's reason, as `Err(Ok(reason))`, or that it failed, as `Err(Err(problem))`.
pub(crate) async fn check_session(
    pin: generation::Pin,
    actor: Actor,
    request_id: HeaderValue,
    surroundings: &Surroundings,
) -> Result<(), Result<String, Problem>> {
    let lease = lease(&pin, Some(&actor.session), &request_id).map_err(Err)?;
    let begun = Task::check_session(pin, &lease, &actor.session, actor.expires_at);
    let mut call =
        Call::new(begun, lease, Some(actor), surroundings.clone(), &request_id).map_err(Err)?;
    match std::future::poll_fn(|cx| call.poll_turn(cx)).await {
        Turn::Finished => Ok(()),
        Turn::Fault(Fault::Failed(reason)) => Err(Ok(reason)),
        Turn::Fault(fault) => Err(Err(fault.problem())),
        // A check has nobody to answer.
        Turn::Head(..) | Turn::Bytes(_) | Turn::End(_) => Err(Err(Fault::Failed(
            "it answered a check".to_owned(),
        )
        .problem())),
    }
}

fn lease(
    pin: &generation::Pin,
    session: Option<&Arc<Session>>,
    request_id: &HeaderValue,
) -> Result<Lease, Problem> {
    let context = exchange::Context {
        generation: Arc::clone(pin.generation()),
        session: session.cloned(),
        request_id: request_id.clone(),
    };
    Lease::new(context).ok_or_else(overloaded)
}

/// The answer to a request that finds every place taken.
pub(crate) fn overloaded() -> Problem {
    Problem::new(
        Code::ModuleOverloaded,
        "the module has as many requests under way as it may have: try again shortly",
    )
    .retry_after(Duration::from_secs(1))
}

fn too_large(limit: u64) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("the body may have up to {limit} bytes on this route: send less"),
    )
}

/// The kernel's side of one request under way in a module.
struct Call {
    /// `None` when the module has finished with it. Before `lease`, so that the task is freed while its handle lives.
    task: Option<Task>,
    lease: Lease,
    generation: Arc<Generation>,
    request_id: HeaderValue,
    actor: Option<Actor>,
    surroundings: Surroundings,
    input: Option<Upload>,
    /// Polled for the first time.
    begun: bool,
    /// Polls of the module since others had their turn.
    polls_in_row: u32,
    /// The module was told to stop writing, and there is room again.
    writable: bool,
    /// What ends the call from outside; made when it first has to wait.
    end: Option<Pin<Box<dyn Future<Output = End> + Send>>>,
}

/// The client's body, read as the module asks.
struct Upload {
    body: Incoming,
    limit: u64,
    left: u64,
    stall: StallTimer,
}

/// What a call's owner has to act on next.
enum Turn {
    /// The head, and the body if it is whole.
    Head(Head, Option<Bytes>),
    Bytes(Bytes),
    /// The module has finished, and everything it wrote has been taken.
    Finished,
    End(End),
    Fault(Fault),
}

/// Why a call ends from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    SessionRevoked,
    SessionExpired,
    Drained,
}

/// How a call went wrong.
#[derive(Debug)]
enum Fault {
    Failed(String),
    Panicked,
    TooLarge(u64),
    Stalled(Duration),
}

impl Call {
    fn new(
        begun: Begun,
        lease: Lease,
        actor: Option<Actor>,
        surroundings: Surroundings,
        request_id: &HeaderValue,
    ) -> Result<Call, Problem> {
        let generation = lease
            .lock()
            .context
            .as_ref()
            .map(|context| Arc::clone(&context.generation))
            .expect("a lease has a context");
        let mut call = Call {
            task: None,
            lease,
            generation,
            request_id: request_id.clone(),
            actor,
            surroundings,
            input: None,
            begun: false,
            polls_in_row: 0,
            writable: false,
            end: None,
        };
        match begun {
            Ok(task) => call.task = Some(task),
            Err(outcome) => {
                let fault = call.fault(outcome);
                call.generation
                    .stats
                    .count_status(http::StatusCode::INTERNAL_SERVER_ERROR);
                return Err(fault.problem());
            }
        }
        Ok(call)
    }

    /// The head, once the module has put it down.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Head, Option<Bytes>), Problem>> {
        let problem = match ready!(self.poll_turn(cx)) {
            Turn::Head(head, whole) => return Poll::Ready(Ok((head, whole))),
            Turn::Fault(fault) => fault.problem(),
            Turn::End(End::Drained) => Problem::new(
                Code::Draining,
                "the module was replaced or the kernel is shutting down: send the request again",
            )
            .retry_after(Duration::from_secs(1)),
            Turn::End(_) => Problem::new(
                Code::InvalidToken,
                "the session has ended: ask the host for a new one",
            ),
            Turn::Bytes(_) | Turn::Finished => self
                .fault(Outcome::Failed(
                    "its task ended without an answer".to_owned(),
                ))
                .problem(),
        };
        self.generation.stats.count_status(problem.status());
        Poll::Ready(Err(problem))
    }

    fn respond(self, mut head: Head, whole: Option<Bytes>) -> Response<Body> {
        if whole.is_some() {
            // hyper knows the length, and does not take another for an answer.
            head.headers.remove(CONTENT_LENGTH);
        }
        self.generation.stats.count_status(head.status);
        let event_stream = is_event_stream(&head.headers);
        let body = match whole {
            Some(bytes) => Body::from(bytes),
            None => Body::module(ModuleBody {
                call: self,
                event_stream,
                tail: Tail::default(),
                over: false,
            }),
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    /// Goes on until there is something to act on.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        loop {
            if let Some(turn) = self.take_output() {
                return Poll::Ready(turn);
            }
            if self.task.is_none() {
                return Poll::Ready(Turn::Finished);
            }
            if self.polls_in_row >= POLLS_IN_ROW_MAX {
                match self.poll_outside(cx) {
                    Poll::Ready(Err(turn)) => return Poll::Ready(turn),
                    Poll::Ready(Ok(())) => self.lease.lock().woken = true,
                    Poll::Pending => {}
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let why = {
                let mut exchange = self.lease.lock();
                exchange.polling = true;
                if exchange
                    .waker
                    .as_ref()
                    .is_none_or(|waker| !waker.will_wake(cx.waker()))
                {
                    exchange.waker = Some(cx.waker().clone());
                }
                let woken = std::mem::take(&mut exchange.woken);
                if std::mem::take(&mut self.writable) {
                    Some(why::WRITABLE)
                } else {
                    (woken || !self.begun).then_some(why::WAKE)
                }
            };
            let why = match why {
                Some(why) => why,
                None => match self.poll_outside(cx) {
                    Poll::Ready(Ok(())) => why::WAKE,
                    Poll::Ready(Err(turn)) => return Poll::Ready(turn),
                    Poll::Pending => return Poll::Pending,
                },
            };
            self.begun = true;
            self.polls_in_row += 1;
            // `poll_outside` may have needed all of `self`.
            let Some(task) = &mut self.task else {
                return Poll::Ready(Turn::Finished);
            };
            let outcome = poll_timed(task, why, &self.generation, &self.request_id);
            self.start_refresh();
            match outcome {
                Outcome::Pending => {}
                Outcome::Ready => self.task = None,
                failed => {
                    self.task = None;
                    return Poll::Ready(Turn::Fault(self.fault(failed)));
                }
            }
        }
    }

    /// What the module has put down and nobody has taken.
    fn take_output(&mut self) -> Option<Turn> {
        let mut exchange = self.lease.lock();
        let output = &mut exchange.output;
        if let Some(head) = output.head.take() {
            return Some(Turn::Head(
                head,
                output.ended.then(|| output.bytes.split().freeze()),
            ));
        }
        if !output.bytes.is_empty() {
            self.writable |= std::mem::take(&mut output.full);
            return Some(Turn::Bytes(output.bytes.split().freeze()));
        }
        if output.ended {
            return Some(Turn::Finished);
        }
        if self.task.is_none() && output.started {
            drop(exchange);
            return Some(Turn::Fault(self.fault(Outcome::Failed(
                "its task ended before the body did".to_owned(),
            ))));
        }
        None
    }

    /// Looks at everything but the module: ready when the module should be polled for it, or the call is over.
    fn poll_outside(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Turn>> {
        self.polls_in_row = 0;
        self.lease.lock().polling = false;
        match self.poll_upload(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(Turn::Fault(fault))),
            Poll::Pending => {}
        }
        let actor = self.actor.clone();
        let cut = &self.generation.cut;
        let end = self
            .end
            .get_or_insert_with(|| Box::pin(ended(actor, cut.clone())));
        let end = ready!(end.as_mut().poll(cx));
        self.count_end(end);
        Poll::Ready(Err(Turn::End(end)))
    }

    /// What ends the call from outside, if it is there already: a body that always has more never waits for it.
    fn end_now(&self) -> Option<End> {
        let end = match &self.actor {
            Some(actor) if actor.session.is_revoked() => End::SessionRevoked,
            Some(actor) if actor.stream_left().is_zero() => End::SessionExpired,
            _ if self.generation.cut.is_cancelled() => End::Drained,
            _ => return None,
        };
        self.count_end(end);
        Some(end)
    }

    fn count_end(&self, end: End) {
        if end == End::Drained {
            self.generation.stats.cut.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads the client's body while the module waits for it; ready when there is news for the module.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Some(upload) = &mut self.input else {
            return Poll::Pending;
        };
        let mut exchange = self.lease.lock();
        let started = exchange.output.started;
        let input = &mut exchange.input;
        if !input.wanted {
            return Poll::Pending;
        }
        while input.end == InputEnd::Open && input.len < INPUT_WINDOW_LEN {
            match Pin::new(&mut upload.body).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => input.end = InputEnd::Whole,
                Poll::Ready(Some(Err(_cut_off))) => input.end = InputEnd::Disconnected,
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(bytes) = frame.into_data() else {
                        continue;
                    };
                    match upload.left.checked_sub(bytes.len() as u64) {
                        Some(left) => upload.left = left,
                        None if started => input.end = InputEnd::TooLarge,
                        None => return Poll::Ready(Err(Fault::TooLarge(upload.limit))),
                    }
                    if !bytes.is_empty() && input.end == InputEnd::Open {
                        input.len += bytes.len();
                        input.chunks.push_back(bytes);
                    }
                }
            }
        }
        if input.len > 0 || input.end != InputEnd::Open {
            input.wanted = false;
            upload.stall.progress();
            return Poll::Ready(Ok(()));
        }
        let timeout = self.surroundings.body_stall_timeout;
        ready!(upload.stall.poll_stalled(timeout, cx));
        Poll::Ready(Err(Fault::Stalled(timeout)))
    }

    /// Asks the source of the secret again if the module asked for that while it was polled.
    fn start_refresh(&self) {
        let mut exchange = self.lease.lock();
        exchange.polling = false;
        if !matches!(exchange.refresh, Refresh::Wanted) {
            return;
        }
        let Some(actor) = &self.actor else { return };
        exchange.refresh = Refresh::Running;
        let refreshed = (self.surroundings.refresh)(Arc::clone(&actor.session));
        let handle = self.lease.handle();
        // It ends by the broker's deadline; the request may be over by then, and its handle finds nothing.
        tokio::spawn(async move {
            let outcome = refreshed.await;
            let waker = exchange::find(handle).and_then(|mut exchange| {
                exchange.refresh = Refresh::Done(outcome);
                exchange.woken = true;
                exchange.waker.clone()
            });
            if let Some(waker) = waker {
                waker.wake();
            }
        });
    }

    /// Logs how the module went wrong.
    fn fault(&self, outcome: Outcome) -> Fault {
        let (module, request_id) = (
            &self.generation.label,
            self.request_id.to_str().unwrap_or_default(),
        );
        match outcome {
            Outcome::Panicked(reason) => {
                self.generation.stats.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%module, request_id, reason, "a module panicked");
                Fault::Panicked
            }
            Outcome::Failed(reason) => {
                tracing::error!(%module, request_id, reason, "a module failed");
                Fault::Failed(reason)
            }
            Outcome::Ready | Outcome::Pending => Fault::Failed(String::new()),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(mut task) = self.task.take() else {
            return;
        };
        self.generation
            .stats
            .cancelled
            .fetch_add(1, Ordering::Relaxed);
        if !self.begun
            || poll_timed(&mut task, why::CANCEL, &self.generation, &self.request_id)
                != Outcome::Pending
        {
            return;
        }
        // The module wants to end it in good order. The task keeps its handle meanwhile.
        let lease = std::mem::replace(&mut self.lease, Lease::nothing());
        let (generation, request_id) = (Arc::clone(&self.generation), self.request_id.clone());
        tokio::spawn(tokio::time::timeout(CANCEL_GRACE, async move {
            let mut task = task;
            std::future::poll_fn(|cx| {
                {
                    let mut exchange = lease.lock();
                    exchange.waker = Some(cx.waker().clone());
                    // Nobody reads any more.
                    exchange.output.bytes.clear();
                    if !std::mem::take(&mut exchange.woken) {
                        return Poll::Pending;
                    }
                }
                match poll_timed(&mut task, why::WAKE, &generation, &request_id) {
                    Outcome::Pending => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            })
            .await;
        }));
    }
}

impl Fault {
    fn problem(&self) -> Problem {
        match self {
            Fault::Failed(_) | Fault::Panicked => Problem::new(
                Code::ModuleFailed,
                "the module failed with this request: the kernel's log says why, under the request id in `instance`",
            ),
            Fault::TooLarge(limit) => too_large(*limit),
            Fault::Stalled(timeout) => Problem::new(
                Code::RequestTimeout,
                format!(
                    "no byte of the body came for {} s: send it without pauses",
                    timeout.as_secs()
                ),
            ),
        }
    }
}

/// The rest of a response, as the module makes it.
pub(crate) struct ModuleBody {
    call: Call,
    event_stream: bool,
    tail: Tail,
    over: bool,
}

/// The last bytes of a body, as many as tell whether an event is complete.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    const LEN: usize = 4;

    fn push(&mut self, bytes: &[u8]) {
        self.0
            .extend_from_slice(&bytes[bytes.len().saturating_sub(Tail::LEN)..]);
        let excess = self.0.len().saturating_sub(Tail::LEN);
        self.0.drain(..excess);
    }

    /// Whether nothing has come yet, or the last line is empty.
    fn ends_event(&self) -> bool {
        self.0.is_empty()
            || [&b"\n\n"[..], b"\r\r", b"\r\n\r\n"]
                .iter()
                .any(|end| self.0.ends_with(end))
    }
}

/// A response that could not be finished: the connection is cut, so that the client cannot take it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the response was cut: {0}")]
pub(crate) struct Cut(&'static str);

impl ModuleBody {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let turn = match self.call.end_now() {
            Some(end) => Turn::End(end),
            None => ready!(self.call.poll_turn(cx)),
        };
        if let Turn::Bytes(bytes) = turn {
            self.tail.push(&bytes);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        self.over = true;
        Poll::Ready(match turn {
            Turn::Finished => None,
            Turn::End(end) if self.event_stream && self.tail.ends_event() => {
                Some(Ok(Frame::data(final_event(end))))
            }
            Turn::End(_) => Some(Err(Cut("the session or the module ended"))),
            Turn::Fault(_) => Some(Err(Cut("the module failed"))),
            Turn::Head(..) | Turn::Bytes(_) => Some(Err(Cut("the module answered twice"))),
        })
    }
}

/// Resolves when the call must end although neither side wants it to.
async fn ended(actor: Option<Actor>, cut: tokio_util::sync::CancellationToken) -> End {
    match actor {
        None => {
            cut.cancelled().await;
            End::Drained
        }
        // Every branch only waits, so that dropping the others loses nothing.
        Some(actor) => tokio::select! {
            () = actor.session.revoked() => End::SessionRevoked,
            () = tokio::time::sleep(actor.stream_left()) => End::SessionExpired,
            () = cut.cancelled() => End::Drained,
        },
    }
}

/// The last event of a stream that the kernel ends. Its name is not one of any module's, so that clients that do not know it
/// ignore it (WHATWG HTML, "server-sent events").
fn final_event(end: End) -> Bytes {
    let reason = match end {
        End::SessionRevoked => "session_revoked",
        End::SessionExpired => "session_expired",
        End::Drained => "draining",
    };
    Bytes::from(format!(
        "event: midplane.end\ndata: {{\"reason\":\"{reason}\"}}\n\n"
    ))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

fn poll_timed(
    task: &mut Task,
    why: u32,
    generation: &Generation,
    request_id: &HeaderValue,
) -> Outcome {
    let start = Instant::now();
    let outcome = task.poll(why);
    let taken = start.elapsed();
    generation.stats.poll_ns.fetch_add(
        u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
    if taken > SLOW_POLL {
        generation.stats.slow_polls.fetch_add(1, Ordering::Relaxed);
        let poll_ms = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(module = %generation.label, request_id = request_id.to_str().unwrap_or_default(), poll_ms, "slow poll");
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_end_is_found_however_it_is_cut() {
        for (pieces, expect) in [
            (&[][..], true),
            (&["data: a\n\n"], true),
            (&["data: a\n", "\n"], true),
            (&["data: a\r\n", "\r", "\n"], true),
            (&["data: a\r\r"], true),
            (&["data: a\n"], false),
            (&["data: a\n\n", "data: b"], false),
            (&["data: a\n\n", "x"], false),
        ] {
            let mut tail = Tail::default();
            pieces.iter().for_each(|piece| tail.push(piece.as_bytes()));
            assert_eq!(tail.ends_event(), expect, "{pieces:?}");
        }
    }
}
