//! Where the bytes that are loaded lie: in a file of their own, or in memory where the file system lets no code be mapped.
//!
//! Either way they are found under a path that no other copy ever had: the dynamic loader takes a path it has seen for the
//! library it has loaded from there, so that a descriptor's number, which is soon used again, would give old code back. And
//! either way they stay as long as the owner of this lives, which must be as long as the code is mapped: backtraces read
//! names from there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(
        "no space is left for the module's private copy in {dir}: it needs {needed_kib} KiB, and {free_kib} KiB are free ({source}); free some, or set `data_dir` in [kernel] to a directory with more",
        dir = dir.display()
    )]
    Full {
        dir: PathBuf,
        needed_kib: u64,
        free_kib: u64,
        source: io::Error,
    },
    #[error(
        "no code may be run from {dir} (it is mounted noexec), nor can the module's private copy be kept in memory instead ({source}): set `data_dir` in [kernel] to a directory from which programs can be run",
        dir = dir.display()
    )]
    NoExec { dir: PathBuf, source: io::Error },
    #[error(
        "the module's private copy cannot be written to {dir}: {source}; set `data_dir` in [kernel] to a directory of your own",
        dir = dir.display()
    )]
    Write { dir: PathBuf, source: io::Error },
}

/// What the dynamic loader opens. Keep it until the code is gone from the process; dropping it removes the path.
#[derive(Debug)]
pub(crate) enum PrivateCopy {
    File(PathBuf),
    /// Another process's, which keeps it.
    Given(PathBuf),
    Memory {
        /// A link to the descriptor, for a path that is not used again.
        link: PathBuf,
        contents: OwnedFd,
    },
}

impl PrivateCopy {
    /// Copies `bytes` to `dir`, under a `name` that is used once.
    pub(super) fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<PrivateCopy, CopyError> {
        let path = dir.join(name);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                full(dir, bytes.len() as u64, source)
            }
            _ => CopyError::Write {
                dir: dir.to_owned(),
                source,
            },
        };
        let mut file = create(&path).map_err(failed)?;
        // From here on, dropping it removes what is there of it.
        let copy = PrivateCopy::File(path);
        if may_be_run(copy.path_to_open()) {
            if let Err(source) = file.write_all(bytes) {
                // First, so that what is told to be free is what there is without it.
                drop((file, copy));
                return Err(failed(source));
            }
            return Ok(copy);
        }
        let path = copy.path_to_open().to_owned();
        drop((file, copy));
        let contents = in_memory(bytes).map_err(|source| CopyError::NoExec {
            dir: dir.to_owned(),
            source,
        })?;
        link_to(&contents, &path).map_err(failed)?;
        Ok(PrivateCopy::Memory {
            link: path,
            contents,
        })
    }

    /// The path that a child opens, and what it has to have as its standard input for that.
    pub(super) fn for_child(&self) -> io::Result<(PathBuf, Stdio)> {
        Ok(match self {
            PrivateCopy::File(path) | PrivateCopy::Given(path) => (path.clone(), Stdio::null()),
            // The link leads to a descriptor of whoever follows it.
            PrivateCopy::Memory { contents, .. } => (
                PathBuf::from("/proc/self/fd/0"),
                Stdio::from(contents.try_clone()?),
            ),
        })
    }

    /// The descriptor that whoever opens it elsewhere has to be given.
    pub(crate) fn contents(&self) -> Option<BorrowedFd<'_>> {
        match self {
            PrivateCopy::File(_) | PrivateCopy::Given(_) => None,
            PrivateCopy::Memory { contents, .. } => Some(contents.as_fd()),
        }
    }

    pub(crate) fn path_to_open(&self) -> &Path {
        match self {
            PrivateCopy::File(path)
            | PrivateCopy::Given(path)
            | PrivateCopy::Memory { link: path, .. } => path,
        }
    }
}

impl Drop for PrivateCopy {
    fn drop(&mut self) {
        if !matches!(self, PrivateCopy::Given(_)) {
            // At the end of the process its whole directory may have gone before.
            let _ = fs::remove_file(self.path_to_open());
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o500)
        .open(path)
}

/// Whether the file system lets it be run, as the mode does. An error of another kind is left for the loader to tell.
fn may_be_run(file: &Path) -> bool {
    !matches!(access(file, AccessFlags::X_OK), Err(Errno::EACCES))
}

fn full(dir: &Path, needed: u64, source: io::Error) -> CopyError {
    let free = nix::sys::statvfs::statvfs(dir).map_or(0, |stat| {
        // Their widths differ from one system to the next.
        #[expect(clippy::useless_conversion, reason = "not useless on macOS")]
        u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()))
    });
    CopyError::Full {
        dir: dir.to_owned(),
        needed_kib: needed.div_ceil(1024),
        free_kib: free / 1024,
        source,
    }
}

/// A file without a name that holds `bytes` and cannot be changed any more.
#[cfg(target_os = "linux")]
fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};

    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Asked for since Linux 6.3, unknown before (memfd_create(2)).
    let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let contents = match memfd_create("midplane-module", flags | executable) {
        Err(Errno::EINVAL) => memfd_create("midplane-module", flags)?,
        other => other?,
    };
    let mut file = File::from(contents);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

#[cfg(not(target_os = "linux"))]
fn in_memory(_bytes: &[u8]) -> io::Result<OwnedFd> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system has no files in memory",
    ))
}

fn link_to(contents: &OwnedFd, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    std::os::unix::fs::symlink(format!("/proc/self/fd/{}", contents.as_raw_fd()), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_there_as_long_as_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let copy = PrivateCopy::write(dir.path(), "a-1.so", b"bytes").unwrap();
        assert_eq!(fs::read(copy.path_to_open()).unwrap(), b"bytes");
        let taken = PrivateCopy::write(dir.path(), "a-1.so", b"other").unwrap_err();
        assert!(matches!(taken, CopyError::Write { .. }), "{taken}");
        assert_eq!(fs::read(copy.path_to_open()).unwrap(), b"bytes");
        drop(copy);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_in_memory_cannot_be_changed_and_has_the_path_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("a-1.so");
        let contents = in_memory(b"bytes").unwrap();
        link_to(&contents, &link).unwrap();
        let copy = PrivateCopy::Memory {
            link: link.clone(),
            contents,
        };
        assert_eq!(fs::read(copy.path_to_open()).unwrap(), b"bytes");
        let change = OpenOptions::new()
            .write(true)
            .open(&link)
            .and_then(|mut file| file.write_all(b"other"));
        assert_eq!(change.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        drop(copy);
        assert!(link.symlink_metadata().is_err());
    }
}
