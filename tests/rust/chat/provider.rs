//! A model behind the Responses API, on a port of its own, that speaks when the test wants it to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A provider whose answers are what `script` says; ends with the test.
pub(crate) struct Provider {
    address: SocketAddr,
    state: Arc<State>,
}

/// How the provider answers each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    pub(crate) deltas: usize,
    /// Of each, at least.
    pub(crate) bytes: usize,
    /// Before each delta.
    pub(crate) pause: Duration,
    /// Nobody is answered before so many have asked.
    pub(crate) together: usize,
}

impl Script {
    /// The whole answer.
    pub(crate) fn answer(&self) -> String {
        (0..self.deltas).map(|number| self.delta(number)).collect()
    }

    fn delta(&self, number: usize) -> String {
        let width = self.bytes;
        format!("{:.<width$} ", number.to_string())
    }
}

struct State {
    script: Script,
    /// Requests that came, and those of them whose client left in the middle.
    asked: watch::Sender<usize>,
    left: watch::Sender<usize>,
}

impl Provider {
    pub(crate) async fn start(script: Script) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script,
            asked: watch::Sender::new(0),
            left: watch::Sender::new(0),
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    if state.serve(stream).await.is_err() {
                        state.left.send_modify(|left| *left += 1);
                    }
                });
            }
        });
        Provider { address, state }
    }

    /// For the chat module, as TOML.
    pub(crate) fn config(&self) -> String {
        format!(
            r#"config = {{ provider = "openai", base_url = "http://{}/v1", model = "scripted", requires_key = false }}"#,
            self.address
        )
    }

    /// Waits until so many clients have left in the middle of an answer.
    pub(crate) async fn left(&self, clients: usize) {
        let mut left = self.state.left.subscribe();
        left.wait_for(|left| *left >= clients).await.unwrap();
    }
}

impl State {
    /// Requests one after the other; an error once the client has left in the middle of an answer.
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        while read_request(&mut stream).await?.is_some() {
            self.asked.send_modify(|asked| *asked += 1);
            let mut asked = self.asked.subscribe();
            let _ = asked.wait_for(|asked| *asked >= self.script.together).await;
            self.answer(&mut stream).await?;
        }
        Ok(())
    }

    async fn answer(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        for number in 0..self.script.deltas {
            self.pause(stream).await?;
            let text = self.script.delta(number);
            let delta = format!(r#"{{"type":"response.output_text.delta","delta":"{text}"}}"#);
            stream.write_all(chunk(&delta).as_bytes()).await?;
        }
        let completed = r#"{"type":"response.completed","response":{}}"#;
        stream.write_all(chunk(completed).as_bytes()).await?;
        stream.write_all(b"0\r\n\r\n").await
    }

    /// A client that leaves meanwhile is noticed at once.
    async fn pause(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut byte = [0];
        tokio::select! {
            biased;
            read = stream.read(&mut byte) => match read? {
                0 => Err(std::io::ErrorKind::ConnectionAborted.into()),
                _ => panic!("a second request before the answer to the first"),
            },
            () = tokio::time::sleep(self.script.pause) => Ok(()),
        }
    }
}

fn chunk(data: &str) -> String {
    let event = format!("data: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}

/// Reads one request with its body; nothing where the client has no more.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<()>> {
    let mut request = Vec::new();
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(None);
        }
        let Some(head) = request.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a length").trim().parse().unwrap();
        let mut rest = vec![0; (head + 4 + length).saturating_sub(request.len())];
        stream.read_exact(&mut rest).await?;
        return Ok(Some(()));
    }
}
