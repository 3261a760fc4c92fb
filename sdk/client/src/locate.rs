//! Finds the kernel's socket and the host key, the same way for every command line.
//!
//! Connects to nothing and writes nothing.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
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

/// A client with the host key, for a command line: the key is in the file that the flag names, else in `$MIDPLANE_HOST_KEY`
/// itself, else in `host.key` beside the socket.
///
/// # Errors
/// There is no usable key, or no kernel to have written one.
pub fn client(
    socket_flag: Option<&Path>,
    host_key_file_flag: Option<&Path>,
) -> Result<Client, LocateError> {
    let socket = Surroundings::from_env().socket(socket_flag);
    let variable = std::env::var_os("MIDPLANE_HOST_KEY").filter(|key| !key.is_empty());
    let key = host_key(&socket, host_key_file_flag, variable)?;
    Ok(Client::new(socket).credential(key.0))
}

/// The host key: 256 random bits; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey(String);

impl HostKey {
    /// `mph_` and 43 characters of base64url (256 bits, unpadded; RFC 4648 section 5), white space around it passed over.
    #[must_use]
    pub fn parse(text: &str) -> Option<HostKey> {
        let key = text.trim();
        let encoded = key.strip_prefix("mph_")?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (encoded.len() == 43 && encoded.bytes().all(plain)).then(|| HostKey(key.to_owned()))
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey(…)")
    }
}

/// No host key was found.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    #[error("no kernel is running at {}; start one with `midplane serve --write-host-key`, or name its socket with --socket or $MIDPLANE_SOCKET", socket.display())]
    NoKernel { socket: PathBuf },
    #[error("no host key at {}; start the kernel with --write-host-key, or give the key in $MIDPLANE_HOST_KEY or by --host-key-file", path.display())]
    NoHostKey { path: PathBuf },
    #[error("$MIDPLANE_HOST_KEY holds no host key: it is mph_ and 43 characters")]
    MalformedVariable,
    #[error(transparent)]
    File(#[from] ReadHostKeyError),
}

/// The host key of the kernel at `socket`: from `file`, else `variable` (the key itself), else the file beside the socket.
fn host_key(
    socket: &Path,
    file: Option<&Path>,
    variable: Option<OsString>,
) -> Result<HostKey, LocateError> {
    if let Some(path) = file {
        return Ok(read_host_key(path)?);
    }
    if let Some(text) = variable {
        let key = text.to_str().and_then(HostKey::parse);
        return key.ok_or(LocateError::MalformedVariable);
    }
    let path = host_key_file(socket);
    match read_host_key(&path) {
        Err(ReadHostKeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(if socket.exists() {
                LocateError::NoHostKey { path }
            } else {
                LocateError::NoKernel {
                    socket: socket.to_owned(),
                }
            })
        }
        read => Ok(read?),
    }
}

/// Reading a host key failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadHostKeyError {
    #[error("cannot read the host key from {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} must be a file of yours that no one else can read; run: chmod 600 {}", path.display(), path.display())]
    Exposed { path: PathBuf },
    #[error("{} holds no host key: it is mph_ and 43 characters", path.display())]
    Malformed { path: PathBuf },
}

/// Reads a host key from a file that its owner alone can read.
///
/// # Errors
/// The file cannot be read, is open to others, or holds something else.
pub fn read_host_key(path: &Path) -> Result<HostKey, ReadHostKeyError> {
    let failed = |source| ReadHostKeyError::Read {
        path: path.to_owned(),
        source,
    };
    // A pipe without a writer would hold up the opening, before it can be seen that it is no file.
    let file = File::options()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
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
    let mut bytes = Vec::new();
    file.take(MAX_KEY_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    HostKey::parse(text).ok_or_else(|| ReadHostKeyError::Malformed {
        path: path.to_owned(),
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
        assert_eq!(read_host_key(&path).unwrap().expose(), key);
        for text in [
            "",
            "mph_",
            &key[1..],
            &key[..46],
            &format!("{key}a"),
            &key.replace('Z', "+"),
            &key.replace("Z0", "é"),
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

    /// A pipe that no one writes to must be refused, not waited for.
    #[test]
    fn does_not_wait_for_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.key");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let read = read_host_key(&path);
        assert!(matches!(read, Err(ReadHostKeyError::Exposed { .. })));
    }

    #[test]
    fn takes_the_key_from_the_flag_then_the_variable_then_beside_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("kernel.sock");
        let key = |letter: &str| format!("mph_{}", letter.repeat(43));
        let find = |file: Option<&Path>, variable: Option<&str>| {
            host_key(&socket, file, variable.map(OsString::from))
        };
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            path
        };
        assert!(matches!(
            find(None, None),
            Err(LocateError::NoKernel { .. })
        ));
        write("kernel.sock", "");
        assert!(matches!(
            find(None, None),
            Err(LocateError::NoHostKey { .. })
        ));
        write("host.key", &key("a"));
        let flag = write("flag.key", &key("c"));
        let (b, c) = (key("b"), key("c"));
        assert_eq!(find(None, None).unwrap().expose(), key("a"));
        assert_eq!(find(None, Some(&b)).unwrap().expose(), b);
        assert_eq!(find(Some(&flag), Some(&b)).unwrap().expose(), c);
        // What was named must be usable: nothing else stands in for it.
        let malformed = find(None, Some("mph_short"));
        assert!(matches!(malformed, Err(LocateError::MalformedVariable)));
        let missing = find(Some(Path::new("/nonexistent")), Some(&b));
        assert!(matches!(missing, Err(LocateError::File(_))));
        assert!(!format!("{:?}", find(None, Some(&b))).contains(&b));
    }
}
