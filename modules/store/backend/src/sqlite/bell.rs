//! A file that is written to behind every commit, so that other processes can wait for one.
//!
//! Neither the database nor its log can be waited for: a commit is visible only with the last word in the log's index, which
//! is memory that processes share, and a word in it tells nobody.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::file::OpenError;

const NAME: &str = "commits";

pub(super) struct Bell(File);

impl Bell {
    pub(super) fn of(file: &Path) -> Result<Bell, OpenError> {
        let bell = path(file);
        let opened = beside(file).and_then(|_| {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).write(true).mode(0o600);
            options.open(&bell)
        });
        let bell = opened
            .map(Bell)
            .map_err(|source| OpenError::Make { path: bell, source })?;
        // The block is there from now on, also when the disk is full.
        bell.ring();
        Ok(bell)
    }

    /// Who waits looks. That it cannot be rung takes nothing from the commit: it is seen with the next.
    pub(super) fn ring(&self) {
        if let Err(error) = self.0.write_all_at(b".", 0) {
            tracing::debug!(%error, "other processes were not told of a commit");
        }
    }
}

pub(super) fn path(file: &Path) -> PathBuf {
    beside_path(file).join(NAME)
}

/// The directory for what processes tell each other about the file, which holds nothing that lasts.
pub(super) fn beside(file: &Path) -> io::Result<PathBuf> {
    let dir = beside_path(file);
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(error)
            if error.kind() == io::ErrorKind::AlreadyExists && fs::metadata(&dir)?.is_dir() =>
        {
            Ok(dir)
        }
        made => made.map(|()| dir),
    }
}

pub(super) fn beside_path(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".open");
    file.with_file_name(name)
}
