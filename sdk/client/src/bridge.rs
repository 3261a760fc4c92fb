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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    /// Connects to something that answers so, and then says again what it hears.
    async fn dial(answer: &'static str) -> (Result<BridgeStream, Error>, String) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("kernel.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (sender, asked) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            sender.send(String::from_utf8(head).unwrap()).unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        });
        let opened = Client::new(socket).credential("key").bridge().await;
        (opened, asked.await.unwrap())
    }

    #[tokio::test]
    async fn bytes_go_both_ways_once_it_is_open() {
        // What the kernel says first may come with the head.
        let (opened, asked) = dial(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: jsonrpc\r\n\r\nfirst",
        )
        .await;
        assert!(asked.starts_with("GET /bridge HTTP/1.1\r\n"), "{asked}");
        for header in [
            "connection: upgrade",
            "upgrade: jsonrpc",
            "authorization: Bearer key",
        ] {
            assert!(asked.contains(&format!("\r\n{header}\r\n")), "{asked}");
        }
        let mut stream = opened.unwrap();
        stream.write_all(b" second").await.unwrap();
        let mut heard = [0; 12];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"first second");
    }

    #[tokio::test]
    async fn what_opens_no_bridge_is_an_error() {
        let (opened, _) = dial("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let error = opened.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        let (opened, _) = dial(
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 24\r\n\r\n{\"code\":\"invalid_token\"}",
        )
        .await;
        let error = opened.unwrap_err();
        assert!(
            matches!(&error, Error::Problem { code, .. } if code == "invalid_token"),
            "{error:?}"
        );
    }
}
