//! Files, each named by the test: `?path=…`.

use std::ffi::CString;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use serde::Deserialize;

use crate::outcome::{Outcome, ended, number};

#[derive(Deserialize)]
struct Asked {
    path: String,
    /// A second path, where there is one.
    #[serde(default)]
    to: String,
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/read", get(async |Query(q): Query<Asked>| read(&q.path)))
        .route("/list", get(async |Query(q): Query<Asked>| list(&q.path)))
        .route("/write", get(async |Query(q): Query<Asked>| write(&q.path)))
        .route(
            "/append",
            get(async |Query(q): Query<Asked>| append(&q.path)),
        )
        .route(
            "/truncate",
            get(async |Query(q): Query<Asked>| truncate(&q.path)),
        )
        .route(
            "/chmod",
            get(async |Query(q): Query<Asked>| {
                ended(fs::set_permissions(&q.path, Permissions::from_mode(0o600)))
            }),
        )
        .route(
            "/remove",
            get(async |Query(q): Query<Asked>| ended(fs::remove_file(&q.path))),
        )
        .route(
            "/link",
            get(async |Query(q): Query<Asked>| ended(fs::hard_link(&q.path, &q.to))),
        )
        .route(
            "/read-by-link",
            get(async |Query(q): Query<Asked>| {
                ended(symlink(&q.path, &q.to).and_then(|()| fs::read(&q.to)))
            }),
        )
}

/// The first of its bytes.
pub(crate) fn read(path: &str) -> Outcome {
    ended(fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn list(path: &str) -> Outcome {
    ended(fs::read_dir(path).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()
    }))
}

/// A file that was not there.
fn write(path: &str) -> Outcome {
    ended(
        OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(path)
            .map(drop),
    )
}

/// Writes nothing.
fn append(path: &str) -> Outcome {
    ended(OpenOptions::new().append(true).open(path).map(drop))
}

/// To the length it has.
fn truncate(path: &str) -> Outcome {
    ended((|| {
        let len = fs::metadata(path)?.len();
        let path = CString::new(path)?;
        let len = libc::off_t::try_from(len).map_err(io::Error::other)?;
        // SAFETY: the path ends with a zero.
        number(unsafe { libc::truncate(path.as_ptr(), len) })
    })())
}
