//! The list: which calls are refused, always or with which arguments, and why.
//!
//! Arguments that the system takes as 32 bits are compared as 32 bits: the upper half is whatever the caller put there, and a
//! comparison of all 64 would be gone around with it.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// By number; no rule for a call means: always.
pub(super) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls that the C library's headers do not name everywhere yet; the same on every architecture.
mod young {
    use libc::c_long;

    pub(super) const FCHMODAT2: c_long = 452;
    pub(super) const STATMOUNT: c_long = 457;
    pub(super) const LISTMOUNT: c_long = 458;
    pub(super) const SETXATTRAT: c_long = 463;
    pub(super) const REMOVEXATTRAT: c_long = 466;
    pub(super) const OPEN_TREE_ATTR: c_long = 467;
    pub(super) const FILE_SETATTR: c_long = 469;
}

/// Reading and changing other processes: the same user's would be open to it otherwise.
const OTHER_PROCESSES: [c_long; 10] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
];

/// Memory and queues that processes of one user share by a key or a name, without a file that Landlock could judge.
const SHARED_BY_NAME: [c_long; 14] = [
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmdt,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

/// Files in memory: no limit counts them.
const UNCOUNTED_MEMORY: [c_long; 2] = [libc::SYS_memfd_create, libc::SYS_memfd_secret];

/// Change a file's mode, owner or attributes by its path, which Landlock does not judge. The same on an open file stays.
const FILES_BY_PATH: [c_long; 10] = [
    libc::SYS_fchmodat,
    young::FCHMODAT2,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    young::SETXATTRAT,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    young::REMOVEXATTRAT,
    young::FILE_SETATTR,
];

/// Interfaces through which most ways into the system's kernel led, and that a program can do without: runtimes that use
/// io_uring fall back.
const ATTACK_SURFACE: [c_long; 10] = [
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    libc::SYS_personality,
    libc::SYS_remap_file_pages,
];

/// Another view of files, processes or the network.
const NAMESPACES: [c_long; 18] = [
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    young::OPEN_TREE_ATTR,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    young::STATMOUNT,
    young::LISTMOUNT,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
];

/// The machine itself. A process without rights is refused most of it anyway.
const MACHINE: [c_long; 19] = [
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_vhangup,
    libc::SYS_fanotify_init,
];

/// What only x86_64 has: older forms of the above, and the processor's own.
#[cfg(target_arch = "x86_64")]
const OLDER_FORMS: &[c_long] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_uselib,
    libc::SYS__sysctl,
    libc::SYS_modify_ldt,
    libc::SYS_iopl,
    libc::SYS_ioperm,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_FORMS: &[c_long] = &[];

/// Starting programs. A copy of the process would be neither counted nor ended with it.
const PROGRAMS: [c_long; 2] = [libc::SYS_execve, libc::SYS_execveat];
#[cfg(target_arch = "x86_64")]
const COPIES: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const COPIES: &[c_long] = &[];

/// Signals by ways that name a thread or a descriptor, in which a filter cannot see whose it is.
const SIGNALS: [c_long; 3] = [
    libc::SYS_tkill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
];

/// `processes`: it may start programs. Then it may signal, too; Landlock keeps that among them.
pub(super) fn rules(processes: bool) -> Rules {
    let always: [&[c_long]; 8] = [
        &OTHER_PROCESSES,
        &SHARED_BY_NAME,
        &UNCOUNTED_MEMORY,
        &FILES_BY_PATH,
        &ATTACK_SURFACE,
        &NAMESPACES,
        &MACHINE,
        OLDER_FORMS,
    ];
    let mut rules: Rules = always.concat().into_iter().map(never).collect();
    rules.extend([
        (libc::SYS_socket, sockets()),
        (libc::SYS_socketpair, socket_pairs()),
        (libc::SYS_prctl, prctl()),
        // Nobody's limits change any more, its own included. To read them is to give no new ones.
        (libc::SYS_prlimit64, vec![all([wide(2, Ne, 0)])]),
        (libc::SYS_fcntl, fcntl()),
        (libc::SYS_ioctl, ioctl()),
        (libc::SYS_mmap, mmap()),
        // Of a path; of an open file it stays.
        (libc::SYS_utimensat, vec![all([wide(1, Ne, 0)])]),
        (libc::SYS_clone, clone(processes)),
        never(libc::SYS_setrlimit),
    ]);
    rules.extend(scheduling());
    if !processes {
        let programs = PROGRAMS.iter().chain(COPIES).chain(&SIGNALS);
        rules.extend(programs.copied().map(never));
        rules.extend(signals(std::process::id()));
    }
    rules
}

/// TCP and UDP only. No Unix sockets, so that it reaches neither the kernel's nor any other service of the user's; no
/// netlink, which getaddrinfo(3) does without; no protocol for which the system would load a driver first.
fn sockets() -> Vec<SeccompRule> {
    let internet = [libc::AF_INET, libc::AF_INET6].map(|family| narrow(0, Ne, number(family)));
    let protocols =
        [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP].map(|protocol| narrow(2, Ne, number(protocol)));
    let mut rules = vec![all(internet), all(protocols)];
    rules.extend(kinds([
        libc::SOCK_RAW,
        libc::SOCK_RDM,
        libc::SOCK_SEQPACKET,
        libc::SOCK_DCCP,
        SOCK_PACKET,
    ]));
    rules
}

/// linux/net.h; deprecated in the C library's headers, and still taken.
const SOCK_PACKET: libc::c_int = 10;

/// Streams only: one of datagrams could be connected anew, to any Unix socket that takes datagrams. Of `SOCK_RAW` the system
/// makes one.
fn socket_pairs() -> Vec<SeccompRule> {
    kinds([libc::SOCK_DGRAM, libc::SOCK_RAW]).into()
}

/// Beside the kind of a socket stand flags.
fn kinds<const N: usize>(kinds: [libc::c_int; N]) -> [SeccompRule; N] {
    /// linux/net.h
    const SOCK_TYPE_MASK: u64 = 0xf;
    kinds.map(|kind| all([narrow(1, MaskedEq(SOCK_TYPE_MASK), number(kind))]))
}

/// It cannot outlive its kernel, nor be looked into again.
fn prctl() -> Vec<SeccompRule> {
    [libc::PR_SET_PDEATHSIG, libc::PR_SET_DUMPABLE]
        .map(|option| all([narrow(0, Eq, number(option))]))
        .into()
}

/// Whom the system signals when there is something to read: it could be any process of the user's, with any signal.
fn fcntl() -> Vec<SeccompRule> {
    /// asm-generic/fcntl.h
    const F_SETOWN: u64 = 8;
    const F_SETSIG: u64 = 10;
    const F_SETOWN_EX: u64 = 15;
    [F_SETOWN, F_SETSIG, F_SETOWN_EX]
        .map(|command| all([narrow(1, Eq, command)]))
        .into()
}

/// The same as `fcntl`'s, and typing into the terminal that standard error may be.
fn ioctl() -> Vec<SeccompRule> {
    /// asm-generic/sockios.h, asm-generic/ioctls.h
    const FIOSETOWN: u64 = 0x8901;
    const SIOCSPGRP: u64 = 0x8902;
    const TIOCSTI: u64 = 0x5412;
    const TIOCLINUX: u64 = 0x541c;
    [FIOSETOWN, SIOCSPGRP, TIOCSTI, TIOCLINUX]
        .map(|request| all([narrow(1, Eq, request)]))
        .into()
}

/// Memory that the limit does not count: shared without a file, or growing downwards, which the system takes for a stack.
fn mmap() -> Vec<SeccompRule> {
    /// linux/mman.h
    const MAP_TYPE: u64 = 0xf;
    let anonymous = number(libc::MAP_ANONYMOUS);
    let shared = number(libc::MAP_SHARED);
    let downwards = number(libc::MAP_GROWSDOWN);
    vec![
        all([narrow(
            3,
            MaskedEq(MAP_TYPE | anonymous),
            shared | anonymous,
        )]),
        all([narrow(3, MaskedEq(downwards), downwards)]),
    ]
}

/// Threads only, and none in a namespace of its own.
fn clone(processes: bool) -> Vec<SeccompRule> {
    let thread = number(libc::CLONE_THREAD);
    let namespaces = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    namespaces
        .into_iter()
        .map(|flag| all([narrow(0, MaskedEq(number(flag)), number(flag))]))
        .chain((!processes).then(|| all([narrow(0, MaskedEq(thread), 0)])))
        .collect()
}

/// When and where processes run: it could slow down any of the user's. Only the calling thread may be changed, which is 0 in
/// all of these.
fn scheduling() -> Vec<(i64, Vec<SeccompRule>)> {
    /// `PRIO_PROCESS`: setpriority(2)
    const PROCESS: u64 = 0;
    /// `IOPRIO_WHO_PROCESS`: linux/ioprio.h
    const IO_PROCESS: u64 = 1;
    let itself = |which: u64| vec![all([narrow(0, Ne, which)]), all([narrow(1, Ne, 0)])];
    let by_thread = [
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ];
    let mut rules = vec![
        (libc::SYS_setpriority, itself(PROCESS)),
        (libc::SYS_ioprio_set, itself(IO_PROCESS)),
    ];
    rules.extend(by_thread.map(|call| (call, vec![all([narrow(0, Ne, 0)])])));
    rules
}

/// To itself only: `abort` ends it as ever.
fn signals(own: u32) -> [(i64, Vec<SeccompRule>); 4] {
    [
        libc::SYS_kill,
        libc::SYS_tgkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
    ]
    .map(|call| (call, vec![all([narrow(0, Ne, u64::from(own))])]))
}

fn never(call: c_long) -> (i64, Vec<SeccompRule>) {
    (call, Vec::new())
}

fn all<const N: usize>(conditions: [SeccompCondition; N]) -> SeccompRule {
    SeccompRule::new(conditions.into()).expect("there is a condition")
}

/// An argument that the system takes as 32 bits.
fn narrow(argument: u8, operator: SeccompCmpOp, value: u64) -> SeccompCondition {
    condition(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// An argument that the system takes whole, such as an address.
fn wide(argument: u8, operator: SeccompCmpOp, value: u64) -> SeccompCondition {
    condition(argument, SeccompCmpArgLen::Qword, operator, value)
}

fn condition(
    argument: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
) -> SeccompCondition {
    SeccompCondition::new(argument, length, operator, value).expect("a call has six arguments")
}

/// Constants of the C library's are `int`; as bits, since a flag may be the topmost.
fn number(constant: libc::c_int) -> u64 {
    u64::from(constant.cast_unsigned())
}
