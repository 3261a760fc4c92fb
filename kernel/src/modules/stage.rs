//! The private copy of an artifact that is loaded, and who may write to what it came from.
//!
//! The author's file is never mapped: overwriting a mapped file crashes the process, and what was checked would not be what
//! runs. The copy stands under a name of its own in a directory that only we can enter.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use ring::digest;

use super::descriptor::ARTIFACT_LEN_MAX;

/// Why a file was not staged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    #[error("{path} cannot be read: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is outside the directories that modules may be loaded from: add {} to `module_dirs` in [kernel]", path.parent().unwrap_or(path).display(), path = path.display())]
    Outside { path: PathBuf },
    #[error("{path} {what}: only its owner may be able to change what the kernel loads; {mend}", path = path.display())]
    Writable {
        path: PathBuf,
        what: String,
        mend: String,
    },
    #[error("{path} is not a regular file", path = path.display())]
    NotAFile { path: PathBuf },
    #[error("{path} has {len} bytes, more than any module ({max})", path = path.display(), max = ARTIFACT_LEN_MAX)]
    TooLong { path: PathBuf, len: u64 },
    #[error(
        "the file's sha256 is {found}, and {pinned} is pinned in the configuration: load the pinned build or change the pin"
    )]
    OtherHash { found: String, pinned: String },
    #[error("no space is left to stage the module in {dir}: free some", dir = dir.display())]
    Full { dir: PathBuf },
    #[error("the module cannot be staged in {dir}: {source}", dir = dir.display())]
    Write { dir: PathBuf, source: io::Error },
}

/// The directory of this process's private copies.
pub(crate) struct Staging {
    dir: PathBuf,
    /// Held for the process's life: whoever gets it knows that the directory's owner is gone.
    _lock: Flock<File>,
}

/// An artifact, checked and copied.
pub(crate) struct Staged {
    pub(crate) copy: PathBuf,
    /// Lower-case hex.
    pub(crate) sha256: String,
    pub(crate) bytes: Vec<u8>,
}

impl Staging {
    /// Makes `<data_dir>/modules/<instance>`, and removes what processes that ended without cleaning up left beside it.
    pub(crate) fn new(data_dir: &Path, instance: &str) -> Result<Staging, StageError> {
        let all = data_dir.join("modules");
        let failed = |source| StageError::Write {
            dir: all.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&all)
            .map_err(failed)?;
        check_owner(&all, &fs::metadata(&all).map_err(failed)?)?;
        // One process at a time cleans up and makes its own, so that none takes another's new directory for abandoned.
        let _turn = lock(&all.join("lock"), FlockArg::LockExclusive).map_err(failed)?;
        remove_abandoned(&all);
        let dir = all.join(instance);
        DirBuilder::new().mode(0o700).create(&dir).map_err(failed)?;
        let lock = lock(&dir.join("lock"), FlockArg::LockExclusiveNonblock).map_err(failed)?;
        Ok(Staging { dir, _lock: lock })
    }

    /// Checks and copies the artifact at `path`, as the generation `label`.
    pub(crate) fn stage(
        &self,
        path: &Path,
        allowed: &[PathBuf],
        pinned: Option<&str>,
        label: &str,
    ) -> Result<Staged, StageError> {
        let bytes = read_checked(path, allowed)?;
        let sha256 = sha256(&bytes);
        if let Some(pinned) = pinned.filter(|pinned| !pinned.eq_ignore_ascii_case(&sha256)) {
            return Err(StageError::OtherHash {
                found: sha256,
                pinned: pinned.to_owned(),
            });
        }
        let copy = self
            .dir
            .join(format!("{}-{}.so", label.replace('#', "-"), &sha256[..16]));
        let write = || {
            let mut file = OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o500)
                .open(&copy)?;
            file.write_all(&bytes)
        };
        write().map_err(|source: io::Error| {
            // Half a copy is of no use; that it cannot be removed is the lesser news.
            let _ = fs::remove_file(&copy);
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StageError::Full {
                    dir: self.dir.clone(),
                },
                _ => StageError::Write {
                    dir: self.dir.clone(),
                    source,
                },
            }
        })?;
        Ok(Staged {
            copy,
            sha256,
            bytes,
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Whatever is left is removed by the next process.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn lock(path: &Path, kind: FlockArg) -> io::Result<Flock<File>> {
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    Flock::lock(file, kind).map_err(|(_file, errno)| errno.into())
}

/// Removes the directories whose lock nobody holds.
fn remove_abandoned(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else {
        return;
    };
    for entry in entries.flatten() {
        let dir = entry.path();
        if dir.is_dir()
            && lock(&dir.join("lock"), FlockArg::LockExclusiveNonblock).is_ok()
            && let Err(error) = fs::remove_dir_all(&dir)
        {
            tracing::warn!(dir = %dir.display(), %error, "cannot remove the copies of a process that ended");
        }
    }
}

fn read_checked(path: &Path, allowed: &[PathBuf]) -> Result<Vec<u8>, StageError> {
    let failed = |source| StageError::Read {
        path: path.to_owned(),
        source,
    };
    let path = path.canonicalize().map_err(failed)?;
    if !path
        .parent()
        .is_some_and(|dir| allowed.iter().any(|allowed| dir == allowed))
    {
        return Err(StageError::Outside { path });
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    check_owner(dir, &fs::metadata(dir).map_err(failed)?)?;
    // The path was canonical a moment ago: a link that stands there now was put there since.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(StageError::NotAFile { path });
    }
    check_owner(&path, &metadata)?;
    if metadata.len() > ARTIFACT_LEN_MAX {
        return Err(StageError::TooLong {
            path,
            len: metadata.len(),
        });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    Read::take(&mut file, ARTIFACT_LEN_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), StageError> {
    let own = nix::unistd::Uid::effective().as_raw();
    let writable = |what, mend| {
        Err(StageError::Writable {
            path: path.to_owned(),
            what,
            mend,
        })
    };
    if metadata.uid() != own && metadata.uid() != 0 {
        return writable(
            format!("belongs to uid {}", metadata.uid()),
            "copy it to a directory of your own".to_owned(),
        );
    }
    if metadata.mode() & 0o022 != 0 {
        return writable(
            format!(
                "can be written by others (mode {:o})",
                metadata.mode() & 0o7777
            ),
            format!("run: chmod go-w {}", path.display()),
        );
    }
    Ok(())
}

/// Lower-case hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
