//! The kernel's side of one request under way in a module.

mod socket;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response};
use midplane_abi::why;

use super::body::{ModuleBody, Tail, is_event_stream};
use super::upload::Upload;
use super::{Actor, Answer, Surroundings, too_large};
use crate::modules::calls::MadeIn;
use crate::modules::exchange::socket::Accepted;
use crate::modules::exchange::{self, Head, INPUT_WINDOW_LEN, InputEnd, Lease, Refresh};
use crate::modules::generation::{Generation, SLOW_POLL};
use crate::modules::instance::{Begun, Outcome, Task};
use crate::problem::{Code, Problem};

/// How long a module may go on with a request whose client has left, once it was told.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// How often a module that always has more to do is polled in a row before other requests get their turn, and before the
/// session and the drain are looked at. A megabyte of body, at the window's size.
const POLLS_IN_ROW_MAX: u32 = 16;

/// The kernel's side of one request under way in a module.
pub(crate) struct Call {
    /// `None` when the module has finished with it. Before `lease`, so that the task is freed while its handle lives.
    task: Option<Task>,
    lease: Lease,
    generation: Arc<Generation>,
    request_id: HeaderValue,
    purpose: Purpose,
    actor: Option<Actor>,
    surroundings: Surroundings,
    pub(super) input: Option<Upload>,
    /// How many calls between modules led here.
    pub(super) depth: u8,
    /// Polled for the first time.
    begun: bool,
    /// Polls of the module since others had their turn.
    polls_in_row: u32,
    /// The module was told to stop writing, and there is room again.
    writable: bool,
    /// What ends the call from outside; made when it first has to wait.
    end: Option<Pin<Box<dyn Future<Output = End> + Send>>>,
}

/// What a call is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Request,
    SessionCheck,
}

/// What a call's owner has to act on next.
pub(crate) enum Turn {
    /// The head, and the body if it is whole.
    Head(Head, Option<Bytes>),
    /// It is a WebSocket from here on.
    Accepted(Accepted),
    Bytes(Bytes),
    /// The module has finished, and everything it wrote has been taken.
    Finished,
    End(End),
    Fault(Fault),
}

/// How a module answers.
pub(super) enum Answered {
    /// With a head, and the body if it is whole.
    Response(Head, Option<Bytes>),
    WebSocket(Accepted),
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
pub(crate) enum Fault {
    Failed(String),
    Panicked(String),
    /// Its process ended, and how.
    Crashed(String),
    TooLarge(u64),
    Stalled(Duration),
}

impl Call {
    pub(super) fn new(
        begun: Begun,
        lease: Lease,
        actor: Option<Actor>,
        surroundings: Surroundings,
        request_id: &HeaderValue,
        purpose: Purpose,
    ) -> Result<Call, Fault> {
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
            purpose,
            actor,
            surroundings,
            input: None,
            depth: 0,
            begun: false,
            polls_in_row: 0,
            writable: false,
            end: None,
        };
        match begun {
            Ok(task) => call.task = Some(task),
            Err(outcome) => return Err(call.fault(outcome)),
        }
        Ok(call)
    }

    /// The answer's head, once the module has put it down.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answered, Problem>> {
        let problem = match ready!(self.poll_turn(cx)) {
            Turn::Head(head, whole) => return Poll::Ready(Ok(Answered::Response(head, whole))),
            Turn::Accepted(accepted) => return Poll::Ready(Ok(Answered::WebSocket(accepted))),
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

    pub(super) fn respond(mut self, mut head: Head, whole: Option<Bytes>) -> Response<Answer> {
        if whole.is_some() {
            // hyper knows the length, and does not take another for an answer.
            head.headers.remove(CONTENT_LENGTH);
        }
        self.generation.stats.count_status(head.status);
        let event_stream = is_event_stream(&head.headers);
        let body = match whole {
            Some(bytes) => Answer::Whole(bytes),
            None => {
                if let Some(task) = &mut self.task {
                    task.set_streaming();
                }
                Answer::Streaming(Box::new(ModuleBody {
                    call: self,
                    event_stream,
                    tail: Tail::default(),
                    over: false,
                }))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    /// Goes on until there is something to act on.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
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
            let why = match self.take_why(cx) {
                Some(why) => why,
                None => match self.poll_outside(cx) {
                    Poll::Ready(Ok(())) => why::WAKE,
                    Poll::Ready(Err(turn)) => return Poll::Ready(turn),
                    Poll::Pending => return Poll::Pending,
                },
            };
            self.polls_in_row += 1;
            if let Poll::Ready(Err(fault)) = self.poll_task(why) {
                return Poll::Ready(Turn::Fault(fault));
            }
        }
    }

    /// Why the module is to be polled now, if it is. What it asks for while it is not wakes the call.
    fn take_why(&mut self, cx: &Context<'_>) -> Option<u32> {
        let mut exchange = self.lease.lock();
        if exchange
            .waker
            .as_ref()
            .is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            exchange.waker = Some(cx.waker().clone());
        }
        if !exchange.calls.wanted.is_empty() {
            drop(exchange);
            self.start_calls();
            exchange = self.lease.lock();
            exchange.polling = false;
        }
        let woken = std::mem::take(&mut exchange.woken);
        let why = if std::mem::take(&mut self.writable) {
            Some(why::WRITABLE)
        } else {
            (woken || !self.begun).then_some(why::WAKE)
        };
        exchange.polling = why.is_some();
        why
    }

    /// Polls the module; ready when its task has ended.
    fn poll_task(&mut self, why: u32) -> Poll<Result<(), Fault>> {
        self.begun = true;
        let Some(task) = &mut self.task else {
            return Poll::Ready(Ok(()));
        };
        let outcome = poll_timed(task, why, &self.generation, &self.request_id, &self.lease);
        self.start_wanted();
        match outcome {
            Outcome::Pending => Poll::Pending,
            Outcome::Ready => {
                self.task = None;
                Poll::Ready(Ok(()))
            }
            failed => {
                self.task = None;
                Poll::Ready(Err(self.fault(failed)))
            }
        }
    }

    /// What the module has put down and nobody has taken.
    fn take_output(&mut self) -> Option<Turn> {
        let mut exchange = self.lease.lock();
        if self.task.is_some()
            && let Some(outcome) = exchange.finished.clone()
        {
            // Freeing a task looks at its exchange.
            drop(exchange);
            self.task = None;
            if outcome != Outcome::Ready {
                return Some(Turn::Fault(self.fault(outcome)));
            }
            exchange = self.lease.lock();
        }
        if let Some(socket) = &mut exchange.socket
            && let Some(accepted) = socket.take_accepted()
        {
            return Some(Turn::Accepted(accepted));
        }
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
        let end = ready!(self.poll_end(cx));
        Poll::Ready(Err(Turn::End(end)))
    }

    /// What ends the call from outside.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let end = self.end.get_or_insert_with(|| {
            Box::pin(ended(self.actor.clone(), self.generation.cut.clone()))
        });
        let end = ready!(end.as_mut().poll(cx));
        self.count_end(end);
        Poll::Ready(end)
    }

    /// What ends the call from outside, if it is there already: a body that always has more never waits for it.
    pub(super) fn end_now(&self) -> Option<End> {
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
        if !(input.wanted || input.ahead) {
            return Poll::Pending;
        }
        while input.end == InputEnd::Open && input.len < INPUT_WINDOW_LEN {
            match upload.body.poll_bytes(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(end)) => input.end = end,
                Poll::Ready(Ok(bytes)) => {
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
            input.ahead = false;
            upload.stall.progress();
            return Poll::Ready(Ok(()));
        }
        if !input.wanted {
            // Nobody waits for it yet.
            return Poll::Pending;
        }
        let timeout = self.surroundings.body_stall_timeout;
        ready!(upload.stall.poll_stalled(timeout, cx));
        Poll::Ready(Err(Fault::Stalled(timeout)))
    }

    /// Starts the calls to other modules that the module has asked for. Each is carried here as far as it goes without waiting,
    /// so that a short one is answered before anybody else has a turn.
    fn start_calls(&self) {
        let (wanted, waker) = {
            let mut exchange = self.lease.lock();
            if exchange.calls.wanted.is_empty() {
                return;
            }
            // What comes of them is looked at when they have been started: nobody has to be woken for it.
            exchange.polling = true;
            let wanted = std::mem::take(&mut exchange.calls.wanted);
            (
                wanted,
                exchange.waker.clone().unwrap_or(Waker::noop().clone()),
            )
        };
        for mut outgoing in wanted {
            outgoing.made_in = MadeIn {
                request_id: Some(self.request_id.clone()),
                depth: self.depth.saturating_add(1),
                actor: self.actor.clone().filter(|_| outgoing.for_session),
            };
            let calls = &self.surroundings.calls;
            let mut carrying = calls.carry(outgoing);
            let mut cx = Context::from_waker(&waker);
            if carrying.as_mut().poll(&mut cx).is_pending() {
                calls.run(carrying);
            }
        }
    }

    /// Starts what the module asked for while it was polled: calls to other modules, and that the source of the secret is asked
    /// again.
    fn start_wanted(&self) {
        let mut exchange = self.lease.lock();
        if !exchange.calls.wanted.is_empty() {
            drop(exchange);
            self.start_calls();
            exchange = self.lease.lock();
        }
        exchange.polling = false;
        if !matches!(exchange.refresh, Refresh::Wanted) {
            return;
        }
        let Some(actor) = &self.actor else { return };
        exchange.refresh = Refresh::Running;
        let refreshed =
            (self.surroundings.refresh)(Arc::clone(&actor.session), &self.generation.name);
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
                self.generation.count_failure();
                tracing::error!(%module, request_id, reason, "a module panicked");
                Fault::Panicked(reason)
            }
            Outcome::Failed(reason) if self.purpose == Purpose::SessionCheck => {
                tracing::info!(%module, request_id, reason, "a module refused a session");
                Fault::Failed(reason)
            }
            Outcome::Failed(reason) => {
                self.generation.count_failure();
                tracing::error!(%module, request_id, reason, "a module failed");
                Fault::Failed(reason)
            }
            Outcome::Crashed(how) => {
                tracing::debug!(%module, request_id, how, "a request ended with the module's process");
                Fault::Crashed(how)
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
        if !self.begun {
            return;
        }
        let not_started = self.lease.lock().calls.close();
        drop(not_started);
        match poll_timed(
            &mut task,
            why::CANCEL,
            &self.generation,
            &self.request_id,
            &self.lease,
        ) {
            Outcome::Pending => {}
            Outcome::Ready => return,
            failed => {
                // Told and counted; nobody is there to be answered.
                self.fault(failed);
                return;
            }
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
                match poll_timed(&mut task, why::WAKE, &generation, &request_id, &lease) {
                    Outcome::Pending => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            })
            .await;
        }));
    }
}

impl Fault {
    pub(super) fn problem(&self) -> Problem {
        match self {
            Fault::Crashed(how) => Problem::new(
                Code::ModuleCrashed,
                format!(
                    "the module's process ended ({how}) while the request was in it: it is started again; send the request again if that does no harm"
                ),
            ),
            Fault::Failed(_) | Fault::Panicked(_) => Problem::new(
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

fn poll_timed(
    task: &mut Task,
    why: u32,
    generation: &Generation,
    request_id: &HeaderValue,
    lease: &Lease,
) -> Outcome {
    let start = Instant::now();
    let outcome = task.poll(why);
    let taken = start.elapsed();
    generation.stats.poll_ns.fetch_add(
        u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
    if taken > SLOW_POLL {
        let request_id = request_id.to_str().unwrap_or_default();
        generation.slow_poll(&lease.route(), request_id, taken);
    }
    outcome
}
