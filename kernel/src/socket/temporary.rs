//! Sockets whose names are one process's alone: each host that starts a kernel has one. Their lock files can be removed, since
//! nobody will ever make one of the same name; and what a killed kernel left is removed by the next one that starts.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, getuid, unlinkat};

use super::directory::PrivateDirectory;
use super::lock;

/// How the names of such sockets begin: that of the instance.
const PREFIX: &[u8] = b"midplane-";

/// Keeps other kernels from sweeping until it is dropped, so that none takes a lock file that is made and not locked yet.
pub(super) struct Sweeping<'a>(&'a PrivateDirectory);

/// Removes the sockets whose processes live no more. What cannot be looked at stays: nothing here is worth failing for.
pub(super) fn sweep(directory: &PrivateDirectory) -> Sweeping<'_> {
    // Without the lock a start is as good, and only its own files could be in danger.
    let _ = directory.file().lock();
    let listed = Dir::openat(
        directory.as_fd(),
        ".",
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    );
    for entry in listed.into_iter().flatten().flatten() {
        let name = entry.file_name().to_bytes();
        let socket = name.strip_suffix(lock::SUFFIX.as_bytes());
        if let Some(socket) = socket.filter(|socket| socket.starts_with(PREFIX)) {
            remove_if_dead(directory, OsStr::from_bytes(socket));
        }
    }
    Sweeping(directory)
}

impl Drop for Sweeping<'_> {
    fn drop(&mut self) {
        let _ = self.0.file().unlock();
    }
}

/// For the one who holds the lock.
pub(super) fn remove_lock(directory: &PrivateDirectory, socket: &OsStr) {
    let name = lock::name_for(socket);
    let _ = unlinkat(
        directory.as_fd(),
        name.as_os_str(),
        UnlinkatFlags::NoRemoveDir,
    );
}

fn remove_if_dead(directory: &PrivateDirectory, socket: &OsStr) {
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let name = lock::name_for(socket);
    let Ok(fd) = openat(directory.as_fd(), name.as_os_str(), flags, Mode::empty()) else {
        return;
    };
    let file = File::from(fd);
    let is_plain = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if !is_plain || file.try_lock().is_err() {
        return;
    }
    let is_socket =
        fstatat(directory.as_fd(), socket, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK
                && stat.st_uid == getuid().as_raw()
        });
    if is_socket {
        let _ = unlinkat(directory.as_fd(), socket, UnlinkatFlags::NoRemoveDir);
    }
    remove_lock(directory, socket);
}
