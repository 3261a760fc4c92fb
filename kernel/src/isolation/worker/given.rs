//! What a module process is given by the kernel: sockets.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::isolation::confine::descriptors;
use crate::isolation::wire::Open;

/// One for each of the kernel's workers, one for calls that belong to no request, and one for a copy in memory.
const DESCRIPTORS_MAX: usize = 66;

pub(super) struct Given {
    pub(super) control: UnixStream,
    /// In the order in which they were sent.
    pub(super) rest: Vec<OwnedFd>,
}

/// Takes the control socket from standard input, and what comes over it first.
pub(super) fn take() -> io::Result<Given> {
    descriptors::close_strays(&[]);
    let control = UnixStream::from(descriptors::take_stdin()?);
    let rest = receive(&control)?;
    Ok(Given { control, rest })
}

/// Where the library is.
pub(super) fn path_to_open(open: &Open, rest: &[OwnedFd]) -> PathBuf {
    match (&open.confinement.library, rest.last()) {
        (Some(path), _) => path.clone(),
        (None, Some(copy)) => PathBuf::from(format!("/proc/self/fd/{}", copy.as_raw_fd())),
        (None, None) => PathBuf::new(),
    }
}

pub(super) fn lanes(open: &Open, rest: Vec<OwnedFd>) -> io::Result<Vec<UnixStream>> {
    let mut rest = rest.into_iter();
    let lanes: Vec<_> = rest
        .by_ref()
        .take(open.lanes)
        .map(UnixStream::from)
        .collect();
    // A copy in memory stays open under its number for as long as the process.
    rest.for_each(std::mem::forget);
    if lanes.is_empty() || lanes.len() < open.lanes {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "fewer lanes were sent than there are to be",
        ));
    }
    Ok(lanes)
}

#[expect(
    unsafe_code,
    reason = "the only way to a descriptor that came over a socket"
)]
fn receive(control: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut carrier = [0; 1];
    let mut slices = [IoSliceMut::new(&mut carrier)];
    let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    #[cfg(target_os = "linux")]
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = MsgFlags::empty();
    let message = recvmsg::<()>(control.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let mut received = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: the system has just made these descriptors for this process, and nobody else knows them.
            received.extend(
                raw.into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    Ok(received)
}
