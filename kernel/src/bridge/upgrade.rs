//! A bridge over the socket: `GET /bridge` with `Upgrade: jsonrpc` (RFC 9110 section 7.8).
//!
//! The connection leaves the worker that accepted it and goes on where the other bridges are, so that a module that holds a
//! worker holds up no host.

use std::io;
use std::sync::Arc;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use crate::connection::Watched;
use crate::connections::HostProcess;
use crate::kernel::Kernel;

pub(crate) const PROTOCOL_NAME: &str = "jsonrpc";

/// The connection, with what was read of it already in front.
pub(super) type Stream = tokio::io::Join<
    tokio::io::Chain<io::Cursor<Zeroizing<Vec<u8>>>, tokio::net::unix::OwnedReadHalf>,
    tokio::net::unix::OwnedWriteHalf,
>;

/// A bridge whose handshake was good. Dropping it closes the connection.
pub(crate) struct OpenBridge {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) on_upgrade: OnUpgrade,
}

impl OpenBridge {
    /// Serves it to its end. `pid` is the host's, whose other connections count as a host's from here on.
    pub(crate) async fn run(self, pid: Option<i32>) {
        let OpenBridge { kernel, on_upgrade } = self;
        let taken = match on_upgrade.await {
            Ok(upgraded) => take(upgraded),
            Err(error) => {
                tracing::debug!(%error, "a connection ended before it became a bridge");
                return;
            }
        };
        let (hosts, control) = (Arc::clone(&kernel.hosts), kernel.control.clone());
        let serving = async move {
            let _host = HostProcess::new(&kernel.connections, pid);
            match taken.and_then(|(stream, read)| join(stream, read)) {
                Ok(stream) => super::serve_upgraded(&kernel, stream).await,
                Err(error) => tracing::warn!(%error, "a connection could not become a bridge"),
            }
        };
        // The connection's place is kept until then. A panic is told by the runtime.
        let _ = hosts.bridges.spawn_on(serving, &control).await;
    }
}

/// The socket out of hyper's hands, with the bytes that hyper had read.
fn take(upgraded: Upgraded) -> io::Result<(std::os::unix::net::UnixStream, Zeroizing<Vec<u8>>)> {
    let parts = upgraded
        .downcast::<TokioIo<Watched>>()
        .map_err(|_| io::Error::other("the connection is not the kernel's own"))?;
    let read = Zeroizing::new(parts.read_buf.to_vec());
    Ok((parts.io.into_inner().into_stream().into_std()?, read))
}

/// Registers it with the runtime of the caller.
fn join(stream: std::os::unix::net::UnixStream, read: Zeroizing<Vec<u8>>) -> io::Result<Stream> {
    use tokio::io::AsyncReadExt as _;
    let (reader, writer) = UnixStream::from_std(stream)?.into_split();
    Ok(tokio::io::join(io::Cursor::new(read).chain(reader), writer))
}
