//! `midplane bridge`: a terminal, or a program without one, as the host that gives the secrets.
//!
//! The terminals here are pseudo-terminals; util-linux's `setsid` makes one the controlling terminal of what it starts.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{Answer, Kernel, artifact, eventually};

/// What no output, log line or argument may contain.
const CANARY: &str = "sk-canary-0123456789";
const ASKS: &str = "enter it (not shown; empty: not given): ";

#[tokio::test]
async fn a_key_is_entered_once_and_never_shown() {
    let kernel = Kernel::start(&["hello"]).await;
    let host = Host::at_terminal(&kernel, &[]);
    host.says("attached as terminal#1").await;
    assert!(host.echoes(), "nothing is asked yet");

    let creating = create(&kernel, "k");
    host.says("asks for the key k (environment pro) for the new session ses_")
        .await;
    host.says(ASKS).await;
    assert!(!host.echoes(), "while it asks");
    host.types(&format!(" {CANARY}\n"));
    creating.await.unwrap().expect_status(201);
    host.says("gave the key k (environment pro) for the session ses_")
        .await;
    assert!(host.echoes(), "afterwards");

    // The same key again, and another environment's, which is another key.
    create(&kernel, "k").await.unwrap().expect_status(201);
    host.says("as it was entered before").await;
    let body = json!({"secret_key_id": "k", "environment": "dev"});
    let other = tokio::spawn(kernel.host("POST", "/sessions").json(&body).send());
    host.says("(environment dev)").await;
    host.says_times(ASKS, 2).await;
    host.types(&format!("two words {CANARY}\n"));
    host.says("that cannot be a key: the secret has bytes that are not visible ASCII")
        .await;
    host.says_times(ASKS, 3).await;
    host.types(&format!("{CANARY}-dev\n"));
    other.await.unwrap().expect_status(201);

    for file in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{}/{file}", host.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("canary"), "{file}");
    }
    assert!(!kernel.log().contains("canary"));
    let output = host.end_by(Signal::SIGTERM);
    assert!(!output.contains("canary"), "{output}");
}

#[tokio::test]
async fn nothing_entered_is_nothing_given() {
    let kernel = Kernel::start(&["hello"]).await;
    let host = Host::at_terminal(&kernel, &[]);
    host.says("attached").await;
    for (round, nothing) in ["\n", "  \n", "\u{4}"].into_iter().enumerate() {
        let creating = create(&kernel, "k");
        host.says_times(ASKS, round + 1).await;
        host.types(nothing);
        let answer = creating.await.unwrap();
        answer.expect_problem(403, "secret_denied");
        assert!(
            answer.text().contains("no key was entered at the terminal"),
            "{answer}"
        );
    }
    host.says_times("did not give the key k", 3).await;
}

#[tokio::test]
async fn what_is_entered_too_late_is_kept_for_the_next_time() {
    let kernel = Kernel::start(&["hello"]).await;
    let host = Host::at_terminal(&kernel, &[]);
    host.says("attached").await;
    let (creating, waiting) = (create(&kernel, "k"), create(&kernel, "second"));
    host.says(ASKS).await;
    creating.await.unwrap().expect_problem(504, "host_timeout");
    waiting.await.unwrap().expect_problem(504, "host_timeout");
    host.says("the kernel waits no longer for the key").await;
    host.says("did not ask for the key").await;
    assert!(!host.echoes(), "it still asks");
    host.types(&format!("{CANARY}\n"));
    host.says("it came too late, and is kept in memory for the next time: try again")
        .await;
    let asked = host.output();
    let first = if asked.contains("has the key k ") {
        "k"
    } else {
        "second"
    };
    create(&kernel, first).await.unwrap().expect_status(201);
    host.says("as it was entered before").await;
    // The other one was never on the screen.
    assert_eq!(
        asked.matches("midplane: the kernel asks for").count(),
        1,
        "{asked}"
    );
    assert!(!host.output().contains("canary"));
}

#[tokio::test]
async fn a_key_may_be_entered_before_it_is_needed() {
    let kernel = Kernel::start(&["hello"]).await;
    let host = Host::at_terminal(&kernel, &["--secret", "k=prompt"]);
    host.says("the key k will be asked for").await;
    host.says(ASKS).await;
    assert!(!host.output().contains("attached"));
    host.types(&format!("{CANARY}\n"));
    host.says("attached").await;
    create(&kernel, "k").await.unwrap().expect_status(201);
    assert_eq!(host.output().matches(ASKS).count(), 1);
}

#[tokio::test]
async fn the_terminal_is_left_as_it_was() {
    let kernel = Kernel::start(&["hello"]).await;
    for end in [None, Some(Signal::SIGTERM), Some(Signal::SIGHUP)] {
        let host = Host::at_terminal(&kernel, &[]);
        host.says("attached").await;
        let creating = create(&kernel, "k");
        host.says(ASKS).await;
        assert!(!host.echoes());
        match end {
            // As the terminal sends SIGINT: for its key. Those that stop or quit do nothing meanwhile.
            None => host.types("\u{1a}\u{1c}half a k\u{3}"),
            Some(signal) => host.signal(signal),
        }
        let status = host.wait().await;
        assert_eq!(
            status.signal(),
            Some(end.unwrap_or(Signal::SIGINT) as i32),
            "{}",
            host.output()
        );
        assert!(host.echoes(), "after {end:?}");
        creating
            .await
            .unwrap()
            .expect_problem(503, "host_unavailable");
    }
}

#[tokio::test]
async fn it_ends_with_the_kernel_and_does_not_start_without_one() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let kernel = Kernel::start(&["hello"]).await;
        let host = Host::at_terminal(&kernel, &[]);
        host.says("attached").await;
        let creating = create(&kernel, "k");
        host.says(ASKS).await;
        kernel.signal(signal);
        assert_eq!(host.wait().await.code(), Some(69), "{}", host.output());
        host.says("has ended, and this with it").await;
        assert!(host.echoes());
        creating.abort();
    }
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&[][..], &["--secret", "k=prompt"]] {
        let mut command = Command::new(midplane());
        command.arg("bridge").args(arguments);
        command.arg("--socket").arg(dir.path().join("kernel.sock"));
        command.env("MIDPLANE_HOST_KEY", wrong_key());
        let host = Host::without_terminal(command);
        assert_eq!(host.wait().await.code(), Some(69));
        host.says("midplane serve").await;
    }
}

#[tokio::test]
async fn who_has_no_host_key_is_no_host() {
    let kernel = Kernel::start(&["hello"]).await;
    let mut command = command(&kernel, &[]);
    command.env("MIDPLANE_HOST_KEY", wrong_key());
    let host = Host::without_terminal(command);
    assert_eq!(host.wait().await.code(), Some(1));
    host.says("(invalid_token)").await;
}

#[tokio::test]
async fn without_a_terminal_it_gives_what_it_was_told_to() {
    let kernel = Kernel::start(&["hello"]).await;
    let scrubbed = format!("scrubbed=cmd:sh -c 'test -z \"$MIDPLANE_TEST_KEY\" && echo {CANARY}'");
    let mut command = command(
        &kernel,
        &[
            "--secret",
            "env=env:MIDPLANE_TEST_KEY",
            "--secret",
            "unset=env:MIDPLANE_TEST_UNSET",
            "--secret",
            &scrubbed,
            "--secret",
            "fails=cmd:sh -c 'echo why it fails >&2; exit 3'",
            "--secret",
            "lines=cmd:printf 'a\\nb'",
            "--json",
            "--events",
        ],
    );
    command.env("MIDPLANE_TEST_KEY", CANARY);
    let host = Host::without_terminal(command);
    host.says("there is no terminal to ask at").await;
    for (id, code, outcome, said) in [
        ("env", "", "given", ""),
        (
            "unset",
            "secret_not_found",
            "not_found",
            "where `midplane bridge` runs",
        ),
        ("scrubbed", "", "given", ""),
        ("fails", "secret_denied", "denied", "failed with status 3"),
        ("lines", "secret_denied", "denied", "more than one line"),
        (
            "other",
            "secret_not_found",
            "not_found",
            "--secret other=env:VARIABLE",
        ),
    ] {
        let answer = create(&kernel, id).await.unwrap();
        if code.is_empty() {
            answer.expect_status(201);
        } else {
            answer.expect_problem(403, code);
            assert!(answer.text().contains(said), "{answer}");
        }
        let told = host.line("bridge.answered", "secret_key_id", id).await;
        assert_eq!(told["outcome"], outcome, "{told}");
        assert_eq!(told["environment"], "pro");
        assert_eq!(told["module"], Value::Null);
        assert_eq!(told["reason"].is_null(), code.is_empty(), "{told}");
    }
    // What the command had to say stays here.
    host.says("why it fails").await;
    assert!(!kernel.log().contains("why it fails"));
    let attached = host.line("bridge.attached", "host", "terminal#1").await;
    assert_eq!(attached["pid"], kernel.pid().as_raw());
    assert!(attached.get("host_key").is_none(), "{attached}");
    host.line("session.issued", "user", "local").await;
    assert!(!kernel.log().contains("canary"));
    let output = host.end_by(Signal::SIGINT);
    assert!(!output.contains("canary"), "{output}");
    assert!(!output.contains(&kernel.host_key), "{output}");
}

#[tokio::test]
async fn what_it_cannot_do_it_says_at_the_start() {
    let kernel = Kernel::start(&[]).await;
    for (flag, said) in [
        ("k=prompt", "needs a terminal"),
        ("k=bridge", "midplane serve"),
        (CANARY, "does not belong on a command line"),
        ("k=sk-canary", "does not belong on a command line"),
    ] {
        let host = Host::without_terminal(command(&kernel, &["--secret", flag]));
        assert_eq!(host.wait().await.code(), Some(64), "{flag}");
        host.says(said).await;
        assert!(!host.output().contains("canary"), "{}", host.output());
    }
}

#[tokio::test]
async fn in_the_background_nobody_is_asked() {
    let kernel = Kernel::start(&["hello"]).await;
    let mut shell = Command::new("sh");
    // With job control, which puts it into a process group of its own.
    shell.args(["-mc", "\"$@\" & wait", "sh"]);
    let background = command(&kernel, &["--json"]);
    shell
        .arg(background.get_program())
        .args(background.get_args());
    let host = Host::with_terminal(shell);
    host.says("bridge.attached").await;
    let answer = create(&kernel, "k").await.unwrap();
    answer.expect_problem(403, "secret_not_found");
    assert!(answer.text().contains("runs in the background"), "{answer}");
    // It was not stopped for trying.
    let again = create(&kernel, "k").await.unwrap();
    again.expect_problem(403, "secret_not_found");
    assert!(host.echoes());
}

#[tokio::test]
async fn it_tells_what_the_kernel_tells() {
    let kernel = Kernel::start(&["hello"]).await;
    let host = Host::without_terminal(command(&kernel, &["--events", "--log", "info"]));
    host.says("attached").await;
    let issued = kernel.issue(json!({"user": "ada"})).await;
    let id = issued["id"].as_str().unwrap();
    host.says("session.issued at=").await;
    host.says("user=ada").await;
    host.says(&format!("session issued session={id}")).await;
}

#[tokio::test]
async fn its_commands_end_with_it() {
    let kernel = Kernel::start(&["hello"]).await;
    let file = kernel.dir.path().join("pid");
    let source = format!("k=cmd:sh -c 'echo $$ >{}; sleep 1000'", file.display());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let host = Host::without_terminal(command(&kernel, &["--secret", &source]));
        host.says("attached").await;
        let creating = create(&kernel, "k");
        let pid = eventually("the command's pid", async || {
            let text = std::fs::read_to_string(&file).ok()?;
            text.trim().parse().ok().map(Pid::from_raw)
        })
        .await;
        host.end_by(signal);
        eventually("the end of the command", async || {
            // Whoever adopts it may not have reaped it yet.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
                .then_some(())
        })
        .await;
        creating
            .await
            .unwrap()
            .expect_problem(503, "host_unavailable");
        std::fs::remove_file(&file).unwrap();
    }
}

/// A `midplane bridge` and what it has said; dropping it ends it.
struct Host {
    child: Mutex<Child>,
    /// The other end of its terminal.
    terminal: Option<File>,
    /// At its terminal, or on standard error.
    said: Arc<Mutex<Vec<u8>>>,
    /// On standard output, where that is not the terminal.
    printed: Arc<Mutex<Vec<u8>>>,
    reading: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

fn command(kernel: &Kernel, arguments: &[&str]) -> Command {
    let mut command = Command::new(midplane());
    command.arg("bridge").args(arguments);
    command.arg("--socket").arg(&kernel.socket);
    command
}

fn create(kernel: &Kernel, id: &str) -> JoinHandle<Answer> {
    let request = kernel.host("POST", "/sessions");
    tokio::spawn(request.json(&json!({"secret_key_id": id})).send())
}

/// The program, which lies beside the modules.
fn midplane() -> PathBuf {
    artifact("hello").with_file_name("midplane")
}

fn wrong_key() -> String {
    format!("mph_{}", "A".repeat(43))
}

impl Host {
    fn at_terminal(kernel: &Kernel, arguments: &[&str]) -> Host {
        Host::with_terminal(command(kernel, arguments))
    }

    /// Starts it in a session of its own, whose terminal it has.
    fn with_terminal(command: Command) -> Host {
        let pty = openpty(None, None).unwrap();
        let mut session = Command::new("setsid");
        session
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(pty.slave.try_clone().unwrap())
            .stdout(pty.slave.try_clone().unwrap())
            .stderr(pty.slave);
        let terminal = File::from(pty.master);
        let said = Arc::default();
        let child = spawn(session);
        let reading = collect(terminal.try_clone().unwrap(), &said);
        Host {
            child,
            terminal: Some(terminal),
            said,
            printed: Arc::default(),
            reading: Mutex::new(vec![reading]),
        }
    }

    /// Starts it in a session of its own, which has none.
    fn without_terminal(command: Command) -> Host {
        let mut session = Command::new("setsid");
        session
            .arg(command.get_program())
            .args(command.get_args())
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (said, printed) = (Arc::default(), Arc::default());
        let child = spawn(session);
        let reading = {
            let mut child = child.lock().unwrap();
            let printing = collect(child.stdout.take().unwrap(), &printed);
            vec![printing, collect(child.stderr.take().unwrap(), &said)]
        };
        Host {
            child,
            terminal: None,
            said,
            printed,
            reading: Mutex::new(reading),
        }
    }

    fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    fn types(&self, text: &str) {
        let mut terminal = self.terminal.as_ref().unwrap();
        terminal.write_all(text.as_bytes()).unwrap();
    }

    fn echoes(&self) -> bool {
        let terminal = tcgetattr(self.terminal.as_ref().unwrap()).unwrap();
        terminal.local_flags.contains(LocalFlags::ECHO)
    }

    /// Everything so far, on both of its outputs.
    fn output(&self) -> String {
        let both = [&self.said, &self.printed].map(|from| from.lock().unwrap().clone());
        String::from_utf8_lossy(&both.concat()).into_owned()
    }

    async fn says(&self, text: &str) {
        self.says_times(text, 1).await;
    }

    async fn says_times(&self, text: &str, times: usize) {
        eventually(&format!("{text:?}, {times} times"), async || {
            (self.output().matches(text).count() >= times).then_some(())
        })
        .await;
    }

    /// The line of JSON of this type in which `member` is `value`.
    async fn line(&self, kind: &str, member: &str, value: &str) -> Value {
        eventually(&format!("{kind} with {member}={value}"), async || {
            let output = self.output();
            let lines = output
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            lines
                .into_iter()
                .find(|line: &Value| line["type"] == kind && line[member] == value)
        })
        .await
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    async fn wait(&self) -> ExitStatus {
        eventually("the end of `midplane bridge`", async || {
            self.child.lock().unwrap().try_wait().unwrap()
        })
        .await
    }

    /// Ends it and returns all that it said.
    fn end_by(self, signal: Signal) -> String {
        self.signal(signal);
        let status = self.child.lock().unwrap().wait().unwrap();
        assert_eq!(status.signal(), Some(signal as i32));
        for reading in self.reading.lock().unwrap().drain(..) {
            reading.join().unwrap();
        }
        self.output()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        // It may have ended.
        let _ = child.kill();
        let _ = child.wait();
        if std::thread::panicking() {
            eprintln!("--- output of midplane bridge ---\n{}", self.output());
        }
    }
}

fn spawn(mut command: Command) -> Mutex<Child> {
    // No process group: `setsid` becomes what it starts only where it leads none.
    command.env_remove("MIDPLANE_SOCKET").env("NO_COLOR", "1");
    Mutex::new(command.spawn().unwrap())
}

/// Reads to the end; of a terminal whose other side is closed, that is an error.
fn collect(
    mut from: impl Read + Send + 'static,
    said: &Arc<Mutex<Vec<u8>>>,
) -> std::thread::JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            said.lock().unwrap().extend_from_slice(&chunk[..length]);
        }
    })
}
