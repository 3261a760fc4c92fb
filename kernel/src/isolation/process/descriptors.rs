//! Descriptors on their way to a module process (unix(7), `SCM_RIGHTS`).

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Descriptors travel with a byte.
pub(super) const CARRIER: [u8; 1] = [0];

pub(super) fn send(socket: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(&CARRIER)],
        &[ControlMessage::ScmRights(&raw)],
        MsgFlags::empty(),
        None,
    )?;
    if sent == CARRIER.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}
