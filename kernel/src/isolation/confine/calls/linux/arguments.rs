//! Calls that are refused with some arguments: which ones, and why.
//!
//! Arguments that the system takes as 32 bits are compared as 32 bits: the upper half is whatever the caller put there, and a
//! comparison of all 64 would be gone around with it.

use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// TCP and UDP only. No Unix sockets, so that it reaches neither the kernel's nor any other service of the user's; no
/// netlink, which getaddrinfo(3) does without; no protocol for which the system would load a driver first.
pub(super) fn sockets() -> Vec<SeccompRule> {
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
pub(super) fn socket_pairs() -> Vec<SeccompRule> {
    kinds([libc::SOCK_DGRAM, libc::SOCK_RAW]).into()
}

/// Beside the kind of a socket stand flags.
fn kinds<const N: usize>(kinds: [libc::c_int; N]) -> [SeccompRule; N] {
    /// linux/net.h
    const SOCK_TYPE_MASK: u64 = 0xf;
    kinds.map(|kind| all([narrow(1, MaskedEq(SOCK_TYPE_MASK), number(kind))]))
}

/// It cannot outlive its kernel, nor be looked into again.
pub(super) fn prctl() -> Vec<SeccompRule> {
    [libc::PR_SET_PDEATHSIG, libc::PR_SET_DUMPABLE]
        .map(|option| all([narrow(0, Eq, number(option))]))
        .into()
}

/// Nobody's limits change any more, its own included. To read them is to give no new ones.
pub(super) fn prlimit() -> Vec<SeccompRule> {
    vec![all([wide(2, Ne, 0)])]
}

/// Of a path; of an open file it stays.
pub(super) fn utimensat() -> Vec<SeccompRule> {
    vec![all([wide(1, Ne, 0)])]
}

/// Whom the system signals when there is something to read: it could be any process of the user's, with any signal.
pub(super) fn fcntl() -> Vec<SeccompRule> {
    /// asm-generic/fcntl.h
    const F_SETOWN: u64 = 8;
    const F_SETSIG: u64 = 10;
    const F_SETOWN_EX: u64 = 15;
    [F_SETOWN, F_SETSIG, F_SETOWN_EX]
        .map(|command| all([narrow(1, Eq, command)]))
        .into()
}

/// The same as `fcntl`'s, and typing into the terminal that standard error may be.
pub(super) fn ioctl() -> Vec<SeccompRule> {
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
pub(super) fn mmap() -> Vec<SeccompRule> {
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
pub(super) fn clone(processes: bool) -> Vec<SeccompRule> {
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
pub(super) fn scheduling() -> Vec<(i64, Vec<SeccompRule>)> {
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
pub(super) fn signals(own: u32) -> [(i64, Vec<SeccompRule>); 4] {
    [
        libc::SYS_kill,
        libc::SYS_tgkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
    ]
    .map(|call| (call, vec![all([narrow(0, Ne, u64::from(own))])]))
}

/// Of which all have to hold.
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
