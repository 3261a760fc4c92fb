//! The directory that a module has to itself: what it writes there outlives its generations, and the kernel.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
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
}

/// `<data_dir>/state/<module>`, which is made for the user alone if it is not there.
pub(crate) fn make(data_dir: &Path, module: &str) -> Result<PathBuf, DataDirError> {
    let dir = data_dir.join(ALL).join(module);
    let failed = |source| DataDirError::Make {
        dir: dir.clone(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(failed)?;
    for one in [&data_dir.join(ALL), &dir] {
        origin::check_owner(one, &fs::metadata(one).map_err(failed)?)?;
    }
    fs::canonicalize(&dir).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_private_and_found_again() {
        let data = tempfile::tempdir().unwrap();
        let dir = make(data.path(), "hello").unwrap();
        assert_eq!(dir, data.path().canonicalize().unwrap().join("state/hello"));
        assert_eq!(
            fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::write(dir.join("kept"), "").unwrap();
        assert_eq!(make(data.path(), "hello").unwrap(), dir);
        assert!(dir.join("kept").exists());
    }

    #[test]
    fn one_that_others_can_write_to_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let dir = make(data.path(), "hello").unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = make(data.path(), "hello").unwrap_err().to_string();
        assert!(refused.contains("state/hello"), "{refused}");
    }
}
