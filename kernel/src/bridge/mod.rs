//! The bridge: a host's JSON-RPC connection, over which the kernel asks for secrets when they are needed, and the host
//! steers the kernel and hears what happens.
//!
//! | file | concern |
//! |---|---|
//! | `frame` | bytes to messages and back: Content-Length framing |
//! | `message` | JSON-RPC 2.0 |
//! | `methods` | what the methods carry |
//! | `peer` | one bridge, from its first message to its end |
//! | `calls` | methods that are HTTP routes |
//! | `listening` | events and log lines for a host |
//! | `host`, `hosts` | attached hosts, as sources of secrets |
//! | `upgrade` | a bridge over the socket: `GET /bridge` |
//!
//! A host costs itself only: everything it can make the kernel keep has a limit, and nothing waits for a host but what needs
//! its answer.

mod calls;
pub mod frame;
mod host;
mod hosts;
mod listening;
pub mod message;
pub(crate) mod methods;
mod peer;
pub(crate) mod upgrade;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

#[cfg(all(test, feature = "schema"))]
pub(crate) use calls::routed;
pub(crate) use hosts::Hosts;

use crate::kernel::{Kernel, Stop};

/// What a description of the bridge names.
#[cfg(feature = "schema")]
pub(crate) mod limits {
    pub(crate) use super::INITIALIZE_TIMEOUT;
    pub(crate) use super::frame::{BODY_LEN_MAX, HEADER_LEN_MAX};
    pub(crate) use super::host::{REQUESTS_MAX as QUESTIONS_MAX, SECRET_TIMEOUT};
    pub(crate) use super::hosts::HOSTS_MAX;
    pub(crate) use super::message::ID_LEN_MAX;
    pub(crate) use super::peer::REQUESTS_MAX;
}

/// How long one that dialled the socket may take to say who it is: it has a place of the socket's connections meanwhile.
pub(crate) const INITIALIZE_TIMEOUT: Duration = Duration::from_secs(10);

/// Speaks to the host that started the kernel, over the descriptor that it passed. Its end ends the kernel.
pub(crate) fn serve_inherited(kernel: &Arc<Kernel>, stream: UnixStream) {
    let serving = inherited(Arc::clone(kernel), stream);
    kernel.hosts.bridges.spawn_on(serving, &kernel.control);
}

async fn inherited(kernel: Arc<Kernel>, stream: UnixStream) {
    let stream = match stream
        .set_nonblocking(true)
        .and_then(|()| tokio::net::UnixStream::from_std(stream))
    {
        Ok(stream) => stream,
        Err(error) => {
            tracing::error!(%error, "the inherited bridge cannot be used");
            return kernel.stop(Stop::HostGone);
        }
    };
    let (reader, writer) = stream.into_split();
    let end = peer::run(&kernel, reader, writer, None).await;
    tracing::info!(reason = %end, "the bridge to the host that started the kernel ended");
    kernel.stop(Stop::HostGone);
}

/// Speaks to a host that dialled the socket.
async fn serve_upgraded(kernel: &Arc<Kernel>, stream: upgrade::Stream) {
    let (reader, writer) = tokio::io::split(stream);
    let end = peer::run(kernel, reader, writer, Some(INITIALIZE_TIMEOUT)).await;
    tracing::info!(reason = %end, "a bridge ended");
}
