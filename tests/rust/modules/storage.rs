//! Durable storage of modules: `notes` keeps what it is told in the module store, in every mix of isolations.

mod disk;
mod hostile;
mod kills;
mod maintenance;
mod reloads;
mod turns;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Builder, Kernel, private_dir, target_dir};

/// A kernel with `notes` and `store`.
struct Notes {
    kernel: Kernel,
    token: String,
    dir: Arc<TempDir>,
}

impl Notes {
    /// With what is kept in `dir`, which other kernels may use, too.
    async fn start(dir: &Arc<TempDir>, isolations: (&str, &str), config: &str) -> Notes {
        Notes::start_as(Kernel::builder(), dir, isolations, config).await
    }

    async fn start_as(
        builder: Builder,
        dir: &Arc<TempDir>,
        (notes, store): (&str, &str),
        config: &str,
    ) -> Notes {
        println!("notes {notes}, store {store}");
        let kernel = builder
            .data_dir(&data_dir(dir))
            .module("notes", &format!("isolation = {notes:?}"))
            .module(
                "store",
                &format!("isolation = {store:?}\nconfig = {{ {config} }}"),
            )
            .start()
            .await;
        let token = kernel.session(json!({"modules": ["notes"]})).await;
        let dir = Arc::clone(dir);
        Notes { kernel, token, dir }
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

fn data_dir(dir: &TempDir) -> PathBuf {
    dir.path().join("kept")
}

/// `midplane store`, on what kernels keep in `data_dir`.
fn store(data_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(target_dir().join("midplane-store"));
    command.args(arguments).arg("--data-dir").arg(data_dir);
    command.output().unwrap()
}

/// The whole file is read, and nothing is wrong with it.
fn assert_sound(data_dir: &Path) {
    let check = store(data_dir, &["check"]);
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(
        check.status.success() && said.ends_with("is sound\n"),
        "{said}{}",
        String::from_utf8_lossy(&check.stderr)
    );
}

/// How often, unless the environment says it: a long run takes more than a test may.
fn times(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number of times"),
        Err(_) => default,
    }
}

/// xorshift64*: the same choices at every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
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
