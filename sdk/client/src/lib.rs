//! A client of the Midplane HTTP API over its Unix socket.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use midplane_client::{NewSession, locate};
//!
//! let host = locate::client(None, None)?;
//! let session = host.issue_session(&NewSession::default()).await?;
//! let client = host.with_credential(session.client_secret.expose());
//! let request = http::Request::get("/api/hello/hello").body(String::new())?;
//! println!("{}", client.request(request).await?.status());
//! # Ok(())
//! # }
//! ```
//!
//! | module | concern |
//! |---|---|
//! | `client` | the connection, requests, and the routes by name |
//! | `api` | what the routes take and answer |
//! | `events` | a response as a stream of events |
//! | [`sse`] | the parser of such streams, without I/O |
//! | [`locate`] | where the kernel and its host key are |

pub mod api;
mod client;
mod error;
mod events;
pub mod locate;
pub mod sse;

pub use api::{ClientSecret, IssuedSession, NewSession};
pub use client::Client;
pub use error::Error;
pub use events::EventStream;
