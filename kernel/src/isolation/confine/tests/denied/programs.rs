//! Starting programs.

use super::*;

pub(super) const ATTEMPTS: &[Attempt] = &[
    (
        "start a program",
        |_| ended(Command::new("/bin/true").status()),
        Err(EPERM),
    ),
    (
        "become a program",
        |_| {
            call(
                libc::SYS_execve,
                [c"/no/such/program".as_ptr() as i64, 0, 0, 0, 0, 0],
            )
        },
        Err(EPERM),
    ),
    (
        "become an open program",
        |_| call(libc::SYS_execveat, [-1, c"x".as_ptr() as i64, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "copy itself",
        |_| {
            // SAFETY: the copy ends at once.
            match unsafe { libc::fork() } {
                // SAFETY: as it says.
                0 => unsafe { libc::_exit(0) },
                pid => tried(pid),
            }
        },
        Err(EPERM),
    ),
    (
        "copy itself by the new call",
        |_| call(libc::SYS_clone3, [0; 6]),
        Err(ENOSYS),
    ),
    (
        "start a thread in another view of files",
        |_| {
            call(
                libc::SYS_clone,
                [
                    (libc::CLONE_NEWNS | libc::CLONE_THREAD).into(),
                    0,
                    0,
                    0,
                    0,
                    0,
                ],
            )
        },
        Err(EPERM),
    ),
    (
        "make a file in memory",
        |_| {
            call(
                libc::SYS_memfd_create,
                [c"x".as_ptr() as i64, 0, 0, 0, 0, 0],
            )
        },
        Err(EPERM),
    ),
    (
        "start a program from a thread",
        |_| {
            std::thread::spawn(|| ended(Command::new("/bin/true").status()))
                .join()
                .unwrap()
        },
        Err(EPERM),
    ),
];
