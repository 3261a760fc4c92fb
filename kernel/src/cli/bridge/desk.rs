//! Questions that wait for the person, one at a time: put down by the bridge, taken up by the terminal's thread.
//!
//! Whether a question has been seen changes under one lock, so that one that is taken back either never appears or is known
//! to be on the screen.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::secrets::{Secret, SecretError};

/// What a source says.
pub(super) type Answered = Result<Arc<Secret>, SecretError>;

/// A secret's id and environment; `None`: whatever the environment.
pub(super) type Key = (String, Option<String>);

/// Something to ask the person.
pub(super) struct Question {
    pub(super) key: Key,
    /// What is asked, as a sentence.
    pub(super) about: String,
    pub(super) answer: oneshot::Sender<Answered>,
}

/// What became of a question that is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakenBack {
    /// It waited for its turn, and nobody will see it.
    Unseen,
    /// The person looks at it.
    OnScreen,
    /// It is no question for the person.
    Unknown,
}

#[derive(Default)]
pub(super) struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Question>,
    on_screen: Option<Key>,
    closed: bool,
}

impl Desk {
    /// Once the desk is closed, the question is dropped.
    pub(super) fn put(&self, question: Question) {
        let mut state = self.state();
        if !state.closed {
            state.waiting.push_back(question);
            self.changed.notify_one();
        }
    }

    pub(super) fn take_back(&self, key: &Key) -> TakenBack {
        let mut state = self.state();
        if state.on_screen.as_ref() == Some(key) {
            return TakenBack::OnScreen;
        }
        match state.waiting.iter().position(|waiting| waiting.key == *key) {
            Some(at) => {
                drop(state.waiting.remove(at));
                TakenBack::Unseen
            }
            None => TakenBack::Unknown,
        }
    }

    /// The next question, which is on the screen from now on, until the next one is asked for; `None` when the desk is
    /// closed. Waits.
    pub(super) fn next(&self) -> Option<Question> {
        let mut state = self.state();
        state.on_screen = None;
        loop {
            if state.closed {
                return None;
            }
            if let Some(question) = state.waiting.pop_front() {
                state.on_screen = Some(question.key.clone());
                return Some(question);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nobody is asked any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.waiting.clear();
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> Key {
        (id.to_owned(), Some("pro".to_owned()))
    }

    fn put(desk: &Desk, id: &str) -> oneshot::Receiver<Answered> {
        let (answer, answered) = oneshot::channel();
        let about = id.to_owned();
        let key = key(id);
        desk.put(Question { key, about, answer });
        answered
    }

    #[test]
    fn what_is_taken_back_is_never_seen_unless_it_is_on_the_screen() {
        let desk = Desk::default();
        let mut first = put(&desk, "a");
        let mut second = put(&desk, "b");
        let asked = desk.next().unwrap();
        assert_eq!(asked.about, "a");
        assert_eq!(desk.take_back(&key("a")), TakenBack::OnScreen);
        assert_eq!(desk.take_back(&key("b")), TakenBack::Unseen);
        assert_eq!(desk.take_back(&key("b")), TakenBack::Unknown);
        let gone = oneshot::error::TryRecvError::Closed;
        assert_eq!(second.try_recv().unwrap_err(), gone);
        assert_eq!(
            first.try_recv().unwrap_err(),
            oneshot::error::TryRecvError::Empty
        );
        drop(asked);
        let mut third = put(&desk, "c");
        assert_eq!(desk.next().unwrap().about, "c");
        assert_eq!(desk.take_back(&key("a")), TakenBack::Unknown);
        assert_eq!(third.try_recv().unwrap_err(), gone);
    }

    #[test]
    fn a_closed_desk_asks_nothing() {
        let desk = Desk::default();
        let mut waiting = put(&desk, "a");
        desk.close();
        assert!(desk.next().is_none());
        let mut late = put(&desk, "b");
        for answered in [&mut waiting, &mut late] {
            assert_eq!(
                answered.try_recv().unwrap_err(),
                oneshot::error::TryRecvError::Closed
            );
        }
    }
}
