//! Attachments of the chat module through a real kernel, in both isolations: from the client to the model, across a kill in the
//! middle, and against clients that lie.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Answer, Kernel, Raw, connect, eventually, private_dir};

/// How many announcements a hostile client makes; more by `MIDPLANE_TEST_ANNOUNCEMENTS`.
const ANNOUNCEMENTS: usize = 200;
/// More than the kernel takes of any body by default.
const LARGE: usize = 2 << 20;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

struct Chat {
    kernel: Kernel,
    token: String,
}

impl Chat {
    async fn start(dir: &Arc<TempDir>, isolation: &str, config: &str) -> Chat {
        println!("chat in {isolation}");
        let kernel = Kernel::builder()
            .dir(dir)
            .config("limits = { body_stall_timeout = \"1s\" }\n[secrets]\nkey = \"env:MIDPLANE_TEST_SECRET\"")
            .env("MIDPLANE_TEST_SECRET", "sk-test")
            .module("store", "")
            .module("chat", &format!("isolation = {isolation:?}\nconfig = {{ {config} }}"))
            .start()
            .await;
        let session = json!({"user": "ada", "modules": ["chat"], "secret_key_id": "key"});
        let token = kernel.session(session).await;
        Chat { kernel, token }
    }

    async fn chatkit(&self, request: &Value) -> Answer {
        let request = self.kernel.post("/api/chat/chatkit").json(request);
        request.bearer(&self.token).send().await
    }

    /// The id of an attachment.
    async fn announce(&self, name: &str, mime_type: &str, size: usize) -> String {
        let answer = self.chatkit(&announcement(name, mime_type, size)).await;
        let attachment = answer.expect_status(200).json();
        let id = attachment["id"].as_str().unwrap().to_owned();
        let url = format!("http://localhost{}", path(&id));
        assert_eq!(attachment["upload_descriptor"]["url"], url);
        id
    }

    async fn send(&self, method: &str, path: &str, body: Vec<u8>) -> Answer {
        let request = self.kernel.request(method, path).bearer(&self.token);
        request.body(body).send().await
    }

    /// An upload as a client writes it that says what it likes.
    async fn raw(&self, path: &str, headers: &str, body: &[u8]) -> Raw {
        let head = format!(
            "PUT {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n{headers}\r\n\r\n",
            self.token
        );
        Raw::send(&self.kernel.socket, [head.as_bytes(), body].concat()).await
    }

    /// Where ada's files are.
    fn files(&self) -> Vec<PathBuf> {
        let root = self.kernel.dir.path().join("data/state/chat/attachments");
        let listed = |dir: &Path| match std::fs::read_dir(dir) {
            Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
            Err(_) => Vec::new(),
        };
        let mut files: Vec<PathBuf> = listed(&root).iter().flat_map(|user| listed(user)).collect();
        files.sort();
        files
    }

    /// Waits until the names of the files end like this, in their order.
    async fn files_end(&self, ends: &[&str]) -> Vec<PathBuf> {
        eventually(&format!("files that end in {ends:?}"), async || {
            let files = self.files();
            let is_so = files.len() == ends.len()
                && files
                    .iter()
                    .zip(ends)
                    .all(|(file, end)| file.to_str().unwrap().ends_with(end));
            is_so.then_some(files)
        })
        .await
    }
}

fn path(id: &str) -> String {
    format!("/api/chat/attachments/{id}")
}

fn announcement(name: &str, mime_type: &str, size: usize) -> Value {
    json!({"type": "attachments.create", "params": {"name": name, "mime_type": mime_type, "size": size}})
}

/// By the module itself.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.expect_status(status).json()["code"],
        code,
        "{answer}"
    );
}

fn picture() -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.resize(LARGE, 7);
    bytes
}

/// A provider that says "ok" to everything, and keeps what it was asked.
async fn provider() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let request = read_request(&mut connection).await;
            kept.lock().unwrap().push(request);
            let said = json!({"type": "response.output_text.delta", "delta": "ok"});
            let done = json!({"type": "response.completed", "response": {}});
            let body = format!("data: {said}\n\ndata: {done}\n\n");
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            // Whoever asked may have left.
            let _ = connection
                .write_all(format!("{head}{body}").as_bytes())
                .await;
        }
    });
    (url, asked)
}

async fn read_request(connection: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        assert!(
            connection.read_buf(&mut request).await.unwrap() > 0,
            "half a request"
        );
        let Some(end) = request.windows(4).position(|end| end == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        if request.len() >= end + 4 + length.parse::<usize>().unwrap() {
            return String::from_utf8(request).unwrap();
        }
    }
}

#[tokio::test]
async fn a_picture_reaches_the_model_and_goes_with_its_thread() {
    for isolation in ["in-process", "process"] {
        let (url, asked) = provider().await;
        let config = format!("provider = \"openai\", base_url = \"{url}\", model = \"tiny\"");
        let chat = Chat::start(&private_dir(), isolation, &config).await;
        let id = chat.announce("cat.png", "image/png", LARGE).await;
        let before = chat.send("GET", &path(&id), Vec::new()).await;
        refused(&before, 409, "attachment_not_uploaded");
        chat.send("PUT", &path(&id), picture())
            .await
            .expect_status(200);
        // Short, so that the answer does not come while it is sent.
        let again = chat.send("PUT", &path(&id), b"x".to_vec()).await;
        refused(&again, 409, "already_uploaded");
        let read = chat.send("GET", &path(&id), Vec::new()).await;
        assert_eq!(
            read.header("content-security-policy"),
            "default-src 'none'; sandbox"
        );
        assert!(read.expect_status(200).body == picture());
        assert_eq!(read.header("content-length"), LARGE.to_string());
        let head = chat.send("HEAD", &path(&id), Vec::new()).await;
        assert!(head.expect_status(200).body.is_empty());

        let [file] = &chat.files()[..] else {
            panic!("one file: {:?}", chat.files())
        };
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        let folders = file.ancestors().skip(1).take(2).map(mode);
        assert_eq!(
            (mode(file), folders.collect::<Vec<_>>()),
            (0o600, vec![0o700, 0o700])
        );

        let input = json!({"content": [{"type": "input_text", "text": "What is it?"}], "attachments": [id], "inference_options": {}});
        let told = chat
            .chatkit(&json!({"type": "threads.create", "params": {"input": input}}))
            .await;
        assert!(
            told.expect_status(200).text().contains("\"delta\":\"ok\""),
            "{told}"
        );
        let shown = format!("data:image/png;base64,{}", STANDARD.encode(picture()));
        assert!(
            asked
                .lock()
                .unwrap()
                .iter()
                .any(|request| request.contains(&shown)),
            "it was not shown"
        );

        let first = told
            .text()
            .lines()
            .next()
            .unwrap()
            .strip_prefix("data: ")
            .unwrap();
        let first: Value = serde_json::from_str(first).unwrap();
        let thread = &first["thread"]["id"];
        let delete = json!({"type": "threads.delete", "params": {"thread_id": thread}});
        chat.chatkit(&delete).await.expect_status(200);
        assert!(chat.files().is_empty(), "{:?}", chat.files());
        let gone = chat.send("GET", &path(&id), Vec::new()).await;
        refused(&gone, 404, "attachment_not_found");
    }
}

#[tokio::test]
async fn a_kill_in_the_middle_leaves_no_half_file() {
    for isolation in ["in-process", "process"] {
        let dir = private_dir();
        let chat = Chat::start(&dir, isolation, "provider = \"echo\"").await;
        let whole = chat.announce("whole.txt", "text/plain", 5).await;
        chat.send("PUT", &path(&whole), b"whole".to_vec())
            .await
            .expect_status(200);
        let id = chat.announce("long.txt", "text/plain", LARGE).await;
        let headers = format!("content-length: {LARGE}");
        let _half = chat.raw(&path(&id), &headers, &vec![b'a'; LARGE / 2]).await;
        eventually("half of an upload on the disk", async || {
            let files = chat.files();
            let part = files
                .iter()
                .find(|file| file.extension().is_some_and(|end| end == "part"))?;
            (part.metadata().ok()?.len() > 0).then_some(())
        })
        .await;
        chat.kernel.signal(Signal::SIGKILL);
        chat.kernel.wait().await;
        drop(chat);

        let chat = Chat::start(&dir, isolation, "provider = \"echo\"").await;
        assert_eq!(
            chat.send("GET", &path(&whole), Vec::new()).await.text(),
            "whole"
        );
        let half = chat.send("GET", &path(&id), Vec::new()).await;
        refused(&half, 409, "attachment_not_uploaded");
        chat.send("PUT", &path(&id), vec![b'b'; LARGE])
            .await
            .expect_status(200);
        let read = chat.send("GET", &path(&id), Vec::new()).await;
        assert!(read.body.len() == LARGE && read.body.iter().all(|byte| *byte == b'b'));
    }
}

#[tokio::test]
async fn uploads_that_lie_stall_or_leave_are_cut_and_leave_nothing() {
    for isolation in ["in-process", "process"] {
        let chat = Chat::start(&private_dir(), isolation, "provider = \"echo\"").await;
        let id = chat.announce("a.txt", "text/plain", 10).await;
        let put = async |headers: &str, body: &[u8]| {
            let mut raw = chat.raw(&path(&id), headers, body).await;
            let answer = raw
                .answer()
                .await
                .unwrap_or_else(|| panic!("no answer to {headers}"));
            answer.head.split(' ').nth(1).unwrap().to_owned()
        };
        assert_eq!(put("content-length: 5", b"01234").await, "400");
        assert_eq!(put("content-length: 4000000000", b"01234").await, "413");
        assert_eq!(
            put("content-length: 18446744073709551616", b"").await,
            "400"
        );
        assert_eq!(put("content-length: 11", b"0123456789a").await, "413");
        assert_eq!(
            put(
                "content-length: 10\r\ncontent-type: image/png",
                b"0123456789"
            )
            .await,
            "415"
        );
        assert_eq!(put("content-length: 10", b"01234\x0056789").await, "415");
        assert_eq!(
            put("transfer-encoding: chunked", b"3\r\n012\r\n0\r\n\r\n").await,
            "400"
        );
        let endless = b"100\r\n"
            .iter()
            .chain(&[b'a'; 0x100])
            .copied()
            .collect::<Vec<_>>();
        assert_eq!(put("transfer-encoding: chunked", &endless).await, "413");
        // Stalls.
        assert_eq!(put("content-length: 10", b"012").await, "408");
        // Leaves.
        let leaving = chat.raw(&path(&id), "content-length: 10", b"012").await;
        chat.files_end(&[".part", ".wanted"]).await;
        drop(leaving);
        chat.files_end(&[&format!("{id}.wanted")]).await;
        for nowhere in [
            "..",
            "../../../../etc/passwd",
            "..%2f..%2f..%2fetc%2fpasswd",
            "atc_%00",
            "%2e%2e",
        ] {
            let mut raw = chat.raw(&path(nowhere), "content-length: 1", b"x").await;
            let told = raw.answer().await.expect("an answer");
            assert!(told.head.starts_with("HTTP/1.1 40"), "{nowhere}: {told:?}");
        }
        chat.send("PUT", &path(&id), b"0123456789".to_vec())
            .await
            .expect_status(200);
        chat.files_end(&[&id]).await;
    }
}

#[tokio::test]
async fn announcing_without_end_takes_no_room_without_end() {
    let many = std::env::var("MIDPLANE_TEST_ANNOUNCEMENTS")
        .map_or(ANNOUNCEMENTS, |many| many.parse().unwrap());
    let chat = Chat::start(&private_dir(), "in-process", "provider = \"echo\"").await;
    let (mut sender, _connection) = connect(&chat.kernel.socket).await;
    let mut taken = 0;
    for _ in 0..many {
        let request = chat.kernel.post("/api/chat/chatkit").bearer(&chat.token);
        let request = request.json(&announcement("a.png", "image/png", 10 << 20));
        let answer = request.send_on(&mut sender).await;
        match answer.status() {
            200 => taken += 1,
            _ => assert_eq!(answer.expect_status(429).json()["code"], "too_many_uploads"),
        }
    }
    assert_eq!(taken, 32);
    // What is announced is as long as it is to be, but takes no room on the disk.
    let on_disk: u64 = chat
        .files()
        .iter()
        .map(|file| file.metadata().unwrap().blocks())
        .sum();
    assert_eq!((chat.files().len(), on_disk), (32, 0));
}
