//! That something may have changed, told by the system. A hint says no more than "look again": what is there is found out
//! by looking.
//!
//! Directly on inotify and kqueue, not by the `notify` crate: its stable version asks inotify for every kind of event, so
//! that each `open` of any file in a watched directory would wake the kernel, and brings a thread of its own. Here only
//! entries made, renamed or removed are asked for, and of those only the names on the way count.

#[cfg(target_os = "linux")]
mod inotify;
#[cfg(target_os = "linux")]
pub(super) use inotify::Hints;

#[cfg(not(target_os = "linux"))]
mod kqueue;
#[cfg(not(target_os = "linux"))]
pub(super) use kqueue::Hints;

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A queue of the system's that becomes readable, as the runtime wants it.
struct Queue<T>(T);

impl<T: AsFd> AsRawFd for Queue<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl<T: AsFd> Queue<T> {
    /// Call it in a runtime.
    fn register(queue: T) -> io::Result<AsyncFd<Queue<T>>> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe for descriptors that close behind it, which an owner that can be borrowed from excludes"
        )]
        AsyncFd::with_interest(Queue(queue), Interest::READABLE)
    }
}
