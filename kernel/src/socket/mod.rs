//! The kernel's socket: made private from birth, held under a lock, removed only by the process that made it.
//!
//! Binds, takes over from systemd, and says who a peer is. It accepts nothing and knows no HTTP. A connection is worth no
//! more than the public routes, so this is the outer wall and not the lock on the door.

mod directory;
mod host_key;
mod lock;
mod peer;
mod temporary;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen,
    socket, sockopt,
};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat};
use nix::unistd::{UnlinkatFlags, getuid, unlinkat};

use directory::PrivateDirectory;
use host_key::HostKeyFile;
use lock::Lock;
pub(crate) use peer::{Peer, peer};

/// The longest path that every client can dial: `sun_path` less its terminating NUL (unix(7); 104 bytes on macOS).
pub(crate) const PATH_BYTES_MAX: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// Connections waiting for `accept`. Linux caps it at `net.core.somaxconn`; 1,024 is the connection limit, so a burst that
/// the kernel would serve is never refused by the operating system first.
const BACKLOG: i32 = 1024;

/// The first descriptor that systemd passes (sd_listen_fds(3), `SD_LISTEN_FDS_START`).
pub(crate) const ACTIVATION_FD_FIRST: i32 = 3;

/// Why there is no socket to serve on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("another kernel{} is already serving {}; stop it, or choose another --socket", holder(*.pid), .path.display())]
    AlreadyRunning { path: PathBuf, pid: Option<i32> },
    #[error("the socket path {} has {bytes} bytes, and {PATH_BYTES_MAX} are the most that clients can dial; choose a shorter --socket, for example under /tmp", .path.display())]
    PathTooLong { path: PathBuf, bytes: usize },
    #[error("the socket path {path:?} is not usable: {reason}")]
    BadPath { path: PathBuf, reason: &'static str },
    #[error("the directory {} is not safe for a socket: {reason}", .path.display())]
    Unsafe { path: PathBuf, reason: String },
    #[error("{} is in the way: it is not a socket of this user; nothing was touched, remove it or choose another --socket", .path.display())]
    Occupied { path: PathBuf },
    #[error("cannot {operation} {}", .path.display())]
    Failed {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the socket passed by the service manager is not usable: {reason}")]
    Activation { reason: String },
}

impl SocketError {
    /// What the process exits with (sysexits.h: 73 `EX_CANTCREAT`, 75 `EX_TEMPFAIL`).
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            SocketError::AlreadyRunning { .. } => 75,
            _ => 73,
        }
    }

    fn failed(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> SocketError {
        SocketError::Failed {
            operation,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

fn holder(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" (process {pid})"))
        .unwrap_or_default()
}

/// A listening socket, and what is needed to remove it again.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    listener: UnixListener,
    path: PathBuf,
    /// `None`: the service manager's, which it made and which it removes.
    made: Option<Made>,
    host_key: Option<HostKeyFile>,
}

#[derive(Debug)]
struct Made {
    directory: PrivateDirectory,
    name: OsString,
    device: u64,
    inode: u64,
    /// Whether the name is this process's alone, so that nothing of it may stay.
    temporary: bool,
    /// Last, so that it is released after everything else.
    _lock: Lock,
}

impl BoundSocket {
    /// Makes the socket, with its directory when only that is missing.
    pub(crate) fn bind(path: &Path) -> Result<BoundSocket, SocketError> {
        BoundSocket::bind_as(path, false)
    }

    /// The same for a name that no other process ever has; what killed ones left beside it goes.
    pub(crate) fn bind_temporary(path: &Path) -> Result<BoundSocket, SocketError> {
        BoundSocket::bind_as(path, true)
    }

    fn bind_as(path: &Path, temporary: bool) -> Result<BoundSocket, SocketError> {
        let path = std::path::absolute(path)
            .map_err(|error| SocketError::failed("resolve", path, error))?;
        let name = check_path(&path)?.to_owned();
        let parent = path
            .parent()
            .expect("an absolute path with a file name has a parent");
        let directory = PrivateDirectory::open_or_create(parent)?;
        let sweeping = temporary.then(|| temporary::sweep(&directory));
        let lock = Lock::take(&directory, &name, &path)?;
        drop(sweeping);
        remove_stale(&directory, &name, &path)?;
        let listener = make(&directory, &name, &path)?;
        let stat = fstatat(
            directory.as_fd(),
            name.as_os_str(),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .map_err(|error| SocketError::failed("find again", &path, error))?;
        Ok(BoundSocket {
            listener,
            made: Some(Made {
                directory,
                name,
                device: device_of(&stat),
                inode: stat.st_ino,
                temporary,
                _lock: lock,
            }),
            path,
            host_key: None,
        })
    }

    /// Takes over the socket that the service manager listens on. `variable` looks up an environment variable, and `take`
    /// turns a descriptor number into an owned descriptor, once.
    ///
    /// Variables meant for another process (`LISTEN_PID`) are ignored, as sd_listen_fds(3) asks; of several sockets the
    /// first is taken, or the one named `midplane`.
    pub(crate) fn from_activation(
        variable: impl Fn(&str) -> Option<OsString>,
        take: impl FnOnce(i32) -> io::Result<OwnedFd>,
    ) -> Result<Option<BoundSocket>, SocketError> {
        let number = |name: &str| variable(name)?.to_str()?.parse::<u32>().ok();
        if number("LISTEN_PID") != Some(std::process::id()) {
            return Ok(None);
        }
        let Some(count) = number("LISTEN_FDS").filter(|count| (1..=256).contains(count)) else {
            return Ok(None);
        };
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let index = names
            .as_bytes()
            .split(|byte| *byte == b':')
            .take(count as usize)
            .position(|name| name == b"midplane")
            .unwrap_or(0);
        let index = i32::try_from(index).expect("the index is below 256");
        let fd = take(ACTIVATION_FD_FIRST + index).map_err(|error| SocketError::Activation {
            reason: format!("descriptor {}: {error}", ACTIVATION_FD_FIRST + index),
        })?;
        BoundSocket::adopt(fd).map(Some)
    }

    fn adopt(fd: OwnedFd) -> Result<BoundSocket, SocketError> {
        let refuse = |reason: &str| SocketError::Activation {
            reason: reason.to_owned(),
        };
        if getsockopt(&fd, sockopt::SockType) != Ok(SockType::Stream) {
            return Err(refuse("it is not a stream socket"));
        }
        if getsockopt(&fd, sockopt::AcceptConn) != Ok(true) {
            return Err(refuse("it does not listen (Accept=no is needed)"));
        }
        nix::fcntl::fcntl(
            &fd,
            nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
        )
        .map_err(|error| refuse(error.desc()))?;
        // The address decides the family: a TCP listener has none that reads as a Unix address.
        let address = nix::sys::socket::getsockname::<UnixAddr>(fd.as_raw_fd())
            .map_err(|_| refuse("it is not a Unix socket"))?;
        let path = address
            .path()
            .ok_or_else(|| refuse("it has no path (ListenStream must name a file)"))?
            .to_owned();
        let listener = UnixListener::from(fd);
        listener
            .set_nonblocking(true)
            .map_err(|error| SocketError::failed("configure", &path, error))?;
        Ok(BoundSocket {
            listener,
            path,
            made: None,
            host_key: None,
        })
    }

    /// A listener of the same socket, nonblocking, for one worker.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the socket's file if it is still the one that was made here; the lock is held all the while.
    pub(crate) fn unlink_if_ours(&self) -> bool {
        let Some(made) = &self.made else { return false };
        let removed = made.in_place()
            && unlinkat(
                made.directory.as_fd(),
                made.name.as_os_str(),
                UnlinkatFlags::NoRemoveDir,
            )
            .is_ok();
        if made.temporary {
            temporary::remove_lock(&made.directory, &made.name);
        }
        removed
    }

    /// Removes everything that was made here, for a process that ends without dropping anything.
    pub(crate) fn remove_files(&self) {
        self.unlink_if_ours();
        if let Some(host_key) = &self.host_key {
            host_key.remove();
        }
    }

    /// Writes the host key to `host.key` beside the socket and returns where; removed with the socket.
    pub(crate) fn write_host_key(&mut self, key: &str) -> Result<PathBuf, SocketError> {
        let directory = match &self.made {
            Some(made) => made.directory.try_clone()?,
            None => {
                let parent = self.path.parent().ok_or_else(|| SocketError::BadPath {
                    path: self.path.clone(),
                    reason: "it has no directory for host.key",
                })?;
                PrivateDirectory::open(parent)?
            }
        };
        let file = HostKeyFile::write(directory, key)?;
        let path = file.path();
        self.host_key = Some(file);
        Ok(path)
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        self.unlink_if_ours();
    }
}

impl Made {
    fn in_place(&self) -> bool {
        fstatat(
            self.directory.as_fd(),
            self.name.as_os_str(),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .is_ok_and(|stat| device_of(&stat) == self.device && stat.st_ino == self.inode)
    }
}

/// `st_dev` is unsigned on Linux and signed on macOS; only its identity counts.
#[expect(clippy::unnecessary_cast, reason = "dev_t differs by platform")]
fn device_of(stat: &nix::sys::stat::FileStat) -> u64 {
    stat.st_dev as u64
}

/// The path's file name, if clients can dial the path.
fn check_path(path: &Path) -> Result<&OsStr, SocketError> {
    let bytes = path.as_os_str().as_bytes();
    let bad = |reason| SocketError::BadPath {
        path: path.to_owned(),
        reason,
    };
    if bytes.contains(&0) {
        return Err(bad("it contains a NUL byte"));
    }
    if bytes.len() > PATH_BYTES_MAX {
        return Err(SocketError::PathTooLong {
            path: path.to_owned(),
            bytes: bytes.len(),
        });
    }
    match path.file_name() {
        Some(name) if !bytes.ends_with(b"/") => Ok(name),
        _ => Err(bad("it does not end in a file name")),
    }
}

/// Removes what a killed kernel left. Only under the lock, only a socket, only this user's, only if nobody answers there.
fn remove_stale(
    directory: &PrivateDirectory,
    name: &OsStr,
    path: &Path,
) -> Result<(), SocketError> {
    let stat = match fstatat(directory.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(SocketError::failed("look at", path, error)),
    };
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFSOCK || stat.st_uid != getuid().as_raw() {
        return Err(SocketError::Occupied {
            path: path.to_owned(),
        });
    }
    // One that takes no part in the lock, such as the service manager, may be listening.
    let probe = stream_socket().map_err(|error| SocketError::failed("probe", path, error))?;
    let address = address_of(directory, name, path)?;
    match connect(probe.as_raw_fd(), &address) {
        Err(Errno::ECONNREFUSED | Errno::ENOENT | Errno::EPROTOTYPE) => {}
        _ => {
            return Err(SocketError::AlreadyRunning {
                path: path.to_owned(),
                pid: peer(&probe).ok().and_then(|peer| peer.pid),
            });
        }
    }
    unlinkat(directory.as_fd(), name, UnlinkatFlags::NoRemoveDir)
        .map_err(|error| SocketError::failed("remove the stale", path, error))
}

fn stream_socket() -> nix::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    #[cfg(not(target_os = "linux"))]
    let flags = SockFlag::empty();
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    #[cfg(not(target_os = "linux"))]
    {
        use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok(fd)
}

/// The address of `name` in the open directory: through the descriptor where /proc is there, so that a directory swapped
/// since it was checked changes nothing; else by path, and `bind` looks for the result in the open directory afterwards.
fn address_of(
    directory: &PrivateDirectory,
    name: &OsStr,
    path: &Path,
) -> Result<UnixAddr, SocketError> {
    let through = PathBuf::from(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()));
    let address = if cfg!(target_os = "linux") && through.is_dir() {
        let through = through.join(name);
        if through.as_os_str().len() > PATH_BYTES_MAX {
            path.to_owned()
        } else {
            through
        }
    } else {
        path.with_file_name(name)
    };
    UnixAddr::new(&address).map_err(|error| SocketError::failed("address", path, error))
}

/// 0600 from birth: on Linux `bind` gives the file the mode of the socket, less the umask, so the mode is set before.
#[cfg(target_os = "linux")]
fn make(
    directory: &PrivateDirectory,
    name: &OsStr,
    path: &Path,
) -> Result<UnixListener, SocketError> {
    let failed = |operation| move |error: Errno| SocketError::failed(operation, path, error);
    let fd = stream_socket().map_err(failed("make"))?;
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed("set the mode of"))?;
    let address = address_of(directory, name, path)?;
    bind(fd.as_raw_fd(), &address).map_err(failed("bind"))?;
    listen_on(&fd).map_err(failed("listen on"))?;
    Ok(UnixListener::from(fd))
}

/// macOS ignores `fchmod` on a socket: bind another name in the private directory, set its mode, listen, and only then
/// give it the name that clients know.
#[cfg(not(target_os = "linux"))]
fn make(
    directory: &PrivateDirectory,
    name: &OsStr,
    path: &Path,
) -> Result<UnixListener, SocketError> {
    use nix::sys::stat::{FchmodatFlags, fchmodat};
    let failed = |operation| move |error: Errno| SocketError::failed(operation, path, error);
    let temporary = OsStr::new(".s");
    let _ = unlinkat(directory.as_fd(), temporary, UnlinkatFlags::NoRemoveDir);
    let fd = stream_socket().map_err(failed("make"))?;
    let address = address_of(directory, temporary, path)?;
    bind(fd.as_raw_fd(), &address).map_err(failed("bind"))?;
    fchmodat(
        directory.as_fd(),
        temporary,
        Mode::S_IRUSR | Mode::S_IWUSR,
        FchmodatFlags::NoFollowSymlink,
    )
    .map_err(failed("set the mode of"))?;
    listen_on(&fd).map_err(failed("listen on"))?;
    nix::fcntl::renameat(directory.as_fd(), temporary, directory.as_fd(), name)
        .map_err(failed("name"))?;
    Ok(UnixListener::from(fd))
}

fn listen_on(fd: &OwnedFd) -> nix::Result<()> {
    listen(fd, Backlog::new(BACKLOG)?)
}

#[cfg(test)]
mod tests;
