//! The kernel's side of one request under way in a module.

mod end;
mod fault;
mod input;
mod socket;
mod wanted;

pub(crate) use end::End;
pub(crate) use fault::Fault;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response};
use midplane_abi::why;

use super::body::{ModuleBody, Tail, is_event_stream};
use super::upload::Upload;
use super::{Actor, Answer, Surroundings};
use crate::modules::exchange::socket::Accepted;
use crate::modules::exchange::{Head, Lease};
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
