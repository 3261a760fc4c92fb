//! Hints on macOS: kqueue(2). It tells of vnodes, so that each directory on the way and the file at its end are held open,
//! with `O_EVTONLY`, which keeps no volume from being unmounted.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use tokio::io::unix::AsyncFd;

use super::{Interest, Queue, directories};
use crate::modules::trail::Trail;

/// Taken from the queue at a time; what is left makes it readable again.
const EVENTS_LEN: usize = 32;

/// Of a directory or a file: that it is moved or removed.
const ITSELF: FilterFlag = FilterFlag::NOTE_DELETE
    .union(FilterFlag::NOTE_RENAME)
    .union(FilterFlag::NOTE_REVOKE);
/// Of a directory: an entry made, renamed or removed, too.
const ENTRIES: FilterFlag = ITSELF.union(FilterFlag::NOTE_WRITE);
/// Of the file at the end.
const CONTENT: FilterFlag = ENTRIES
    .union(FilterFlag::NOTE_EXTEND)
    .union(FilterFlag::NOTE_ATTRIB);

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
        let mut wishes: Vec<(&Path, FilterFlag)> = Vec::new();
        for (dir, wish) in directories(trails) {
            wishes.push(match wish.interest {
                Interest::Itself => (dir, ITSELF),
                Interest::Entries => (dir, ENTRIES),
                Interest::Mode => (dir, ENTRIES | FilterFlag::NOTE_ATTRIB),
            });
        }
        // After the directories: a file that is exchanged now gives a hint by its entry.
        let ends = trails.iter().filter_map(|trail| trail.end.as_ref());
        wishes.extend(ends.map(|end| (&*end.path, CONTENT)));
        let queue = &self.queue.get_ref().0;
        let mut watched = Vec::new();
        for (path, wish) in wishes {
            // One that is not there any more, or may not be read: the directory above it is watched.
            let Some(file) = open(path) else { continue };
            // One at a time: a file system that tells nothing of one entry must not silence the others.
            if let Err(error) = queue.kevent(&[event(&file, wish)], &mut [], Some(NO_WAIT)) {
                tracing::debug!(%error, path = %path.display(), "an entry on the way to a watched file tells of no changes");
            }
            watched.push(file);
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

fn event(file: &File, wish: FilterFlag) -> KEvent {
    KEvent::new(
        usize::try_from(file.as_raw_fd()).expect("an open descriptor is not negative"),
        EventFilter::EVFILT_VNODE,
        EvFlags::EV_ADD | EvFlags::EV_CLEAR,
        wish,
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
