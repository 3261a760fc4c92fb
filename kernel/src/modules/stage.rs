//! The private copy of an artifact that is loaded: checked, hashed, written where only we can enter.
//!
//! The author's file is never mapped: overwriting a mapped file crashes the process, and what was checked would not be what
//! runs. Hash and copy are of the same bytes, read once; one mark in
//! the copy is changed, so that it can be unloaded.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use midplane_unload::Findings;
use nix::fcntl::{Flock, FlockArg};
use ring::digest;

use super::data_dir::{DataDirError, DataDirs};
use super::origin::{self, OriginError};
use super::private_copy::{CopyError, PrivateCopy};

/// Why a file was not staged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error(
        "the sha256 of {path} is {found}, and {pinned} is pinned in the configuration: load the pinned build or change the pin",
        path = path.display()
    )]
    OtherHash {
        path: PathBuf,
        found: String,
        pinned: String,
    },
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(
        "{dir}, where modules are copied to before they are loaded, cannot be made: {source}; set `data_dir` in [kernel] to a directory of your own",
        dir = dir.display()
    )]
    Directory { dir: PathBuf, source: io::Error },
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

/// The directory of this process's private copies, and those that modules have for themselves.
pub(crate) struct Staging {
    dir: PathBuf,
    data_dirs: DataDirs,
    /// Held for the process's life: whoever gets it knows that the directory's owner is gone.
    _lock: Flock<File>,
}

/// An artifact, checked and copied.
pub(crate) struct Staged {
    pub(crate) copy: PrivateCopy,
    /// Lower-case hex.
    pub(crate) sha256: String,
    pub(crate) bytes: Vec<u8>,
    /// What stands in it about unloading.
    pub(crate) findings: Findings,
}

impl Staging {
    /// Makes `<data_dir>/modules/<instance>`, and removes what processes that ended without cleaning up left beside it.
    pub(crate) fn new(data_dir: &Path, instance: &str) -> Result<Staging, StageError> {
        let all = data_dir.join("modules");
        let failed = |source| StageError::Directory {
            dir: all.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&all)
            .map_err(failed)?;
        origin::check_owner(&all, &fs::metadata(&all).map_err(failed)?)?;
        // One process at a time cleans up and makes its own, so that none takes another's new directory for abandoned.
        let _turn = lock(&all.join("lock"), FlockArg::LockExclusive).map_err(failed)?;
        remove_abandoned(&all);
        let dir = all.join(instance);
        DirBuilder::new().mode(0o700).create(&dir).map_err(failed)?;
        let lock = lock(&dir.join("lock"), FlockArg::LockExclusiveNonblock).map_err(failed)?;
        Ok(Staging {
            dir,
            data_dirs: DataDirs::new(data_dir),
            _lock: lock,
        })
    }

    /// Where the module called `name` keeps files of its own.
    pub(crate) fn data_dir(&self, name: &str) -> Result<PathBuf, StageError> {
        Ok(self.data_dirs.of(name)?)
    }

    /// Checks and copies the artifact at `path`, as the generation `label`, of which there is one ever.
    pub(crate) fn stage(
        &self,
        path: &Path,
        allowed: &[PathBuf],
        pinned: Option<&str>,
        label: &str,
    ) -> Result<Staged, StageError> {
        let bytes = origin::read(path, allowed)?;
        let sha256 = sha256(&bytes);
        if let Some(pinned) = pinned.filter(|pinned| !pinned.eq_ignore_ascii_case(&sha256)) {
            return Err(StageError::OtherHash {
                path: path.to_owned(),
                found: sha256,
                pinned: pinned.to_owned(),
            });
        }
        self.copy(bytes, sha256, label)
    }

    /// Copies what was staged before, of an artifact with this `sha256`, for another generation.
    pub(crate) fn restage(
        &self,
        copy: &PrivateCopy,
        sha256: String,
        label: &str,
    ) -> Result<Staged, StageError> {
        let path = copy.path_to_open();
        let bytes = fs::read(path).map_err(|source| StageError::Directory {
            dir: path.to_owned(),
            source,
        })?;
        self.copy(bytes, sha256, label)
    }

    fn copy(&self, mut bytes: Vec<u8>, sha256: String, label: &str) -> Result<Staged, StageError> {
        let findings = midplane_unload::prepare(&mut bytes);
        let name = format!("{}-{}.so", label.replace('#', "-"), &sha256[..16]);
        let copy = PrivateCopy::write(&self.dir, &name, &bytes)?;
        Ok(Staged {
            copy,
            sha256,
            bytes,
            findings,
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

/// Lower-case hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
