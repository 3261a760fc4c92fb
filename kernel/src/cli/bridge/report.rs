//! What the person and programs read of it: remarks on standard error, and on standard output what was asked for, or with
//! `--json` all that happens, a line each. Never a value.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::events::readable;
use super::super::output::remark;
use super::super::{Failure, Output};
use super::answers::shown;
use super::connection::Attached;
use super::terminal::Screen;
use crate::cli::arguments::ClientArgs;
use crate::secrets::{SecretError, SecretRequest};

pub(super) struct Report {
    output: Output,
    screen: Arc<Screen>,
    has_given: bool,
}

impl Report {
    pub(super) fn new(args: &ClientArgs, screen: Arc<Screen>) -> Report {
        Report {
            output: Output::of(args),
            screen,
            has_given: false,
        }
    }

    /// Whether there is a terminal.
    pub(super) fn can_ask(&self) -> bool {
        self.screen.is_there()
    }

    /// What the kernel's own code has to say here, such as the last words of a command that failed.
    pub(super) fn take_log_lines(&self) {
        let screen = Arc::clone(&self.screen);
        let lines = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(move || Beside(Arc::clone(&screen)))
            .finish();
        // There is one already only where tests share a process.
        let _ = tracing::subscriber::set_global_default(lines);
    }

    pub(super) fn attached(&mut self, attached: &Attached, socket: &Path) -> Result<(), Failure> {
        let Attached { host, kernel } = attached;
        self.remark(&format!(
            "attached as {} to midplane {} (pid {}) at {}; Ctrl-C ends it",
            shown(host),
            shown(&kernel.version),
            kernel.pid,
            socket.display(),
        ));
        if !self.screen.is_there() {
            self.remark(
                "there is no terminal to ask at: it gives what --secret names and nothing else",
            );
        }
        let mut event = json!({ "type": "bridge.attached", "host": host });
        if let (Some(event), Ok(Value::Object(kernel))) =
            (event.as_object_mut(), serde_json::to_value(kernel))
        {
            event.extend(kernel);
        }
        self.event_of_ours(&event)
    }

    pub(super) fn detached(&self) {
        if self.has_given {
            self.remark(
                "detached; the sessions whose keys came from here end in a moment, unless it starts again in this terminal",
            );
        }
    }

    pub(super) fn given(&mut self, request: &SecretRequest, again: bool) -> Result<(), Failure> {
        self.has_given = true;
        let again = if again {
            ", as it was entered before"
        } else {
            ""
        };
        self.remark(&format!("gave {}{again}", what(request)));
        self.answered(request, "given", None)
    }

    pub(super) fn not_given(
        &mut self,
        request: &SecretRequest,
        error: &SecretError,
    ) -> Result<(), Failure> {
        self.remark(&format!("did not give {}: {error}", what(request)));
        let outcome = match error {
            SecretError::Denied(_) | SecretError::Malformed(_) => "denied",
            SecretError::NotFound(_) => "not_found",
            SecretError::Unavailable(_) | SecretError::Timeout => "failed",
        };
        self.answered(request, outcome, Some(&error.to_string()))
    }

    /// The kernel waits no longer, and the question is on the screen.
    pub(super) fn still_asked(&self, request: &SecretRequest) {
        self.remark(&format!(
            "the kernel waits no longer for {}; enter it all the same: it is kept in memory, and trying again succeeds",
            what(request)
        ));
    }

    /// The kernel waits no longer, and a command runs.
    pub(super) fn still_run(&self, request: &SecretRequest) {
        self.remark(&format!(
            "the kernel waits no longer for {}; its command goes on, and what it says is kept in memory for the next time",
            what(request)
        ));
    }

    /// The kernel waits no longer, and the person has not been asked.
    pub(super) fn not_asked(&mut self, request: &SecretRequest) -> Result<(), Failure> {
        let reason = "another question was here, and the kernel waited no longer";
        self.remark(&format!("did not ask for {}: {reason}", what(request)));
        self.answered(request, "late", Some(reason))
    }

    pub(super) fn late(&mut self, request: &SecretRequest) -> Result<(), Failure> {
        let reason = "it came too late, and is kept in memory for the next time: try again";
        self.remark(&format!("has {}: {reason}", what(request)));
        self.answered(request, "late", Some(reason))
    }

    pub(super) fn not_given_late(
        &mut self,
        request: &SecretRequest,
        error: &SecretError,
    ) -> Result<(), Failure> {
        self.remark(&format!(
            "has nothing to give for {}: {error}",
            what(request)
        ));
        self.answered(request, "late", Some(&error.to_string()))
    }

    pub(super) fn event(&mut self, event: &Value) -> Result<(), Failure> {
        let text = event.to_string();
        let line = if self.output.json() {
            text
        } else {
            readable(&text)
        };
        self.line(&line)
    }

    pub(super) fn log(&mut self, line: &Value) -> Result<(), Failure> {
        let line = if self.output.json() {
            line.to_string()
        } else {
            log_line(line)
        };
        self.line(&line)
    }

    fn answered(
        &mut self,
        request: &SecretRequest,
        outcome: &str,
        reason: Option<&str>,
    ) -> Result<(), Failure> {
        self.event_of_ours(&json!({
            "type": "bridge.answered",
            "secret_key_id": request.secret_key_id,
            "environment": request.environment,
            "session": request.session_id,
            "module": request.module,
            "outcome": outcome,
            "reason": reason,
        }))
    }

    /// For programs only: people have the remark.
    fn event_of_ours(&mut self, event: &Value) -> Result<(), Failure> {
        if self.output.json() {
            self.line(&event.to_string())
        } else {
            Ok(())
        }
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        let Report { output, screen, .. } = self;
        screen.beside(|| output.text(&format!("{line}\n")))
    }

    fn remark(&self, text: &str) {
        self.screen.beside(|| remark(text));
    }
}

/// `the key k (environment pro) for the session ses_1`
fn what(request: &SecretRequest) -> String {
    let SecretRequest {
        secret_key_id,
        environment,
        session_id,
        module,
    } = request;
    let module = module
        .as_ref()
        .map_or_else(String::new, |module| format!(", module {}", shown(module)));
    format!(
        "the key {} (environment {}) for the session {}{module}",
        shown(secret_key_id),
        shown(environment),
        shown(session_id)
    )
}

/// `2026-11-21T04:00:00.123Z  INFO midplane::serve: ready socket=/s`
fn log_line(line: &Value) -> String {
    let text = |name: &str| shown(line.get(name).and_then(Value::as_str).unwrap_or_default());
    let mut shown_line = format!(
        "{} {:>5} {}: {}",
        text("timestamp"),
        text("level"),
        text("target"),
        text("message")
    );
    let of = |name: &str| line.get(name).map(|value| (name.to_owned(), value.clone()));
    let who = ["module", "generation", "session", "request_id"].into_iter();
    let fields = line.get("fields").and_then(Value::as_object);
    let fields = fields.into_iter().flatten();
    for (name, value) in who
        .filter_map(of)
        .chain(fields.map(|(n, v)| (n.clone(), v.clone())))
    {
        // JSON escapes what could drive the terminal.
        shown_line += &match value {
            Value::String(word) if word.chars().all(|c| c.is_ascii_graphic() && c != '"') => {
                format!(" {}={word}", shown(&name))
            }
            other => format!(" {}={other}", shown(&name)),
        };
    }
    shown_line
}

/// Standard error, with the question out of the way of each line.
struct Beside(Arc<Screen>);

impl Write for Beside {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.beside(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_a_line_of_the_log_and_lets_nothing_drive_the_terminal() {
        for (line, expected) in [
            (
                json!({"timestamp": "t", "level": "INFO", "target": "midplane", "message": "ready",
                    "module": "hello", "fields": {"socket": "/s", "n": 1, "why": "two words"}}),
                "t  INFO midplane: ready module=hello n=1 socket=/s why=\"two words\"",
            ),
            (
                json!({"level": "WARN", "target": "m", "message": "a\u{1b}[2J", "fields": {"x": "\u{1b}"}}),
                "  WARN m: a\\u{1b}[2J x=\"\\u001b\"",
            ),
        ] {
            assert_eq!(log_line(&line), expected);
        }
    }
}
