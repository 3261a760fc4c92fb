//! One copy of SQLite in this process has the file open, and no second.
//!
//! POSIX locks belong to the process. A second generation of a module, in the same process and with a copy of SQLite of its own,
//! would be granted locks that the first holds, and both would write (<https://www.sqlite.org/howtocorrupt.html>, section
//! 2.2). So whoever opens the file first takes a lock of another kind, `flock`, which belongs to the open file and not to
//! the process, on a file that is named for the process: the copies in one process exclude each other, and other
//! processes are not in the way. The kernel ends such a lock when the process dies, however it dies.

use std::fs::{self, DirEntry, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::bell;
use super::file::OpenError;

/// How long the generation before may still take to close the file: it has nothing left to do by then but that.
const WAIT: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The right of this copy to have the file open in this process, until it is dropped.
pub(super) struct Sole {
    mark: PathBuf,
    _locked: File,
}

impl Sole {
    pub(super) fn claim(file: &Path) -> Result<Sole, OpenError> {
        let marks = bell::beside_path(file);
        let failed = |source| OpenError::Make {
            path: marks.clone(),
            source,
        };
        bell::beside(file).map_err(failed)?;
        clear(&marks);
        let mark = marks.join(std::process::id().to_string());
        let until = Instant::now() + WAIT;
        loop {
            match lock(&mark).map_err(failed)? {
                Some(locked) => {
                    return Ok(Sole {
                        mark,
                        _locked: locked,
                    });
                }
                None if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
                None => {
                    return Err(OpenError::OpenInThisProcess {
                        path: file.to_owned(),
                    });
                }
            }
        }
    }
}

impl Drop for Sole {
    fn drop(&mut self) {
        // Before the lock goes with the file: whoever opens this one now finds that it is not at its path any more.
        let _ = fs::remove_file(&self.mark);
    }
}

/// The processes that have the file open.
pub(super) fn holders(file: &Path) -> Vec<u32> {
    let Ok(marks) = fs::read_dir(bell::beside_path(file)) else {
        return Vec::new();
    };
    let mut holders: Vec<u32> = marks
        .flatten()
        .filter(|mark| File::open(mark.path()).is_ok_and(|mark| is_held(&mark)))
        .filter_map(|mark| process(&mark))
        .collect();
    holders.sort_unstable();
    holders
}

/// Removes the marks of processes that were killed.
fn clear(marks: &Path) {
    for mark in fs::read_dir(marks).into_iter().flatten().flatten() {
        // Removed under its lock, so that no one takes it for theirs in between.
        if process(&mark).is_some()
            && let Ok(file) = File::open(mark.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(mark.path());
        }
    }
}

/// Whose mark it is; nobody's, if it is none.
fn process(mark: &DirEntry) -> Option<u32> {
    mark.file_name().to_str()?.parse().ok()
}

fn lock(mark: &Path) -> io::Result<Option<File>> {
    loop {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(mark)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Another may have removed it between the two.
        let ours = file.metadata()?;
        if fs::metadata(mark).is_ok_and(|there| there.ino() == ours.ino()) {
            return Ok(Some(file));
        }
    }
}

fn is_held(mark: &File) -> bool {
    matches!(mark.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_copy_in_this_process_is_refused_until_the_first_has_closed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.db");
        let first = Sole::claim(&file).unwrap();
        assert_eq!(holders(&file), [std::process::id()]);
        let refused = Sole::claim(&file).err().expect("one is open").to_string();
        assert!(refused.contains("another generation"), "{refused}");
        Sole::claim(&dir.path().join("other.db")).expect("another file");
        drop(first);
        assert!(holders(&file).is_empty());
        drop(Sole::claim(&file).unwrap());
    }

    #[test]
    fn marks_of_the_dead_are_cleared_and_those_of_the_living_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.db");
        let marks = bell::beside_path(&file);
        fs::create_dir(&marks).unwrap();
        fs::write(marks.join("4000001"), "").unwrap();
        let living = lock(&marks.join("4000002")).unwrap().unwrap();
        let _sole = Sole::claim(&file).unwrap();
        assert!(!marks.join("4000001").exists());
        assert_eq!(
            holders(&file),
            [std::process::id(), 4_000_002].map(u32::from)
        );
        drop(living);
        assert_eq!(holders(&file), [std::process::id()]);
    }
}
