//! A WebSocket to a kernel: a third party's client, and one that sends whatever bytes a test wants.

use std::path::Path;

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::kernel::{DEADLINE, Kernel};

/// The client of tokio-tungstenite.
pub(crate) struct WebSocket {
    pub(crate) headers: http::HeaderMap,
    pub(crate) stream: WebSocketStream<UnixStream>,
}

impl Kernel {
    /// Opens a WebSocket.
    pub(crate) async fn websocket(&self, path: &str, token: &str) -> WebSocket {
        self.websocket_offering(path, token, &[]).await
    }

    /// The same with protocols offered.
    pub(crate) async fn websocket_offering(
        &self,
        path: &str,
        token: &str,
        protocols: &[&'static str],
    ) -> WebSocket {
        let mut request = format!("ws://localhost{path}")
            .into_client_request()
            .unwrap();
        let headers = request.headers_mut();
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        headers.insert("authorization", bearer);
        for protocol in protocols {
            let protocol = HeaderValue::from_static(protocol);
            headers.append("sec-websocket-protocol", protocol);
        }
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let opened = tokio_tungstenite::client_async(request, stream);
        let (stream, answer) = tokio::time::timeout(DEADLINE, opened)
            .await
            .unwrap_or_else(|_| panic!("no WebSocket at {path} in time"))
            .unwrap_or_else(|error| panic!("no WebSocket at {path}: {error}"));
        WebSocket {
            headers: answer.headers().clone(),
            stream,
        }
    }
}

impl WebSocket {
    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        let sent = tokio::time::timeout(DEADLINE, self.stream.send(message.into()));
        sent.await.expect("sent in time").expect("sent");
    }

    /// The next message, pings and pongs left out; `None` when the connection has ended.
    pub(crate) async fn recv(&mut self) -> Option<Message> {
        loop {
            let came = tokio::time::timeout(DEADLINE, self.stream.next()).await;
            match came.expect("a message or the end in time")? {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(message) => return Some(message),
                Err(Error::Io(_) | Error::ConnectionClosed) => return None,
                Err(error) => panic!("the kernel broke the protocol: {error}"),
            }
        }
    }

    /// The next message, which must be text.
    pub(crate) async fn text(&mut self) -> String {
        match self.recv().await {
            Some(Message::Text(text)) => text.as_str().to_owned(),
            other => panic!("not text: {other:?}"),
        }
    }

    /// Reads messages away until the close frame, and then the connection's end.
    pub(crate) async fn closed(mut self) -> (u16, String) {
        loop {
            match self.recv().await {
                Some(Message::Close(Some(frame))) => {
                    let close = (frame.code.into(), frame.reason.as_str().to_owned());
                    while self.recv().await.is_some() {}
                    return close;
                }
                Some(Message::Text(_) | Message::Binary(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }
}

/// A client that writes its frames by hand.
pub(crate) struct Frames {
    pub(crate) stream: UnixStream,
    unread: Vec<u8>,
}

/// A frame of the kernel's: its first byte (FIN, reserved bits, opcode), and what it carries.
pub(crate) type Frame = (u8, Vec<u8>);

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

impl Frames {
    /// Opens a WebSocket.
    pub(crate) async fn open(kernel: &Kernel, path: &str, token: &str) -> Frames {
        Frames::open_with(&kernel.socket, path, token, "").await
    }

    /// The same with more header lines, each with its line end.
    pub(crate) async fn open_with(socket: &Path, path: &str, token: &str, more: &str) -> Frames {
        Frames::handshake(socket, path, token, more, &[]).await
    }

    /// The same with bytes that do not wait for the answer.
    pub(crate) async fn open_followed_by(
        kernel: &Kernel,
        path: &str,
        token: &str,
        early: &[u8],
    ) -> Frames {
        Frames::handshake(&kernel.socket, path, token, "", early).await
    }

    async fn handshake(socket: &Path, path: &str, token: &str, more: &str, early: &[u8]) -> Frames {
        let stream = UnixStream::connect(socket).await.unwrap();
        Frames::handshake_on(stream, path, token, more, early).await
    }

    /// The same on a connection that is there.
    pub(crate) async fn handshake_on(
        mut stream: UnixStream,
        path: &str,
        token: &str,
        more: &str,
        early: &[u8],
    ) -> Frames {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        let all = [head.as_bytes(), early].concat();
        stream.write_all(&all).await.unwrap();
        let mut frames = Frames {
            stream,
            unread: Vec::new(),
        };
        let end = loop {
            if let Some(at) = frames
                .unread
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            {
                break at + 4;
            }
            assert!(frames.read_more().await, "no answer to the handshake");
        };
        let head = String::from_utf8(frames.unread.drain(..end).collect()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        for never in [
            "sec-websocket-extensions",
            "content-length",
            "transfer-encoding",
        ] {
            assert!(!head.contains(never), "{head}");
        }
        frames
    }

    /// Sends a frame as a client should.
    pub(crate) async fn send(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(&masked(first, payload)).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let sent = tokio::time::timeout(DEADLINE, self.stream.write_all(bytes));
        sent.await.expect("sent in time").expect("sent");
    }

    /// The next frame; `None` when the connection has ended.
    pub(crate) async fn recv(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, len)) = parse(&self.unread) {
                self.unread.drain(..len);
                return Some(frame);
            }
            if !self.read_more().await {
                assert!(self.unread.is_empty(), "half a frame");
                return None;
            }
        }
    }

    /// The code and reason of the next frame, which must close, and then the connection's end, with nothing in between.
    pub(crate) async fn closed(mut self) -> (u16, String) {
        let (first, payload) = self.recv().await.expect("a close frame");
        assert_eq!(first, CLOSE, "{payload:?}");
        let (code, reason) = payload.split_at(2);
        let code = u16::from_be_bytes([code[0], code[1]]);
        // It may have answered one of ours, and be gone.
        let _ = self
            .stream
            .write_all(&masked(CLOSE, &code.to_be_bytes()))
            .await;
        assert_eq!(self.recv().await, None, "after {code}");
        (code, String::from_utf8(reason.to_vec()).unwrap())
    }

    async fn read_more(&mut self) -> bool {
        let read = tokio::time::timeout(DEADLINE, self.stream.read_buf(&mut self.unread));
        read.await.expect("bytes or the end in time").unwrap_or(0) > 0
    }
}

/// A client's frame.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | u8::try_from(len).unwrap()),
        len @ ..65536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// The first of the kernel's frames in `bytes`, and how long it is; it must not be masked.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (len, at) = match second {
        126 => (
            u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())),
            4,
        ),
        127 => (
            u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()),
            10,
        ),
        len => {
            assert!(len < 126, "a masked frame of the kernel's");
            (u64::from(len), 2)
        }
    };
    let end = at + usize::try_from(len).unwrap();
    Some(((first, bytes.get(at..end)?.to_vec()), end))
}
