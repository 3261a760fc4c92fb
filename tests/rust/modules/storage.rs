//! Durable storage of modules: `notes` keeps what it is told in the module store, in every mix of isolations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Kernel, private_dir};

const RELOADS: usize = 5;
const CLIENTS: usize = 4;

struct Notes {
    kernel: Kernel,
    token: String,
    _dir: Arc<TempDir>,
}

impl Notes {
    async fn start(dir: &Arc<TempDir>, (notes, store): (&str, &str), config: &str) -> Notes {
        println!("notes {notes}, store {store}");
        let kernel = Kernel::builder()
            .data_dir(&dir.path().join("kept"))
            .module("notes", &format!("isolation = {notes:?}"))
            .module(
                "store",
                &format!("isolation = {store:?}\nconfig = {{ {config} }}"),
            )
            .start()
            .await;
        let token = kernel.session(json!({"modules": ["notes"]})).await;
        let _dir = Arc::clone(dir);
        Notes {
            kernel,
            token,
            _dir,
        }
    }

    async fn send(&self, method: &str, path: &str, text: &str) -> (u16, String) {
        let path = format!("/api/notes{path}");
        let request = self.kernel.request(method, &path).bearer(&self.token);
        let answer = request.body(text.to_owned()).send().await;
        (answer.status(), answer.text().to_owned())
    }

    async fn well(&self, method: &str, path: &str, text: &str) -> String {
        let (status, answer) = self.send(method, path, text).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }
}

fn isolations() -> [(&'static str, &'static str); 4] {
    let (here, apart) = ("in-process", "process");
    [(here, here), (here, apart), (apart, here), (apart, apart)]
}

#[tokio::test]
async fn what_was_acknowledged_outlives_kernels_however_they_end() {
    for isolations in isolations() {
        let dir = private_dir();
        let notes = Notes::start(&dir, isolations, "").await;
        notes.well("PUT", "/notes/a", "first").await;
        notes.well("PUT", "/notes/b", "second").await;
        notes.well("DELETE", "/notes/a", "").await;
        notes.kernel.signal(Signal::SIGKILL);
        notes.kernel.wait().await;
        let notes = Notes::start(&dir, isolations, "").await;
        assert_eq!(notes.well("GET", "/notes", "").await, "b");
        assert_eq!(notes.well("GET", "/notes/b", "").await, "second");
        assert_eq!(notes.send("GET", "/notes/a", "").await.0, 404);
    }
}

#[tokio::test]
async fn two_kernels_share_what_a_module_keeps() {
    for isolations in isolations() {
        let dir = private_dir();
        let one = Arc::new(Notes::start(&dir, isolations, "").await);
        let other = Arc::new(Notes::start(&dir, isolations, "").await);
        one.well("PUT", "/notes/a", "of the one").await;
        assert_eq!(other.well("GET", "/notes/a", "").await, "of the one");
        let adding = [&one, &other].map(|notes| {
            let notes = Arc::clone(notes);
            tokio::spawn(async move {
                for _ in 0..20 {
                    notes.well("POST", "/add/count", "").await;
                }
            })
        });
        for adding in adding {
            adding.await.unwrap();
        }
        assert_eq!(one.well("GET", "/notes/count", "").await, "40");
    }
}

#[tokio::test]
async fn reloads_of_both_lose_nothing_and_refuse_nobody() {
    for isolations in isolations() {
        let notes = Arc::new(Notes::start(&private_dir(), isolations, "").await);
        let over = Arc::<AtomicBool>::default();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (notes, over) = (Arc::clone(&notes), Arc::clone(&over));
                tokio::spawn(async move {
                    let mut written = 0;
                    while !over.load(Ordering::SeqCst) {
                        let path = format!("/add/{client}");
                        written += 1;
                        assert_eq!(notes.well("POST", &path, "").await, written.to_string());
                    }
                    written
                })
            })
            .collect();
        for _ in 0..RELOADS {
            for module in ["store", "notes"] {
                let path = format!("/modules/{module}/reload?wait=drained");
                let receipt = notes.kernel.host("POST", &path).send().await;
                receipt.expect_status(200);
                assert_eq!(receipt.json()["requests"]["cancelled"], 0, "{receipt}");
            }
        }
        over.store(true, Ordering::SeqCst);
        for (client, written) in clients.into_iter().enumerate() {
            let written: u64 = written.await.unwrap();
            assert!(written > 0);
            let path = format!("/notes/{client}");
            assert_eq!(notes.well("GET", &path, "").await, written.to_string());
        }
    }
}

#[tokio::test]
async fn a_quota_is_told_and_keeps_what_there_is() {
    let here = ("in-process", "in-process");
    let notes = Notes::start(&private_dir(), here, "quota = \"16KiB\"").await;
    notes.well("PUT", "/notes/a", "small").await;
    let (status, answer) = notes.send("PUT", "/notes/b", &"x".repeat(20_000)).await;
    assert_eq!(status, 507, "{answer}");
    assert!(answer.contains("quota"), "{answer}");
    assert_eq!(notes.well("GET", "/notes", "").await, "a");
}

#[tokio::test]
async fn without_the_store_or_the_grant_it_says_what_to_do() {
    let kernel = Kernel::builder().module("notes", "").start().await;
    let token = kernel.session(json!({"modules": ["notes"]})).await;
    let answer = kernel.get("/api/notes/notes").bearer(&token).send().await;
    answer.expect_status(503);
    assert!(answer.text().contains("store"), "{answer}");
    let kernel = Kernel::builder()
        .module("notes", "grants = []")
        .module("store", "")
        .start()
        .await;
    let token = kernel.session(json!({"modules": ["notes", "store"]})).await;
    let answer = kernel.get("/api/notes/notes").bearer(&token).send().await;
    answer.expect_status(503);
    assert!(answer.text().contains("call:store"), "{answer}");
    // The store itself is not there for clients.
    let answer = kernel.get("/api/store/usage").bearer(&token).send().await;
    answer.expect_status(404);
}
