//! One request on a connection of its own, and its answer.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::kernel::DEADLINE;

pub(crate) struct Request {
    socket: PathBuf,
    builder: http::request::Builder,
    body: Bytes,
    told: String,
}

/// An answer whose body has been read whole.
pub(crate) struct Answer {
    pub(crate) parts: http::response::Parts,
    pub(crate) body: Bytes,
    told: String,
}

/// An answer that is read piece by piece. Dropping it closes the connection.
pub(crate) struct Stream {
    pub(crate) parts: http::response::Parts,
    body: Incoming,
    connection: tokio::task::JoinHandle<()>,
}

impl Request {
    pub(crate) fn new(socket: &Path, method: &str, path: &str) -> Request {
        let builder = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost");
        Request {
            socket: socket.to_owned(),
            builder,
            body: Bytes::new(),
            told: format!("{method} {path}"),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Request {
        self.builder = self.builder.header(name, value);
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Request {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Request {
        self.body = body.into();
        self
    }

    pub(crate) fn json(self, value: &Value) -> Request {
        self.header("content-type", "application/json")
            .body(value.to_string())
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        let told = self.told.clone();
        let answer = tokio::time::timeout(DEADLINE, async {
            let mut stream = self.stream().await;
            let body = (&mut stream.body)
                .collect()
                .await
                .expect("the body is whole");
            (stream.parts.clone(), body.to_bytes())
        });
        let (parts, body) = answer
            .await
            .unwrap_or_else(|_| panic!("no answer to {told} in time"));
        Answer { parts, body, told }
    }

    /// Sends it on a connection that is kept, and reads the whole answer.
    pub(crate) async fn send_on(self, sender: &mut SendRequest<Full<Bytes>>) -> Answer {
        let request = self.builder.body(Full::new(self.body)).unwrap();
        let answer = tokio::time::timeout(DEADLINE, async {
            sender.ready().await.expect("the connection is open");
            let response = sender.send_request(request).await.expect("an answer");
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("the body is whole");
            (parts, body.to_bytes())
        });
        let (parts, body) = answer
            .await
            .unwrap_or_else(|_| panic!("no answer to {} in time", self.told));
        Answer {
            parts,
            body,
            told: self.told,
        }
    }

    /// Sends it and returns when the head of the answer is there.
    pub(crate) async fn stream(self) -> Stream {
        let (mut sender, connection) = connect(&self.socket).await;
        let request = self.builder.body(Full::new(self.body)).unwrap();
        let response = tokio::time::timeout(DEADLINE, sender.send_request(request)).await;
        let response = response
            .unwrap_or_else(|_| panic!("no answer to {} in time", self.told))
            .expect("an answer");
        let (parts, body) = response.into_parts();
        // The sender may go: the connection ends with the answer.
        Stream {
            parts,
            body,
            connection,
        }
    }
}

/// A connection for several requests.
pub(crate) async fn connect(
    socket: &Path,
) -> (SendRequest<Full<Bytes>>, tokio::task::JoinHandle<()>) {
    let stream = UnixStream::connect(socket)
        .await
        .expect("the kernel accepts");
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let task = tokio::spawn(async move {
        // How it ends shows in the answer.
        let _ = connection.await;
    });
    (sender, task)
}

impl Stream {
    /// The next piece of the body; `None` at its end, `Err` when it was cut.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = tokio::time::timeout(DEADLINE, self.body.frame())
                .await
                .expect("a piece of the body in time")?;
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(bytes)) => return Some(Ok(bytes)),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads until the text so far contains `text`; returns all of it.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        let mut so_far = String::new();
        while !so_far.contains(text) {
            match self.next().await {
                Some(Ok(bytes)) => so_far.push_str(std::str::from_utf8(&bytes).unwrap()),
                other => panic!("the body ended ({other:?}) before {text:?}: {so_far:?}"),
            }
        }
        so_far
    }

    /// The rest of the body, and whether it ended as it should.
    pub(crate) async fn rest(mut self) -> (String, bool) {
        let mut so_far = String::new();
        loop {
            match self.next().await {
                None => return (so_far, true),
                Some(Err(_)) => return (so_far, false),
                Some(Ok(bytes)) => so_far.push_str(std::str::from_utf8(&bytes).unwrap()),
            }
            assert!(so_far.len() < 64 << 20, "the body does not end");
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.parts.status.as_u16()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{self}\nis not JSON: {error}"))
    }

    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.parts.headers.contains_key(name)
    }

    /// A header that must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self
            .parts
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name} in {self}"));
        value.to_str().unwrap()
    }

    #[track_caller]
    pub(crate) fn expect_status(&self, status: u16) -> &Answer {
        assert_eq!(self.status(), status, "{self}");
        self
    }

    /// A problem of the kernel's: RFC 9457, with our members.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, code: &str) -> &Answer {
        self.expect_status(status);
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self}"
        );
        let problem = self.json();
        assert_eq!(problem["code"], code, "{self}");
        assert_eq!(problem["status"], status, "{self}");
        assert_eq!(
            problem["type"],
            format!("urn:midplane:error:{}", code.replace('_', "-")),
            "{self}"
        );
        assert_eq!(problem["instance"], self.header("x-request-id"), "{self}");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.len() > 10),
            "{self}"
        );
        self
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} -> {}", self.told, self.parts.status)?;
        for (name, value) in &self.parts.headers {
            writeln!(f, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        write!(f, "{}", String::from_utf8_lossy(&self.body))
    }
}
