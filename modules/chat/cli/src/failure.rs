//! What can go wrong, as one line that says what to do, and the exit code it comes to.

use std::io;
use std::path::PathBuf;

use midplane_client::Error as ClientError;
use midplane_client::locate::LocateError;

use crate::event::MalformedEvent;
use crate::task::{UnreadInstructions, UsageError};

/// What a request or a turn failed of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error("no kernel answers at {}: start one with scripts/run or `midplane serve`", socket.display())]
    NoKernel { socket: PathBuf },
    #[error("{0}")]
    HostKey(#[source] LocateError),
    #[error("{}", with_hint(detail, *hint))]
    Refused {
        detail: String,
        hint: Option<&'static str>,
    },
    #[error("{0}")]
    Exchange(#[source] ClientError),
    #[error("{message}")]
    Turn { message: String, allow_retry: bool },
    #[error("no answer came")]
    NoAnswer,
    #[error(transparent)]
    MalformedEvent(#[from] MalformedEvent),
    #[error("there is no thread yet: say something without --thread or --continue, and there is")]
    NoThread,
    #[error(transparent)]
    Instructions(#[from] UnreadInstructions),
    #[error("cannot attach {}: {source}", path.display())]
    Attachment { path: PathBuf, source: io::Error },
    #[error(
        "the chat module wants the file sent to {0:?}, which is not this kernel's: it is not sent"
    )]
    UploadElsewhere(String),
    #[error("the chat module wants the file sent in a way that is none: {0}")]
    Upload(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot read what is piped in: {0}")]
    Input(#[source] io::Error),
    #[error("cannot write the answer: {0}")]
    Output(#[source] io::Error),
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    #[error("cannot ask at the terminal: {0}")]
    Prompt(#[source] rustyline::error::ReadlineError),
}

impl Failure {
    /// Whoever reads the answer has gone; there is no one to tell.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// `EX_USAGE` and `EX_UNAVAILABLE` are those of sysexits.h.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 64,
            Failure::NoKernel { .. } => 69,
            Failure::Exchange(error) if error.is_unavailable() => 69,
            _ if self.is_closed_pipe() => 0,
            _ => 1,
        }
    }
}

/// The client's error as a failure: what has a remedy of this program's own gets it.
pub(crate) fn of_client(error: ClientError) -> Failure {
    match error {
        ClientError::Problem { code, detail, .. } => {
            let hint = hint(&code, &detail);
            Failure::Refused { detail, hint }
        }
        ClientError::Connect { socket, source }
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Failure::NoKernel { socket }
        }
        error => Failure::Exchange(error),
    }
}

fn hint(code: &str, detail: &str) -> Option<&'static str> {
    Some(match code {
        "module_not_loaded" | "module_not_found" => {
            "scripts/run loads the chat module, and so does `midplane serve --module chat=PATH`"
        }
        "invalid_token" | "credential_required" => {
            "the host key is not this kernel's: start it with --write-host-key, and look what $MIDPLANE_HOST_KEY holds"
        }
        "invalid_request" if detail.contains("secret_key_id") => {
            "name an API key of the kernel's with --secret-key-id ID or $MIDPLANE_SECRET_KEY_ID"
        }
        "invalid_request" if detail.contains("`metadata`") => {
            "the instructions are part of it: shorten them, or configure them with `instructions_file`"
        }
        "thread_not_found" => {
            "/new starts another, /threads lists those there are, and so does `midplane chat --list`"
        }
        "rate_limited" | "module_overloaded" | "module_unavailable" | "session_limit"
        | "starting" => "try again in a moment",
        _ => return None,
    })
}

fn with_hint(detail: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{}: {hint}", detail.trim_end_matches('.')),
        None => detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_do_and_has_its_exit_code() {
        let refused = |code: &str, detail: &str| {
            of_client(ClientError::Problem {
                status: http::StatusCode::BAD_REQUEST,
                code: code.to_owned(),
                detail: detail.to_owned(),
                request_id: None,
            })
        };
        let unconnected = |kind: io::ErrorKind| {
            of_client(ClientError::Connect {
                socket: "/s".into(),
                source: kind.into(),
            })
        };
        let closed = |kind| Failure::Output(io::Error::from(kind));
        for (failure, line, exit_code) in [
            (
                unconnected(io::ErrorKind::NotFound),
                "no kernel answers at /s: start one with scripts/run or `midplane serve`",
                69,
            ),
            (
                unconnected(io::ErrorKind::ConnectionRefused),
                "no kernel answers at /s",
                69,
            ),
            (
                unconnected(io::ErrorKind::PermissionDenied),
                "cannot connect to /s",
                69,
            ),
            (UsageError::NothingToSay.into(), "there is nothing", 64),
            (
                refused("module_not_loaded", "the module \"chat\" is not loaded."),
                "the module \"chat\" is not loaded: scripts/run loads",
                1,
            ),
            (
                refused("invalid_request", "`secret_key_id` is missing"),
                "`secret_key_id` is missing: name an API key",
                1,
            ),
            (
                refused(
                    "invalid_request",
                    "`metadata` may have up to 8192 bytes as JSON",
                ),
                "`metadata` may have up to 8192 bytes as JSON: the instructions",
                1,
            ),
            (
                refused("invalid_request", "the message is empty"),
                "the message is empty",
                1,
            ),
            (closed(io::ErrorKind::StorageFull), "cannot write", 1),
            (closed(io::ErrorKind::BrokenPipe), "cannot write", 0),
        ] {
            let said = failure.to_string();
            assert!(said.starts_with(line), "{said}");
            assert!(!said.contains('\n'), "{said}");
            assert_eq!(failure.exit_code(), exit_code, "{said}");
        }
    }
}
