//! The terminal: asks the person, shows nothing of what is typed, and is always left as it was.
//!
//! A thread of its own waits for the person, so that nothing else does. While a question is there the terminal does not echo;
//! whatever ends the question, or this process in good order, sets it back. Nobody can be asked in the background, where a
//! program that reads its terminal is stopped.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use nix::unistd::{getpgrp, tcgetpgrp};
use zeroize::Zeroizing;

use super::super::Failure;
use super::desk::{Answered, Desk};
use crate::secrets::{Implausible, MAX_SECRET_LEN, Secret, SecretError};

/// The terminal of a process, whatever its standard input is (POSIX.1-2024, "Base Definitions", section 10.1).
const PATH: &str = "/dev/tty";
/// Shorter than a line of any terminal, so that it can be erased.
const PROMPT: &str = "midplane: enter it (not shown; empty: not given): ";
/// Back to the line's first column, and clear it (ECMA-48, CR and EL).
const ERASE_LINE: &str = "\r\u{1b}[K";

/// Asks what is on the desk, where there is a terminal. Dropping it takes the question away and restores the terminal.
pub(super) struct Terminal {
    screen: Arc<Screen>,
    asking: Option<Asking>,
}

struct Asking {
    desk: Arc<Desk>,
    /// Its end takes the thread out of waiting for the person.
    stop: PipeWriter,
    thread: JoinHandle<()>,
}

impl Terminal {
    pub(super) fn open(desk: &Arc<Desk>) -> Result<Terminal, Failure> {
        let opened = File::options()
            .read(true)
            .write(true)
            .custom_flags((OFlag::O_NOCTTY | OFlag::O_CLOEXEC).bits())
            .open(PATH);
        // There is a file of this name for every process, and for one without a terminal it cannot be opened.
        let Ok(tty) = opened else {
            return Ok(Terminal {
                screen: Arc::new(Screen::default()),
                asking: None,
            });
        };
        let started = tty.try_clone().and_then(|written| {
            let screen = Arc::new(Screen(Mutex::new(Shown {
                tty: Some(written),
                is_asking: false,
            })));
            let (stopped, stop) = io::pipe()?;
            let (at, on) = (Arc::clone(desk), Arc::clone(&screen));
            let thread = thread::Builder::new()
                .name("terminal".to_owned())
                .spawn(move || Person { tty, stopped }.attend(&at, &on))?;
            let asking = Asking {
                desk: Arc::clone(desk),
                stop,
                thread,
            };
            Ok(Terminal {
                screen,
                asking: Some(asking),
            })
        });
        started.map_err(Failure::Runtime)
    }

    pub(super) fn screen(&self) -> Arc<Screen> {
        Arc::clone(&self.screen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let Some(Asking { desk, stop, thread }) = self.asking.take() else {
            return;
        };
        desk.close();
        drop(stop);
        // A panic has told of itself, and has restored the terminal.
        let _ = thread.join();
    }
}

/// What is on the terminal besides what was written: whether a question waits at the end of it.
#[derive(Default)]
pub(super) struct Screen(Mutex<Shown>);

#[derive(Default)]
struct Shown {
    tty: Option<File>,
    is_asking: bool,
}

impl Screen {
    /// Writes lines, to wherever, with the question out of their way.
    pub(super) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        let shown = self.shown();
        if shown.is_asking {
            shown.put(ERASE_LINE);
        }
        let written = write();
        if shown.is_asking {
            shown.put(PROMPT);
        }
        written
    }

    /// Whether there is a terminal.
    pub(super) fn is_there(&self) -> bool {
        self.shown().tty.is_some()
    }

    fn ask(&self, about: &str) {
        let mut shown = self.shown();
        shown.put(&format!("midplane: {about}\n{PROMPT}"));
        shown.is_asking = true;
    }

    /// The line end that was not echoed.
    fn answered(&self) {
        let mut shown = self.shown();
        shown.put("\n");
        shown.is_asking = false;
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn put(&self, text: &str) {
        if let Some(mut tty) = self.tty.as_ref() {
            // It may have been closed.
            let _ = tty.write_all(text.as_bytes());
        }
    }
}

/// The thread's side.
struct Person {
    tty: File,
    stopped: PipeReader,
}

/// What was typed, up to the line's end.
enum Line {
    Text(Zeroizing<Vec<u8>>),
    /// Ctrl-D.
    End,
    /// Nobody is to be asked any more.
    Stopped,
}

impl Person {
    fn attend(&self, desk: &Desk, screen: &Screen) {
        // What would stop the whole process is an error for this thread; whether it is in the foreground is asked.
        let stopping: SigSet = [Signal::SIGTTIN, Signal::SIGTTOU].into_iter().collect();
        let _ = stopping.thread_block();
        while let Some(question) = desk.next() {
            let answered = match self.ask(&question.about, screen) {
                Ok(Some(answered)) => answered,
                Ok(None) => return,
                Err(error) => Err(SecretError::Unavailable(format!(
                    "the terminal of `midplane bridge` cannot be used: {error}"
                ))),
            };
            // Whoever asked may have left.
            let _ = question.answer.send(answered);
        }
    }

    /// `None`: nobody is to be asked any more.
    fn ask(&self, about: &str, screen: &Screen) -> io::Result<Option<Answered>> {
        if tcgetpgrp(&self.tty)? != getpgrp() {
            return Ok(Some(Err(SecretError::NotFound(
                "`midplane bridge` runs in the background and cannot ask at its terminal; bring it to the foreground (fg)".to_owned(),
            ))));
        }
        let mut about = about.to_owned();
        loop {
            // First, so that what was typed before it was asked for does not count.
            let quiet = Quiet::begin(&self.tty)?;
            screen.ask(&about);
            let line = self.line();
            screen.answered();
            drop(quiet);
            let text = match line? {
                Line::Stopped => return Ok(None),
                Line::End => Zeroizing::default(),
                Line::Text(text) => text,
            };
            match Secret::parse(text.trim_ascii()) {
                Ok(secret) => return Ok(Some(Ok(Arc::new(secret)))),
                Err(Implausible::Empty) => {
                    return Ok(Some(Err(SecretError::Denied(
                        "no key was entered at the terminal".to_owned(),
                    ))));
                }
                Err(implausible) => about = format!("that cannot be a key: {implausible}"),
            }
        }
    }

    fn line(&self) -> io::Result<Line> {
        // One allocation, so that growing leaves no copy behind; what is longer is no key, and not all of it is kept.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_SECRET_LEN + 2));
        let mut chunk = Zeroizing::new([0_u8; 512]);
        loop {
            let mut ready = [
                PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.tty.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) => {}
                Err(nix::Error::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if ready[0].revents().is_some_and(|events| !events.is_empty()) {
                return Ok(Line::Stopped);
            }
            let length = match (&self.tty).read(&mut *chunk) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            // Ctrl-D on an empty line; within one it only sends what is there.
            if length == 0 {
                return Ok(Line::End);
            }
            for byte in &chunk[..length] {
                if *byte == b'\n' {
                    return Ok(Line::Text(text));
                }
                if text.len() <= MAX_SECRET_LEN {
                    text.push(*byte);
                }
            }
        }
    }
}

/// A terminal that does not echo, for as long as this lives.
struct Quiet<'a> {
    tty: &'a File,
    before: Termios,
}

impl Quiet<'_> {
    fn begin(tty: &File) -> io::Result<Quiet<'_>> {
        let before = tcgetattr(tty)?;
        let mut quiet = before.clone();
        quiet.local_flags &=
            !(LocalFlags::ECHO | LocalFlags::ECHOE | LocalFlags::ECHOK | LocalFlags::ECHONL);
        // The kernel of the system edits the line, so that its keys for that work; Ctrl-C still ends this.
        quiet.local_flags |= LocalFlags::ICANON | LocalFlags::ISIG;
        // Stopped or ended by these two, the process could not set the terminal back.
        for key in [
            SpecialCharacterIndices::VSUSP,
            SpecialCharacterIndices::VQUIT,
        ] {
            quiet.control_chars[key as usize] = libc::_POSIX_VDISABLE;
        }
        tcsetattr(tty, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Quiet { tty, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Flushed: the rest of a paste of several lines would go to the shell, and be shown.
        if let Err(error) = tcsetattr(self.tty, SetArg::TCSAFLUSH, &self.before) {
            tracing::warn!(fd = self.tty.as_raw_fd(), %error, "the terminal cannot be set back: run `stty sane`");
        }
    }
}
