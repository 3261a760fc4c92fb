//! System calls that answer as if the system had not got them (`ENOSYS`): written by hand, since it compares numbers.

use libc::{BPF_ABS, BPF_JEQ, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use seccompiler::{BpfProgram, sock_filter};

/// The last call that `refused` knows of: `file_setattr`, Linux 6.17. From 424 on the numbers are the same on every
/// architecture. Those of x86_64's second set of calls, x32, are all larger (`__X32_SYSCALL_BIT`), and so refused as well: they
/// would lead around the list.
const LAST_KNOWN: u32 = 469;

/// Offset of the number in `struct seccomp_data`, where it is the first member.
const NUMBER: u32 = 0;

/// `clone3` is among them, since a filter cannot see its flags, which lie in memory: the C library then uses `clone`, whose
/// flags it can.
pub(super) fn filter() -> BpfProgram {
    let clone3 = u32::try_from(libc::SYS_clone3).expect("a system call's number");
    vec![
        statement(BPF_LD | BPF_W | BPF_ABS, NUMBER, [0, 0]),
        // How many statements to leave out when the comparison holds, and when it does not.
        statement(BPF_JMP | BPF_JGT | BPF_K, LAST_KNOWN, [2, 0]),
        statement(BPF_JMP | BPF_JEQ | BPF_K, clone3, [1, 0]),
        statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW, [0, 0]),
        statement(
            BPF_RET | BPF_K,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
            [0, 0],
        ),
    ]
}

fn statement(code: u32, k: u32, [jt, jf]: [u8; 2]) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).expect("codes have 16 bits"),
        jt,
        jf,
        k,
    }
}
