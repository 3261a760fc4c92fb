//! What a hostile module would try.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use libc::{EACCES, EMFILE, ENOMEM, ENOSYS, EPERM, EXDEV};

use super::*;

pub(super) const ATTEMPTS: &[Attempt] = &[
    // Files.
    (
        "read the accounts",
        |_| ended(fs::read("/etc/passwd")),
        Err(EACCES),
    ),
    (
        "read another's key",
        |s| ended(fs::read(s.path("other/key"))),
        Err(EACCES),
    ),
    (
        "read another's key by a link",
        |s| {
            let link = s.path("own/link");
            ended(
                std::os::unix::fs::symlink(s.path("other/key"), &link)
                    .and_then(|()| fs::read(&link)),
            )
        },
        Err(EACCES),
    ),
    (
        "read another's key from its own directory",
        |s| ended(fs::read(s.path("own/../other/key"))),
        Err(EACCES),
    ),
    (
        "list the directory above",
        |s| ended(fs::read_dir(s.path(""))),
        Err(EACCES),
    ),
    ("list everything", |_| ended(fs::read_dir("/")), Err(EACCES)),
    (
        "list the homes",
        |_| ended(fs::read_dir("/root")),
        Err(EACCES),
    ),
    (
        "write another's key",
        |s| ended(OpenOptions::new().append(true).open(s.path("other/key"))),
        Err(EACCES),
    ),
    (
        "empty another's key",
        |s| {
            let path = c_path(&s.path("other/key"));
            // SAFETY: the path ends with a zero.
            tried(unsafe { libc::truncate(path.as_ptr(), 20) })
        },
        Err(EACCES),
    ),
    (
        "write what it may read",
        |s| ended(OpenOptions::new().append(true).open(s.path("read/file"))),
        Err(EACCES),
    ),
    (
        "write its library",
        |s| ended(OpenOptions::new().append(true).open(s.path("library"))),
        Err(EACCES),
    ),
    (
        "write to the common directory",
        |_| ended(tempfile::tempfile_in("/tmp")),
        Err(EACCES),
    ),
    (
        "make a file beside its directory",
        |s| ended(File::create(s.path("new"))),
        Err(EACCES),
    ),
    (
        "make shared memory",
        |s| ended(File::create(Path::new("/dev/shm").join(shm_name(s)))),
        Err(EACCES),
    ),
    (
        "take another's key",
        |s| ended(fs::hard_link(s.path("other/key"), s.path("own/key"))),
        Err(EXDEV),
    ),
    (
        "put a file elsewhere",
        |s| {
            ended(
                File::create(s.path("own/gift"))
                    .and_then(|_| fs::rename(s.path("own/gift"), s.path("read/gift"))),
            )
        },
        Err(EACCES),
    ),
    (
        "remove what it may read",
        |s| ended(fs::remove_file(s.path("read/removable"))),
        Err(EACCES),
    ),
    (
        "make a socket in its directory",
        |s| {
            let path = c_path(&s.path("own/socket"));
            // SAFETY: the path ends with a zero.
            tried(unsafe { libc::mknod(path.as_ptr(), libc::S_IFSOCK | 0o600, 0) })
        },
        Err(EACCES),
    ),
    (
        "make a pipe in its directory",
        |s| {
            ended(
                nix::unistd::mkfifo(&s.path("own/pipe"), nix::sys::stat::Mode::S_IRWXU)
                    .map_err(Into::into),
            )
        },
        Err(EACCES),
    ),
    (
        "open another's key to all",
        |s| {
            ended(fs::set_permissions(
                s.path("other/key"),
                fs::Permissions::from_mode(0o666),
            ))
        },
        Err(EPERM),
    ),
    (
        "give another's key away",
        |s| ended(std::os::unix::fs::chown(s.path("other/key"), None, None)),
        Err(EPERM),
    ),
    (
        "mark another's key",
        |s| {
            let path = c_path(&s.path("other/key"));
            // SAFETY: the strings end with a zero, and no bytes are read.
            tried(unsafe {
                libc::setxattr(path.as_ptr(), c"user.x".as_ptr(), c"".as_ptr().cast(), 0, 0)
            })
        },
        Err(EPERM),
    ),
    (
        "date another's key",
        |s| {
            let path = c_path(&s.path("other/key"));
            // SAFETY: the path ends with a zero, and no times mean now.
            tried(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), std::ptr::null(), 0) })
        },
        Err(EPERM),
    ),
    (
        "open a file by its number",
        |_| call(libc::SYS_open_by_handle_at, [0; 6]),
        Err(EPERM),
    ),
    // Other processes.
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
    // Sockets.
    (
        "connect to the kernel",
        |s| ended(UnixStream::connect(s.path("kernel.sock"))),
        Err(EPERM),
    ),
    (
        "connect to an abstract name",
        |s| ended(UnixStream::connect_addr(&s.abstract_address())),
        Err(EPERM),
    ),
    (
        "send to a service",
        |s| {
            ended(
                UnixDatagram::unbound()
                    .and_then(|socket| socket.send_to(b"x", s.path("datagrams.sock"))),
            )
        },
        Err(EPERM),
    ),
    (
        "listen on a path of its own",
        |s| ended(UnixListener::bind(s.path("own/listen"))),
        Err(EPERM),
    ),
    (
        "make a pair that can be connected",
        |s| {
            ended(
                UnixDatagram::pair()
                    .and_then(|(near, _)| near.send_to(b"x", s.path("datagrams.sock"))),
            )
        },
        Err(EPERM),
    ),
    (
        "make such a pair by another word",
        |_| {
            call(
                libc::SYS_socketpair,
                [1, 3, 0, [0i32; 2].as_mut_ptr() as i64, 0, 0],
            )
        },
        Err(EPERM),
    ),
    (
        "ask the network's kernel side",
        |_| socket(libc::AF_NETLINK, libc::SOCK_RAW),
        Err(EPERM),
    ),
    (
        "see packets",
        |_| socket(libc::AF_PACKET, libc::SOCK_DGRAM),
        Err(EPERM),
    ),
    (
        "forge packets",
        |_| socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC),
        Err(EPERM),
    ),
    (
        "use a protocol that must be loaded",
        |_| call(libc::SYS_socket, [2, 1, libc::IPPROTO_SCTP.into(), 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "reach the machine's host",
        |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM),
        Err(EPERM),
    ),
    (
        "use the kernel's ciphers",
        |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET),
        Err(EPERM),
    ),
    // Programs.
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
    // Its own limits.
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
    // The system.
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

/// The process that started this one.
fn kernel() -> i64 {
    nix::unistd::getppid().as_raw().into()
}

fn of_kernel(name: &str) -> PathBuf {
    format!("/proc/{}/{name}", kernel()).into()
}

fn call(number: libc::c_long, arguments: [i64; 6]) -> Outcome {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: refused, or its arguments lead it to nothing that this program uses.
    tried(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

fn socket(family: i32, kind: i32) -> Outcome {
    call(libc::SYS_socket, [family.into(), kind.into(), 0, 0, 0, 0])
}

fn raise(resource: libc::__rlimit_resource_t, value: u64) -> Outcome {
    let limit = libc::rlimit64 {
        rlim_cur: value,
        rlim_max: value,
    };
    call(
        libc::SYS_prlimit64,
        [0, resource.into(), &raw const limit as i64, 0, 0, 0],
    )
}

/// Twice of what it may have.
fn map(flags: i32) -> Outcome {
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    let len = i64::try_from(2 * scene::MEMORY).unwrap();
    call(
        libc::SYS_mmap,
        [0, len, writable.into(), flags.into(), -1, 0],
    )
}

fn c_path(path: &Path) -> std::ffi::CString {
    std::ffi::CString::new(path.to_str().unwrap()).unwrap()
}

/// Nobody else's.
fn shm_name(scene: &Scene) -> String {
    scene.path("").to_str().unwrap().replace('/', "-")
}
