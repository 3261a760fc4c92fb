//! A library's constructors run in a process of their own first, while there is something to lose.
//!
//! The system runs constructors under the dynamic loader's lock, which threads need for much else: their first use of a
//! thread-local with a destructor, for one. A constructor that hangs in the kernel's process would therefore stop workers that
//! never heard of the module, and no thread can be taken out of it. A child is killed instead. What a constructor does besides,
//! it does twice.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::loader;
use super::private_copy::PrivateCopy;
use crate::isolation::confine::environment::FOR_LIBRARIES;

/// The command of `midplane` that is the child.
pub(crate) const COMMAND: &str = "trial";
/// How the child says that the system opened the library, constructors and all, or refused it: that is for the kernel to find.
const TRIED: u8 = 113;
/// How soon an end is seen that the pipe does not tell, since a process that a constructor has started holds its other end.
const EXIT_CHECK_MS: u16 = 50;
/// The same once the pipe has been closed, which is nearly always by that end.
const CLOSED_CHECK_MS: u16 = 1;

/// How a library behaved that may not be opened here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialError {
    #[error(
        "a constructor of the library ended the process with {0}; it was tried in one of its own: run nothing there, and do what is needed in the module's function"
    )]
    Ended(String),
    #[error("the library's constructors did not return in time")]
    Overdue,
}

/// Opens the copy in a child, which `limit` ends.
pub(super) fn run(copy: &PrivateCopy, limit: Duration) -> Result<(), TrialError> {
    let deadline = Instant::now() + limit;
    let mut child = match start(copy) {
        Ok(child) => child,
        Err(error) => {
            // Where no process can be started, modules can still be loaded.
            tracing::warn!(%error, "a library is opened without having been tried");
            return Ok(());
        }
    };
    let stdout = child.stdout.take().expect("standard output is piped");
    let outcome = wait(&mut child, stdout, deadline);
    // It may have ended.
    let _ = child.kill();
    let _ = child.wait();
    match outcome {
        Ok(Some(status)) => judge(status),
        Ok(None) => Err(TrialError::Overdue),
        Err(error) => Err(TrialError::Ended(error.to_string())),
    }
}

/// `midplane trial PATH`: the child. Does not return.
pub(crate) fn child(path: &Path) -> ExitCode {
    // Whoever may look at this process may look at the user's files anyway; a crash leaves no dump, though.
    let _ = crate::hardening::harden(false);
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    if nobody_waits() {
        loader::end_process(TRIED);
    }
    loader::try_open(path);
    // Not `exit`, which would run more of the library.
    loader::end_process(TRIED)
}

/// Whether the kernel ended before it could be asked to take this process with it.
fn nobody_waits() -> bool {
    let stdout = io::stdout();
    let mut pipe = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let _ = poll(&mut pipe, PollTimeout::ZERO);
    pipe[0]
        .revents()
        .is_some_and(|events| events.contains(PollFlags::POLLERR))
}

fn start(copy: &PrivateCopy) -> io::Result<Child> {
    let (path, stdin) = copy.for_child()?;
    Command::new(own_program()?)
        .args([OsStr::new(COMMAND), path.as_os_str()])
        .env_clear()
        .envs(
            FOR_LIBRARIES
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .stdin(stdin)
        .stdout(Stdio::piped())
        .spawn()
}

/// This program, to be started again.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        // Also when the file was replaced since.
        Ok("/proc/self/exe".into())
    } else {
        std::env::current_exe()
    }
}

/// Until the child has ended, and how; `None` at the deadline.
fn wait(
    child: &mut Child,
    mut stdout: ChildStdout,
    deadline: Instant,
) -> io::Result<Option<ExitStatus>> {
    fcntl(&stdout, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut open = true;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        if !open {
            let _ = poll(&mut [], PollTimeout::from(CLOSED_CHECK_MS));
            continue;
        }
        let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::from(EXIT_CHECK_MS));
        // What a constructor prints there is nobody's.
        match stdout.read(&mut [0; 4096]) {
            Ok(0) => open = false,
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Err(error);
            }
            _ => {}
        }
    }
}

fn judge(status: ExitStatus) -> Result<(), TrialError> {
    if status.code() == Some(i32::from(TRIED)) {
        return Ok(());
    }
    let how = match status.signal().map(Signal::try_from) {
        Some(Ok(signal)) => signal.as_str().to_owned(),
        Some(Err(_unknown)) => "an unknown signal".to_owned(),
        None => format!("status {}", status.code().unwrap_or_default()),
    };
    Err(TrialError::Ended(how))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let outcome = wait(&mut child, stdout, Instant::now() + limit);
        let _ = child.kill();
        child.wait().unwrap();
        outcome
    }

    #[test]
    fn an_end_is_seen_whatever_became_of_the_pipe() {
        let long = Duration::from_secs(60);
        for script in [
            "exit 113",
            "echo noise; exit 113",
            "exec >&-; exit 113",
            "sleep 5 2>&- & exit 113",
            "head -c 1000000 /dev/zero; exit 113",
        ] {
            let status = sh(script, long).unwrap().expect(script);
            assert!(judge(status).is_ok(), "{script}");
        }
        for (script, how) in [
            ("exit 0", "with status 0"),
            ("exit 3", "with status 3"),
            ("kill -SEGV $$", "with SIGSEGV"),
            ("kill -ABRT $$", "with SIGABRT"),
        ] {
            let told = judge(sh(script, long).unwrap().unwrap())
                .unwrap_err()
                .to_string();
            assert!(told.contains(how), "{script}: {told}");
        }
        for script in ["exec sleep 600", "exec >&-; exec sleep 600"] {
            assert!(
                sh(script, Duration::from_millis(100)).unwrap().is_none(),
                "{script}"
            );
        }
    }
}
