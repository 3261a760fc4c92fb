//! The death of the program that started the kernel with a bridge, its host: seen by a thread that asks the kernel to end, and
//! by another that ends the process when that does not happen in time, however stuck the kernel is, and the first of them.
//!
//! The host's end of the bridge closes when the host ends, unless a child of the host's has inherited it; so on Linux the
//! process that started us is watched as well (pidfd_open(2)), and elsewhere it is asked for.

#![cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "nix has no pidfd_open(2)")
)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getppid};

use crate::modules::loader;
use crate::secrets;
use crate::socket::BoundSocket;

/// How long a kernel may outlive its host.
const OUTLIVES_MAX: Duration = Duration::from_secs(2);
/// How often the parent is asked for where it cannot be watched.
const ASK_EVERY_MS: u16 = 500;

/// The parent at the time of the start.
pub(crate) struct Parent {
    pid: Pid,
    /// Readable when it has ended.
    ended: Option<OwnedFd>,
}

impl Parent {
    /// Call it early: one that has ended by then is not seen to end, but by the bridge.
    pub(crate) fn find() -> Parent {
        let pid = getppid();
        let ended = open(pid);
        Parent {
            pid,
            // If it has ended meanwhile, the number may be another process's.
            ended: ended.filter(|_| getppid() == pid),
        }
    }

    /// Calls `gone` when the parent has ended or closed the bridge, and ends the process [`OUTLIVES_MAX`] later.
    pub(crate) fn watch(
        self,
        bridge: &UnixStream,
        socket: &Arc<BoundSocket>,
        gone: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let (parent, bridge) = (Arc::new(self), Arc::new(bridge.try_clone()?));
        let socket = Arc::downgrade(socket);
        let watched = (Arc::clone(&parent), Arc::clone(&bridge));
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(run)
        };
        // Started now: a module's constructor that hangs keeps new threads from starting.
        spawn(
            "parent-end",
            Box::new(move || {
                parent.wait(&bridge);
                thread::sleep(OUTLIVES_MAX);
                if let Some(socket) = socket.upgrade() {
                    socket.remove_files();
                }
                secrets::end_commands();
                loader::end_process(0);
            }),
        )?;
        spawn(
            "parent",
            Box::new(move || {
                let (parent, bridge) = watched;
                parent.wait(&bridge);
                gone();
            }),
        )?;
        Ok(())
    }

    fn wait(&self, bridge: &UnixStream) {
        // Hanging up is told without being asked for (poll(2)).
        let mut all = vec![PollFd::new(bridge.as_fd(), HUNG_UP)];
        if let Some(ended) = &self.ended {
            all.push(PollFd::new(ended.as_fd(), PollFlags::POLLIN));
        }
        let timeout = match self.ended {
            Some(_) => PollTimeout::NONE,
            None => PollTimeout::from(ASK_EVERY_MS),
        };
        loop {
            match poll(&mut all, timeout) {
                Ok(0) if getppid() != self.pid => return,
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::error!(%error, "the host cannot be watched");
                    return;
                }
            }
        }
    }
}

/// Linux also tells when only the other end's writing half is closed.
#[cfg(target_os = "linux")]
const HUNG_UP: PollFlags = PollFlags::from_bits_retain(libc::POLLRDHUP);
#[cfg(not(target_os = "linux"))]
const HUNG_UP: PollFlags = PollFlags::empty();

#[cfg(target_os = "linux")]
fn open(pid: Pid) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd as _;
    // SAFETY: touches no memory. Linux before 5.3 does not know it.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: a new descriptor, which is nobody else's; close-on-exec by itself.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(not(target_os = "linux"))]
fn open(_: Pid) -> Option<OwnedFd> {
    None
}
