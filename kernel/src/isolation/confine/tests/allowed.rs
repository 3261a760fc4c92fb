//! What a module needs, and what its libraries do without being asked.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::*;

pub(super) const ATTEMPTS: &[Attempt] = &[
    (
        "read the library",
        |s| ended(fs::read(s.path("library"))),
        Ok(()),
    ),
    (
        "read a named file",
        |s| ended(fs::read(s.path("named/model"))),
        Ok(()),
    ),
    (
        "list a readable directory",
        |s| ended(fs::read_dir(s.path("read"))),
        Ok(()),
    ),
    (
        "read a readable file",
        |s| ended(fs::read(s.path("read/file"))),
        Ok(()),
    ),
    (
        "write a writable file",
        |s| ended(fs::write(s.path("write/file"), "")),
        Ok(()),
    ),
    ("work in its directory", work_in_own, Ok(())),
    (
        "change the mode of an open file",
        |s| {
            let file = File::create(s.path("own/mode")).unwrap();
            ended(file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)))
        },
        Ok(()),
    ),
    (
        "change the times of an open file",
        |s| {
            let file = File::create(s.path("own/times")).unwrap();
            ended(file.set_modified(std::time::SystemTime::UNIX_EPOCH))
        },
        Ok(()),
    ),
    (
        "discard output",
        |_| ended(File::create("/dev/null").and_then(|mut null| null.write_all(b"x"))),
        Ok(()),
    ),
    (
        "read random bytes",
        |_| ended(File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut [0; 16]))),
        Ok(()),
    ),
    ("read the certificates", read_certificates, Ok(())),
    ("read a time zone", |_| ended(fs::read(zone())), Ok(())),
    ("tell the local time", |_| local_time(), Ok(())),
    (
        "read its own map",
        |_| ended(fs::read("/proc/self/maps")),
        Ok(()),
    ),
    (
        "read its own status",
        |_| ended(fs::read("/proc/self/status")),
        Ok(()),
    ),
    (
        "resolve localhost",
        |s| ended(("localhost", s.port).to_socket_addrs()),
        Ok(()),
    ),
    ("resolve a service", |_| resolve_service(), Ok(())),
    (
        "connect by TCP",
        |s| ended(TcpStream::connect(("127.0.0.1", s.port))),
        Ok(()),
    ),
    (
        "send by UDP",
        |_| {
            ended(
                UdpSocket::bind("127.0.0.1:0")
                    .and_then(|socket| socket.send_to(b"x", socket.local_addr()?)),
            )
        },
        Ok(()),
    ),
    (
        "make a pair of sockets",
        |_| ended(UnixStream::pair()),
        Ok(()),
    ),
    ("start threads", |_| threads(), Ok(())),
    ("run tokio", |s| tokio_runtime(s), Ok(())),
    (
        "count processors",
        |_| ended(std::thread::available_parallelism()),
        Ok(()),
    ),
    (
        "allocate",
        |_| {
            let bytes = vec![1u8; 64 << 20];
            if bytes.iter().step_by(4096).all(|&byte| byte == 1) {
                Ok(())
            } else {
                Err(0)
            }
        },
        Ok(()),
    ),
    ("make code", |_| make_code(), Ok(())),
    ("open a library", |_| open_library("libm.so.6"), Ok(())),
    (
        "open a library that looks up names",
        |_| open_library("libnss_files.so.2"),
        Ok(()),
    ),
    (
        "read its limits",
        |_| {
            ended(
                nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
                    .map_err(Into::into),
            )
        },
        Ok(()),
    ),
    (
        "signal itself",
        |_| ended(nix::sys::signal::kill(nix::unistd::getpid(), None).map_err(Into::into)),
        Ok(()),
    ),
    (
        "catch a panic",
        |_| match std::panic::catch_unwind(|| panic!("on purpose")) {
            Ok(()) => Err(0),
            Err(_) => Ok(()),
        },
        Ok(()),
    ),
];

fn work_in_own(scene: &Scene) -> Outcome {
    ended((|| {
        let own = scene.path("own");
        fs::create_dir_all(own.join("a/b"))?;
        fs::create_dir(own.join("c"))?;
        fs::write(own.join("a/b/file"), "words")?;
        fs::rename(own.join("a/b/file"), own.join("c/file"))?;
        fs::hard_link(own.join("c/file"), own.join("a/link"))?;
        std::os::unix::fs::symlink("c/file", own.join("short"))?;
        File::options()
            .write(true)
            .open(own.join("short"))?
            .set_len(2)?;
        let read = fs::read_to_string(own.join("a/link"))?;
        fs::remove_file(own.join("short"))?;
        fs::remove_dir_all(own.join("a"))?;
        fs::remove_dir_all(own.join("c"))?;
        if read == "wo" {
            Ok(())
        } else {
            Err(io::Error::other(read))
        }
    })())
}

/// Wherever this system has them: a link's target counts.
fn read_certificates(_scene: &Scene) -> Outcome {
    let directory = std::path::Path::new("/etc/ssl/certs");
    if !directory.exists() {
        return Ok(());
    }
    ended((|| {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_file() {
                fs::read(path)?;
            }
        }
        Ok(())
    })())
}

fn zone() -> &'static str {
    let zone = "/usr/share/zoneinfo/Europe/Berlin";
    if std::path::Path::new(zone).exists() {
        zone
    } else {
        "/etc/hosts"
    }
}

fn local_time() -> Outcome {
    let mut parts = std::mem::MaybeUninit::<libc::tm>::uninit();
    let now = 0;
    // SAFETY: the first is read, the second written, and both live here.
    let told = unsafe { libc::localtime_r(&raw const now, parts.as_mut_ptr()) };
    if told.is_null() { tried(-1) } else { Ok(()) }
}

/// By the C library, with all that it asks the system for on the way.
fn resolve_service() -> Outcome {
    let (host, service) = (c"localhost", c"http");
    let hints = libc::addrinfo {
        ai_flags: libc::AI_ADDRCONFIG,
        ai_family: libc::AF_UNSPEC,
        ai_socktype: libc::SOCK_STREAM,
        ai_protocol: 0,
        ai_addrlen: 0,
        ai_addr: std::ptr::null_mut(),
        ai_canonname: std::ptr::null_mut(),
        ai_next: std::ptr::null_mut(),
    };
    let mut found = std::ptr::null_mut();
    // SAFETY: the strings end with a zero, the rest lives here.
    let answer = unsafe {
        libc::getaddrinfo(
            host.as_ptr(),
            service.as_ptr(),
            &raw const hints,
            &raw mut found,
        )
    };
    if answer == 0 { Ok(()) } else { Err(answer) }
}

fn threads() -> Outcome {
    let threads: Vec<_> = (0..8)
        .map(|number: usize| std::thread::spawn(move || vec![1u8; number * 100_000].len()))
        .collect();
    let bytes: usize = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    if bytes == 2_800_000 { Ok(()) } else { Err(0) }
}

/// Timers, sockets and the waker, in a thread of its own as a worker has it.
fn tokio_runtime(scene: &Scene) -> Outcome {
    let port = scene.port;
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let (near, far) = tokio::net::UnixStream::pair()?;
            drop((near, far));
            let (woken, wait) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || woken.send(()));
            wait.await.map_err(io::Error::other)?;
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await
        })
    });
    ended(thread.join().unwrap())
}

/// A module may bring a compiler, and each shared library is mapped like this.
fn make_code() -> Outcome {
    let (readable, runnable) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::PROT_READ | libc::PROT_EXEC,
    );
    // SAFETY: new memory, at an address of the system's choice.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            readable,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return tried(-1);
    }
    // SAFETY: the page from above, which nothing uses.
    tried(unsafe { libc::mprotect(page, 4096, runnable) })
}

pub(super) fn open_library(name: &str) -> Outcome {
    let name = CString::new(name).unwrap();
    // SAFETY: a library of the system's, whose constructors may run anywhere.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() { Err(0) } else { Ok(()) }
}
