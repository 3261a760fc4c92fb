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

#[cfg(test)]
mod tests {
    use super::*;

    /// As the system runs it, for the statements that it is made of.
    fn answer(number: u32) -> u32 {
        let program = filter();
        let (mut at, mut loaded) = (0, None);
        loop {
            let statement: &sock_filter = &program[at];
            let holds = match u32::from(statement.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    assert_eq!(statement.k, NUMBER);
                    loaded = Some(number);
                    at += 1;
                    continue;
                }
                code if code == BPF_RET | BPF_K => return statement.k,
                code if code == BPF_JMP | BPF_JGT | BPF_K => loaded.unwrap() > statement.k,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => loaded.unwrap() == statement.k,
                code => panic!("{code:#x} is no statement of it"),
            };
            at += 1 + usize::from(if holds { statement.jt } else { statement.jf });
        }
    }

    #[test]
    fn what_the_list_does_not_know_is_not_there() {
        const X32: u32 = 0x4000_0000;
        let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
        for (number, expect) in [
            (0, libc::SECCOMP_RET_ALLOW),
            (434, libc::SECCOMP_RET_ALLOW),
            (435, absent),
            (436, libc::SECCOMP_RET_ALLOW),
            (LAST_KNOWN, libc::SECCOMP_RET_ALLOW),
            (LAST_KNOWN + 1, absent),
            (X32, absent),
            (X32 | 520, absent),
            (u32::MAX, absent),
        ] {
            assert_eq!(answer(number), expect, "{number}");
        }
    }
}
