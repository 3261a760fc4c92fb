//! What the process got from whoever started it: descriptors and variables of the service manager's.
//!
//! Taken once, while there is one thread, and removed from the environment, so that no child and no module mistakes them
//! for its own (`sd_listen_fds(3)`, `sd_notify(3)`).

#![expect(
    unsafe_code,
    reason = "a descriptor's number becomes its owner, and the environment is changed, nowhere else"
)]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::serve::Inherited;
use crate::socket::{ACTIVATION_FD_FIRST, BoundSocket};
use crate::start_error::StartError;

const VARIABLES: [&str; 5] = [
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
];

/// Keeps whatever descriptors are open from reaching our children; call it before any thread is started.
fn close_on_exec() {
    /// Where there is no call for all of them: more than anyone leaves open by accident.
    const LAST: i32 = 1024;
    #[cfg(target_os = "linux")]
    {
        // SAFETY: marks descriptors and touches no memory. Linux before 5.11 does not know it, and goes on below.
        let marked = unsafe {
            libc::syscall(
                libc::SYS_close_range,
                3,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            )
        };
        if marked == 0 {
            return;
        }
    }
    for number in 3..LAST {
        // SAFETY: marks a descriptor; on a number that is none it fails, which does not matter.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Call it before any thread is started. `bridge_fd` is the flag of this name.
pub(crate) fn take(bridge_fd: Option<i32>) -> Result<Inherited, StartError> {
    close_on_exec();
    let bridge = bridge_fd.map(bridge).transpose()?;
    let notify_socket = std::env::var_os("NOTIFY_SOCKET");
    let socket = BoundSocket::from_activation(
        |name| std::env::var_os(name),
        |number| {
            if bridge_fd == Some(number) {
                return Err(io::Error::other("it is the --bridge-fd already"));
            }
            owned(number)
        },
    );
    for name in VARIABLES {
        // SAFETY: there is one thread yet, by this function's contract.
        unsafe { std::env::remove_var(name) };
    }
    Ok(Inherited {
        notify_socket,
        socket: socket?,
        bridge,
    })
}

/// The bridge that the host made before it started us.
fn bridge(number: i32) -> Result<UnixStream, StartError> {
    use nix::sys::socket::{SockType, UnixAddr, getpeername, getsockopt, sockopt};
    use std::os::fd::AsRawFd as _;

    let refused = |reason: String| StartError::BridgeFd { number, reason };
    if number < ACTIVATION_FD_FIRST {
        return Err(refused("0, 1 and 2 are the standard streams".to_owned()));
    }
    let fd = owned(number).map_err(|error| refused(error.to_string()))?;
    let is_stream = getsockopt(&fd, sockopt::SockType) == Ok(SockType::Stream);
    // The address decides the family: that of a TCP connection does not read as one.
    if !is_stream || getpeername::<UnixAddr>(fd.as_raw_fd()).is_err() {
        return Err(refused(
            "it is not one end of a connected Unix stream socket; in Node, that is `stdio: [\"ignore\", \"pipe\", \"pipe\", \"pipe\"]` for 3"
                .to_owned(),
        ));
    }
    Ok(UnixStream::from(fd))
}

/// Takes a descriptor that whoever started us passed; each number once.
fn owned(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: only asks; on a number that is no descriptor it fails.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, it was passed to us alone, and its number is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
