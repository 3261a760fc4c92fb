//! Finds the kernel's socket and the host key, the same way for every command line.
//!
//! Connects to nothing and writes nothing.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

/// More than any key file holds: the key is 47 bytes, an editor may add a line end.
const MAX_KEY_FILE_BYTES: u64 = 256;

/// Where a kernel can be found, by environment; empty values count as unset.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `$MIDPLANE_SOCKET`
    pub socket: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`
    pub runtime_dir: Option<PathBuf>,
    /// `$TMPDIR`
    pub temporary_dir: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn from_env() -> Self {
        let path = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        Self {
            socket: path("MIDPLANE_SOCKET"),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            temporary_dir: path("TMPDIR"),
        }
    }

    /// The socket: the flag, else the environment, else the default path.
    #[must_use]
    pub fn socket(&self, flag: Option<&Path>) -> PathBuf {
        if let Some(path) = flag.or(self.socket.as_deref()) {
            return path.to_owned();
        }
        if let Some(dir) = &self.runtime_dir {
            return dir.join("midplane/kernel.sock");
        }
        let base = match &self.temporary_dir {
            Some(dir) if cfg!(target_os = "macos") => dir.clone(),
            _ => PathBuf::from("/tmp"),
        };
        base.join(format!("midplane-{}", Uid::effective()))
            .join("kernel.sock")
    }
}

/// The file a kernel writes its host key to when it is asked to.
#[must_use]
pub fn host_key_file(socket: &Path) -> PathBuf {
    socket.with_file_name("host.key")
}

/// Reading a host key failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadHostKeyError {
    #[error("cannot read the host key from {}: {source}; start the kernel with --write-host-key", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} must be a file of yours that no one else can read; run: chmod 600 {}", path.display(), path.display())]
    Exposed { path: PathBuf },
    #[error("{} holds no host key", path.display())]
    Malformed { path: PathBuf },
}

/// Reads a host key from a file that its owner alone can read.
///
/// # Errors
/// The file cannot be read, is open to others, or holds something else.
pub fn read_host_key(path: &Path) -> Result<String, ReadHostKeyError> {
    let failed = |source| ReadHostKeyError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, so that it is the one that is read.
    let metadata = file.metadata().map_err(failed)?;
    let exposed = metadata.permissions().mode() & 0o077 != 0;
    if exposed || !metadata.is_file() || metadata.uid() != Uid::effective().as_raw() {
        return Err(ReadHostKeyError::Exposed {
            path: path.to_owned(),
        });
    }
    let mut text = String::new();
    file.take(MAX_KEY_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let key = text.trim();
    if !is_host_key(key) {
        return Err(ReadHostKeyError::Malformed {
            path: path.to_owned(),
        });
    }
    Ok(key.to_owned())
}

/// `mph_` and 43 characters of base64url (256 bits, unpadded; RFC 4648 section 5).
fn is_host_key(text: &str) -> bool {
    text.strip_prefix("mph_").is_some_and(|rest| {
        rest.len() == 43
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    #[test]
    fn prefers_the_flag_then_the_environment_then_the_runtime_directory() {
        let mut around = Surroundings {
            socket: Some("/env.sock".into()),
            runtime_dir: Some("/run/user/1".into()),
            temporary_dir: None,
        };
        assert_eq!(
            around.socket(Some(Path::new("/flag.sock"))),
            Path::new("/flag.sock")
        );
        assert_eq!(around.socket(None), Path::new("/env.sock"));
        around.socket = None;
        assert_eq!(
            around.socket(None),
            Path::new("/run/user/1/midplane/kernel.sock")
        );
        around.runtime_dir = None;
        let expected = format!("/tmp/midplane-{}/kernel.sock", Uid::effective());
        assert_eq!(around.socket(None), Path::new(&expected));
        assert_eq!(
            host_key_file(Path::new("/a/kernel.sock")),
            Path::new("/a/host.key")
        );
    }

    #[test]
    fn reads_a_key_that_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.key");
        let key = format!("mph_{}", "aZ0-_".repeat(9).split_at(43).0);
        fs::write(&path, format!("{key}\n")).unwrap();
        for mode in [0o604, 0o640, 0o620, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let read = read_host_key(&path);
            assert!(
                matches!(read, Err(ReadHostKeyError::Exposed { .. })),
                "{mode:o}"
            );
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_host_key(&path).unwrap(), key);
        for text in [
            "",
            "mph_",
            &key[1..],
            &key[..46],
            &format!("{key}a"),
            &key.replace('Z', "+"),
        ] {
            fs::write(&path, text).unwrap();
            let read = read_host_key(&path);
            assert!(
                matches!(read, Err(ReadHostKeyError::Malformed { .. })),
                "{text:?}"
            );
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(
            read_host_key(&path),
            Err(ReadHostKeyError::Read { .. })
        ));
    }
}
