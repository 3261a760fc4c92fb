//! A provider that the test plays itself, one exchange at a time: it looks at the request and writes the answer's bytes.

use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::DEADLINE;

pub(super) struct Scripted {
    listener: TcpListener,
}

/// One request, and the connection its answer goes to.
pub(super) struct Exchange {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    connection: TcpStream,
}

impl Scripted {
    pub(super) async fn start() -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Scripted { listener }
    }

    pub(super) fn base_url(&self) -> String {
        format!("http://{}/v1", self.listener.local_addr().unwrap())
    }

    /// The next request on a new connection.
    pub(super) async fn accept(&self) -> Exchange {
        let accept = async {
            let (mut connection, _) = self.listener.accept().await.unwrap();
            let (line, headers, rest) = read_head(&mut connection).await;
            let body = read_body(&mut connection, &headers, rest).await;
            Exchange {
                line,
                headers,
                body,
                connection,
            }
        };
        timeout(DEADLINE, accept).await.expect("a request comes")
    }
}

impl Exchange {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(super) async fn send(&mut self, bytes: &str) {
        let write = self.connection.write_all(bytes.as_bytes());
        timeout(DEADLINE, write).await.expect("it is read").unwrap();
    }

    /// A whole answer, and the end of the connection. `head` is the status and more fields.
    pub(super) async fn answer(mut self, head: &str, body: &str) {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        self.send(&answer).await;
    }

    pub(super) async fn begin_event_stream(&mut self) {
        self.send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
    }

    pub(super) async fn send_chunk(&mut self, text: &str) {
        self.send(&format!("{:x}\r\n{text}\r\n", text.len())).await;
    }

    pub(super) async fn end_chunks(mut self) {
        self.send("0\r\n\r\n").await;
    }

    /// Resolves when the client has closed the connection.
    pub(super) async fn closed(mut self) {
        let mut buffer = [0; 64];
        let read = self.connection.read(&mut buffer);
        let read = timeout(DEADLINE, read).await.expect("the client leaves");
        assert!(matches!(read, Ok(0) | Err(_)), "it sent more: {read:?}");
    }
}

async fn read_more(connection: &mut TcpStream, bytes: &mut Vec<u8>) {
    let read = connection.read_buf(bytes).await.unwrap();
    assert!(read > 0, "the client left in its request");
}

async fn read_head(connection: &mut TcpStream) -> (String, HeaderMap, Vec<u8>) {
    let mut bytes = Vec::new();
    let end = loop {
        read_more(connection, &mut bytes).await;
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
    };
    let rest = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let mut headers = HeaderMap::new();
    for field in lines.filter(|line| !line.is_empty()) {
        let (name, value) = field.split_once(": ").unwrap();
        headers.append(
            http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
            value.parse().unwrap(),
        );
    }
    (line, headers, rest)
}

async fn read_body(connection: &mut TcpStream, headers: &HeaderMap, rest: Vec<u8>) -> Vec<u8> {
    let mut body = rest;
    if headers.contains_key("transfer-encoding") {
        while !body.ends_with(b"\r\n0\r\n\r\n") {
            read_more(connection, &mut body).await;
        }
        return body;
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    while body.len() < length {
        read_more(connection, &mut body).await;
    }
    body
}
