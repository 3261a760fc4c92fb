//! The system itself.

use super::*;

pub(super) const ATTEMPTS: &[Attempt] = &[
    (
        "look at all programs",
        |_| call(libc::SYS_perf_event_open, [0; 6]),
        Err(EPERM),
    ),
    (
        "load code into the system",
        |_| call(libc::SYS_bpf, [0; 6]),
        Err(EPERM),
    ),
    (
        "make a ring",
        |_| call(libc::SYS_io_uring_setup, [0; 6]),
        Err(EPERM),
    ),
    (
        "handle faults",
        |_| call(libc::SYS_userfaultfd, [-1, 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "read keys",
        |_| call(libc::SYS_keyctl, [-1, 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    ("mount", |_| call(libc::SYS_mount, [0; 6]), Err(EPERM)),
    (
        "leave the view of files",
        |_| call(libc::SYS_unshare, [-1, 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "join another view",
        |_| call(libc::SYS_setns, [-1, 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "change the root",
        |_| {
            call(
                libc::SYS_chroot,
                [c"/no/such".as_ptr() as i64, 0, 0, 0, 0, 0],
            )
        },
        Err(EPERM),
    ),
    (
        "change how programs run",
        |_| call(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
];
