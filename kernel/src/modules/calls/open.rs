//! What the two sides of one call share: the body on its way, the answer on its way back, and who waits for which.
//!
//! The caller's side is what host functions do, and never waits; the carrier's side is polled. Both are bounded by a window
//! each way. A handle is a number that is never used again, so that a late one finds nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use midplane_abi::{self as abi, Request, Status, status};

use super::made::Made;
use crate::modules::exchange::{self, Head, INPUT_WINDOW_LEN, InputEnd, OUTPUT_WINDOW_LEN};

static OPEN: RwLock<Option<HashMap<u64, Arc<OpenCall>>>> = RwLock::new(None);
static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) struct OpenCall {
    handle: u64,
    /// The calls of the generation that makes it.
    made: Arc<Made>,
    /// It ends with this request.
    bound_to: Option<Request>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) body: VecDeque<Bytes>,
    pub(super) body_len: usize,
    pub(super) body_end: Option<InputEnd>,
    /// Of the body, how much the carrier has taken.
    pub(super) body_taken: usize,
    /// Nobody reads the body any more.
    pub(super) body_unread: bool,
    pub(super) head: Option<Head>,
    head_put: bool,
    pub(super) answer: VecDeque<Bytes>,
    pub(super) answer_len: usize,
    /// Of the answer, how much the caller has taken.
    pub(super) answer_taken: usize,
    pub(super) end: Option<End>,
    pub(super) forgotten: bool,
    /// Of what goes to another process, how much room it has told of that nobody has looked at.
    pub(super) room_given: usize,
    pub(super) caller: Option<Waiter>,
    /// The caller waits for room for its body.
    pub(super) caller_full: bool,
    pub(super) carrier: Option<Waker>,
    /// What the carrier waits for beside the caller's leaving.
    pub(super) carrier_wants: Wants,
}

#[derive(Default)]
pub(super) struct Wants {
    pub(super) body: bool,
    pub(super) room: bool,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    Cut,
    /// There is none, and why.
    Failed(Status),
}

/// Who is told that the caller should look again.
pub(crate) enum Waiter {
    /// The task of this request is polled.
    Request(Request),
    /// The generation finds it among its news.
    News,
    /// A task of the kernel's.
    Task(Waker),
}

/// What became of a piece of the body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Taken,
    /// The caller is told when there is room.
    Full,
    /// Nobody reads it any more.
    Gone,
}

/// What there is of the answer's body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Bytes(Bytes),
    /// The caller is told when there is more.
    Nothing,
    End,
    Cut,
}

/// The caller's side.
impl OpenCall {
    /// `None` when the generation has as many as it may have.
    pub(crate) fn start(made: &Arc<Made>, bound_to: Option<Request>) -> Option<Arc<OpenCall>> {
        let handle = NEXT.fetch_add(1, Ordering::Relaxed);
        if !made.add(handle) {
            return None;
        }
        let call = Arc::new(OpenCall {
            handle,
            made: Arc::clone(made),
            bound_to,
            state: Mutex::default(),
        });
        let mut open = OPEN.write().unwrap_or_else(PoisonError::into_inner);
        open.get_or_insert_default()
            .insert(handle, Arc::clone(&call));
        Some(call)
    }

    pub(crate) fn handle(&self) -> abi::Call {
        abi::Call(self.handle)
    }

    /// Adds to the body.
    pub(crate) fn write(&self, bytes: &[u8], waiter: Waiter) -> Written {
        let mut state = self.lock();
        if state.forgotten || state.body_unread || state.body_end.is_some() {
            return Written::Gone;
        }
        if state.body_len >= INPUT_WINDOW_LEN {
            state.caller = Some(waiter);
            state.caller_full = true;
            return Written::Full;
        }
        if !bytes.is_empty() {
            state.body_len += bytes.len();
            state.body.push_back(Bytes::copy_from_slice(bytes));
            wake_carrier(state, |wants| wants.body);
        }
        Written::Taken
    }

    /// There will be no more of the body.
    pub(crate) fn end_body(&self, end: InputEnd) {
        let mut state = self.lock();
        state.body_end.get_or_insert(end);
        wake_carrier(state, |wants| wants.body);
    }

    /// Has `look` look at the answer's head, which is taken if it wants that; `Err` when there will be none.
    pub(crate) fn look_at_head<T>(
        &self,
        waiter: Waiter,
        look: impl FnOnce(&Head) -> (T, bool),
    ) -> Result<Option<T>, Status> {
        let mut state = self.lock();
        if let Some(head) = state.head.take() {
            let (seen, taken) = look(&head);
            if !taken {
                state.head = Some(head);
            }
            return Ok(Some(seen));
        }
        match state.end {
            Some(End::Failed(why)) => Err(why),
            // A second time.
            _ if state.head_put => Err(status::INVALID),
            _ => {
                state.caller = Some(waiter);
                Ok(None)
            }
        }
    }

    /// Up to `len_max` bytes of the answer's body.
    pub(crate) fn read(&self, len_max: usize, waiter: Waiter) -> Read {
        let mut state = self.lock();
        let Some(chunk) = state.answer.front_mut() else {
            return match state.end {
                Some(End::Whole) => Read::End,
                Some(End::Cut | End::Failed(_)) => Read::Cut,
                None => {
                    state.caller = Some(waiter);
                    Read::Nothing
                }
            };
        };
        let taken = chunk.split_to(len_max.min(chunk.len()));
        if chunk.is_empty() {
            state.answer.pop_front();
        }
        state.answer_len -= taken.len();
        state.answer_taken += taken.len();
        if state.answer_len < OUTPUT_WINDOW_LEN {
            wake_carrier(state, |wants| wants.room);
        }
        Read::Bytes(taken)
    }

    /// The caller wants nothing of it any more.
    pub(crate) fn forget(&self) {
        {
            let mut open = OPEN.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = open.as_mut() {
                open.remove(&self.handle);
            }
        }
        self.made.remove(self.handle);
        if let Some(mut exchange) = self.bound_to.and_then(exchange::find) {
            let bound = &mut exchange.calls.bound;
            bound.retain(|one| one.0 != self.handle);
        }
        let mut state = self.lock();
        state.forgotten = true;
        let (answer, body) = (
            std::mem::take(&mut state.answer),
            std::mem::take(&mut state.body),
        );
        self.wake_all(state);
        drop((answer, body));
    }

    /// Wakes the carrier, and the caller if that is a task of ours.
    pub(super) fn wake_all(&self, mut state: MutexGuard<'_, State>) {
        state.carrier_wants = Wants::default();
        let carrier = state.carrier.take();
        let caller = match state.caller.take() {
            Some(Waiter::Task(waker)) => Some(waker),
            other => {
                state.caller = other;
                None
            }
        };
        drop(state);
        carrier.into_iter().chain(caller).for_each(Waker::wake);
    }
}

impl OpenCall {
    /// The request that it was bound to is over: it is cancelled, and its caller told.
    pub(crate) fn end_with_request(&self) {
        self.fail(status::GONE);
        let mut state = self.lock();
        state.forgotten = true;
        self.wake_all(state);
    }
}

/// The carrier's side. One task at a time polls it.
impl OpenCall {
    /// The next bytes of the body, or why there are no more.
    pub(crate) fn poll_body(&self, cx: &Context<'_>) -> Poll<Result<Bytes, InputEnd>> {
        let mut state = self.lock();
        if let Some(bytes) = state.body.pop_front() {
            state.body_len -= bytes.len();
            state.body_taken += bytes.len();
            if state.body_len < INPUT_WINDOW_LEN && std::mem::take(&mut state.caller_full) {
                self.tell_caller(state);
            }
            return Poll::Ready(Ok(bytes));
        }
        if state.forgotten {
            return Poll::Ready(Err(InputEnd::Disconnected));
        }
        if let Some(end) = state.body_end {
            return Poll::Ready(Err(end));
        }
        state.carrier_wants.body = true;
        keep(&mut state.carrier, cx);
        Poll::Pending
    }

    /// Nobody reads the body any more.
    pub(crate) fn leave_body(&self) {
        let mut state = self.lock();
        state.body_unread = true;
        state.body.clear();
        state.body_len = 0;
        self.tell_caller(state);
    }

    /// Ready when the caller wants nothing of it any more.
    pub(crate) fn poll_forgotten(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.forgotten {
            return Poll::Ready(());
        }
        keep(&mut state.carrier, cx);
        Poll::Pending
    }

    /// Ready when there is room for more of the answer.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.answer_len < OUTPUT_WINDOW_LEN || state.forgotten {
            return Poll::Ready(());
        }
        state.carrier_wants.room = true;
        keep(&mut state.carrier, cx);
        Poll::Pending
    }

    /// The answer's head, and its body if that is whole. A second one is not looked at.
    pub(crate) fn put_head(&self, head: Head, whole: Option<Bytes>) {
        let mut state = self.lock();
        if state.end.is_some() || std::mem::replace(&mut state.head_put, true) {
            return;
        }
        state.head = Some(head);
        if let Some(whole) = whole {
            push(&mut state, whole);
            state.end = Some(End::Whole);
        }
        self.tell_caller(state);
    }

    /// More of the answer's body.
    pub(crate) fn put_bytes(&self, bytes: Bytes) {
        let mut state = self.lock();
        if state.end.is_none() && !state.forgotten {
            push(&mut state, bytes);
            self.tell_caller(state);
        }
    }

    pub(crate) fn has_head(&self) -> bool {
        self.lock().head_put
    }

    /// The answer ends as it should.
    pub(crate) fn end(&self) {
        self.put_end(End::Whole);
    }

    /// There will be no answer, or no more of it: `why` is what the caller is told if it has none of it.
    pub(crate) fn fail(&self, why: Status) {
        let cut = self.has_head();
        self.put_end(if cut { End::Cut } else { End::Failed(why) });
    }

    fn put_end(&self, end: End) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(end);
            self.tell_caller(state);
        }
    }

    pub(super) fn tell_caller(&self, mut state: MutexGuard<'_, State>) {
        let Some(waiter) = state.caller.take() else {
            return;
        };
        // Outside the lock: waking runs code of the runtime.
        drop(state);
        match waiter {
            Waiter::Request(request) => {
                if let Some(mut exchange) = exchange::find(request) {
                    exchange.woken = true;
                    let waker = exchange.waker_outside_poll();
                    drop(exchange);
                    waker.into_iter().for_each(Waker::wake);
                }
            }
            Waiter::News => self.made.tell(self.handle),
            Waiter::Task(waker) => waker.wake(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks a handle up; `None` when it is dead or was never one.
pub(crate) fn find(call: abi::Call) -> Option<Arc<OpenCall>> {
    let open = OPEN.read().unwrap_or_else(PoisonError::into_inner);
    open.as_ref()?.get(&call.0).cloned()
}

fn push(state: &mut State, bytes: Bytes) {
    if bytes.is_empty() {
        return;
    }
    state.answer_len += bytes.len();
    state.answer.push_back(bytes);
}

pub(super) fn keep(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

/// Wakes the carrier if it waits for this.
pub(super) fn wake_carrier(mut state: MutexGuard<'_, State>, wanted: impl FnOnce(&Wants) -> bool) {
    if !wanted(&state.carrier_wants) {
        return;
    }
    state.carrier_wants = Wants::default();
    let waker = state.carrier.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A head as the ABI has it: lines `name: value` that end with CR LF.
pub(crate) fn lines(head: &Head) -> BytesMut {
    let mut lines = BytesMut::with_capacity(64 * head.headers.len());
    for (name, value) in &head.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            lines.extend_from_slice(part);
        }
    }
    lines
}

#[cfg(test)]
mod tests;
