//! The files of attachments, below the module's own directory: private, and whole or not there.
//!
//! ```text
//! attachments/<user>/atc_….wanted      asked for; as long as it is to be, but empty of content
//! attachments/<user>/atc_….<n>.part    on its way; what a kill leaves
//! attachments/<user>/atc_…             whole, and on the disk
//! ```
//!
//! A user's folder is named by a digest, since users are named as they like. Several generations, and kernels of one user, work in it at once. Everything here blocks. Nothing here knows what a
//! store or a request is.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::protocol::id::AttachmentId;

const ROOT: &str = "attachments";
const WANTED: &str = ".wanted";
const PART: &str = ".part";
/// Of a user's digest, as hexadecimal digits: no two users meet in 128 bits.
const DIGEST_BYTES: usize = 16;

/// All users' files.
#[derive(Clone)]
pub(super) struct Files {
    root: PathBuf,
    /// Held from a look at what a user has to the file that adds to it. Kernels beside this one are not held, so that together
    /// they may go over a limit by what they add at once.
    reserving: Arc<Mutex<()>>,
}

/// One user's.
#[derive(Clone)]
pub(super) struct Folder {
    path: PathBuf,
    files: Files,
}

/// What a user takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    /// Of whole files, and of what was asked for.
    pub(super) bytes: u64,
    pub(super) wanted: usize,
    pub(super) whole: usize,
}

/// How far an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Absent,
    Wanted,
    Whole,
}

/// A file in a user's folder, with the time since it was last written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: EntryKind,
    bytes: u64,
    pub(super) age: Duration,
    path: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryKind {
    Wanted(AttachmentId),
    Part,
    Whole(AttachmentId),
}

/// A file on its way; removed when it is dropped before it is whole.
pub(super) struct Part {
    path: PathBuf,
    id: AttachmentId,
    folder: Folder,
    is_whole: bool,
}

impl Files {
    pub(super) fn below(data_dir: &Path) -> Files {
        Files {
            root: data_dir.join(ROOT),
            reserving: Arc::default(),
        }
    }

    pub(super) fn folder(&self, user: &str) -> Folder {
        let digest = digest(&SHA256, user.as_bytes());
        let name: String = digest.as_ref()[..DIGEST_BYTES]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.at(self.root.join(name))
    }

    /// Of every user that has any.
    pub(super) fn folders(&self) -> io::Result<Vec<Folder>> {
        let mut folders = Vec::new();
        for entry in or_none(std::fs::read_dir(&self.root))?
            .into_iter()
            .flatten()
        {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(self.at(entry.path()));
            }
        }
        Ok(folders)
    }

    fn at(&self, path: PathBuf) -> Folder {
        Folder {
            path,
            files: self.clone(),
        }
    }
}

impl Folder {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes room for an attachment if `may_have` agrees to what the user has already.
    pub(super) fn reserve<E>(
        &self,
        id: &AttachmentId,
        bytes: u64,
        may_have: impl FnOnce(Usage) -> Result<(), E>,
    ) -> io::Result<Result<(), E>> {
        let _reserving = self
            .files
            .reserving
            .lock()
            .expect("no code panics under this lock");
        if let Err(refusal) = may_have(self.usage()?) {
            return Ok(Err(refusal));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)?;
        create(&self.wanted(id))?.set_len(bytes)?;
        Ok(Ok(()))
    }

    pub(super) fn standing(&self, id: &AttachmentId) -> io::Result<Standing> {
        Ok(match self.whole(id).try_exists()? {
            true => Standing::Whole,
            false if self.wanted(id).try_exists()? => Standing::Wanted,
            false => Standing::Absent,
        })
    }

    /// A new file for an attachment's bytes.
    pub(super) fn begin(&self, id: &AttachmentId) -> io::Result<(File, Part)> {
        let mut nonce = [0; 8];
        SystemRandom::new()
            .fill(&mut nonce)
            .expect("the operating system gives random bytes");
        let name = format!("{id}.{:016x}{PART}", u64::from_ne_bytes(nonce));
        let path = self.path.join(name);
        let file = create(&path)?;
        let part = Part {
            path,
            id: id.clone(),
            folder: self.clone(),
            is_whole: false,
        };
        Ok((file, part))
    }

    /// The bytes of an attachment that is whole.
    pub(super) fn open(&self, id: &AttachmentId) -> io::Result<Option<(File, u64)>> {
        let Some(file) = or_none(File::open(self.whole(id)))? else {
            return Ok(None);
        };
        let bytes = file.metadata()?.len();
        Ok(Some((file, bytes)))
    }

    /// The first bytes of one, up to `most`, and how many it has.
    pub(super) fn read(&self, id: &AttachmentId, most: u64) -> io::Result<Option<(Vec<u8>, u64)>> {
        let Some((file, bytes)) = self.open(id)? else {
            return Ok(None);
        };
        let mut read = Vec::new();
        file.take(most).read_to_end(&mut read)?;
        Ok(Some((read, bytes)))
    }

    /// Removes what there is of an attachment, but for uploads of it that are under way: they find out when they end.
    pub(super) fn remove(&self, id: &AttachmentId) -> io::Result<()> {
        // In this order, so that no upload ends between the two.
        remove(&self.wanted(id))?;
        remove(&self.whole(id))
    }

    pub(super) fn remove_entry(&self, entry: &Entry) -> io::Result<()> {
        remove(&entry.path)
    }

    pub(super) fn entries(&self, now: SystemTime) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in or_none(std::fs::read_dir(&self.path))?
            .into_iter()
            .flatten()
        {
            let entry = entry?;
            let name = entry.file_name();
            let Some(kind) = name.to_str().and_then(EntryKind::of) else {
                continue;
            };
            // Removed while this looks.
            let Some(metadata) = or_none(entry.metadata())? else {
                continue;
            };
            entries.push(Entry {
                kind,
                bytes: metadata.len(),
                age: now.duration_since(metadata.modified()?).unwrap_or_default(),
                path: entry.path(),
            });
        }
        Ok(entries)
    }

    pub(super) fn usage(&self) -> io::Result<Usage> {
        let (mut usage, mut wanted, mut whole) = (Usage::default(), Vec::new(), Vec::new());
        for entry in self.entries(SystemTime::UNIX_EPOCH)? {
            match entry.kind {
                EntryKind::Wanted(id) => wanted.push((id, entry.bytes)),
                EntryKind::Whole(id) => whole.push((id, entry.bytes)),
                EntryKind::Part => {} // its room was made when it was asked for
            }
        }
        // A kill in the last step of an upload leaves both.
        wanted.retain(|(id, _)| !whole.iter().any(|(other, _)| other == id));
        usage.wanted = wanted.len();
        usage.whole = whole.len();
        let bytes = wanted.iter().chain(&whole).map(|(_, bytes)| bytes);
        usage.bytes = bytes.fold(0, |sum, bytes| sum.saturating_add(*bytes));
        Ok(usage)
    }

    fn wanted(&self, id: &AttachmentId) -> PathBuf {
        self.path.join(format!("{id}{WANTED}"))
    }

    fn whole(&self, id: &AttachmentId) -> PathBuf {
        self.path.join(id.to_string())
    }
}

impl Part {
    /// Puts the bytes, which have all been written, in their place; `false` if nobody wants them any more.
    pub(super) fn finish(mut self, file: &File) -> io::Result<bool> {
        file.sync_all()?;
        let wanted = self.folder.wanted(&self.id);
        if !wanted.try_exists()? {
            return Ok(false);
        }
        std::fs::rename(&self.path, self.folder.whole(&self.id))?;
        self.is_whole = true;
        remove(&wanted)?;
        // The names, too, are on the disk when the client is told.
        File::open(&self.folder.path)?.sync_all()?;
        Ok(true)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // What cannot be removed now is swept.
        if !self.is_whole {
            let _ = remove(&self.path);
        }
    }
}

impl EntryKind {
    fn of(name: &str) -> Option<EntryKind> {
        if let Some(stem) = name.strip_suffix(PART) {
            let id = stem.split('.').next().unwrap_or_default();
            return AttachmentId::parse(id).ok().map(|_| EntryKind::Part);
        }
        match name.strip_suffix(WANTED) {
            Some(id) => AttachmentId::parse(id).ok().map(EntryKind::Wanted),
            None => AttachmentId::parse(name).ok().map(EntryKind::Whole),
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    or_none(std::fs::remove_file(path)).map(|_| ())
}

fn or_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
