//! Write a Midplane module: an ordinary axum or tower service with one attribute.
//!
//! ```
//! use axum::{Router, routing::get};
//! use midplane_sdk::{Context, Result, Session};
//!
//! #[midplane_sdk::module(name = "hello")]
//! async fn hello(_ctx: Context) -> Result<Router> {
//!     Ok(Router::new().route("/hello", get(|s: Session| async move { format!("hello {}", s.user()) })))
//! }
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! // In a unit test, without a kernel:
//! use midplane_sdk::testing;
//!
//! let module = testing::start(hello, serde_json::json!({})).await?;
//! let request = http::Request::get("/hello").body(axum::body::Body::empty())?;
//! let response = module.call(Some(testing::session("ada")), request).await;
//! assert_eq!(response.status(), 200);
//! # Ok::<(), midplane_sdk::Error>(())
//! # })?;
//! # Ok::<(), midplane_sdk::Error>(())
//! ```
//!
//! Build it with `crate-type = ["cdylib"]` and name the file under `[modules.hello]` in the kernel's configuration. The
//! kernel has authenticated every request before the module sees it; [`Session`] says for whom it acts. The module is
//! mounted at `/api/hello` and sees the path below that.
//!
//! # Where handlers run
//! Handlers are polled inline on the kernel's worker threads, with this generation's own tokio runtime entered. That is
//! the fast path, and it differs from a plain axum server in these points:
//!
//! | in a plain server | in a module |
//! |---|---|
//! | `tokio::spawn`, timers and sockets work | they work, on the generation's own runtime of one thread |
//! | tokio's cooperative budget makes a task yield | an inline handler has none: a loop that never awaits anything pending holds its worker, and the kernel logs polls over 10 ms. The SDK bounds how much of a response body one poll produces |
//! | `block_in_place`, `Handle::block_on`, blocking calls hold up one thread of many | they hold up a kernel worker: use `tokio::task::spawn_blocking` |
//! | `task::id()`, `spawn_local` | not available inline; available inside `tokio::spawn` |
//! | the client leaving drops the handler's future | the same |
//! | hyper's upgrade object | not there: WebSockets are those of [`ws`] |
//! | HTTP trailers | dropped |
//!
//! Statics of a module live as long as its generation: a reload starts with fresh ones, and the old ones leave the process with
//! the code. What keeps code there is told in the receipt of the reload: a thread that outlives
//! [`Context::on_shutdown`](Context), a signal handler. Constructors of the library, if it has any, run twice at a reload:
//! in a process of their own first, which may hang and crash.
//!
//! # State
//! State that is only in memory passes to the next generation by [`Context::on_save`] and [`Context::restore`]. Files of the
//! module's own belong into [`Context::data_dir`]. In the kernel's process, do not open a database file of your own there:
//! two generations overlap, and two copies of SQLite in one process do not see each other's POSIX locks
//! (<https://www.sqlite.org/howtocorrupt.html>, section 2.2). A module that must own a database declares
//! `#[midplane_sdk::module(name = "…", exclusive)]`, or its operator runs it with `isolation = "process"`.
//!
//! Of an exclusive module one generation is there at a time, in each isolation. At a reload new requests wait while the old one
//! drains and ends, [`Context::on_shutdown`] included; then the module's function runs, and opens what the old one has closed. What
//! is under way has half of the time that a request may wait (`[limits] restart_wait`) until it is cut: end streams in
//! [`Context::on_drain`], and do not wait there for a module that calls this one. Where the new version is refused, the code of
//! the old one starts anew. There is no [`Context::on_save`]: what lasts is in the database.
//!
//! # Numbers
//! [`Context::metrics`] gives counters, gauges and histograms in the kernel's `GET /metrics`, and [`testing::Module::metric`] says in a
//! unit test what was counted: see [`metrics`].
//!
//! # Other modules
//! [`Session::call`] and [`Context::call`] send a request to another module, which finds a [`Caller`]. It never leaves memory, and the
//! other module may run anywhere: the attribute asks for `grants = ["call:store"]`, and the other one's opens its routes with
//! `internal = ["/rows/*"]`. A call goes on while the handler that makes it is polled; a task of the module's own can make one as
//! well, which costs two changes of threads more. Modules that call each other in a circle are stopped at the ninth call.

#[cfg(panic = "abort")]
compile_error!(
    "a midplane module must unwind on panic, so that the kernel can answer 500 and go on: remove `panic = \"abort\"` from the profile"
);

mod body;
mod boundary;
mod calls;
mod context;
mod error;
pub mod metrics;
mod problem;
mod secret;
mod session;
mod state;
pub mod storage;
mod telemetry;
pub mod testing;
pub mod ws;

pub use boundary::instance::ModuleService;
pub use calls::{CallError, Caller, Calls};
pub use context::{Context, Draining, NoConfig};
pub use error::{Error, Result};
pub use metrics::{Counter, Gauge, Histogram, Metrics};
pub use midplane_sdk_macros::module;
pub use problem::Problem;
pub use secret::{Secret, SecretError};
pub use session::Session;

/// The body of requests and responses: axum's.
pub use axum::body::Body;

/// What the attribute [`module`] expands to needs; not for anyone else.
#[doc(hidden)]
pub mod __private {
    pub use crate::boundary::export::{entry, init};
    pub use crate::boundary::instance::Attribute;
    pub use midplane_abi as abi;

    /// For the descriptor.
    pub const SDK: &str = concat!("midplane-sdk ", env!("CARGO_PKG_VERSION"));
    /// For the descriptor.
    pub const COMPILER: &str = env!("MIDPLANE_SDK_RUSTC");
}
