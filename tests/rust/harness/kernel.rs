//! A `midplane serve` of the test's own.

use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::isolation::isolation;
use super::request::Request;

/// More than any step takes on a loaded machine; nothing waits this long when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running kernel; dropping it kills it.
pub(crate) struct Kernel {
    pub(crate) socket: PathBuf,
    pub(crate) host_key: String,
    pub(crate) dir: Arc<TempDir>,
    child: Mutex<Child>,
    /// The child is a shell, and the kernel may be a child of it.
    shell: bool,
    log: Arc<Log>,
}

/// How to start one.
pub(crate) struct Builder {
    modules: Vec<(String, PathBuf, String)>,
    config: String,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    dir: Option<Arc<TempDir>>,
    shell: Option<String>,
    stdin: Option<OwnedFd>,
    own_socket: bool,
    data_dir: Option<PathBuf>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

/// The file of a module built by the workspace, by its crate's library name without `midplane_`.
pub(crate) fn artifact(module: &str) -> PathBuf {
    let library = format!(
        "libmidplane_{}.{}",
        module.replace('-', "_"),
        if cfg!(target_os = "macos") {
            "dylib"
        } else {
            "so"
        }
    );
    let path = target_dir().join(library);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build --workspace` first",
        path.display()
    );
    path
}

/// The folder of the binaries: this test lies in its `deps`.
pub(crate) fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().unwrap().parent().unwrap().to_owned()
}

/// A directory for one kernel after the other.
pub(crate) fn private_dir() -> Arc<TempDir> {
    Arc::new(
        tempfile::Builder::new()
            .prefix("midplane-")
            .tempdir()
            .unwrap(),
    )
}

impl Kernel {
    /// A kernel with these modules in their default configuration.
    pub(crate) async fn start(modules: &[&str]) -> Kernel {
        modules
            .iter()
            .fold(Kernel::builder(), |builder, module| {
                builder.module(module, "")
            })
            .start()
            .await
    }

    pub(crate) fn builder() -> Builder {
        // Module files copied by cargo may be writable by a group; a test's own directory holds copies that are not.
        Builder {
            modules: Vec::new(),
            config: String::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
            dir: None,
            shell: None,
            stdin: None,
            own_socket: false,
            data_dir: None,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        Request::new(&self.socket, method, path)
    }

    /// A request with the host key.
    pub(crate) fn host(&self, method: &str, path: &str) -> Request {
        self.request(method, path).bearer(&self.host_key)
    }

    /// Creates a session.
    pub(crate) async fn issue(&self, body: Value) -> Value {
        let answer = self.host("POST", "/sessions").json(&body).send().await;
        answer.expect_status(201);
        answer.json()
    }

    /// Creates a session and returns its client secret.
    pub(crate) async fn session(&self, body: Value) -> String {
        let issued = self.issue(body).await;
        issued["client_secret"].as_str().unwrap().to_owned()
    }

    /// Everything written to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lines.lock().unwrap().0.join("\n")
    }

    /// Waits for a line of the log that contains `text`.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        self.log
            .wait_for(text)
            .unwrap_or_else(|| panic!("no line with {text:?} in the log:\n{}", self.log()))
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.lock().unwrap().id()).unwrap())
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    /// Waits for the process to end.
    pub(crate) async fn wait(&self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                return status;
            }
            assert!(
                start.elapsed() < DEADLINE,
                "the kernel did not end:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        if self.shell {
            let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
        // It may have ended.
        let _ = child.kill();
        let _ = child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the kernel ---\n{}", self.log());
        }
    }
}

impl Builder {
    /// Loads a workspace module. `settings` are lines of its `[modules.<name>]` table.
    pub(crate) fn module(self, name: &str, settings: &str) -> Builder {
        let path = artifact(name);
        self.module_at(name, path, settings)
    }

    pub(crate) fn module_at(mut self, name: &str, path: PathBuf, settings: &str) -> Builder {
        self.modules
            .push((name.to_owned(), path, settings.to_owned()));
        self
    }

    /// Adds text to the configuration file, before the modules.
    pub(crate) fn config(mut self, text: &str) -> Builder {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Builder {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn arg(mut self, argument: &str) -> Builder {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts in a directory that was there before, with what a kernel before it left there.
    pub(crate) fn dir(mut self, dir: &Arc<TempDir>) -> Builder {
        self.dir = Some(Arc::clone(dir));
        self
    }

    /// Shares what modules keep with other kernels.
    pub(crate) fn data_dir(mut self, dir: &Path) -> Builder {
        self.data_dir = Some(dir.to_owned());
        self
    }

    /// Starts it by a shell's script, in which `"$@"` is the kernel's command line.
    pub(crate) fn shell(mut self, script: &str) -> Builder {
        self.shell = Some(script.to_owned());
        self
    }

    pub(crate) fn stdin(mut self, stdin: OwnedFd) -> Builder {
        self.stdin = Some(stdin);
        self
    }

    /// Has the kernel make a socket of its own, as one with a bridge does that is told of none: in `run/midplane` of its directory.
    pub(crate) fn own_socket(mut self) -> Builder {
        self.own_socket = true;
        self
    }

    /// Writes the files of a start into `dir` and returns the command, not started yet.
    pub(crate) fn command(&self, dir: &Path) -> Command {
        let modules_dir = dir.join("modules");
        std::fs::create_dir_all(&modules_dir).unwrap();
        let mut config = self.config.clone();
        for (name, path, settings) in &self.modules {
            let copy = modules_dir.join(path.file_name().unwrap());
            std::fs::copy(path, &copy).unwrap();
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
            let isolation = match isolation() {
                Some(isolation) if !settings.contains("isolation") => {
                    format!("isolation = {isolation:?}\n")
                }
                _ => String::new(),
            };
            config.push_str(&format!(
                "[modules.{name}]\npath = {:?}\n{isolation}{settings}\n",
                copy.to_str().unwrap()
            ));
        }
        for private in [dir, &modules_dir] {
            std::fs::set_permissions(private, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        let file = dir.join("midplane.toml");
        std::fs::write(&file, config).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let program = target_dir().join("midplane");
        let mut command = match &self.shell {
            None => Command::new(program),
            Some(script) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", script, "sh"]).arg(program);
                // So that all of it can be ended.
                shell.process_group(0);
                shell
            }
        };
        let stdin = self
            .stdin
            .as_ref()
            .map_or_else(Stdio::null, |stdin| Stdio::from(stdin.try_clone().unwrap()));
        command
            .arg("serve")
            .args(["--config".as_ref(), file.as_os_str()])
            .arg("--data-dir")
            .arg(self.data_dir.clone().unwrap_or_else(|| dir.join("data")));
        if self.own_socket {
            let run = dir.join("run");
            std::fs::create_dir_all(&run).unwrap();
            std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o700)).unwrap();
            command.env("XDG_RUNTIME_DIR", run);
        } else {
            let socket = dir.join("kernel.sock");
            command
                .args(["--socket".as_ref(), socket.as_os_str()])
                .arg("--write-host-key");
        }
        command
            .args(&self.arguments)
            .env_remove("MIDPLANE_CONFIG")
            .env_remove("MIDPLANE_SOCKET")
            .env_remove("MIDPLANE_LOG")
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the kernel and waits until it is ready.
    pub(crate) async fn start(self) -> Kernel {
        let dir = self.dir.clone().unwrap_or_else(private_dir);
        let mut child = self.command(dir.path()).spawn().unwrap();
        let log = Log::read(child.stderr.take().unwrap());
        if log.wait_for(" ready on ").is_none() {
            let _ = child.kill();
            panic!(
                "the kernel did not become ready:\n{}",
                log.lines.lock().unwrap().0.join("\n")
            );
        }
        let host_key = std::fs::read_to_string(dir.path().join("host.key"))
            .unwrap()
            .trim()
            .to_owned();
        Kernel {
            socket: dir.path().join("kernel.sock"),
            host_key,
            dir,
            child: Mutex::new(child),
            shell: self.shell.is_some(),
            log,
        }
    }

    /// Starts a kernel that is expected to refuse; returns its exit code and what it wrote.
    pub(crate) fn refuse(self) -> (Option<i32>, String) {
        let dir = self.dir.clone().unwrap_or_else(private_dir);
        let output = self.command(dir.path()).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }
}

impl Log {
    fn read(stderr: std::process::ChildStderr) -> Arc<Log> {
        let log = Arc::new(Log::default());
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                writer.lines.lock().unwrap().0.push(line);
                writer.changed.notify_all();
            }
            writer.lines.lock().unwrap().1 = true;
            writer.changed.notify_all();
        });
        log
    }

    /// The first line with `text`; `None` when the process ended or the deadline passed without one.
    fn wait_for(&self, text: &str) -> Option<String> {
        let found = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        let waited = self.changed.wait_timeout_while(
            self.lines.lock().unwrap(),
            DEADLINE,
            |(lines, ended)| found(lines).is_none() && !*ended,
        );
        found(&waited.unwrap().0.0)
    }
}
