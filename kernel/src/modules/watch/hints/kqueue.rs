//! Hints on macOS: kqueue(2). It tells of vnodes, so that each directory on the way and the file at its end are held open,
//! with `O_EVTONLY`, which keeps no volume from being unmounted.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use tokio::io::unix::AsyncFd;

use super::Queue;
use crate::modules::watch::trail::Trail;

/// Taken from the queue at a time; what is left makes it readable again.
const EVENTS_LEN: usize = 32;

pub(in crate::modules::watch) struct Hints {
    queue: AsyncFd<Queue<Kqueue>>,
    /// Closing one ends its events.
    watched: Vec<File>,
}

impl Hints {
    /// Call it in a runtime.
    pub(in crate::modules::watch) fn new() -> io::Result<Hints> {
        Ok(Hints {
            queue: Queue::register(Kqueue::new()?)?,
            watched: Vec::new(),
        })
    }

    /// Watches these ways and no others. A change after this returns gives a hint; one before it must be looked for.
    pub(in crate::modules::watch) fn watch(&mut self, trails: &[Trail]) -> io::Result<()> {
        let mut paths: BTreeSet<&Path> = BTreeSet::new();
        for trail in trails {
            paths.extend(trail.places.iter().map(|place| &*place.dir));
            paths.extend(trail.end.iter().map(|end| &*end.path));
        }
        // One that is not there any more, or may not be read: the directory above it is watched.
        let watched: Vec<File> = paths.into_iter().filter_map(open).collect();
        let queue = &self.queue.get_ref().0;
        for file in &watched {
            // One at a time: a file system that tells nothing of one entry must not silence the others.
            if let Err(error) = queue.kevent(&[interest(file)], &mut [], Some(NO_WAIT)) {
                tracing::debug!(%error, "an entry on the way to a watched file tells of no changes");
            }
        }
        self.watched = watched;
        Ok(())
    }

    /// Resolves when something may have changed. Cancel-safe.
    pub(in crate::modules::watch) async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.queue.readable().await?;
            let taken = ready.try_io(|queue| {
                let mut events = [nothing(); EVENTS_LEN];
                match queue.get_ref().0.kevent(&[], &mut events, Some(NO_WAIT))? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    some => Ok(some),
                }
            });
            if let Ok(taken) = taken {
                return taken.map(|_count| ());
            }
        }
    }
}

const NO_WAIT: libc::timespec = libc::timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

fn open(path: &Path) -> Option<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_EVTONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .ok()
}

fn interest(file: &File) -> KEvent {
    KEvent::new(
        usize::try_from(file.as_raw_fd()).expect("an open descriptor is not negative"),
        EventFilter::EVFILT_VNODE,
        EvFlags::EV_ADD | EvFlags::EV_CLEAR,
        // Of a directory, `NOTE_WRITE` is an entry made, renamed or removed.
        FilterFlag::NOTE_WRITE
            | FilterFlag::NOTE_EXTEND
            | FilterFlag::NOTE_ATTRIB
            | FilterFlag::NOTE_DELETE
            | FilterFlag::NOTE_RENAME
            | FilterFlag::NOTE_REVOKE,
        0,
        0,
    )
}

fn nothing() -> KEvent {
    KEvent::new(
        0,
        EventFilter::EVFILT_VNODE,
        EvFlags::empty(),
        FilterFlag::empty(),
        0,
        0,
    )
}
