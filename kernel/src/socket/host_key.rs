//! `host.key` beside the socket: the host key for clients started by hand, written only when asked for.
//!
//! Several kernels may share the directory; the last one to write has the file, and only that one removes it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::directory::PrivateDirectory;
use super::{SocketError, device_of};

const NAME: &str = "host.key";

/// The written file; removed on drop if it is still this one.
#[derive(Debug)]
pub(super) struct HostKeyFile {
    directory: PrivateDirectory,
    device: u64,
    inode: u64,
}

impl HostKeyFile {
    /// Readable by this user alone from birth, and complete under its name or not there at all.
    pub(super) fn write(
        directory: PrivateDirectory,
        key: &str,
    ) -> Result<HostKeyFile, SocketError> {
        let path = directory.path().join(NAME);
        let failed = |error: std::io::Error| SocketError::failed("write", &path, error);
        let temporary = format!(".{NAME}.{}", std::process::id());
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // A killed process with the same id may have left one; the directory is closed to everyone else.
        let _ = unlinkat(
            directory.as_fd(),
            temporary.as_str(),
            UnlinkatFlags::NoRemoveDir,
        );
        let fd = openat(
            directory.as_fd(),
            temporary.as_str(),
            flags,
            Mode::S_IRUSR | Mode::S_IWUSR,
        )
        .map_err(|error| failed(error.into()))?;
        let stat = fstat(&fd).map_err(|error| failed(error.into()))?;
        let mut file = File::from(fd);
        let written = writeln!(file, "{key}").and_then(|()| {
            // Renaming and removing exclude each other, or one kernel could remove another's new file.
            directory.file().lock()?;
            let renamed = renameat(
                directory.as_fd(),
                temporary.as_str(),
                directory.as_fd(),
                NAME,
            );
            directory.file().unlock()?;
            Ok(renamed?)
        });
        if let Err(error) = written {
            let _ = unlinkat(
                directory.as_fd(),
                temporary.as_str(),
                UnlinkatFlags::NoRemoveDir,
            );
            return Err(failed(error));
        }
        Ok(HostKeyFile {
            device: device_of(&stat),
            inode: stat.st_ino,
            directory,
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join(NAME)
    }

    /// Removes the file if it is still the one that was written here.
    pub(super) fn remove(&self) {
        if self.directory.file().lock().is_err() {
            return;
        }
        let ours = fstatat(self.directory.as_fd(), NAME, AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| device_of(&stat) == self.device && stat.st_ino == self.inode);
        if ours {
            let _ = unlinkat(self.directory.as_fd(), NAME, UnlinkatFlags::NoRemoveDir);
        }
        let _ = self.directory.file().unlock();
    }
}

impl Drop for HostKeyFile {
    fn drop(&mut self) {
        self.remove();
    }
}
