//! A kernel for tests: answers requests on a socket of its own, by a script, and keeps what it was asked.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::conversation::Conversation;
use crate::server::Server;
use crate::session::{Access, Wanted};

/// Nothing in these tests takes a noticeable time; a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// `POST /sessions`
    pub(crate) line: String,
    pub(crate) credential: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) enum Answer {
    Json(u16, Value),
    /// A stream of events that ends.
    Events(Vec<Value>),
    /// A stream that stays open until the client leaves.
    Open(Vec<Value>),
    /// A stream that breaks off.
    Cut(Vec<Value>),
}

pub(crate) struct Kernel {
    directory: TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
    left: mpsc::UnboundedReceiver<()>,
}

impl Kernel {
    /// Answers the session's requests itself, with tokens `token-1`, `token-2` … that live as long as told, and the
    /// requests to the chat module from the script, in order.
    pub(crate) fn start(life_s: u64, script: Vec<Answer>) -> Kernel {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("host.key");
        std::fs::write(&key, host_key()).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let listener = UnixListener::bind(directory.path().join("kernel.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (leave, left) = mpsc::unbounded_channel();
        let mut served = Served {
            life_s,
            sessions: 0,
            script: script.into_iter(),
        };
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let Some(request) = read(&mut stream).await else {
                    continue;
                };
                log.lock().unwrap().push(request.clone());
                let answer = served.answer(&request);
                tokio::spawn(write(stream.into_inner(), answer, leave.clone()));
            }
        });
        Kernel {
            directory,
            asked,
            left,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("kernel.sock")
    }

    pub(crate) fn host_key_file(&self) -> PathBuf {
        self.directory.path().join("host.key")
    }

    pub(crate) fn conversation(&self, secret_key_id: Option<&str>) -> Conversation {
        let server = Server::new(Access::new(Wanted {
            secret_key_id: secret_key_id.map(str::to_owned),
            ..self.wanted()
        }));
        Conversation::new(server, None)
    }

    /// A session of this kernel's.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            socket: Some(self.socket()),
            host_key_file: Some(self.host_key_file()),
            ..Wanted::default()
        }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The bodies of the requests to the chat module.
    pub(crate) fn chat_requests(&self) -> Vec<Value> {
        let asked = self.asked().into_iter();
        asked
            .filter(|asked| asked.line == "POST /api/chat/chatkit")
            .map(|asked| asked.body)
            .collect()
    }

    /// Waits until a client has left an open stream.
    pub(crate) async fn client_left(&mut self) {
        tokio::time::timeout(DEADLINE, self.left.recv())
            .await
            .expect("the client leaves")
            .expect("the mock runs");
    }
}

pub(crate) fn host_key() -> String {
    format!("mph_{}", "k".repeat(43))
}

struct Served {
    life_s: u64,
    sessions: u32,
    script: std::vec::IntoIter<Answer>,
}

impl Served {
    fn answer(&mut self, request: &Asked) -> Answer {
        match request.line.as_str() {
            "POST /sessions" => {
                self.sessions += 1;
                let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
                Answer::Json(
                    201,
                    json!({
                        "id": format!("ses_{}", self.sessions), "object": "session",
                        "client_secret": format!("token-{}", self.sessions), "token_type": "Bearer",
                        "expires_in": self.life_s, "expires_at": now + self.life_s, "user": "local",
                        "modules": ["chat"], "scope": "", "secret_key_id": request.body["secret_key_id"],
                        "environment": "pro", "status": "active", "rate_limit": null, "metadata": {},
                    }),
                )
            }
            "DELETE /sessions/current" => Answer::Json(204, Value::Null),
            _ => self.script.next().expect("the script foresees the request"),
        }
    }
}

async fn read(stream: &mut BufReader<UnixStream>) -> Option<Asked> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let field = |name: &str| {
        let fields = head[1..].iter().filter_map(|line| line.split_once(':'));
        let mut values = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim().to_owned())
    };
    let length = field("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked {
        line: head[0].rsplit_once(' ').unwrap().0.to_owned(),
        credential: field("authorization")
            .and_then(|value| Some(value.strip_prefix("Bearer ")?.to_owned()))
            .unwrap_or_default(),
        content_type: field("content-type").unwrap_or_default(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        bytes: body,
    })
}

async fn write(mut stream: UnixStream, answer: Answer, leave: mpsc::UnboundedSender<()>) {
    let (status, kind, events, ending) = match answer {
        Answer::Json(status, body) => {
            let body = if status == 204 {
                String::new()
            } else {
                body.to_string()
            };
            let length = match status {
                204 => String::new(),
                _ => format!(
                    "content-type: application/json\r\ncontent-length: {}\r\n",
                    body.len()
                ),
            };
            let text = format!("HTTP/1.1 {status} X\r\n{length}connection: close\r\n\r\n{body}");
            return drop(stream.write_all(text.as_bytes()).await);
        }
        Answer::Events(events) => (200, "text/event-stream", events, Some("0\r\n\r\n")),
        Answer::Cut(events) => (200, "text/event-stream", events, Some("")),
        Answer::Open(events) => (200, "text/event-stream", events, None),
    };
    let mut text = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    );
    for event in events {
        let event = format!("data: {event}\n\n");
        text.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
    }
    text.push_str(ending.unwrap_or_default());
    let _ = stream.write_all(text.as_bytes()).await;
    if ending.is_none() {
        // Nothing more comes from a client but its end.
        let _ = stream.read(&mut [0; 1]).await;
        let _ = leave.send(());
    }
}

/// The events of a turn that begins a thread.
pub(crate) fn turn(thread: &str, message: &str, answer: &str) -> Vec<Value> {
    let mut events = vec![json!({"type": "thread.created", "thread": {
        "id": thread, "created_at": "2026-01-01T00:00:00Z", "items": {"data": []}}})];
    events.extend(next_turn(thread, message, answer));
    events
}

/// The events of a turn in a thread, one delta for each word.
pub(crate) fn next_turn(thread: &str, message: &str, answer: &str) -> Vec<Value> {
    let item = |id: &str, kind: &str, content: Value| json!({"id": id, "thread_id": thread, "created_at": "2026-01-01T00:00:00Z", "type": kind, "content": content});
    let update = |update: Value| json!({"type": "thread.item.updated", "item_id": "msg_a", "update": update});
    let content = json!({"type": "output_text", "text": answer, "annotations": []});
    let mut events = vec![
        json!({"type": "thread.item.done", "item": item(message, "user_message", json!([]))}),
        json!({"type": "stream_options", "stream_options": {"allow_cancel": true}}),
        json!({"type": "thread.item.added", "item": item("msg_a", "assistant_message", json!([]))}),
    ];
    events.extend(answer.split_inclusive(' ').map(|word| {
        update(json!({
            "type": "assistant_message.content_part.text_delta", "content_index": 0, "delta": word}))
    }));
    events.push(update(json!({
        "type": "assistant_message.content_part.done", "content_index": 0, "content": content})));
    events.push(
        json!({"type": "thread.item.done", "item": item("msg_a", "assistant_message", json!([content]))}),
    );
    events
}
