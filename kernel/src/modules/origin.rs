//! The author's file: whether it may be loaded from there, whether only its owner can change it, and its bytes.
//!
//! Everything is asked of the open file or of the resolved path; nothing is asked twice.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::descriptor::ARTIFACT_LEN_MAX;
use super::trail::Trail;

/// `S_ISVTX`: of a directory, that only its owner and an entry's may rename or remove the entry.
const STICKY: u32 = 0o1000;

/// Why an artifact was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginError {
    #[error("there is no {path}: build the module, or correct its path", path = path.display())]
    Absent { path: PathBuf },
    #[error("{path} cannot be read: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{} is outside the directories that modules may be loaded from ({}): load it from there, or add {} to `module_dirs` in [kernel]",
        leads(path, resolved), list(allowed), resolved.parent().unwrap_or(resolved).display()
    )]
    Outside {
        path: PathBuf,
        /// What it leads to.
        resolved: PathBuf,
        allowed: Vec<PathBuf>,
    },
    #[error("{path} {what}: only its owner may be able to change what the kernel loads; {mend}", path = path.display())]
    Writable {
        path: PathBuf,
        what: String,
        mend: String,
    },
    #[error("{path} is not a regular file: give the path of the library itself", path = path.display())]
    NotAFile { path: PathBuf },
    #[error("{path} has {len} bytes, and a module may have {max}: build it with optimisation, or strip it", path = path.display(), max = ARTIFACT_LEN_MAX)]
    TooLong { path: PathBuf, len: u64 },
    #[error(
        "{path} was changed while it was read: load it again when it is whole; installing it under another name and renaming it keeps it whole",
        path = path.display()
    )]
    Changed { path: PathBuf },
}

/// The bytes of the artifact at `path`, if it may be loaded.
pub(super) fn read(path: &Path, allowed: &[PathBuf]) -> Result<Vec<u8>, OriginError> {
    let failed = |source| OriginError::Read {
        path: path.to_owned(),
        source,
    };
    check_links(path)?;
    let path = resolve(path, allowed)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    check_owner(dir, &fs::metadata(dir).map_err(failed)?)?;
    // The path was resolved a moment ago: a link that stands there now was put there since.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path)
        .map_err(failed)?;
    let before = file.metadata().map_err(failed)?;
    if !before.is_file() {
        return Err(OriginError::NotAFile { path });
    }
    check_owner(&path, &before)?;
    if before.len() > ARTIFACT_LEN_MAX {
        return Err(OriginError::TooLong {
            path,
            len: before.len(),
        });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
    Read::take(&mut file, ARTIFACT_LEN_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let after = file.metadata().map_err(failed)?;
    let stamp = |metadata: &fs::Metadata| {
        (
            metadata.len(),
            (metadata.mtime(), metadata.mtime_nsec()),
            (metadata.mode(), metadata.uid()),
        )
    };
    if stamp(&before) != stamp(&after) || bytes.len() as u64 != after.len() {
        return Err(OriginError::Changed { path });
    }
    Ok(bytes)
}

/// Refuses what someone else can change.
pub(super) fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), OriginError> {
    let own = nix::unistd::Uid::effective().as_raw();
    let writable = |what, mend| {
        Err(OriginError::Writable {
            path: path.to_owned(),
            what,
            mend,
        })
    };
    if metadata.uid() != own && metadata.uid() != 0 {
        return writable(
            format!(
                "belongs to uid {}, and the kernel runs as uid {own}",
                metadata.uid()
            ),
            "copy it to a directory of your own".to_owned(),
        );
    }
    if metadata.mode() & 0o022 != 0 {
        return writable(
            format!(
                "can be written by others (mode {:o})",
                metadata.mode() & 0o7777
            ),
            format!("run: chmod go-w {}", path.display()),
        );
    }
    Ok(())
}

/// What `path` leads to, if that stands right in one of the allowed directories.
fn resolve(path: &Path, allowed: &[PathBuf]) -> Result<PathBuf, OriginError> {
    let is_allowed = |file: &Path| {
        file.parent()
            .is_some_and(|dir| allowed.iter().any(|a| leads_to(a, dir)))
    };
    let outside = |resolved| OriginError::Outside {
        path: path.to_owned(),
        resolved,
        allowed: allowed.to_owned(),
    };
    match path.canonicalize() {
        Ok(resolved) if is_allowed(&resolved) => Ok(resolved),
        Ok(resolved) => Err(outside(resolved)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            // Whether something is there is told only of where modules may be loaded from.
            let dir = path.parent().and_then(|dir| dir.canonicalize().ok());
            match (dir, path.file_name()) {
                (Some(dir), Some(name)) if is_allowed(&dir.join(name)) => {
                    Err(OriginError::Absent {
                        path: path.to_owned(),
                    })
                }
                _ => Err(outside(path.to_owned())),
            }
        }
        Err(source) => Err(OriginError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Whether an allowed directory is `dir` now: it may be named by a link that an installation points elsewhere.
fn leads_to(allowed: &Path, dir: &Path) -> bool {
    allowed == dir || allowed.canonicalize().is_ok_and(|allowed| allowed == dir)
}

/// Refuses a way on which somebody else could point a link elsewhere.
fn check_links(path: &Path) -> Result<(), OriginError> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for place in Trail::follow(&absolute).places {
        if !place.is_link {
            continue;
        }
        let failed = |source| OriginError::Read {
            path: place.dir.clone(),
            source,
        };
        let dir = fs::metadata(&place.dir).map_err(failed)?;
        let link = place.dir.join(&place.name);
        let link = link.symlink_metadata().map_err(failed)?;
        // Where the sticky bit is set, as in /tmp and in /nix/store, an entry is its owner's although others may add some.
        let is_ours = link.uid() == 0 || link.uid() == nix::unistd::Uid::effective().as_raw();
        if !(is_ours && dir.mode() & STICKY != 0) {
            check_owner(&place.dir, &dir)?;
        }
    }
    Ok(())
}

fn leads(path: &Path, resolved: &Path) -> String {
    if path == resolved {
        return path.display().to_string();
    }
    format!("{} leads to {}, which", path.display(), resolved.display())
}

fn list(dirs: &[PathBuf]) -> String {
    if dirs.is_empty() {
        return "there are none".to_owned();
    }
    let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    dirs.join(", ")
}
