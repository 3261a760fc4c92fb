//! The list: which calls are refused, and why. Those that depend on their arguments are `arguments`'.

use std::collections::BTreeMap;

use libc::c_long;
#[cfg(target_arch = "x86_64")]
use libc::{SYS_kexec_file_load as KEXEC_FILE_LOAD, SYS_setrlimit as SETRLIMIT};
use seccompiler::SeccompRule;

use super::arguments;

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
    KEXEC_FILE_LOAD,
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

/// asm-generic/unistd.h, where libc leaves them out for some C libraries.
#[cfg(target_arch = "aarch64")]
const SETRLIMIT: c_long = 164;
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: c_long = 294;

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
        (libc::SYS_socket, arguments::sockets()),
        (libc::SYS_socketpair, arguments::socket_pairs()),
        (libc::SYS_prctl, arguments::prctl()),
        (libc::SYS_prlimit64, arguments::prlimit()),
        never(SETRLIMIT),
        (libc::SYS_fcntl, arguments::fcntl()),
        (libc::SYS_ioctl, arguments::ioctl()),
        (libc::SYS_mmap, arguments::mmap()),
        (libc::SYS_utimensat, arguments::utimensat()),
        (libc::SYS_clone, arguments::clone(processes)),
    ]);
    rules.extend(arguments::scheduling());
    if !processes {
        let programs = PROGRAMS.iter().chain(COPIES).chain(&SIGNALS);
        rules.extend(programs.copied().map(never));
        rules.extend(arguments::signals(std::process::id()));
    }
    rules
}

fn never(call: c_long) -> (i64, Vec<SeccompRule>) {
    (call, Vec::new())
}
