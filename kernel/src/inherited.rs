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

/// Call it before any thread is started.
pub(crate) fn take() -> Result<Inherited, SocketError> {
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
