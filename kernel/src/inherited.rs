//! What the process got from whoever started it: descriptors and variables of the service manager's.
//!
//! Taken once, while there is one thread, and removed from the environment, so that no child and no module mistakes them
//! for its own (`sd_listen_fds(3)`, `sd_notify(3)`).

#![expect(
    unsafe_code,
    reason = "a descriptor's number becomes its owner, and the environment is changed, nowhere else"
)]

use std::os::fd::{FromRawFd as _, OwnedFd};

use crate::serve::Inherited;
use crate::socket::{BoundSocket, SocketError};

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

/// Call it before any thread is started.
pub(crate) fn take() -> Result<Inherited, SocketError> {
    close_on_exec();
    let notify_socket = std::env::var_os("NOTIFY_SOCKET");
    let socket = BoundSocket::from_activation(
        |name| std::env::var_os(name),
        |number| {
            // SAFETY: only asks; on a number that is no descriptor it fails.
            if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
            // SAFETY: it is open, the service manager passed it to us alone, and it is taken here once.
            Ok(unsafe { OwnedFd::from_raw_fd(number) })
        },
    );
    for name in VARIABLES {
        // SAFETY: there is one thread yet, by this function's contract.
        unsafe { std::env::remove_var(name) };
    }
    Ok(Inherited {
        notify_socket,
        socket: socket?,
    })
}
