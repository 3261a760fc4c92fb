//! An OpenAI-compatible server that answers as it was told, one connection for each reply.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

pub(super) struct FakeProvider {
    address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    closed: mpsc::UnboundedReceiver<()>,
}

/// Bytes to send, and whether to close behind them or to wait until the client does.
pub(super) struct Reply {
    bytes: String,
    close: bool,
}

impl Reply {
    pub(super) fn raw(bytes: &str) -> Reply {
        Reply {
            bytes: bytes.to_owned(),
            close: true,
        }
    }

    pub(super) fn status(status: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        Reply::raw(&format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        ))
    }

    /// A whole answer.
    pub(super) fn says(api: &str, words: &[&str]) -> Reply {
        let mut body: String = words.iter().map(|word| event(api, word)).collect();
        body += match api {
            "responses" => "data: {\"type\":\"response.completed\",\"response\":{}}\n\n",
            _ => {
                "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
            }
        };
        Reply::status(
            "200 OK",
            "content-type: text/event-stream; charset=utf-8\r\n",
            &body,
        )
    }

    /// An answer that goes no further, and does not end.
    pub(super) fn open(api: &str, word: &str) -> Reply {
        let event = event(api, word);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        Reply {
            bytes: format!("{head}{:x}\r\n{event}\r\n", event.len()),
            close: false,
        }
    }
}

fn event(api: &str, word: &str) -> String {
    let data = match api {
        "responses" => serde_json::json!({"type": "response.output_text.delta", "delta": word}),
        _ => serde_json::json!({"choices": [{"delta": {"content": word}}]}),
    };
    format!("data: {data}\n\n")
}

impl FakeProvider {
    pub(super) async fn start(replies: Vec<Reply>) -> FakeProvider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (closing, closed) = mpsc::unbounded_channel();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for reply in replies {
                let (mut connection, _) = listener.accept().await.unwrap();
                let request = read_request(&mut connection).await;
                seen.lock().unwrap().push(request);
                connection.write_all(reply.bytes.as_bytes()).await.unwrap();
                if !reply.close {
                    // the end of what the client sends is its leaving
                    while connection
                        .read(&mut [0; 64])
                        .await
                        .is_ok_and(|read| read > 0)
                    {}
                    let _ = closing.send(());
                }
            }
        });
        FakeProvider {
            address,
            requests,
            closed,
        }
    }

    pub(super) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Resolves when the client has closed a connection it was kept waiting on.
    pub(super) async fn closed(&mut self) {
        self.closed.recv().await.expect("the provider runs");
    }
}

async fn read_request(connection: &mut TcpStream) -> String {
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
            .unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            return request;
        }
    }
}
