//! What can go wrong between a request and its answer.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request without the answer that was asked for. No variant holds a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing answers on the socket.
    #[error("cannot connect to {}: {source}; {}", socket.display(), connect_hint(source))]
    Connect { socket: PathBuf, source: io::Error },
    /// No socket can have this path.
    #[error("the socket path {} has {len} bytes, the system allows {max}; choose a shorter one", socket.display())]
    SocketPathTooLong {
        socket: PathBuf,
        len: usize,
        max: usize,
    },
    /// The credential cannot stand in a header.
    #[error(
        "the credential holds characters that no credential has; copy it again, without line ends"
    )]
    Credential,
    /// The request could not be written as HTTP or JSON.
    #[error("the request is not valid: {0}")]
    Request(#[source] BoxError),
    /// The kernel or a module said no (RFC 9457).
    #[error("{detail} ({}{code})", StatusPrefix(*status, code))]
    Problem {
        status: StatusCode,
        /// Stable; empty when the answer was no problem document.
        code: String,
        /// What to do about it, in a sentence.
        detail: String,
        /// Under which the kernel's log says more.
        request_id: Option<String>,
    },
    /// The connection broke, or what came is not what the API promises.
    #[error("the exchange with the kernel failed: {}", Chain(&**.0))]
    Protocol(#[source] BoxError),
    /// No whole answer in time; whether the kernel acted is not known.
    #[error("the kernel did not answer within {} s", after.as_secs_f32())]
    Timeout { after: Duration },
}

impl Error {
    pub(crate) fn protocol(source: impl Into<BoxError>) -> Error {
        Error::Protocol(source.into())
    }

    pub(crate) fn request(source: impl Into<BoxError>) -> Error {
        Error::Request(source.into())
    }

    /// Whether nothing answers on the socket, so that another attempt needs a kernel first.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Connect { .. })
    }
}

fn connect_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "no kernel is running there: start one with `midplane serve`, or name its socket with --socket or $MIDPLANE_SOCKET"
        }
        io::ErrorKind::PermissionDenied => "the socket belongs to another user",
        _ => "look at the kernel's log",
    }
}

/// The status, where the code does not say it already.
struct StatusPrefix<'a>(StatusCode, &'a str);

impl fmt::Display for StatusPrefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            "" => write!(f, "{}", self.0.as_u16()),
            _ => Ok(()),
        }
    }
}

/// An error with its causes, in one line.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_in_one_line_what_to_do() {
        let connect = |kind: io::ErrorKind| Error::Connect {
            socket: "/s".into(),
            source: kind.into(),
        };
        let problem = |code: &str| Error::Problem {
            status: StatusCode::NOT_FOUND,
            code: code.to_owned(),
            detail: "do this".to_owned(),
            request_id: None,
        };
        for (error, expected) in [
            (connect(io::ErrorKind::NotFound), "midplane serve"),
            (connect(io::ErrorKind::ConnectionRefused), "midplane serve"),
            (connect(io::ErrorKind::PermissionDenied), "another user"),
            (problem("not_found"), "do this (not_found)"),
            (problem(""), "do this (404)"),
            (
                Error::protocol(io::Error::other("early end")),
                "failed: early end",
            ),
        ] {
            let text = error.to_string();
            assert!(text.contains(expected) && !text.contains('\n'), "{text}");
            assert_eq!(
                error.is_unavailable(),
                matches!(error, Error::Connect { .. })
            );
        }
    }
}
