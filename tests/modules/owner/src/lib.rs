//! A module that owns a file, as one with a database of its own would: whoever opens it while another generation has it open is
//! refused.

use std::convert::Infallible;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use midplane_sdk::{Context, Error, Result};
use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Refuses to start once it has the file.
    refuse: bool,
    /// The beginning takes this long, once it has the file.
    begin_ms: u64,
    /// The end takes this long.
    end_ms: u64,
}

/// The one file, and the number in it.
struct Owned(Mutex<File>);

impl Owned {
    fn open(path: &std::path::Path) -> Result<Owned> {
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Owned(Mutex::new(file))),
            Err(TryLockError::WouldBlock) => Err(Error::msg("two have the file open")),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    fn add(&self) -> Result<u64> {
        let mut file = self.0.lock().expect("no code panics under this lock");
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        let count = text.trim().parse().unwrap_or(0_u64) + 1;
        file.rewind()?;
        write!(file, "{count}")?;
        Ok(count)
    }
}

#[midplane_sdk::module(name = "owner", exclusive)]
async fn owner(mut ctx: Context<Config>) -> Result<Router> {
    let owned = Arc::new(Owned::open(&ctx.data_dir().join("owned"))?);
    if ctx.config().refuse || ctx.data_dir().join("closed").exists() {
        return Err(Error::msg("refused, as it was told to be"));
    }
    tokio::time::sleep(Duration::from_millis(ctx.config().begin_ms)).await;
    let end = Duration::from_millis(ctx.config().end_ms);
    let ended = ctx.data_dir().join("ended");
    ctx.on_shutdown({
        let owned = Arc::clone(&owned);
        async move {
            tokio::time::sleep(end).await;
            // Whether it was made is what a test looks at.
            let _ = File::create(ended);
            drop(owned);
        }
    });
    let add = move || async move {
        owned
            .add()
            .map(|count| count.to_string())
            .map_err(|error| error.to_string())
    };
    Ok(Router::new()
        .route("/add", post(add))
        .route("/slow/{ms}", get(slow))
        .route("/panic", get(fail))
        .route("/stream", get(stream)))
}

/// Answers late.
async fn slow(Path(ms): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "done"
}

async fn fail() {
    panic!("as it was told to");
}

/// One piece, and then nothing more.
async fn stream() -> Body {
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"first"))]);
    Body::from_stream(first.chain(stream::pending()))
}
