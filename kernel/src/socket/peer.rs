//! Who is at the other end of a connection, as the operating system vouches for it.

use std::io;
use std::os::fd::AsFd;

/// The process that called `connect`, as it was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    /// `None` when the peer lives in another process namespace.
    pub(crate) pid: Option<i32>,
}

impl Peer {
    /// As it names itself.
    pub(crate) fn pid(self) -> Option<u32> {
        self.pid.and_then(|pid| u32::try_from(pid).ok())
    }

    /// Only the kernel's own user; root is no exception, and needs none.
    pub(crate) fn may_connect(self, own_uid: u32) -> bool {
        self.uid == own_uid
    }
}

/// SO_PEERCRED, unix(7).
#[cfg(target_os = "linux")]
pub(crate) fn peer(stream: &impl AsFd) -> io::Result<Peer> {
    use nix::sys::socket::{getsockopt, sockopt};
    let credentials = getsockopt(stream, sockopt::PeerCredentials)?;
    Ok(Peer {
        uid: credentials.uid(),
        pid: Some(credentials.pid()).filter(|pid| *pid > 0),
    })
}

/// getpeereid(3) and LOCAL_PEERPID, unix(4).
#[cfg(not(target_os = "linux"))]
pub(crate) fn peer(stream: &impl AsFd) -> io::Result<Peer> {
    use nix::sys::socket::{getsockopt, sockopt};
    let (uid, _) = nix::unistd::getpeereid(stream)?;
    let pid = getsockopt(stream, sockopt::LocalPeerPid).ok();
    Ok(Peer {
        uid: uid.as_raw(),
        pid: pid.filter(|pid| *pid > 0),
    })
}
