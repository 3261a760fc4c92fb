//! An OpenAI-compatible server that answers as it was told, one connection for each reply.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

pub(crate) struct FakeProvider {
    address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    closed: mpsc::UnboundedReceiver<()>,
}

/// Bytes to send, and whether to close behind them or to wait until the client does.
#[derive(Clone)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    close: bool,
}

/// The head of an answer whose body comes in chunks.
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";

impl Reply {
    pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Reply {
        Reply {
            bytes: bytes.as_ref().to_owned(),
            close: true,
        }
    }

    /// These bytes, and then nothing, but without an end.
    pub(crate) fn silent_behind(bytes: impl AsRef<[u8]>) -> Reply {
        Reply {
            close: false,
            ..Reply::raw(bytes)
        }
    }

    /// An event stream of these parts, each in a chunk of its own, which hyper gives one by one.
    pub(crate) fn chunks<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Reply {
        let mut reply = Reply::cut_chunks(parts);
        reply.bytes.extend_from_slice(b"0\r\n\r\n");
        reply
    }

    /// The same without the last chunk, which is what ends such a body.
    pub(crate) fn cut_chunks<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Reply {
        let mut bytes = CHUNKED.as_bytes().to_owned();
        // an empty chunk would be the last
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            bytes.extend_from_slice(part);
            bytes.extend_from_slice(b"\r\n");
        }
        Reply::raw(bytes)
    }

    pub(crate) fn status(status: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        Reply::raw(format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        ))
    }

    /// A whole answer.
    pub(crate) fn says(api: &str, words: &[&str]) -> Reply {
        Reply::events(&answer(api, words))
    }

    /// An event stream in one piece.
    pub(crate) fn events(events: &str) -> Reply {
        let head = "content-type: text/event-stream; charset=utf-8\r\n";
        Reply::status("200 OK", head, events)
    }

    /// An answer that goes no further, and does not end.
    pub(crate) fn open(api: &str, word: &str) -> Reply {
        Reply {
            close: false,
            ..Reply::cut_chunks([event(api, word).as_bytes()])
        }
    }
}

/// The event stream of a whole answer.
pub(crate) fn answer(api: &str, words: &[&str]) -> String {
    let words: String = words.iter().map(|word| event(api, word)).collect();
    words + end(api)
}

pub(crate) fn event(api: &str, word: &str) -> String {
    let data = match api {
        "responses" => serde_json::json!({"type": "response.output_text.delta", "delta": word}),
        _ => serde_json::json!({"choices": [{"delta": {"content": word}}]}),
    };
    format!("data: {data}\n\n")
}

fn end(api: &str) -> &'static str {
    match api {
        "responses" => "data: {\"type\":\"response.completed\",\"response\":{}}\n\n",
        _ => "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    }
}

impl FakeProvider {
    pub(crate) async fn start(replies: Vec<Reply>) -> FakeProvider {
        FakeProvider::serve(replies, None).await
    }

    pub(crate) async fn start_tls(replies: Vec<Reply>, tls: TlsAcceptor) -> FakeProvider {
        FakeProvider::serve(replies, Some(tls)).await
    }

    async fn serve(replies: Vec<Reply>, tls: Option<TlsAcceptor>) -> FakeProvider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (closing, closed) = mpsc::unbounded_channel();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for reply in replies {
                let (connection, _) = listener.accept().await.unwrap();
                let (seen, closing) = (&seen, &closing);
                match &tls {
                    None => answer_one(connection, reply, seen, closing).await,
                    // a client that does not trust the certificate leaves here
                    Some(tls) => match tls.accept(connection).await {
                        Ok(connection) => answer_one(connection, reply, seen, closing).await,
                        Err(_) => continue,
                    },
                }
            }
        });
        FakeProvider {
            address,
            requests,
            closed,
        }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Resolves when the client has closed a connection it was kept waiting on.
    pub(crate) async fn closed(&mut self) {
        self.closed.recv().await.expect("the provider runs");
    }
}

async fn answer_one(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    reply: Reply,
    seen: &Mutex<Vec<String>>,
    closing: &mpsc::UnboundedSender<()>,
) {
    let request = read_request(&mut connection).await;
    seen.lock().unwrap().push(request);
    // a client that had enough may be gone
    let _ = connection.write_all(&reply.bytes).await;
    let _ = connection.flush().await;
    if reply.close {
        let _ = connection.shutdown().await;
        return;
    }
    // the end of what the client sends is its leaving
    while connection
        .read(&mut [0; 64])
        .await
        .is_ok_and(|read| read > 0)
    {}
    let _ = closing.send(());
}

async fn read_request(connection: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = String::new();
    let mut buffer = [0; 4096];
    loop {
        let read = connection.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the client left in its request: {request}");
        request.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        let Some((head, body)) = request.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap_or("0");
        if body.len() == length.parse::<usize>().unwrap() {
            return request;
        }
    }
}
