//! Reads the configuration file, and only one that nobody else could have written.
//!
//! The directory is opened first and the file relative to it, so that what is checked is what is read.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::error::ConfigError;

/// Far above any real file; a device or a mistake is not read into memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let io = |source: io::Error| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    // links are followed here, once; from here on the last component may not be one
    let real = path.canonicalize().map_err(io)?;
    let not_a_file = || ConfigError::NotAFile {
        path: path.to_owned(),
        limit: FILE_BYTES_MAX,
    };
    let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(not_a_file());
    };
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits())
        .open(parent)
        .map_err(io)?;
    owned(parent, &directory.metadata().map_err(io)?)?;
    let file = open_in(&directory, name).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(not_a_file());
    }
    owned(&real, &metadata)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(io)?;
    Ok(text)
}

fn open_in(directory: &File, name: &OsStr) -> io::Result<File> {
    // non-blocking: a FIFO must not hold the start
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(File::from(openat(directory, name, flags, Mode::empty())?))
}

fn owned(path: &Path, metadata: &Metadata) -> Result<(), ConfigError> {
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() != 0 && metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(ConfigError::Owner {
            path: path.to_owned(),
            mode,
            owner: metadata.uid(),
        });
    }
    if mode & 0o022 != 0 {
        return Err(ConfigError::WritableByOthers {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_what_others_cannot_write_is_read() {
        for (directory_mode, file_mode, readable) in [
            (0o700, 0o600, true),
            (0o755, 0o644, true),
            (0o700, 0o620, false),
            (0o700, 0o602, false),
            (0o770, 0o600, false),
            (0o1777, 0o600, false),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("midplane.toml");
            fs::write(&path, "# text").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(file_mode)).unwrap();
            fs::set_permissions(directory.path(), Permissions::from_mode(directory_mode)).unwrap();
            let read = read(&path);
            assert_eq!(
                read.is_ok(),
                readable,
                "{directory_mode:o} {file_mode:o} {read:?}"
            );
            if let Err(error) = read {
                assert!(error.to_string().contains("chmod go-w"), "{error}");
            }
        }
    }

    #[test]
    fn a_link_is_judged_by_what_it_points_to() {
        let open = tempfile::tempdir().unwrap();
        let target = open.path().join("target.toml");
        fs::write(&target, "").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("midplane.toml");
        symlink(&target, &link).unwrap();
        assert!(read(&link).is_ok());
        fs::set_permissions(open.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            read(&link),
            Err(ConfigError::WritableByOthers { .. })
        ));
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(
            read(directory.path()),
            Err(ConfigError::WritableByOthers { .. } | ConfigError::NotAFile { .. })
        ));
        assert!(matches!(
            read(&directory.path().join("none")),
            Err(ConfigError::Read { .. })
        ));
    }
}
