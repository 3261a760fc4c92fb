//! Looks into a file that has been quiet for a moment.

use std::fs::{Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;

use super::whole::{self, Incomplete};
use crate::modules::descriptor::ARTIFACT_LEN_MAX;
use crate::modules::stage::sha256;
use crate::modules::trail::End;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Whole {
        /// `None` for what the loader has to refuse.
        sha256: Option<String>,
    },
    Incomplete(Incomplete),
    /// It changed while it was read.
    Changed,
}

/// Reads the file, and never maps it: it may be cut at any time.
pub(super) fn examine(end: &End) -> Found {
    let for_the_loader = Found::Whole { sha256: None };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&end.path);
    let Ok(file) = opened else {
        return for_the_loader;
    };
    let unchanged = |metadata: &Metadata| end.mark.fits(metadata);
    match file.metadata() {
        Ok(metadata) if !unchanged(&metadata) => return Found::Changed,
        Ok(metadata) if metadata.is_file() && metadata.len() <= ARTIFACT_LEN_MAX => {}
        Ok(_) | Err(_) => return for_the_loader,
    }
    let mut bytes = Vec::new();
    if (&file)
        .take(ARTIFACT_LEN_MAX)
        .read_to_end(&mut bytes)
        .is_err()
    {
        return for_the_loader;
    }
    if !file.metadata().is_ok_and(|metadata| unchanged(&metadata)) {
        return Found::Changed;
    }
    match whole::check(&bytes) {
        Ok(()) => Found::Whole {
            sha256: Some(sha256(&bytes)),
        },
        Err(incomplete) => Found::Incomplete(incomplete),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::trail::Trail;
    use std::fs;

    #[test]
    fn a_file_is_whole_incomplete_changed_or_the_loaders() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let path = root.join("m.so");
        let end = || Trail::follow(&path).end.unwrap();
        fs::write(&path, "abc").unwrap();
        assert_eq!(
            examine(&end()),
            Found::Whole {
                sha256: Some(sha256(b"abc"))
            }
        );
        let before = end();
        fs::write(&path, "").unwrap();
        assert_eq!(examine(&before), Found::Changed);
        assert_eq!(examine(&end()), Found::Incomplete(Incomplete::Empty));
        let before = end();
        fs::remove_file(&path).unwrap();
        assert_eq!(examine(&before), Found::Whole { sha256: None });
        fs::create_dir(&path).unwrap();
        assert_eq!(examine(&end()), Found::Whole { sha256: None });
    }
}
