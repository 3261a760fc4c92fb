//! That something may have changed, told by the system. A hint says no more than "look again": what is there is found out
//! by looking.
//!
//! Directly on inotify and kqueue, not by the `notify` crate: its stable version asks inotify for every kind of event, so
//! that each `open` of any file in a watched directory would wake the kernel, and brings a thread of its own. Here a
//! directory far above the file, which may be a busy one, wakes nobody but by being moved or removed itself.

#[cfg(target_os = "linux")]
mod inotify;
#[cfg(target_os = "linux")]
pub(super) use inotify::Hints;

#[cfg(target_os = "macos")]
mod kqueue;
#[cfg(target_os = "macos")]
pub(super) use kqueue::Hints;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use tokio::io::unix::AsyncFd;

use crate::modules::trail::Trail;

/// What of a directory is asked for; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Interest {
    /// That it is moved or removed: enough where only directories lead on, as long as they lead to a file.
    Itself,
    /// Its entries, too: where a link or the file stands, and everywhere while there is no file. A directory that is
    /// somebody's working directory is told to be removed only when they leave.
    Entries,
    /// Who may write to it, too: where the file stands.
    Mode,
}

/// What is asked for of one directory, and for which of its entries.
#[derive(Debug, PartialEq, Eq)]
struct Wish<'a> {
    interest: Interest,
    names: BTreeSet<&'a OsStr>,
}

/// What to ask for of the directories on these ways.
fn directories(trails: &[Trail]) -> BTreeMap<&Path, Wish<'_>> {
    let mut wishes = BTreeMap::new();
    for trail in trails {
        let home = trail.end.as_ref().and_then(|end| end.path.parent());
        for place in &trail.places {
            let interest = if home == Some(&place.dir) {
                Interest::Mode
            } else if home.is_none() || place.is_link {
                Interest::Entries
            } else {
                Interest::Itself
            };
            let wish = wishes.entry(&*place.dir).or_insert(Wish {
                interest,
                names: BTreeSet::new(),
            });
            wish.interest = wish.interest.max(interest);
            wish.names.insert(&*place.name);
        }
    }
    wishes
}

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
        AsyncFd::with_interest(Queue(queue), tokio::io::Interest::READABLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_directory_that_only_leads_on_is_asked_for_little() {
        use Interest::{Entries, Itself, Mode};
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/v1/lib")).unwrap();
        fs::write(root.join("a/v1/lib/m.so"), "x").unwrap();
        symlink("v1", root.join("a/current")).unwrap();
        let wishes = |paths: &[&str]| -> Vec<(String, Interest, Vec<String>)> {
            let follow = |path: &&str| Trail::follow(&root.join(path));
            let trails: Vec<_> = paths.iter().map(follow).collect();
            let text = |name: &OsStr| name.to_str().unwrap().to_owned();
            directories(&trails)
                .into_iter()
                .filter_map(|(dir, wish)| {
                    let dir = dir.strip_prefix(&root).ok()?.to_str()?.to_owned();
                    Some((
                        dir,
                        wish.interest,
                        wish.names.into_iter().map(text).collect(),
                    ))
                })
                .collect()
        };
        let wish = |dir: &str, interest, names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            (dir.to_owned(), interest, names)
        };
        assert_eq!(
            wishes(&["a/v1/lib/m.so"]),
            [
                wish("", Itself, &["a"]),
                wish("a", Itself, &["v1"]),
                wish("a/v1", Itself, &["lib"]),
                wish("a/v1/lib", Mode, &["m.so"]),
            ]
        );
        assert_eq!(
            wishes(&["a/v1/lib/m.so", "a/current/lib/m.so"]),
            [
                wish("", Itself, &["a"]),
                wish("a", Entries, &["current", "v1"]),
                wish("a/v1", Itself, &["lib"]),
                wish("a/v1/lib", Mode, &["m.so"]),
            ]
        );
        assert_eq!(
            wishes(&["a/v1/none/m.so"]),
            [
                wish("", Entries, &["a"]),
                wish("a", Entries, &["v1"]),
                wish("a/v1", Entries, &["none"]),
            ]
        );
    }
}
