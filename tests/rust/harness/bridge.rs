//! A host of the test's own: JSON-RPC over the descriptor that a kernel inherits, or over `GET /bridge`. When a test fails, the
//! whole exchange is printed.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::kernel::{Builder, DEADLINE, Kernel};

/// Has the descriptor that is standard input at 3, and nothing as standard input.
pub(crate) const BRIDGE_AT_3: &str = "exec 3<&0 0</dev/null; exec \"$@\"";

/// A peer that does what it is told, also what no host should do.
pub(crate) struct Bridge {
    stream: UnixStream,
    unread: Vec<u8>,
    /// Read, and not what was waited for.
    aside: VecDeque<Value>,
    exchange: Vec<String>,
    next_id: i64,
    /// `host#1`, once attached.
    pub(crate) label: String,
}

impl Bridge {
    pub(crate) fn over(stream: StdUnixStream) -> Bridge {
        stream.set_nonblocking(true).unwrap();
        Bridge {
            stream: UnixStream::from_std(stream).unwrap(),
            unread: Vec::new(),
            aside: VecDeque::new(),
            exchange: Vec::new(),
            next_id: 1,
            label: String::new(),
        }
    }

    /// Dials `GET /bridge`; nothing is read but the head of the answer.
    pub(crate) async fn dial(kernel: &Kernel) -> Bridge {
        Bridge::dial_at(&kernel.socket, &kernel.host_key).await
    }

    pub(crate) async fn dial_at(socket: &Path, host_key: &str) -> Bridge {
        let request = format!(
            "GET /bridge HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: jsonrpc\r\nAuthorization: Bearer {host_key}\r\n\r\n"
        );
        Bridge::dialled_with(socket, request.as_bytes()).await
    }

    /// The same with a request of the test's own, and what follows it.
    pub(crate) async fn dialled_with(socket: &Path, request: &[u8]) -> Bridge {
        let stream = StdUnixStream::connect(socket).expect("the kernel accepts");
        let mut bridge = Bridge::over(stream);
        bridge.write(request).await;
        let head = bridge.read_head().await.expect("an answer to GET /bridge");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        bridge
    }

    /// Dials, and says who it is. The messages of the handshake are read.
    pub(crate) async fn attach(kernel: &Kernel, name: &str, capabilities: Value) -> Bridge {
        let mut bridge = Bridge::dial(kernel).await;
        bridge.ready().await;
        bridge
            .initialize(json!({"name": name, "version": "1"}), capabilities)
            .await;
        bridge
    }

    /// One that gives secrets and wants nothing.
    pub(crate) async fn attach_source(kernel: &Kernel, name: &str) -> Bridge {
        Bridge::attach(kernel, name, json!({"secrets": true})).await
    }

    /// The first message: its params.
    pub(crate) async fn ready(&mut self) -> Value {
        let first = self.next().await.expect("the first message");
        assert_eq!(first["method"], "ready", "{first}");
        assert!(first.get("id").is_none(), "{first}");
        first["params"].clone()
    }

    pub(crate) async fn initialize(&mut self, client: Value, capabilities: Value) {
        let params = json!({"client": client, "protocol": 1, "capabilities": capabilities});
        let initialized = self
            .call("initialize", params)
            .await
            .expect("it is initialized");
        assert_eq!(initialized["protocol"], 1);
        self.label = initialized["host"].as_str().unwrap().to_owned();
    }

    /// Any bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        assert!(self.try_write(bytes).await, "the kernel takes it");
    }

    /// Whether all of it was taken; the kernel may have closed.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.exchange.push(format!("-> {}", shown(bytes)));
        let written = tokio::time::timeout(DEADLINE, self.stream.write_all(bytes));
        written.await.expect("the kernel reads in time").is_ok()
    }

    /// A frame with this text.
    pub(crate) async fn frame(&mut self, text: &str) {
        self.write(framed(text).as_bytes()).await;
    }

    /// A message, in a frame.
    pub(crate) async fn send(&mut self, mut message: Value) {
        message["jsonrpc"] = json!("2.0");
        self.frame(&message.to_string()).await;
    }

    pub(crate) async fn notify(&mut self, method: &str, params: Value) {
        self.send(json!({"method": method, "params": params})).await;
    }

    /// Sends a request, and returns its id.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(json!({"id": id, "method": method, "params": params}))
            .await;
        id
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.request(method, params).await;
        self.outcome(json!(id)).await
    }

    /// The answer to a request: `result` or `error`.
    pub(crate) async fn outcome(&mut self, id: Value) -> Result<Value, Value> {
        let answer = self
            .find(|message| message.get("method").is_none() && message["id"] == id)
            .await;
        assert_eq!(answer["jsonrpc"], "2.0", "{answer}");
        match (answer.get("result"), answer.get("error")) {
            (Some(result), None) => Ok(result.clone()),
            (None, Some(error)) => Err(error.clone()),
            _ => panic!("neither a result nor an error: {answer}"),
        }
    }

    /// The kernel's next question, `secret/get`.
    pub(crate) async fn question(&mut self) -> Value {
        self.find(|message| message["method"] == "secret/get").await
    }

    pub(crate) async fn give(&mut self, question: &Value, secret: &str) {
        self.send(json!({"id": question["id"], "result": {"secret": secret}}))
            .await;
    }

    pub(crate) async fn refuse(&mut self, question: &Value, code: i64, message: &str) {
        self.send(json!({"id": question["id"], "error": {"code": code, "message": message}}))
            .await;
    }

    /// The next notification of this method that `wanted` takes: its params.
    pub(crate) async fn notified(
        &mut self,
        method: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let found = self
            .find(|message| message["method"] == method && wanted(&message["params"]))
            .await;
        found["params"].clone()
    }

    /// The first message that `wanted` takes; those before it stay for whoever asks next.
    pub(crate) async fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.aside.iter().position(&wanted) {
            return self.aside.remove(at).expect("it is there");
        }
        loop {
            let message = self
                .read_message()
                .await
                .expect("the bridge ended before the message that is waited for");
            if wanted(&message) {
                return message;
            }
            self.aside.push_back(message);
        }
    }

    /// The next message of any kind; `None` at the end of the bridge.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        match self.aside.pop_front() {
            Some(message) => Some(message),
            None => self.read_message().await,
        }
    }

    /// Waits for the end, and returns what came until then.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        let mut rest = Vec::new();
        while let Some(message) = self.next().await {
            rest.push(message);
        }
        rest
    }

    /// Says that there is nothing more to come; the kernel may go on writing.
    pub(crate) async fn close_writing(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    async fn read_message(&mut self) -> Option<Value> {
        let head = self.read_head().await?;
        let length: usize = head
            .trim_end()
            .strip_prefix("Content-Length: ")
            .and_then(|length| length.parse().ok())
            .unwrap_or_else(|| panic!("a header of one field: {head:?}"));
        while self.unread.len() < length {
            assert!(self.read_more().await, "a whole message");
        }
        let body: Vec<u8> = self.unread.drain(..length).collect();
        self.exchange.push(format!("<- {}", shown(&body)));
        Some(serde_json::from_slice(&body).expect("JSON"))
    }

    async fn read_head(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more().await {
                assert!(self.unread.is_empty(), "half a message: {:?}", self.unread);
                self.exchange.push("<- the end".to_owned());
                return None;
            }
        };
        Some(String::from_utf8(self.unread.drain(..end).collect()).unwrap())
    }

    async fn read_more(&mut self) -> bool {
        let read = tokio::time::timeout(DEADLINE, self.stream.read_buf(&mut self.unread));
        // A reset is an end, too: the kernel left bytes of ours unread.
        read.await
            .expect("a message or the end in time")
            .unwrap_or(0)
            > 0
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- bridge {} ---", self.label);
            for line in &self.exchange {
                eprintln!("{line}");
            }
        }
    }
}

impl Builder {
    /// Starts the kernel with a bridge, as its host does; the first message, `ready`, is read.
    pub(crate) async fn start_hosted(self) -> (Kernel, Bridge) {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        let kernel = self
            .arg("--bridge-fd")
            .arg("3")
            .stdin(theirs.into())
            .shell(BRIDGE_AT_3)
            .start()
            .await;
        let mut bridge = Bridge::over(ours);
        bridge.ready().await;
        (kernel, bridge)
    }
}

/// The text as a message of the base protocol.
pub(crate) fn framed(text: &str) -> String {
    format!("Content-Length: {}\r\n\r\n{text}", text.len())
}

fn shown(bytes: &[u8]) -> String {
    /// A flood is not worth reading.
    const SHOWN_LEN: usize = 400;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_LEN)]);
    let rest = bytes.len().saturating_sub(SHOWN_LEN);
    let more = if rest > 0 {
        format!(" and {rest} bytes more")
    } else {
        String::new()
    };
    format!("{}{more}", text.escape_debug())
}
