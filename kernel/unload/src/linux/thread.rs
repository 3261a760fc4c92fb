//! Which thread this is, and whether a thread is still there.

#![expect(unsafe_code, reason = "system calls that touch no memory")]

use std::cell::Cell;
use std::fs;

/// A thread of this process, told apart from a later one that got the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thread {
    tid: libc::pid_t,
    /// Clock ticks since boot; 0 if it could not be read.
    started: u64,
}

impl Thread {
    /// Reads `/proc` once for each thread. Allocates no thread-local that would have to be dropped: it is called while
    /// thread-locals are being registered and destroyed.
    pub(super) fn current() -> Thread {
        thread_local! {
            static CURRENT: Cell<Option<Thread>> = const { Cell::new(None) };
        }
        CURRENT.with(|current| {
            current.get().unwrap_or_else(|| {
                // SAFETY: asks for a number.
                let tid = unsafe { libc::gettid() };
                let started = read(tid, "stat").and_then(|stat| Some(parse(&stat)?.1));
                let thread = Thread {
                    tid,
                    started: started.unwrap_or(0),
                };
                current.set(Some(thread));
                thread
            })
        })
    }

    /// Whether it runs no instruction of this process any more. What cannot be found out counts as running.
    pub(super) fn has_ended(self) -> bool {
        // SAFETY: signal 0 is not sent; the call only looks whether the thread is there.
        let there = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.tid, 0) };
        if there == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH) {
            return true;
        }
        let Some((state, started)) = read(self.tid, "stat").and_then(|stat| parse(&stat)) else {
            return false;
        };
        // A zombie and a dead thread have left the process's memory.
        matches!(state, 'Z' | 'X') || (self.started != 0 && started != self.started)
    }

    /// Its name, for a person.
    pub(super) fn name(self) -> String {
        match read(self.tid, "comm") {
            Some(name) => name.trim_end().to_owned(),
            None => format!("thread {}", self.tid),
        }
    }
}

/// Whether this is the thread that the process began with.
pub(super) fn is_main() -> bool {
    // SAFETY: asks for a number.
    Thread::current().tid == unsafe { libc::getpid() }
}

fn read(tid: libc::pid_t, file: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/self/task/{tid}/{file}")).ok()?;
    // A name can have any bytes.
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// State and start time, the 3rd and 22nd field (proc_pid_stat(5)). The 2nd is a name in parentheses that may have blanks and
/// parentheses itself.
fn parse(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_start_are_found_behind_any_name() {
        let rest = "S 1 2 3 0 -1 4194624 120 0 0 0 7 8 0 0 20 0 5 0 123456 1 2";
        for name in ["a", "a b", "a) R 1 2", ""] {
            assert_eq!(
                parse(&format!("17 ({name}) {rest}\n")),
                Some(('S', 123_456))
            );
        }
    }

    #[test]
    fn a_cut_or_foreign_line_says_nothing() {
        for stat in [
            "",
            "17 (a",
            "17 (a)",
            "17 (a) S 1 2",
            "17 (a) S 1 2 3 0 -1 4194624 120 0 0 0 7 8 0 0 20 0 5 0 x",
        ] {
            assert_eq!(parse(stat), None, "{stat:?}");
        }
    }

    #[test]
    fn a_thread_has_ended_once_it_was_joined() {
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(Thread::current()).unwrap();
            let _ = gate.recv();
        });
        let other = told.recv().unwrap();
        assert_ne!(other, Thread::current());
        assert!(!other.has_ended());
        drop(go);
        thread.join().unwrap();
        // The join returns a little before the kernel has taken the thread off its list.
        while !other.has_ended() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_number_given_out_again_is_another_thread() {
        let mut earlier = Thread::current();
        assert!(!earlier.has_ended());
        earlier.started -= 1;
        assert!(earlier.has_ended());
    }
}
