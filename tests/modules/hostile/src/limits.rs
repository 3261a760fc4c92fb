//! Its own limits: raising them, and taking more.

use std::fs::File;
use std::io;

use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use serde::Deserialize;

use crate::outcome::{Outcome, ended, tried};

/// More than it is ever given.
const FILES: usize = 10_000;
const PAGE: usize = 4096;

#[derive(Deserialize)]
struct Amount {
    mib: usize,
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route(
            "/raise-memory",
            get(async || raise(libc::RLIMIT_DATA, libc::RLIM_INFINITY)),
        )
        .route(
            "/raise-files",
            get(async || raise(libc::RLIMIT_NOFILE, 1 << 16)),
        )
        .route(
            "/raise-core",
            get(async || raise(libc::RLIMIT_CORE, libc::RLIM_INFINITY)),
        )
        .route("/open-many", get(open_many))
        .route("/allocate", get(allocate))
        .route("/map-shared", get(map_shared))
        .route("/crash", get(crash))
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
type Resource = libc::c_int;

fn raise(resource: Resource, limit: libc::rlim_t) -> Outcome {
    let limits = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: what it reads lives here.
    tried(unsafe { libc::setrlimit(resource, &raw const limits) })
}

/// How many it got is in the error's place when it is stopped; they are closed again.
async fn open_many() -> Outcome {
    let files: io::Result<Vec<File>> = (0..FILES).map(|_| File::open("/dev/null")).collect();
    ended(files.map(|files| files.len()))
}

/// Takes it and uses it. Where there is no more, the process ends: that is what Rust's allocator does.
async fn allocate(Query(amount): Query<Amount>) -> Outcome {
    let bytes = vec![1u8; amount.mib << 20];
    ended(Ok(bytes.iter().step_by(PAGE).count()))
}

/// Memory that no limit of the process's counts.
async fn map_shared(Query(amount): Query<Amount>) -> Outcome {
    let len = amount.mib << 20;
    // SAFETY: new memory, at an address of the system's choice.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANON,
            -1,
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return tried(-1);
    }
    // SAFETY: the memory from above, which nothing uses.
    tried(unsafe { libc::munmap(memory, len) })
}

/// Ends the process in the middle of a request.
async fn crash() -> Outcome {
    std::process::abort()
}
