//! A kernel that a host of the test's own has started, and what is left of it when that host is gone. The host is a shell, so
//! that it can be killed; its end of the bridge is the test's, so that it can live on.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Bridge, Builder, DEADLINE, Request, stat};

/// The shell has standard input and 3 for itself no longer than it must; the kernel is a child of it.
const HOST: &str = "exec 3<&0 0</dev/null; \"$@\" & exec 3<&-; wait";

/// What a kernel may outlive its host by is 2 s; the rest is for a machine that is loaded.
const GONE_WITHIN: Duration = Duration::from_secs(6);

pub(super) struct Hosted {
    pub(super) dir: Arc<TempDir>,
    pub(super) bridge: Option<Bridge>,
    host: Child,
    ready: Value,
}

impl Hosted {
    /// Starts it, and waits for nothing.
    pub(super) fn spawn_in(dir: &Arc<TempDir>, builder: Builder) -> Hosted {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = builder
            .own_socket()
            .arg("--bridge-fd")
            .arg("3")
            .stdin(theirs.into())
            .shell(HOST)
            .command(dir.path());
        let log = File::create(dir.path().join("log")).unwrap();
        let host = command.stderr(Stdio::from(log)).spawn().unwrap();
        Hosted {
            dir: Arc::clone(dir),
            bridge: Some(Bridge::over(ours)),
            host,
            ready: Value::Null,
        }
    }

    pub(super) fn bridge(&mut self) -> &mut Bridge {
        self.bridge.as_mut().expect("it is open")
    }

    pub(super) async fn ready(&mut self) {
        self.ready = self.bridge().ready().await;
    }

    pub(super) async fn initialized(&mut self) {
        self.ready().await;
        let client = json!({"name": "host", "version": "1"});
        self.bridge()
            .initialize(client, json!({"secrets": true, "events": true}))
            .await;
    }

    pub(super) fn socket(&self) -> PathBuf {
        PathBuf::from(self.ready["socket"].as_str().unwrap())
    }

    pub(super) fn host_key(&self) -> &str {
        self.ready["host_key"].as_str().unwrap()
    }

    pub(super) fn request(&self, method: &str, path: &str) -> Request {
        Request::new(&self.socket(), method, path)
    }

    /// A token for a session without a key.
    pub(super) async fn token(&mut self) -> String {
        let session = self.bridge().call("session/create", json!({})).await;
        let session = session.unwrap();
        session["client_secret"].as_str().unwrap().to_owned()
    }

    pub(super) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run/midplane")
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Waits until the kernel has written this.
    pub(super) async fn logged(&self, text: &str) {
        self.until(text, || self.log().contains(text)).await;
    }

    pub(super) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < DEADLINE, "{what}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn kernel_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.ready["pid"].as_u64().unwrap()).unwrap())
    }

    pub(super) fn kill_host(&mut self) {
        self.host.kill().unwrap();
        self.host.wait().unwrap();
    }

    /// Waits until no process of it lives and no file of its socket is there; how long that took.
    pub(super) async fn gone(&self, point: &str) -> Duration {
        let start = Instant::now();
        loop {
            let left = self.left();
            if left.is_empty() {
                return start.elapsed();
            }
            assert!(
                start.elapsed() < GONE_WITHIN,
                "{point}: there is still {left:#?}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn left(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.run_dir()).into_iter().flatten();
        let mut left: Vec<_> = files
            .map(|entry| entry.unwrap().path().display().to_string())
            .collect();
        left.extend(processes(self.dir.path(), self.host.id()));
        left
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the kernel ---\n{}", self.log());
        }
        // What is left where a test has failed.
        let group = i32::try_from(self.host.id()).unwrap();
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        let _ = self.host.wait();
    }
}

/// Processes of the group, or with the directory in their arguments.
pub(super) fn processes(dir: &Path, group: u32) -> Vec<String> {
    let dir = dir.to_str().unwrap().as_bytes();
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    pids.filter_map(|pid| {
        let stat = stat(pid)?;
        let is_zombie = matches!(stat[0].as_str(), "Z" | "X");
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_of_dir = arguments.windows(dir.len()).any(|part| part == dir);
        let is_ours = stat[2] == group.to_string() || is_of_dir;
        let shown = String::from_utf8_lossy(&arguments).replace('\0', " ");
        (is_ours && !is_zombie).then(|| format!("{pid} {} {shown}", stat[0]))
    })
    .collect()
}
