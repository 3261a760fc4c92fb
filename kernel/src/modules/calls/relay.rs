//! One call whose sides are in different processes: each process has an [`OpenCall`] of its own, and what happens to one is
//! told to the other. Both ways, no more is on its way than the other end has said that it has room for.

use std::task::{Context, Poll};

use bytes::Bytes;
use midplane_abi::{Status, status};

use super::open::{End, OpenCall, State, Waiter, keep};
use crate::modules::exchange::{Head, INPUT_WINDOW_LEN, InputEnd, OUTPUT_WINDOW_LEN};

/// Room is told in portions of this size.
const ROOM_LEN_MIN: usize = INPUT_WINDOW_LEN / 2;
/// A piece fits into a message.
const PIECE_LEN_MAX: usize = OUTPUT_WINDOW_LEN;

/// What the caller's process has to be told.
pub(crate) enum ToCaller {
    Head(Head),
    Bytes(Bytes),
    End,
    /// There is no answer, or no more of it.
    Failed(Status),
    /// So much of the body was taken.
    Room(usize),
    /// Nobody reads the body any more.
    BodyUnread,
    /// Nothing any more: the caller is gone.
    Nothing,
}

/// What the process has to be told that the called module is asked from.
pub(crate) enum ToCallee {
    Body(Bytes),
    BodyEnd(InputEnd),
    /// So much of the answer was taken.
    Room(usize),
    /// The caller is gone.
    Forgotten,
    /// Nothing any more: the answer is there.
    Nothing,
}

/// How far the other process knows of a call.
pub(crate) struct Progress {
    /// Of what goes there, how much more it has room for.
    room: usize,
    /// Of what comes from there, how much it knows to be taken.
    told_taken: usize,
    body_end_told: bool,
    unread_told: bool,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            room: INPUT_WINDOW_LEN,
            told_taken: 0,
            body_end_told: false,
            unread_told: false,
        }
    }
}

impl OpenCall {
    /// The other process has taken so much of what was sent to it.
    pub(crate) fn give_room(&self, bytes: usize) {
        let mut state = self.lock();
        state.room_given = state.room_given.saturating_add(bytes);
        self.wake_all(state);
    }

    /// More of the body has come from the other process; false if it is more than there is room for.
    pub(crate) fn put_body(&self, bytes: Bytes) -> bool {
        let mut state = self.lock();
        if state.body_len + bytes.len() > INPUT_WINDOW_LEN + PIECE_LEN_MAX {
            return false;
        }
        if !(bytes.is_empty() || state.forgotten || state.body_unread) {
            state.body_len += bytes.len();
            state.body.push_back(bytes);
        }
        super::open::wake_carrier(state, |wants| wants.body);
        true
    }

    /// What the caller's process has to be told next.
    pub(crate) fn poll_to_caller(
        &self,
        progress: &mut Progress,
        cx: &Context<'_>,
    ) -> Poll<ToCaller> {
        let mut state = self.lock();
        if state.forgotten {
            return Poll::Ready(ToCaller::Nothing);
        }
        progress.room += std::mem::take(&mut state.room_given);
        if let Some(head) = state.head.take() {
            return Poll::Ready(ToCaller::Head(head));
        }
        if state.body_unread && !std::mem::replace(&mut progress.unread_told, true) {
            return Poll::Ready(ToCaller::BodyUnread);
        }
        let taken = state.body_taken - progress.told_taken;
        if taken >= ROOM_LEN_MIN {
            progress.told_taken = state.body_taken;
            return Poll::Ready(ToCaller::Room(taken));
        }
        if progress.room > 0
            && let Some(bytes) = take_answer(&mut state, progress.room.min(PIECE_LEN_MAX))
        {
            progress.room -= bytes.len();
            super::open::wake_carrier(state, |wants| wants.room);
            return Poll::Ready(ToCaller::Bytes(bytes));
        }
        if state.answer.is_empty()
            && let Some(end) = state.end
        {
            return Poll::Ready(match end {
                End::Whole => ToCaller::End,
                End::Cut => ToCaller::Failed(status::DISCONNECTED),
                End::Failed(why) => ToCaller::Failed(why),
            });
        }
        state.caller = Some(Waiter::Task(cx.waker().clone()));
        state.caller_full = true;
        Poll::Pending
    }

    /// What the other process has to be told next, in which the called module is asked.
    pub(crate) fn poll_to_callee(
        &self,
        progress: &mut Progress,
        cx: &Context<'_>,
    ) -> Poll<ToCallee> {
        let mut state = self.lock();
        if state.forgotten {
            return Poll::Ready(ToCallee::Forgotten);
        }
        if state.end.is_some() {
            return Poll::Ready(ToCallee::Nothing);
        }
        progress.room += std::mem::take(&mut state.room_given);
        if progress.room > 0
            && let Some(chunk) = state.body.front_mut()
        {
            let bytes = chunk.split_to(chunk.len().min(progress.room).min(PIECE_LEN_MAX));
            if chunk.is_empty() {
                state.body.pop_front();
            }
            state.body_len -= bytes.len();
            progress.room -= bytes.len();
            if state.body_len < INPUT_WINDOW_LEN && std::mem::take(&mut state.caller_full) {
                self.tell_caller(state);
            }
            return Poll::Ready(ToCallee::Body(bytes));
        }
        if state.body.is_empty()
            && let Some(end) = state.body_end
            && !std::mem::replace(&mut progress.body_end_told, true)
        {
            return Poll::Ready(ToCallee::BodyEnd(end));
        }
        let taken = state.answer_taken - progress.told_taken;
        if taken >= ROOM_LEN_MIN {
            progress.told_taken = state.answer_taken;
            return Poll::Ready(ToCallee::Room(taken));
        }
        state.carrier_wants.body = true;
        state.carrier_wants.room = true;
        keep(&mut state.carrier, cx);
        Poll::Pending
    }
}

fn take_answer(state: &mut State, len_max: usize) -> Option<Bytes> {
    let chunk = state.answer.front_mut()?;
    let taken = chunk.split_to(len_max.min(chunk.len()));
    if chunk.is_empty() {
        state.answer.pop_front();
    }
    state.answer_len -= taken.len();
    state.answer_taken += taken.len();
    Some(taken)
}
