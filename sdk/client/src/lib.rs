//! A client of the Midplane HTTP API over its Unix socket.
//!
//! Says what the API says and no more: it does not retry, does not renew sessions and knows no module.
//!
//! | file | concern |
//! |---|---|
//! | `client` | one request and its answer: socket, credential, deadline, problem |
//! | `routes` | a method for each route of the kernel |
//! | `bridge` | the connection of a bridge |
//! | `path` | those routes' paths, with parts that a caller names |
//! | `views` | what those routes take and return |
//! | `events` | an answer read as a stream of events |
//! | `sse` | the format of such a stream |
//! | `locate` | where the kernel and the host key are |
//! | `error` | what can go wrong |
//!
//! ```no_run
//! # async fn hello() -> Result<(), Box<dyn std::error::Error>> {
//! use midplane_client::{Client, NewSession, locate};
//!
//! let host = locate::client(None, None)?;
//! let session = host.issue_session(&NewSession::default()).await?;
//! let client = Client::new(host.socket()).credential(session.client_secret.expose());
//! let answer: serde_json::Value = client.send(http::Method::GET, "/api/hello/hello", None::<&()>).await?;
//! # Ok(()) }
//! ```

mod bridge;
mod client;
mod error;
mod events;
pub mod locate;
pub mod path;
mod routes;
pub mod sse;
mod views;

pub use bridge::BridgeStream;
pub use client::{Client, checked};
pub use error::Error;
pub use events::EventStream;
pub use views::{
    ClientSecret, Crash, DrainingGeneration, Health, HealthModule, Identity, IssuedSession, Module,
    ModuleList, ModuleProcess, ModuleSource, NewSession, RateLimit, Receipt, ReceiptRequests,
    ReceiptState, RequestCounts, RotatedKeys, Session, SessionPage, StuckWorker,
};
