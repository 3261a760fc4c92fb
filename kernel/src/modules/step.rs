//! How far a load has come, so that one that takes too long can say where it stands, and runs nothing more once given up.
//!
//! The dynamic loader runs the constructors of one library at a time in the whole process, whoever asks (`dlopen` holds its
//! lock meanwhile). A turn of our own around it says who holds up whom.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use crate::isolation::process::Process;

static TURN: Mutex<Option<String>> = Mutex::new(None);
static TURN_FREE: Condvar = Condvar::new();

/// A load that took longer than `[limits] init_timeout`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Overdue {
    #[error(
        "reading and copying the file took longer than {0:?}, the `init_timeout` of [limits]: is its file system in order?"
    )]
    Staging(Duration),
    #[error(
        "the constructors of {holder}'s library have not returned, and the system opens one library at a time: nothing can be loaded until they do, or the kernel is restarted"
    )]
    Waiting { holder: String },
    #[error(
        "the library's constructors did not return within {0:?}, the `init_timeout` of [limits]: run nothing there that may block, but in the module's function"
    )]
    Trial(Duration),
    #[error(
        "the library's constructors did not return within {0:?}, the `init_timeout` of [limits], and hold up the kernel's process: restart it, and run nothing there that may block, but in the module's function"
    )]
    Constructors(Duration),
    #[error(
        "the module's function (`init`) did not return within {0:?}, the `init_timeout` of [limits]: wait for what may take long in a task (`ctx.spawn`), or give it more time"
    )]
    Init(Duration),
}

/// Whether a library is being opened. Then the process cannot end as usual, since that needs what its constructors hold.
pub(crate) fn is_held() -> bool {
    TURN.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some()
}

/// The load was given up meanwhile: nobody is told any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GivenUp;

/// Shared by the thread that loads and the one that waits for it.
#[derive(Default)]
pub(crate) struct Step {
    at: AtomicU8,
    /// In which the library is opened, if it is one of its own.
    process: OnceLock<Weak<Process>>,
}

const STAGING: u8 = 0;
const TRYING: u8 = 1;
const WAITING: u8 = 2;
const OPENING: u8 = 3;
const INITIALISING: u8 = 4;
const GIVEN_UP: u8 = 5;

/// The right to open a library.
pub(crate) struct Turn(());

impl Step {
    /// The library is opened in another process.
    pub(crate) fn try_out(&self) -> Result<(), GivenUp> {
        self.advance(TRYING)
    }

    /// Waits until no other library is being opened. `label` says who opens one now.
    pub(crate) fn open(&self, label: &str) -> Result<Turn, GivenUp> {
        self.advance(WAITING)?;
        let holder = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut holder = TURN_FREE
            .wait_while(holder, |holder| holder.is_some())
            .unwrap_or_else(PoisonError::into_inner);
        self.advance(OPENING)?;
        *holder = Some(label.to_owned());
        Ok(Turn(()))
    }

    /// The library is open.
    pub(crate) fn initialise(&self, turn: Turn) -> Result<(), GivenUp> {
        drop(turn);
        self.advance(INITIALISING)
    }

    /// The library is opened in a process of its own, which ends when the load is given up.
    pub(crate) fn try_apart(&self, process: &Arc<Process>) -> Result<(), GivenUp> {
        // Once.
        let _ = self.process.set(Arc::downgrade(process));
        self.try_out()
    }

    /// The library is open in a process of its own.
    pub(crate) fn initialise_apart(&self) -> Result<(), GivenUp> {
        self.advance(INITIALISING)
    }

    /// Nobody waits any longer than `limit` for the load: what it has not begun by now, it does not begin.
    pub(crate) fn give_up(&self, limit: Duration) -> Overdue {
        let at = self.at.swap(GIVEN_UP, Ordering::SeqCst);
        if let Some(process) = self.process.get().and_then(Weak::upgrade) {
            process.kill("it took too long to load, and was killed");
        }
        match at {
            STAGING => Overdue::Staging(limit),
            TRYING => Overdue::Trial(limit),
            WAITING => {
                let holder = TURN.lock().unwrap_or_else(PoisonError::into_inner);
                Overdue::Waiting {
                    holder: holder.as_deref().unwrap_or("another module").to_owned(),
                }
            }
            OPENING => Overdue::Constructors(limit),
            _ => Overdue::Init(limit),
        }
    }

    fn advance(&self, to: u8) -> Result<(), GivenUp> {
        self.at
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |at| {
                (at != GIVEN_UP).then_some(to)
            })
            .map(drop)
            .map_err(|_given_up| GivenUp)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TURN.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Whoever was given up meanwhile does not take it.
        TURN_FREE.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(7);

    #[test]
    fn one_library_is_opened_at_a_time_and_whoever_waits_can_say_for_whom() {
        let (first, second) = (Step::default(), Arc::new(Step::default()));
        let turn = first.open("slow#1").unwrap();
        let waiting = Arc::clone(&second);
        let waiter = std::thread::spawn(move || waiting.open("other#1").map(drop));
        while second.at.load(Ordering::SeqCst) != WAITING {
            std::thread::yield_now();
        }
        let overdue = second.give_up(LIMIT);
        assert!(
            overdue.to_string().contains("slow#1's library"),
            "{overdue}"
        );
        assert_eq!(first.initialise(turn), Ok(()));
        // Its turn comes, and it runs nothing.
        assert_eq!(waiter.join().unwrap(), Err(GivenUp));
        let third = Step::default();
        let turn = third.open("third#1").unwrap();
        assert_eq!(third.give_up(LIMIT), Overdue::Constructors(LIMIT));
        assert_eq!(third.initialise(turn), Err(GivenUp));
        let fourth = Step::default();
        let turn = fourth.open("fourth#1").unwrap();
        fourth.initialise(turn).unwrap();
        let overdue = fourth.give_up(LIMIT);
        assert!(overdue.to_string().contains("7s"), "{overdue}");
        assert_eq!(overdue, Overdue::Init(LIMIT));
        assert_eq!(Step::default().give_up(LIMIT), Overdue::Staging(LIMIT));
        let fifth = Step::default();
        fifth.try_out().unwrap();
        assert_eq!(fifth.give_up(LIMIT), Overdue::Trial(LIMIT));
    }
}
