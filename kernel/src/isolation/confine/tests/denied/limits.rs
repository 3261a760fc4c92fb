//! Its own limits, and what would go around them.

use super::*;

pub(super) const ATTEMPTS: &[Attempt] = &[
    (
        "outlive the kernel",
        |_| {
            call(
                libc::SYS_prctl,
                [libc::PR_SET_PDEATHSIG.into(), 0, 0, 0, 0, 0],
            )
        },
        Err(EPERM),
    ),
    (
        "outlive the kernel with more bits",
        |_| {
            call(
                libc::SYS_prctl,
                [i64::from(libc::PR_SET_PDEATHSIG) | 1 << 32, 0, 0, 0, 0, 0],
            )
        },
        Err(EPERM),
    ),
    (
        "be looked into",
        |_| {
            call(
                libc::SYS_prctl,
                [libc::PR_SET_DUMPABLE.into(), 0, 0, 0, 0, 0],
            )
        },
        Err(EPERM),
    ),
    (
        "have more memory",
        |_| raise(libc::RLIMIT_DATA, 1 << 30),
        Err(EPERM),
    ),
    (
        "have more descriptors",
        |_| raise(libc::RLIMIT_NOFILE, 4096),
        Err(EPERM),
    ),
    (
        "leave a core",
        |_| raise(libc::RLIMIT_CORE, 1 << 30),
        Err(EPERM),
    ),
    (
        "take too much memory",
        |_| map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
        Err(ENOMEM),
    ),
    (
        "take memory that is not counted",
        |_| map(libc::MAP_SHARED | libc::MAP_ANONYMOUS),
        Err(EPERM),
    ),
    (
        "take memory as a stack",
        |_| map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN),
        Err(EPERM),
    ),
    (
        "open a thousand files",
        |_| {
            ended(
                (0..1000)
                    .map(|_| File::open("/dev/null"))
                    .collect::<io::Result<Vec<_>>>(),
            )
        },
        Err(EMFILE),
    ),
];
