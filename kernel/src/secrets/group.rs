//! The process groups of the commands that give secrets: each is killed when nobody waits for it, and all are when the kernel's
//! process ends, however it does so.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Starting a program may hang, on a file system that does; the end of the process does not wait for that.
const END_TRIES: u32 = 100;
const END_PAUSE: Duration = Duration::from_millis(2);

/// The leaders of groups that are not reaped: until then, nobody else's group has the number.
static LEADERS: Mutex<Leaders> = Mutex::new(Leaders {
    running: BTreeSet::new(),
    over: false,
});

struct Leaders {
    running: BTreeSet<i32>,
    /// No more are started.
    over: bool,
}

/// A command in a group of its own.
pub(super) struct Group(Child);

/// Kills every command, and has no other start. Call it when the process is about to end.
pub(crate) fn end_all() {
    for _ in 0..END_TRIES {
        let mut leaders = match LEADERS.try_lock() {
            Ok(leaders) => leaders,
            Err(TryLockError::Poisoned(leaders)) => leaders.into_inner(),
            Err(TryLockError::WouldBlock) => {
                thread::sleep(END_PAUSE);
                continue;
            }
        };
        leaders.over = true;
        for leader in &leaders.running {
            kill(*leader);
        }
        return;
    }
}

impl Group {
    /// `command` must be told to lead a group.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Group> {
        // Held meanwhile, so that the end of the process does not come between the start and the note of it.
        let mut leaders = leaders();
        if leaders.over {
            return Err(io::Error::other("the kernel ends"));
        }
        let child = command.spawn()?;
        leaders.running.insert(number(&child));
        Ok(Group(child))
    }

    /// Its standard output and error, where they are piped; once.
    pub(super) fn take_streams(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.0.stdout.take(), self.0.stderr.take())
    }

    /// How the leader ended, once it has; from then on, others of its group are on their own.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let mut leaders = leaders();
        let ended = self.0.try_wait();
        if matches!(ended, Ok(Some(_))) {
            leaders.running.remove(&number(&self.0));
        }
        ended
    }

    /// Kills the group, unless its leader has ended.
    pub(super) fn kill(&mut self) {
        if let Ok(None) = self.try_wait() {
            kill(number(&self.0));
        }
    }

    /// Waits for the leader, which has been killed or has ended.
    pub(super) fn reap(mut self) {
        let number = number(&self.0);
        let _ = self.0.wait();
        // The system gives no number again so soon.
        leaders().running.remove(&number);
    }
}

fn kill(leader: i32) {
    // It may have ended.
    let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
}

/// `process_group(0)` gives the group the leader's.
fn number(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("a process id is a pid_t")
}

fn leaders() -> MutexGuard<'static, Leaders> {
    LEADERS.lock().unwrap_or_else(PoisonError::into_inner)
}
