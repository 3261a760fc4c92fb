//! Finds the kernel's socket and the host key, the same way for every command line.
//!
//! Connects to nothing and writes nothing.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::Uid;

use crate::Client;

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
    /// `$MIDPLANE_HOST_KEY`: the key itself.
    pub host_key: Option<String>,
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
            host_key: std::env::var("MIDPLANE_HOST_KEY")
                .ok()
                .filter(|key| !key.is_empty()),
        }
    }

    /// The host key: from the file that is named, else from the environment, else from the file beside the socket.
    ///
    /// # Errors
    /// As [`read_host_key`].
    pub fn host_key(&self, socket: &Path, file: Option<&Path>) -> Result<String, LocateError> {
        match (file, &self.host_key) {
            (Some(file), _) => Ok(read_host_key(file)?),
            (None, Some(key)) if is_host_key(key) => Ok(key.clone()),
            (None, Some(_)) => Err(LocateError::HostKeyVariable),
            (None, None) => Ok(read_host_key(&host_key_file(socket))?),
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

/// A client with the host key, as command lines need it: flags win over the environment, and that over the default paths.
///
/// # Errors
/// When there is no host key. Whether a kernel is there shows at the first request.
pub fn client(socket: Option<&Path>, host_key_file: Option<&Path>) -> Result<Client, LocateError> {
    let surroundings = Surroundings::from_env();
    let socket = surroundings.socket(socket);
    let key = surroundings.host_key(&socket, host_key_file)?;
    Ok(Client::new(socket).credential(key))
}

/// There is no host key to use.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    #[error(transparent)]
    HostKey(#[from] ReadHostKeyError),
    #[error("$MIDPLANE_HOST_KEY holds no host key: it is `mph_` and 43 characters")]
    HostKeyVariable,
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
    // A pipe in its place would hold up an ordinary open.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
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
            ..Surroundings::default()
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
    fn a_named_key_file_wins_over_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("kernel.sock");
        let key = |letter: &str| format!("mph_{}", letter.repeat(43));
        let write = |name: &str, key: &str| {
            let path = dir.path().join(name);
            fs::write(&path, key).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            path
        };
        let mut around = Surroundings::default();
        assert!(around.host_key(&socket, None).is_err());
        write("host.key", &key("a"));
        let named = write("other.key", &key("b"));
        assert_eq!(around.host_key(&socket, None).unwrap(), key("a"));
        around.host_key = Some(key("c"));
        assert_eq!(around.host_key(&socket, None).unwrap(), key("c"));
        assert_eq!(around.host_key(&socket, Some(&named)).unwrap(), key("b"));
        around.host_key = Some("mph_short".to_owned());
        assert!(matches!(
            around.host_key(&socket, None),
            Err(LocateError::HostKeyVariable)
        ));
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
