//! Which thread this is, and whether a thread is still there.

#![expect(unsafe_code, reason = "system calls that touch no memory")]

use std::cell::Cell;
use std::fs;

/// Room for the fields up to the start time: 22 numbers of at most 20 digits, and a name of 15 bytes.
const STAT_LEN: usize = 512;

/// A thread of this process, told apart from a later one that got the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thread {
    tid: libc::pid_t,
    /// Clock ticks since boot; 0 if it could not be read.
    started: u64,
}

impl Thread {
    /// Reads `/proc` once for each thread. It is called while thread-locals are registered and destroyed, so that it has none
    /// that would have to be dropped, and on threads that may be cancelled, so that it makes its system calls itself: the C
    /// library's functions would be left by unwinding.
    pub(super) fn current() -> Thread {
        thread_local! {
            static CURRENT: Cell<Option<Thread>> = const { Cell::new(None) };
        }
        CURRENT.with(|current| {
            current.get().unwrap_or_else(|| {
                let mut stat = [0; STAT_LEN];
                let stat = read_own_stat(&mut stat).map(String::from_utf8_lossy);
                let thread = Thread {
                    // SAFETY: asks for a number.
                    tid: unsafe { libc::gettid() },
                    started: stat.and_then(|stat| Some(parse(&stat)?.1)).unwrap_or(0),
                };
                current.set(Some(thread));
                thread
            })
        })
    }

    #[cfg(test)]
    pub(super) fn numbered(tid: libc::pid_t) -> Thread {
        Thread { tid, started: 1 }
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

/// The calling thread's line.
fn read_own_stat(to: &mut [u8]) -> Option<&[u8]> {
    let path = c"/proc/thread-self/stat";
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a C string, and numbers.
    let file = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) };
    if file < 0 {
        return None;
    }
    // SAFETY: writes no more than there is room for.
    let len = unsafe { libc::syscall(libc::SYS_read, file, to.as_mut_ptr(), to.len()) };
    // SAFETY: a descriptor that was opened here.
    unsafe { libc::syscall(libc::SYS_close, file) };
    to.get(..usize::try_from(len).ok()?)
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
        assert_ne!(other.started, 0);
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
