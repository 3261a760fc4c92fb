//! A kernel that serves while it is asked to load what it must refuse: a client calls the old generation all the time, and a
//! listener hears what is told.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::super::eventually;
use crate::harness::{Answer, Builder, Kernel, Stream, apart};

/// Compiles `tests/modules/refused/<source>.c` into `dir`, with further arguments for the compiler.
pub(super) fn compile(dir: &Path, source: &str, arguments: &[&str]) -> PathBuf {
    compile_as(&dir.join(format!("{source}.so")), source, arguments)
}

pub(super) fn compile_as(to: &Path, source: &str, arguments: &[&str]) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../modules/refused");
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror"])
        // Designated initialisers replace what a macro has before them.
        .args(["-Wno-override-init", "-O1", "-fPIC", "-shared", "-o"])
        .arg(to)
        .arg(sources.join(format!("{source}.c")))
        .args(arguments)
        .output()
        .expect("a C compiler");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    to.to_owned()
}

/// Writes a file that only its owner may change, and puts it in place at once.
pub(super) fn install(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

/// A kernel with one module, generation 1, that is called until [`Served::stop`].
pub(super) struct Served {
    pub(super) kernel: Arc<Kernel>,
    pub(super) token: String,
    module: &'static str,
    path: String,
    answer: String,
    events: Stream,
    answers: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    client: JoinHandle<()>,
}

impl Served {
    /// A kernel with `tests/modules/refused/well.c` as the module `refused`.
    pub(super) async fn well(builder: Builder) -> Served {
        let dir = tempfile::tempdir().unwrap();
        let well = compile(dir.path(), "well", &[]);
        Served::start(
            builder.module_at("refused", well, ""),
            "refused",
            "/",
            "well",
        )
        .await
    }

    /// `path` of `module` answers `answer`.
    pub(super) async fn start(
        builder: Builder,
        module: &'static str,
        path: &str,
        answer: &str,
    ) -> Served {
        let kernel = Arc::new(builder.start().await);
        let token = kernel.session(json!({"user": "ada"})).await;
        let mut events = kernel.host("GET", "/events").stream().await;
        events.read_until(": listening\n\n").await;
        let (answers, done) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let path = format!("/api/{module}{path}");
        let client = tokio::spawn({
            let (kernel, token) = (Arc::clone(&kernel), token.clone());
            let (answers, done) = (Arc::clone(&answers), Arc::clone(&done));
            let (path, answer) = (path.clone(), answer.to_owned());
            async move {
                while !done.load(Ordering::Relaxed) {
                    let got = kernel.get(&path).bearer(&token).send().await;
                    got.expect_status(200);
                    assert_eq!(
                        (got.text(), got.header("x-midplane-module")),
                        (answer.as_str(), format!("{module}#1").as_str())
                    );
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Served {
            kernel,
            token,
            module,
            path,
            answer: answer.to_owned(),
            events,
            answers,
            done,
            client,
        }
    }

    pub(super) fn modules(&self) -> PathBuf {
        self.kernel.dir.path().join("modules")
    }

    pub(super) fn put(&self, body: &Value) -> impl Future<Output = Answer> + use<> {
        let url = format!("/modules/{}", self.module);
        self.kernel.host("PUT", &url).json(body).send()
    }

    pub(super) fn reload(&self, body: &Value) -> impl Future<Output = Answer> + use<> {
        let url = format!("/modules/{}/reload", self.module);
        self.kernel.host("POST", &url).json(body).send()
    }

    /// The load was refused for this reason; it was told and logged, what ran runs on, and nothing is left of it.
    pub(super) async fn expect_refused(
        &mut self,
        answer: &Answer,
        status: u16,
        code: &str,
        reason: &[&str],
    ) {
        let detail = expect_detail(answer, status, code, reason);
        let told = self.events.read_until("module.refused").await;
        let event: Value = told
            .lines()
            .find_map(|line| line.strip_prefix("data: "))
            .map(|json| serde_json::from_str(json).unwrap())
            .unwrap_or_else(|| panic!("no event in {told:?}"));
        assert_eq!(event["type"], "module.refused", "{event}");
        assert_eq!(event["module"], self.module, "{event}");
        assert_eq!(event["reason"], detail, "{event}");
        // As the log quotes it.
        let quoted = format!("{:?}", reason[0]);
        let quoted = quoted.trim_matches('"');
        let line = super::super::logged(&self.kernel, &["a module was refused", quoted]).await;
        assert!(line.contains(self.module), "{line}");
        self.expect_as_before().await;
    }

    /// Generation 1 answers.
    pub(super) async fn expect_answers(&self) {
        let seen = self.answers.load(Ordering::Relaxed);
        eventually(&self.kernel, "another answer", async || {
            assert!(!self.client.is_finished(), "the client met an error");
            (self.answers.load(Ordering::Relaxed) > seen).then_some(())
        })
        .await;
    }

    /// Generation 1 answers, and is the only one of its name that there is a copy of.
    pub(super) async fn expect_as_before(&self) {
        self.expect_answers().await;
        let path = format!("/modules/{}", self.module);
        let as_before = async || {
            let shown = self.kernel.host("GET", &path).send().await.json();
            assert_eq!(shown["generation"], 1, "{shown}");
            assert_eq!(shown["state"], "serving", "{shown}");
            let copies = copies(&self.kernel);
            let alone =
                matches!(&copies[..], [one] if one.starts_with(&format!("{}-1-", self.module)));
            (alone && shown["resident_generations"] == 1).then_some(())
        };
        // The end of a process that was refused takes its time; in the kernel's all is done with the answer.
        if apart() {
            eventually(&self.kernel, "the end of what was refused", as_before).await;
        } else {
            assert!(as_before().await.is_some(), "{:?}", copies(&self.kernel));
        }
    }

    /// Ends the client, none of whose requests has failed.
    pub(super) async fn stop(self) -> (Arc<Kernel>, String) {
        self.done.store(true, Ordering::Relaxed);
        self.client.await.unwrap();
        (self.kernel, self.token)
    }

    /// Ends the client, and loads what is right: nothing that was refused stands in its way.
    pub(super) async fn stop_and_reload(self) {
        let (module, path, answer) = (self.module, self.path.clone(), self.answer.clone());
        let (kernel, token) = self.stop().await;
        let reload = kernel.host("POST", &format!("/modules/{module}/reload"));
        let receipt = reload.send().await.expect_status(200).json();
        assert_eq!(receipt["from"]["generation"], 1, "{receipt}");
        let new = receipt["to"]["generation"].as_u64().unwrap();
        assert!(new > 1, "{receipt}");
        let got = kernel.get(&path).bearer(&token).send().await;
        assert_eq!(
            (
                got.expect_status(200).text(),
                got.header("x-midplane-module")
            ),
            (answer.as_str(), format!("{module}#{new}").as_str())
        );
    }
}

/// A problem whose sentence has all of these in it; returns the sentence.
pub(super) fn expect_detail(answer: &Answer, status: u16, code: &str, reason: &[&str]) -> String {
    answer.expect_problem(status, code);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    for words in reason {
        assert!(detail.contains(words), "{detail:?} lacks {words:?}");
    }
    detail
}

/// The private copies there are, by file name. Looks through the kernel's own mounts.
pub(super) fn copies(kernel: &Kernel) -> Vec<String> {
    let mut found = Vec::new();
    for instance in std::fs::read_dir(staging(kernel)).unwrap() {
        let instance = instance.unwrap().path();
        if !instance.is_dir() {
            continue;
        }
        for copy in std::fs::read_dir(instance).unwrap() {
            let name = copy.unwrap().file_name().into_string().unwrap();
            if name != "lock" {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

/// `<data_dir>/modules` as the kernel sees it.
pub(super) fn staging(kernel: &Kernel) -> PathBuf {
    let path = kernel.dir.path().join("data/modules");
    if cfg!(target_os = "linux") {
        let seen = Path::new("/proc")
            .join(kernel.pid().to_string())
            .join("root");
        let seen = seen.join(path.strip_prefix("/").unwrap());
        // Of a process that lets itself not be looked at, only what all processes see.
        if seen.exists() {
            return seen;
        }
    }
    path
}
