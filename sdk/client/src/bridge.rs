//! The connection of a bridge: `GET /bridge` with `Upgrade: jsonrpc` (RFC 9110 section 7.8), and then bytes both ways.
//!
//! Speaks no JSON-RPC: what goes over it is the host's and the kernel's.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::{Client, checked};
use crate::error::Error;

const PROTOCOL_NAME: &str = "jsonrpc";

/// The connection of a bridge; the kernel speaks first. Dropping it closes the bridge.
pub struct BridgeStream(TokioIo<Upgraded>);

impl Client {
    /// `GET /bridge`: attaches to the kernel as a host, which needs the host key. What follows on the stream is JSON-RPC 2.0
    /// with Content-Length framing; the kernel closes it when the first request is not `initialize`, soon. There is no
    /// deadline.
    ///
    /// # Errors
    /// [`Error::Problem`] when the kernel does not open one, and those of [`request`](Client::request).
    pub async fn bridge(&self) -> Result<BridgeStream, Error> {
        let request = Request::builder()
            .uri("/bridge")
            .header(CONNECTION, HeaderValue::from_static("upgrade"))
            .header(UPGRADE, HeaderValue::from_static(PROTOCOL_NAME))
            .body(Empty::<bytes::Bytes>::new())
            .map_err(Error::request)?;
        let response = checked(self.request(request).await?).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let answer = format!("{} instead of 101 to `Upgrade`", response.status());
            return Err(Error::protocol(answer));
        }
        let upgraded = hyper::upgrade::on(response).await;
        Ok(BridgeStream(TokioIo::new(
            upgraded.map_err(Error::protocol)?,
        )))
    }
}

impl AsyncRead for BridgeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for BridgeStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl fmt::Debug for BridgeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BridgeStream")
    }
}
