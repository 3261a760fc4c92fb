//! The socket's directory: ours, closed to everyone else, and held open so that later steps cannot be led elsewhere.
//!
//! It creates the last component only, and never changes the mode or owner of what is there.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{getuid, mkdir};

use super::SocketError;

/// An open directory that only this user can enter.
#[derive(Debug)]
pub(super) struct PrivateDirectory {
    file: File,
    path: PathBuf,
}

impl PrivateDirectory {
    pub(super) fn open_or_create(path: &Path) -> Result<PrivateDirectory, SocketError> {
        check_ancestors(path)?;
        match mkdir(path, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => PrivateDirectory::open(path),
            Err(error) => Err(SocketError::failed("create the directory", path, error)),
        }
    }

    pub(super) fn open(path: &Path) -> Result<PrivateDirectory, SocketError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        let refuse = |reason: String| SocketError::Unsafe {
            path: path.to_owned(),
            reason,
        };
        let fd = match open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                return Err(refuse(
                    "it is a symbolic link or not a directory".to_owned(),
                ));
            }
            Err(error) => return Err(SocketError::failed("open the directory", path, error)),
        };
        let stat = fstat(&fd).map_err(|error| SocketError::failed("look at", path, error))?;
        if stat.st_uid != getuid().as_raw() {
            return Err(refuse(format!(
                "it belongs to user {}; choose another --socket",
                stat.st_uid
            )));
        }
        if stat.st_mode & 0o077 != 0 {
            return Err(refuse(format!(
                "others may enter it (mode {:04o}); if that is not meant: chmod 700 {}",
                stat.st_mode & 0o7777,
                path.display()
            )));
        }
        Ok(PrivateDirectory {
            file: File::from(fd),
            path: path.to_owned(),
        })
    }

    pub(super) fn try_clone(&self) -> Result<PrivateDirectory, SocketError> {
        let file = self
            .file
            .try_clone()
            .map_err(|error| SocketError::failed("keep open", &self.path, error))?;
        Ok(PrivateDirectory {
            file,
            path: self.path.clone(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// For `flock` on the directory itself.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl AsFd for PrivateDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Refuses a path where anyone could put another directory in the place of ours: an ancestor that all may write to, without
/// the sticky bit that keeps /tmp safe. The links on the way (/tmp on macOS is one) are followed before the look.
fn check_ancestors(path: &Path) -> Result<(), SocketError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let real = parent
        .canonicalize()
        .map_err(|error| SocketError::failed("find the directory", parent, error))?;
    for ancestor in real.ancestors() {
        let mode = ancestor
            .metadata()
            .map_err(|error| SocketError::failed("look at", ancestor, error))?
            .mode();
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            return Err(SocketError::Unsafe {
                path: ancestor.to_owned(),
                reason: "everyone may replace what is in it; choose another --socket".to_owned(),
            });
        }
    }
    Ok(())
}
