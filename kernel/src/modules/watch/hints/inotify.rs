//! Hints on Linux: inotify(7).

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;

use super::{Interest, Queue, directories};
use crate::modules::trail::Trail;

/// Of a directory: its entries, and itself.
const ENTRIES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(ITSELF);
/// Events of the watched directory itself, which carry no name.
const ITSELF: AddWatchFlags = AddWatchFlags::IN_DELETE_SELF.union(AddWatchFlags::IN_MOVE_SELF);
/// Of the file at the end.
const CONTENT: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_ATTRIB);

pub(in crate::modules::watch) struct Hints {
    queue: AsyncFd<Queue<Inotify>>,
    watched: HashMap<WatchDescriptor, Names>,
}

/// Whose events count.
#[derive(Debug)]
enum Names {
    /// Those of these entries, and the directory's own.
    Of(BTreeSet<OsString>),
    All,
}

impl Hints {
    /// Call it in a runtime.
    pub(in crate::modules::watch) fn new() -> io::Result<Hints> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Hints {
            queue: Queue::register(inotify)?,
            watched: HashMap::new(),
        })
    }

    /// Watches these ways and no others. A change after this returns gives a hint; one before it must be looked for.
    pub(in crate::modules::watch) fn watch(&mut self, trails: &[Trail]) -> io::Result<()> {
        let mut watched = HashMap::new();
        for (dir, wish) in directories(trails) {
            let mask = match wish.interest {
                Interest::Itself => ITSELF,
                Interest::Entries => ENTRIES,
                Interest::Mode => ENTRIES.union(AddWatchFlags::IN_ATTRIB),
            };
            if let Some(watch) = self.add(dir, mask | AddWatchFlags::IN_ONLYDIR)? {
                let names = wish.names.into_iter().map(OsStr::to_owned).collect();
                watched.insert(watch, Names::Of(names));
            }
        }
        // After the directories: a file that is exchanged now gives a hint by its entry.
        for end in trails.iter().filter_map(|trail| trail.end.as_ref()) {
            if let Some(watch) = self.add(&end.path, CONTENT | AddWatchFlags::IN_DONT_FOLLOW)? {
                watched.insert(watch, Names::All);
            }
        }
        for old in std::mem::take(&mut self.watched).into_keys() {
            if !watched.contains_key(&old) {
                // It may have gone with what it watched.
                let _ = self.queue.get_ref().0.rm_watch(old);
            }
        }
        self.watched = watched;
        Ok(())
    }

    /// `None` for what is not there any more, or may not be read: the entry that leads there is watched.
    fn add(&self, path: &Path, mask: AddWatchFlags) -> io::Result<Option<WatchDescriptor>> {
        match self.queue.get_ref().0.add_watch(path, mask) {
            Ok(watch) => Ok(Some(watch)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP) => Ok(None),
            Err(Errno::ENOSPC) => Err(io::Error::other(
                "the system has no watch left for this user; raise fs.inotify.max_user_watches",
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// Resolves when something may have changed. Cancel-safe.
    pub(in crate::modules::watch) async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.queue.readable().await?;
            // Not readable after all is no error.
            if let Ok(events) = ready.try_io(|queue| Ok(queue.get_ref().0.read_events()?))
                && events?.iter().any(|event| self.counts(event))
            {
                return Ok(());
            }
        }
    }

    fn counts(&self, event: &InotifyEvent) -> bool {
        if event
            .mask
            .intersects(AddWatchFlags::IN_Q_OVERFLOW | AddWatchFlags::IN_UNMOUNT)
        {
            return true;
        }
        match (self.watched.get(&event.wd), &event.name) {
            // The watch is gone, and why has been told before.
            _ if event.mask.contains(AddWatchFlags::IN_IGNORED) => false,
            (None, _) => false,
            (Some(Names::All), _) | (Some(Names::Of(_)), None) => true,
            (Some(Names::Of(names)), Some(name)) => names.contains(name),
        }
    }
}
