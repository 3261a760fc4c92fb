//! Other processes: reading them, signalling them, slowing them down.

use super::*;

pub(super) const ATTEMPTS: &[Attempt] = &[
    (
        "list the processes",
        |_| ended(fs::read_dir("/proc")),
        Err(EACCES),
    ),
    (
        "read the kernel's environment",
        |_| ended(fs::read(of_kernel("environ"))),
        Err(EACCES),
    ),
    (
        "read the kernel's map",
        |_| ended(fs::read(of_kernel("maps"))),
        Err(EACCES),
    ),
    (
        "open the kernel's memory",
        |_| ended(File::open(of_kernel("mem"))),
        Err(EACCES),
    ),
    (
        "list the kernel's descriptors",
        |_| ended(fs::read_dir(of_kernel("fd"))),
        Err(EACCES),
    ),
    (
        "read its first environment",
        |_| ended(fs::read("/proc/self/environ")),
        Err(EACCES),
    ),
    (
        "trace a process",
        |_| call(libc::SYS_ptrace, [0x4206, i32::MAX.into(), 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "read the kernel's memory",
        |_| call(libc::SYS_process_vm_readv, [kernel(), 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "write the kernel's memory",
        |_| call(libc::SYS_process_vm_writev, [kernel(), 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "take the kernel's descriptor",
        |_| call(libc::SYS_pidfd_getfd, [-1, 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "signal the kernel",
        |_| call(libc::SYS_kill, [kernel(), 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "signal the kernel with more bits",
        |_| call(libc::SYS_kill, [kernel() | 1 << 32, 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "signal its group",
        |_| call(libc::SYS_kill, [0, 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "signal everyone",
        |_| call(libc::SYS_kill, [-1, 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "signal the kernel's thread",
        |_| call(libc::SYS_tgkill, [kernel(), kernel(), 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "signal any thread",
        |_| call(libc::SYS_tkill, [kernel(), 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "queue a signal",
        |_| call(libc::SYS_rt_sigqueueinfo, [kernel(), 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "name the kernel by a descriptor",
        |_| call(libc::SYS_pidfd_open, [kernel(), 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "have the kernel signalled by a socket",
        |_| {
            let (near, _far) = UnixStream::pair().unwrap();
            call(
                libc::SYS_fcntl,
                [near.as_raw_fd().into(), 8, kernel(), 0, 0, 0],
            )
        },
        Err(EPERM),
    ),
    (
        "choose what a socket signals",
        |_| {
            let (near, _far) = UnixStream::pair().unwrap();
            call(libc::SYS_fcntl, [near.as_raw_fd().into(), 10, 9, 0, 0, 0])
        },
        Err(EPERM),
    ),
    (
        "have the kernel signalled by another call",
        |_| {
            let (near, _far) = UnixStream::pair().unwrap();
            let pid = libc::pid_t::try_from(kernel()).unwrap();
            call(
                libc::SYS_ioctl,
                [
                    near.as_raw_fd().into(),
                    0x8901,
                    &raw const pid as i64,
                    0,
                    0,
                    0,
                ],
            )
        },
        Err(EPERM),
    ),
    (
        "type into the terminal",
        |_| call(libc::SYS_ioctl, [2, 0x5412, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "type into the terminal with more bits",
        |_| call(libc::SYS_ioctl, [2, 0x5412 | 1 << 32, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "slow the kernel down",
        |_| call(libc::SYS_setpriority, [0, kernel(), 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "slow a user down",
        |_| call(libc::SYS_setpriority, [2, 99_999, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "keep the kernel from a processor",
        |_| call(libc::SYS_sched_setaffinity, [kernel(), 0, 0, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "limit the kernel",
        |_| {
            let limit = libc::rlimit64 {
                rlim_cur: 0,
                rlim_max: 0,
            };
            call(
                libc::SYS_prlimit64,
                [
                    kernel(),
                    libc::RLIMIT_CORE.into(),
                    &raw const limit as i64,
                    0,
                    0,
                    0,
                ],
            )
        },
        Err(EPERM),
    ),
    (
        "share memory by a key",
        |_| call(libc::SYS_shmget, [0x6d69, 4096, 0o600, 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "open a queue by a name",
        |_| {
            call(
                libc::SYS_mq_open,
                [c"nothing".as_ptr() as i64, 0, 0, 0, 0, 0],
            )
        },
        Err(EPERM),
    ),
];
