//! Conversations of the module chat, kept in the module store: what outlives what, who sees what, and who is told of it.

use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Kernel, Stream, artifact, private_dir};
use crate::modules::logged;

struct Chat {
    kernel: Kernel,
    _dir: Arc<TempDir>,
}

impl Chat {
    async fn start(dir: &Arc<TempDir>, isolations: (&str, &str)) -> Chat {
        Chat::start_with(dir, isolations, "").await
    }

    async fn start_with(dir: &Arc<TempDir>, (chat, store): (&str, &str), config: &str) -> Chat {
        println!("chat {chat}, store {store}");
        let kernel = Kernel::builder()
            .data_dir(&dir.path().join("kept"))
            .module(
                "chat",
                &format!("isolation = {chat:?}\nconfig = {{ provider = \"echo\" }}"),
            )
            .module(
                "store",
                &format!("isolation = {store:?}\nconfig = {{ {config} }}"),
            )
            .start()
            .await;
        let _dir = Arc::clone(dir);
        Chat { kernel, _dir }
    }

    async fn session(&self, user: &str) -> Window<'_> {
        let session = json!({"modules": ["chat"], "user": user});
        Window {
            kernel: &self.kernel,
            token: self.kernel.session(session).await,
        }
    }
}

/// One window of one user's.
struct Window<'a> {
    kernel: &'a Kernel,
    token: String,
}

impl Window<'_> {
    async fn ask(&self, kind: &str, params: Value) -> (u16, String) {
        let request = self.kernel.post("/api/chat/chatkit").bearer(&self.token);
        let request = request.json(&json!({"type": kind, "params": params}));
        let answer = request.send().await;
        (answer.status(), answer.text().to_owned())
    }

    async fn answer(&self, kind: &str, params: Value) -> Value {
        let (status, text) = self.ask(kind, params).await;
        assert_eq!(status, 200, "{kind}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Says something in a new thread, and returns its id once the echo has said it back.
    async fn create(&self, text: &str) -> String {
        let (status, events) = self
            .ask("threads.create", json!({"input": said(text)}))
            .await;
        assert_eq!(status, 200, "{events}");
        let first = events.lines().next().unwrap().strip_prefix("data: ");
        let created: Value = serde_json::from_str(first.unwrap()).unwrap();
        created["thread"]["id"].as_str().unwrap().to_owned()
    }

    async fn say(&self, thread: &str, text: &str) {
        let params = json!({"thread_id": thread, "input": said(text)});
        let (status, events) = self.ask("threads.add_user_message", params).await;
        assert_eq!(status, 200, "{events}");
        assert!(events.contains("thread.item.done"), "{events}");
    }

    /// What was said in a thread, by both, oldest first.
    async fn history(&self, thread: &str) -> Vec<String> {
        self.items(thread).await.iter().map(text).collect()
    }

    async fn items(&self, thread: &str) -> Vec<Value> {
        let params = json!({"thread_id": thread, "order": "asc", "limit": 100});
        let page = self.answer("items.list", params).await;
        page["data"].as_array().unwrap().clone()
    }

    /// The titles of the threads, newest first.
    async fn titles(&self) -> Vec<String> {
        let page = self.answer("threads.list", json!({})).await;
        let threads = page["data"].as_array().unwrap().iter();
        threads
            .map(|thread| thread["title"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Listens to the changes of the user's threads.
    async fn listen(&self) -> Stream {
        let request = self.kernel.get("/api/chat/changes").bearer(&self.token);
        let mut stream = request.stream().await;
        stream.read_until(r#"{"type":"ready"}"#).await;
        stream
    }
}

fn text(item: &Value) -> String {
    item["content"][0]["text"].as_str().unwrap().to_owned()
}

fn said(text: &str) -> Value {
    json!({"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}})
}

fn isolations() -> [(&'static str, &'static str); 4] {
    let (here, apart) = ("in-process", "process");
    [(here, here), (here, apart), (apart, here), (apart, apart)]
}

const HERE: (&str, &str) = ("in-process", "in-process");
const APART: (&str, &str) = ("process", "process");

#[tokio::test]
async fn conversations_outlive_reloads_and_kernels_however_they_end() {
    for isolations in [HERE, APART] {
        let dir = private_dir();
        let chat = Chat::start(&dir, isolations).await;
        let ada = chat.session("ada").await;
        let first = ada.create("first of all").await;
        let gone = ada.create("to be deleted").await;
        for module in ["chat", "store"] {
            let path = format!("/modules/{module}/reload?wait=drained");
            let receipt = chat.kernel.host("POST", &path).send().await;
            receipt.expect_status(200);
            ada.say(&first, module).await;
        }
        ada.answer("threads.delete", json!({"thread_id": gone}))
            .await;
        ada.answer(
            "threads.update",
            json!({"thread_id": first, "title": "Kept"}),
        )
        .await;
        chat.kernel.signal(Signal::SIGKILL);
        chat.kernel.wait().await;

        let expect = [
            "first of all",
            "first of all",
            "chat",
            "chat",
            "store",
            "store",
        ];
        for end in [Signal::SIGTERM, Signal::SIGKILL] {
            let chat = Chat::start(&dir, isolations).await;
            let ada = chat.session("ada").await;
            assert_eq!(ada.titles().await, ["Kept"]);
            assert_eq!(ada.history(&first).await, expect);
            let (status, _) = ada.ask("items.list", json!({"thread_id": gone})).await;
            assert_eq!(status, 404);
            chat.kernel.signal(end);
            chat.kernel.wait().await;
        }
    }
}

#[tokio::test]
async fn two_kernels_show_one_history_and_tell_of_each_other_s_changes() {
    for isolations in isolations() {
        let dir = private_dir();
        let one = Chat::start(&dir, isolations).await;
        let other = Chat::start(&dir, isolations).await;
        let (here, there) = (one.session("ada").await, other.session("ada").await);
        let bob = other.session("bob").await;
        let mut told = there.listen().await;
        let mut bob_is_told = bob.listen().await;

        let thread = here.create("hello").await;
        let changed = format!(r#"{{"type":"thread.changed","thread_id":"{thread}"}}"#);
        told.read_until(&changed).await;
        assert_eq!(there.titles().await, ["hello"]);

        // Both write into one thread at the same time: every message is there once, in its window's order.
        let say = async |window: &Window<'_>, who: &str| {
            for number in 0..5 {
                window.say(&thread, &format!("{who} {number}")).await;
            }
        };
        tokio::join!(say(&here, "one"), say(&there, "other"));
        assert_eq!(here.history(&thread).await, there.history(&thread).await);
        let history = here.items(&thread).await;
        assert_eq!(history.len(), 22, "{history:?}");
        for who in ["one", "other"] {
            let asked = history.iter().filter(|item| item["type"] == "user_message");
            let asked = asked.map(text);
            let own: Vec<_> = asked
                .filter(|text| text.starts_with(&format!("{who} ")))
                .collect();
            let expect: Vec<_> = (0..5).map(|number| format!("{who} {number}")).collect();
            assert_eq!(own, expect);
        }

        let (status, text) = bob
            .ask("threads.get_by_id", json!({"thread_id": thread}))
            .await;
        assert_eq!(status, 404, "{text}");
        let (status, _) = bob
            .ask("threads.delete", json!({"thread_id": thread}))
            .await;
        assert_eq!(status, 404);
        here.answer("threads.delete", json!({"thread_id": thread}))
            .await;
        let deleted = format!(r#"{{"type":"thread.deleted","thread_id":"{thread}"}}"#);
        told.read_until(&deleted).await;
        assert_eq!(there.titles().await, [""; 0]);

        let own = bob.create("of Bob's").await;
        let until_his = bob_is_told.read_until(&own).await;
        assert!(!until_his.contains(&thread), "{until_his}");
        one.kernel.signal(Signal::SIGTERM);
        one.kernel.wait().await;
        other.kernel.signal(Signal::SIGTERM);
        let (rest, whole) = told.rest().await;
        assert!(whole && rest.contains(r#"{"type":"drained"}"#), "{rest}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_refuses_clearly_and_loses_nothing() {
    let chat = Chat::start(&private_dir(), HERE).await;
    let ada = chat.session("ada").await;
    let thread = ada.create("before").await;
    let mut told = ada.listen().await;
    let file = artifact("store");
    let file = file.file_name().unwrap();
    let path = chat.kernel.dir.path().join("modules").join(file);
    let unloaded = chat.kernel.host("DELETE", "/modules/store?force=true");
    unloaded.send().await.expect_status(200);
    let list = ("threads.list", json!({}));
    let say = json!({"thread_id": thread, "input": said("meanwhile")});
    for (kind, params) in [list, ("threads.add_user_message", say)] {
        let (status, text) = ada.ask(kind, params).await;
        assert_eq!(status, 503, "{text}");
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["code"], "store_unavailable");
        assert!(text.contains("load it"), "{text}");
    }
    let load = chat.kernel.host("PUT", "/modules/store");
    let load = load.json(&json!({"path": path}));
    load.send().await.expect_status(201);
    assert_eq!(ada.history(&thread).await, ["before", "before"]);
    // Listeners are told again, without having to ask.
    ada.say(&thread, "after").await;
    told.read_until("thread.changed").await;
}

#[tokio::test]
async fn a_full_store_refuses_clearly_and_lets_threads_be_deleted() {
    let chat = Chat::start_with(&private_dir(), HERE, "quota = \"16KiB\"").await;
    let ada = chat.session("ada").await;
    let thread = ada.create("small").await;
    let large = json!({"thread_id": thread, "input": said(&"x".repeat(20_000))});
    let (status, text) = ada.ask("threads.add_user_message", large).await;
    assert_eq!(status, 507, "{text}");
    assert!(
        text.contains("store_full") && text.contains("quota"),
        "{text}"
    );
    assert_eq!(ada.history(&thread).await, ["small", "small"]);
    ada.answer("threads.delete", json!({"thread_id": thread}))
        .await;
    ada.create("small again").await;
}

#[tokio::test]
async fn without_the_store_memory_is_taken_and_said_so_unless_it_must_be_durable() {
    let echo = |more: &str| format!("config = {{ provider = \"echo\"{more} }}");
    let kernel = Kernel::builder().module("chat", &echo("")).start().await;
    logged(&kernel, &["kept in memory", "load the module store"]).await;
    let chat = Chat {
        _dir: Arc::clone(&kernel.dir),
        kernel,
    };
    let ada = chat.session("ada").await;
    let thread = ada.create("hello").await;
    assert_eq!(ada.history(&thread).await, ["hello", "hello"]);
    let must = json!({"config": {"provider": "echo", "store": "durable"}});
    let refused = chat.kernel.host("POST", "/modules/chat/reload");
    let refused = refused.json(&must).send().await;
    refused.expect_status(422);
    assert!(refused.text().contains("call:store"), "{refused}");
    assert_eq!(ada.history(&thread).await, ["hello", "hello"]);

    // Not granted is the same as not loaded.
    let kernel = Kernel::builder()
        .module("chat", &format!("grants = []\n{}", echo("")))
        .module("store", "")
        .start()
        .await;
    logged(&kernel, &["kept in memory", "grant `call:store`"]).await;
    let kernel = Kernel::builder()
        .module("chat", &echo(", store = \"memory\""))
        .module("store", "")
        .start()
        .await;
    assert!(!kernel.log().contains("kept in memory"), "it is meant");
}
