//! The `cmd` source: runs a tool such as `op`, `pass` or `secret-tool` without a shell, and takes its output as the secret.
//!
//! The tool gets no standard input, an environment of the variables below and no descriptor but its three. It runs in a
//! process group of its own, which is killed at the deadline or when nobody waits any more, and is always reaped.

use std::future::Future;
use std::io::{ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::group::Group;
use super::{MAX_SECRET_LEN, Secret, SecretError};

/// What such tools need: to find themselves and their files, to ask the user, and to reach the keyring.
const INHERITED: &[&str] = &[
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "GNUPGHOME",
    "GPG_TTY",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "PATH",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "USER",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
];

/// The settings of 1Password's, Bitwarden's, Vault's and pass's tools.
const INHERITED_PREFIXES: &[&str] = &["OP_", "BW_", "VAULT_", "PASSWORD_STORE_"];

/// How soon an exit is seen when a grandchild keeps the pipe open; otherwise the end of the pipe tells it at once.
const EXIT_CHECK_MS: u16 = 20;

/// How much of standard error is kept for the log.
const STDERR_BYTES_MAX: usize = 4096;

/// Starts the command now. Dropping the future kills it.
pub(super) fn run(
    id: String,
    argv: Vec<String>,
    timeout: Duration,
    secret_variables: Arc<[String]>,
) -> impl Future<Output = Result<Secret, SecretError>> + Send {
    let (answer, outcome) = oneshot::channel();
    let started = std::io::pipe().and_then(|(left, waiting)| {
        thread::Builder::new()
            .name("secret-command".to_owned())
            .spawn(move || execute(&id, &argv, timeout, &secret_variables, &left, answer))
            .map(|_| waiting)
    });
    async move {
        // Held while someone waits: its end tells the thread that nobody does.
        let _waiting = started.map_err(|error| {
            SecretError::Unavailable(format!("cannot run the command: {error}"))
        })?;
        outcome.await.unwrap_or_else(|_| {
            Err(SecretError::Unavailable(
                "the command was not run".to_owned(),
            ))
        })
    }
}

fn execute(
    id: &str,
    argv: &[String],
    timeout: Duration,
    secret_variables: &[String],
    left: &PipeReader,
    answer: oneshot::Sender<Result<Secret, SecretError>>,
) {
    let deadline = Instant::now() + timeout;
    let (mut group, streams) = match start(argv, secret_variables) {
        Ok(started) => started,
        Err(error) => {
            let _ = answer.send(Err(error));
            return;
        }
    };
    let (outcome, log) = watch(&mut group, streams, deadline, left);
    if outcome.is_err() {
        tracing::warn!(
            secret_key_id = id,
            stderr = log,
            "a secret's command failed"
        );
    }
    group.kill();
    let _ = answer.send(outcome);
    group.reap();
}

struct Streams {
    stdout: std::process::ChildStdout,
    stderr: std::process::ChildStderr,
}

fn start(argv: &[String], secret_variables: &[String]) -> Result<(Group, Streams), SecretError> {
    let unavailable = |error: std::io::Error| {
        let program = argv.first().map_or("", String::as_str);
        SecretError::Unavailable(format!("cannot run the command {program}: {error}"))
    };
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| SecretError::Unavailable("the secret's command is empty".to_owned()))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| {
            name.to_str()
                .is_some_and(|name| inherited(name, secret_variables))
        }))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut group = Group::spawn(&mut command).map_err(unavailable)?;
    let (stdout, stderr) = group.take_streams();
    let stdout = stdout.expect("standard output is piped");
    let stderr = stderr.expect("standard error is piped");
    Ok((group, Streams { stdout, stderr }))
}

fn inherited(name: &str, secret_variables: &[String]) -> bool {
    let known = INHERITED.contains(&name)
        || INHERITED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix));
    known && !secret_variables.iter().any(|secret| secret == name)
}

/// Reads until the child has exited, the output is too long, the deadline passed or nobody waits.
fn watch(
    group: &mut Group,
    mut streams: Streams,
    deadline: Instant,
    left: &PipeReader,
) -> (Result<Secret, SecretError>, String) {
    // One allocation, so that growing leaves no copy behind.
    let mut output = Zeroizing::new(Vec::with_capacity(2 * MAX_SECRET_LEN));
    let mut errors = Vec::new();
    for fd in [streams.stdout.as_fd(), streams.stderr.as_fd()] {
        if let Err(error) = fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)) {
            return (
                Err(SecretError::Unavailable(error.to_string())),
                String::new(),
            );
        }
    }
    let (mut stdout_open, mut stderr_open) = (true, true);
    let outcome = loop {
        // Asked before reading: what an exited child wrote is in the pipe by then.
        let exited = group.try_wait();
        stdout_open =
            stdout_open && read_more(&mut streams.stdout, &mut output, MAX_SECRET_LEN + 2);
        stderr_open = stderr_open && read_more(&mut streams.stderr, &mut errors, usize::MAX);
        let excess = errors.len().saturating_sub(STDERR_BYTES_MAX);
        errors.drain(..excess);
        if output.len() > MAX_SECRET_LEN + 1 {
            break Err(SecretError::Malformed(format!(
                "the command's output is longer than {MAX_SECRET_LEN} bytes"
            )));
        }
        match exited {
            Ok(Some(status)) => break finish(status, &mut output),
            Ok(None) => {}
            Err(error) => break Err(SecretError::Unavailable(error.to_string())),
        }
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() || wait(left.as_fd(), stdout_open.then(|| streams.stdout.as_fd())) {
            break Err(SecretError::Timeout);
        }
    };
    let text = String::from_utf8_lossy(&errors);
    let line = text.trim_end().lines().last().unwrap_or_default();
    (outcome, line.escape_debug().to_string())
}

/// Whether nobody waits any more.
fn wait(left: BorrowedFd<'_>, stdout: Option<BorrowedFd<'_>>) -> bool {
    let mut fds = vec![PollFd::new(left, PollFlags::POLLIN)];
    fds.extend(stdout.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    let _ = poll(&mut fds, PollTimeout::from(EXIT_CHECK_MS));
    fds[0].revents().is_some_and(|events| !events.is_empty())
}

/// Reads what is there, up to `most` bytes in all; whether there may be more.
fn read_more(stream: &mut impl Read, into: &mut Vec<u8>, most: usize) -> bool {
    let mut chunk = Zeroizing::new([0; 1024]);
    // A child that floods must not keep the deadline from being looked at.
    for _ in 0..64 {
        let room = chunk.len().min(most.saturating_sub(into.len()));
        if room == 0 {
            return true;
        }
        match stream.read(&mut chunk[..room]) {
            Ok(0) => return false,
            Ok(length) => into.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}

fn finish(status: ExitStatus, output: &mut Vec<u8>) -> Result<Secret, SecretError> {
    if let Some(signal) = status.signal() {
        return Err(SecretError::Unavailable(format!(
            "the secret's command was ended by signal {signal}"
        )));
    }
    if !status.success() {
        return Err(SecretError::Denied(format!(
            "the secret's command failed with status {}; its last message is in the log",
            status.code().unwrap_or_default()
        )));
    }
    if output.last() == Some(&b'\n') {
        output.pop();
        if output.last() == Some(&b'\r') {
            output.pop();
        }
    }
    Secret::parse(std::mem::take(output)).map_err(SecretError::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(200);

    async fn sh(script: &str, timeout: Duration) -> Result<String, SecretError> {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let outcome = run("k".into(), argv, timeout, Arc::from([])).await;
        outcome.map(|secret| secret.expose().to_owned())
    }

    #[tokio::test]
    async fn output_less_one_newline_is_the_secret() {
        assert_eq!(sh("echo sk-1; echo noise >&2", LONG).await.unwrap(), "sk-1");
        assert_eq!(sh("printf sk-1", LONG).await.unwrap(), "sk-1");
    }

    #[tokio::test]
    async fn what_is_no_secret_is_refused() {
        for script in [
            "echo a; echo b",
            "true",
            "printf 'schl\\303\\274ssel'",
            "yes",
        ] {
            let outcome = sh(script, LONG).await;
            assert!(
                matches!(outcome, Err(SecretError::Malformed(_))),
                "{script}: {outcome:?}"
            );
        }
        assert!(matches!(
            sh("echo sk-1; exit 1", LONG).await,
            Err(SecretError::Denied(_))
        ));
        assert!(matches!(
            sh("kill -9 $$", LONG).await,
            Err(SecretError::Unavailable(_))
        ));
        let missing = run("k".into(), vec!["/nonexistent".into()], LONG, Arc::from([])).await;
        assert!(matches!(missing, Err(SecretError::Unavailable(_))));
    }

    #[tokio::test]
    async fn a_hang_ends_at_the_deadline() {
        for script in [
            "sleep 600",
            "trap '' TERM; sleep 600; sleep 600",
            "exec >&- 2>&-; sleep 600",
        ] {
            assert_eq!(
                sh(script, SHORT).await,
                Err(SecretError::Timeout),
                "{script}"
            );
        }
    }

    #[tokio::test]
    async fn a_grandchild_with_the_pipe_open_holds_nothing_up() {
        assert_eq!(sh("sleep 5 & echo sk-1", LONG).await.unwrap(), "sk-1");
    }

    #[test]
    fn only_known_variables_are_inherited() {
        let secrets = ["OP_TOKEN".to_owned(), "HOME".to_owned()];
        for (name, expected) in [
            ("PATH", true),
            ("OP_ACCOUNT", true),
            ("OP_TOKEN", false),
            ("HOME", false),
            ("OPENAI_API_KEY", false),
            ("NOTIFY_SOCKET", false),
            ("LISTEN_FDS", false),
            ("MIDPLANE_HOST_KEY", false),
        ] {
            assert_eq!(inherited(name, &secrets), expected, "{name}");
        }
    }
}
