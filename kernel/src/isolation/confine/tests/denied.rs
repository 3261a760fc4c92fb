//! What a hostile module would try.

mod files;
mod limits;
mod processes;
mod programs;
mod sockets;
mod system;

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use libc::{EACCES, EMFILE, ENOMEM, ENOSYS, EPERM, EXDEV};

use super::*;

/// All of it; the order does not matter.
pub(super) fn attempts() -> impl Iterator<Item = &'static Attempt> {
    [
        files::ATTEMPTS,
        processes::ATTEMPTS,
        sockets::ATTEMPTS,
        programs::ATTEMPTS,
        limits::ATTEMPTS,
        system::ATTEMPTS,
    ]
    .into_iter()
    .flatten()
}

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

fn raise(resource: impl Into<i64>, value: u64) -> Outcome {
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
