//! The directory that a module has to itself, the same in each isolation: what it writes there outlives its generations, and the
//! kernel, which never looks into it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::origin::{self, OriginError};

/// Below the kernel's data directory.
const ALL: &str = "state";

#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    #[error(
        "the module's data directory {dir} cannot be made: {source}; set `data_dir` in [kernel] to a directory of your own",
        dir = dir.display()
    )]
    Make { dir: PathBuf, source: io::Error },
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error("the module's data directory {dir} {what}: {mend}", dir = dir.display())]
    NotPrivate {
        dir: PathBuf,
        what: String,
        mend: String,
    },
}

/// `<data_dir>/state/<module>`, absolute and without links, which is made for the user alone if it is not there.
pub(crate) fn make(data_dir: &Path, module: &str) -> Result<PathBuf, DataDirError> {
    let all = data_dir.join(ALL);
    let dir = all.join(module);
    let failed = |source| DataDirError::Make {
        dir: dir.clone(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(failed)?;
    origin::check_owner(&all, &fs::metadata(&all).map_err(failed)?)?;
    // A link is followed: only we could have put it there, to have the files elsewhere.
    let dir = fs::canonicalize(&dir).map_err(failed)?;
    check_private(&dir, &fs::metadata(&dir).map_err(failed)?)?;
    Ok(dir)
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
    fn it_is_private_and_found_again() {
        let data = tempfile::tempdir().unwrap();
        let dir = make(&data.path().join("below"), "hello").unwrap();
        let real = data.path().canonicalize().unwrap();
        assert_eq!(dir, real.join("below/state/hello"));
        for made in [&*dir, dir.parent().unwrap()] {
            assert_eq!(made.metadata().unwrap().mode() & 0o7777, 0o700);
        }
        fs::write(dir.join("kept"), "").unwrap();
        assert_eq!(make(&data.path().join("below"), "hello").unwrap(), dir);
        assert!(dir.join("kept").exists());
        assert_ne!(make(data.path(), "other").unwrap(), dir);
    }

    #[test]
    fn one_that_others_can_look_into_or_replace_is_refused_and_left() {
        for (open, mode, expect) in [
            ("state/hello", 0o755, "is open to others (mode 755)"),
            ("state/hello", 0o710, "is open to others (mode 710)"),
            ("state", 0o770, "can be written by others (mode 770)"),
        ] {
            let data = tempfile::tempdir().unwrap();
            make(data.path(), "hello").unwrap();
            let open = data.path().join(open);
            chmod(&open, mode);
            let refused = make(data.path(), "hello").unwrap_err().to_string();
            assert!(
                refused.contains(expect) && refused.contains("chmod"),
                "{refused}"
            );
            assert_eq!(open.metadata().unwrap().mode() & 0o7777, mode);
            chmod(&open, 0o700);
            make(data.path(), "hello").unwrap();
        }
    }

    #[test]
    fn what_is_no_directory_is_refused_and_a_link_is_as_good_as_what_it_leads_to() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let all = data.path().join(ALL);
        fs::create_dir(&all).unwrap();
        fs::write(all.join("file"), "").unwrap();
        symlink("nowhere", all.join("dangling")).unwrap();
        symlink(elsewhere.path(), all.join("linked")).unwrap();
        for name in ["file", "dangling"] {
            let refused = make(data.path(), name).unwrap_err();
            assert!(matches!(refused, DataDirError::Make { .. }), "{refused}");
        }
        chmod(elsewhere.path(), 0o700);
        let real = elsewhere.path().canonicalize().unwrap();
        assert_eq!(make(data.path(), "linked").unwrap(), real);
        chmod(elsewhere.path(), 0o750);
        assert!(make(data.path(), "linked").is_err());
    }
}
