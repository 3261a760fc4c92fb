//! One kernel per socket path: an advisory lock on `<socket>.lock`, with the holder's process id inside.
//!
//! The file is never removed. If it were, a process that had opened it before and one that made it anew would each hold a
//! lock, on two files that had the same name. An empty file says that the last holder left in good order.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, openat};
use nix::sys::signal::kill;
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Pid, getuid};

use super::SocketError;
use super::directory::PrivateDirectory;

/// How long to wait for a holder that has the lock but has not written its process id yet, a matter of microseconds.
const PID_WAIT_MAX: Duration = Duration::from_millis(500);
const PID_WAIT_STEP: Duration = Duration::from_millis(2);

/// What follows the socket's name in the lock's.
pub(super) const SUFFIX: &str = ".lock";

/// Held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of the socket `name`, or says who has it.
    pub(super) fn take(
        directory: &PrivateDirectory,
        name: &OsStr,
        socket: &Path,
    ) -> Result<Lock, SocketError> {
        let lock_name = name_for(name);
        let path = directory.path().join(&lock_name);
        let failed = |operation| {
            let path = path.clone();
            move |error: io::Error| SocketError::failed(operation, &path, error)
        };
        // Nonblocking: a planted FIFO must not hold the start up.
        let flags = OFlag::O_RDWR
            | OFlag::O_CREAT
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_CLOEXEC;
        let fd = openat(
            directory.as_fd(),
            lock_name.as_os_str(),
            flags,
            Mode::S_IRUSR | Mode::S_IWUSR,
        )
        .map_err(|error| failed("open the lock file")(error.into()))?;
        let stat = fstat(&fd).map_err(|error| failed("look at")(error.into()))?;
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFREG || stat.st_uid != getuid().as_raw() || stat.st_nlink != 1 {
            return Err(SocketError::Occupied { path });
        }
        let mut file = File::from(fd);
        let deadline = Instant::now() + PID_WAIT_MAX;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let pid = holder(&file);
            if pid.is_some() || Instant::now() >= deadline {
                return Err(SocketError::AlreadyRunning {
                    path: socket.to_owned(),
                    pid,
                });
            }
            thread::sleep(PID_WAIT_STEP);
        }
        file.set_len(0).map_err(failed("empty"))?;
        writeln!(file, "{}", std::process::id()).map_err(failed("write to"))?;
        Ok(Lock { file })
    }
}

/// The lock file's name for a socket's.
pub(super) fn name_for(socket: &OsStr) -> OsString {
    let mut name = OsString::from(socket);
    name.push(SUFFIX);
    name
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file unlocks it; a failure here only leaves a process id that no longer lives.
        let _ = self.file.set_len(0);
    }
}

/// The process id in the file, if that process lives.
fn holder(file: &File) -> Option<i32> {
    let mut text = [0; 16];
    let length = file.read_at(&mut text, 0).ok()?;
    let pid = std::str::from_utf8(&text[..length])
        .ok()?
        .strip_suffix('\n')?
        .parse()
        .ok()
        .filter(|pid| *pid > 0)?;
    match kill(Pid::from_raw(pid), None) {
        Ok(()) | Err(nix::errno::Errno::EPERM) => Some(pid),
        Err(_) => None,
    }
}
