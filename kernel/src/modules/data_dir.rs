//! The directory that a module has for files of its own, `<data_dir>/state/<module>`: the same for each of its generations, in
//! each isolation. The kernel makes it and never looks into it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::origin::{self, OriginError};

/// Why a module has no directory of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    #[error(
        "{dir}, which is for the module's own files, cannot be made: {source}; set `data_dir` in [kernel] to a directory of your own",
        dir = dir.display()
    )]
    Make { dir: PathBuf, source: io::Error },
    #[error(transparent)]
    Owner(#[from] OriginError),
    #[error(
        "{dir}, which is for the module's own files, {what}: {mend}",
        dir = dir.display()
    )]
    NotPrivate {
        dir: PathBuf,
        what: String,
        mend: String,
    },
}

/// Where the directories of all modules are.
pub(super) struct DataDirs {
    all: PathBuf,
}

impl DataDirs {
    pub(super) fn new(data_dir: &Path) -> DataDirs {
        DataDirs {
            all: data_dir.join("state"),
        }
    }

    /// The directory of the module called `name`, made if it is not there.
    pub(super) fn of(&self, name: &str) -> Result<PathBuf, DataDirError> {
        make(&self.all)?;
        origin::check_owner(&self.all, &look(&self.all)?)?;
        let dir = self.all.join(name);
        make(&dir)?;
        check_private(&dir, &look(&dir)?)?;
        Ok(dir)
    }
}

fn make(dir: &Path) -> Result<(), DataDirError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(failed(dir))
}

/// A link is followed: only we could have put it there, to have the files elsewhere.
fn look(dir: &Path) -> Result<fs::Metadata, DataDirError> {
    fs::metadata(dir).map_err(failed(dir))
}

fn failed(dir: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let dir = dir.to_owned();
    |source| DataDirError::Make { dir, source }
}

/// What is not ours, or others may look into, is left as it is.
fn check_private(dir: &Path, metadata: &fs::Metadata) -> Result<(), DataDirError> {
    let refused = |what, mend| {
        Err(DataDirError::NotPrivate {
            dir: dir.to_owned(),
            what,
            mend,
        })
    };
    let own = nix::unistd::Uid::effective().as_raw();
    if metadata.uid() != own {
        return refused(
            format!(
                "belongs to uid {}, and the kernel runs as uid {own}",
                metadata.uid()
            ),
            "move it away, or give it to that user".to_owned(),
        );
    }
    if metadata.mode() & 0o077 != 0 {
        return refused(
            format!("is open to others (mode {:o})", metadata.mode() & 0o7777),
            format!("run: chmod 700 {}", dir.display()),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn it_is_made_private_and_found_again() {
        let data_dir = tempfile::tempdir().unwrap();
        let dirs = DataDirs::new(&data_dir.path().join("below"));
        let dir = dirs.of("chat").unwrap();
        assert_eq!(dir, data_dir.path().join("below/state/chat"));
        for made in [&*dir, dir.parent().unwrap()] {
            assert_eq!(made.metadata().unwrap().mode() & 0o7777, 0o700);
        }
        fs::write(dir.join("kept"), "x").unwrap();
        assert!(dirs.of("chat").unwrap().join("kept").exists());
        assert_ne!(dirs.of("other").unwrap(), dir);
    }

    #[test]
    fn one_that_others_can_look_into_or_replace_is_refused_and_left() {
        for (open, mode, expect) in [
            ("state/chat", 0o755, "is open to others (mode 755)"),
            ("state/chat", 0o710, "is open to others (mode 710)"),
            ("state", 0o770, "can be written by others (mode 770)"),
        ] {
            let data_dir = tempfile::tempdir().unwrap();
            let dirs = DataDirs::new(data_dir.path());
            dirs.of("chat").unwrap();
            let open = data_dir.path().join(open);
            chmod(&open, mode);
            let refused = dirs.of("chat").unwrap_err().to_string();
            assert!(refused.contains(expect), "{refused}");
            assert!(refused.contains("chmod"), "{refused}");
            assert_eq!(open.metadata().unwrap().mode() & 0o7777, mode);
            chmod(&open, 0o700);
            dirs.of("chat").unwrap();
        }
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let data_dir = tempfile::tempdir().unwrap();
        let all = data_dir.path().join("state");
        fs::create_dir(&all).unwrap();
        fs::write(all.join("file"), "").unwrap();
        symlink("nowhere", all.join("dangling")).unwrap();
        for name in ["file", "dangling"] {
            let refused = DataDirs::new(data_dir.path()).of(name).unwrap_err();
            assert!(matches!(refused, DataDirError::Make { .. }), "{refused}");
        }
        // One that stands elsewhere is as good, if it is as private.
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), all.join("linked")).unwrap();
        chmod(elsewhere.path(), 0o700);
        assert!(DataDirs::new(data_dir.path()).of("linked").is_ok());
        chmod(elsewhere.path(), 0o750);
        assert!(DataDirs::new(data_dir.path()).of("linked").is_err());
    }
}
