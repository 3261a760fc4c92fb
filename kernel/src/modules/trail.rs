//! The way to a file: every directory and link that decides which file a path means.
//!
//! A path means another file when an entry on the way is made, renamed, removed or points elsewhere, be it the last one
//! or a `current ->` far above it. So the way is followed component by component, links included, to where it ends.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// As Linux's own limit of links followed in one look-up (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Where a path leads now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trail {
    pub(crate) places: Vec<Place>,
    /// What stands at its end, if the way goes on to there.
    pub(crate) end: Option<End>,
}

/// An entry on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Without links.
    pub(crate) dir: PathBuf,
    pub(crate) name: OsString,
    /// Whether it is a link, which may be pointed elsewhere.
    pub(crate) is_link: bool,
}

/// What a path means in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// Without links.
    pub(crate) path: PathBuf,
    pub(crate) mark: Mark,
}

/// What tells one state of a file from another. It also changes with who may write to the file or its directory, since
/// that may be what a load was refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    file: FileMark,
    dir: (u32, u32),
}

/// Of the file alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileMark {
    identity: (u64, u64),
    len: u64,
    modified: (i64, i64),
    /// Moves on also where the time of modification is set back.
    changed: (i64, i64),
}

impl Mark {
    /// Whether it is of the file that this is of, unchanged.
    pub(super) fn fits(&self, metadata: &Metadata) -> bool {
        self.file == FileMark::of(metadata)
    }
}

impl FileMark {
    fn of(metadata: &Metadata) -> FileMark {
        FileMark {
            identity: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Trail {
    /// Follows an absolute path as far as it goes.
    pub(crate) fn follow(path: &Path) -> Trail {
        let mut trail = Trail {
            places: Vec::new(),
            end: None,
        };
        let mut dir = PathBuf::from("/");
        let mut left = components(path);
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == ".." {
                dir.pop();
                continue;
            }
            let here = dir.join(&name);
            let found = here.symlink_metadata();
            trail.places.push(Place {
                dir: dir.clone(),
                name,
                is_link: found.as_ref().is_ok_and(Metadata::is_symlink),
            });
            let Ok(metadata) = found else {
                return trail;
            };
            if metadata.is_symlink() {
                links += 1;
                let Ok(target) = fs::read_link(&here) else {
                    return trail;
                };
                if links > LINKS_MAX {
                    return trail;
                }
                if target.is_absolute() {
                    dir = PathBuf::from("/");
                }
                left.extend(components(&target));
            } else if left.is_empty() {
                trail.end = fs::metadata(&dir).ok().map(|dir| End {
                    path: here,
                    mark: Mark {
                        file: FileMark::of(&metadata),
                        dir: (dir.mode(), dir.uid()),
                    },
                });
            } else {
                dir = here;
            }
        }
        trail
    }

    /// Whether both lead over the same entries to the same end, whatever state that is in.
    pub(super) fn same_way(&self, other: &Trail) -> bool {
        let end = |trail: &Trail| trail.end.as_ref().map(|end| end.path.clone());
        self.places == other.places && end(self) == end(other)
    }
}

/// The components of a path, the first one last.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<_> = names.map(OsStr::to_owned).collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// The places below `root`, as `dir/name`, and the end.
    fn way(root: &Path, path: &str) -> (Vec<String>, Option<String>) {
        let below = |path: &Path| {
            let path = path.strip_prefix(root).ok()?;
            Some(path.to_str().unwrap().to_owned())
        };
        let trail = Trail::follow(&root.join(path));
        let places = trail.places.iter();
        (
            places
                .filter_map(|place| below(&place.dir.join(&place.name)))
                .filter(|place| !place.is_empty())
                .collect(),
            trail.end.and_then(|end| below(&end.path)),
        )
    }

    #[test]
    fn a_way_is_followed_over_links_to_its_end_or_as_far_as_it_goes() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for dir in ["v1/lib", "v2"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("v1/lib/m.so"), "1").unwrap();
        for (target, link) in [
            ("v1", "current"),
            ("../v1/lib/m.so", "v2/up.so"),
            ("loop", "loop"),
            ("nowhere/x", "dangling"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        symlink(root.join("current/lib"), root.join("absolute")).unwrap();
        let end = Some("v1/lib/m.so".to_owned());
        for (path, places, expect) in [
            ("v1/lib/m.so", &["v1", "v1/lib", "v1/lib/m.so"][..], &end),
            (
                "v1/./lib/../lib/m.so",
                &["v1", "v1/lib", "v1/lib", "v1/lib/m.so"],
                &end,
            ),
            (
                "current/lib/m.so",
                &["current", "v1", "v1/lib", "v1/lib/m.so"],
                &end,
            ),
            (
                "v2/up.so",
                &["v2", "v2/up.so", "v1", "v1/lib", "v1/lib/m.so"],
                &end,
            ),
            (
                "absolute/m.so",
                &["absolute", "current", "v1", "v1/lib", "v1/lib/m.so"],
                &end,
            ),
            ("v1/none/m.so", &["v1", "v1/none"], &None),
            (
                "v1/lib/m.so/x",
                &["v1", "v1/lib", "v1/lib/m.so", "v1/lib/m.so/x"],
                &None,
            ),
            ("dangling", &["dangling", "nowhere"], &None),
        ] {
            assert_eq!(
                way(&root, path),
                (
                    places.iter().map(|&place| place.to_owned()).collect(),
                    expect.clone()
                ),
                "{path}"
            );
        }
        assert_eq!(way(&root, "loop").1, None);
    }

    #[test]
    fn every_change_that_may_matter_changes_the_mark() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.so");
        let mark = || Trail::follow(&path).end.unwrap().mark;
        fs::write(&path, "one").unwrap();
        let mut marks = vec![mark()];
        fs::write(&path, "longer").unwrap();
        marks.push(mark());
        fs::write(path.with_extension("new"), "longer").unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        marks.push(mark());
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o750)).unwrap();
        marks.push(mark());
        for (n, mark) in marks.iter().enumerate() {
            assert!(!marks[..n].contains(mark), "{n}: {marks:?}");
        }
        assert_eq!(mark(), mark());
        assert!(mark().fits(&path.metadata().unwrap()));
    }
}
