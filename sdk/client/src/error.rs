//! Why a request has no good answer.

use std::path::PathBuf;

use http::StatusCode;
use serde::Deserialize;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there, or the socket is another user's.
    #[error("no kernel answers on {}: start one with `midplane serve`", socket.display())]
    Connect {
        socket: PathBuf,
        source: hyper_util::client::legacy::Error,
    },
    /// The connection broke.
    #[error("the exchange with the kernel failed: {source}")]
    Exchange {
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel or a module refused, and says why (RFC 9457).
    #[error("{detail} ({code})")]
    Problem {
        status: StatusCode,
        code: String,
        detail: String,
        request_id: Option<String>,
    },
    /// The answer is not what this client understands.
    #[error(
        "the kernel's answer to {request} is not understood: {reason}; are client and kernel of one version?"
    )]
    Protocol { request: String, reason: String },
}

/// The members of a problem that callers act on.
#[derive(Deserialize)]
struct Problem {
    code: Option<String>,
    detail: Option<String>,
    title: Option<String>,
    instance: Option<String>,
}

impl Error {
    /// Reads the body of a response whose status is 400 or more. What is no problem document is told as it is.
    pub fn from_response(status: StatusCode, body: &[u8]) -> Error {
        let problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
            code: None,
            detail: Some(String::from_utf8_lossy(body).trim().to_owned())
                .filter(|text| !text.is_empty()),
            title: None,
            instance: None,
        });
        let reason = status.canonical_reason().unwrap_or("an error");
        Error::Problem {
            status,
            code: problem.code.unwrap_or_else(|| status.as_str().to_owned()),
            detail: problem
                .detail
                .or(problem.title)
                .unwrap_or_else(|| reason.to_owned()),
            request_id: problem.instance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_read_and_other_bodies_told_as_they_are() {
        for (body, code, detail) in [
            (
                r#"{"code":"not_found","detail":"no such route","instance":"req_1"}"#,
                "not_found",
                "no such route",
            ),
            (r#"{"title":"Not Found"}"#, "404", "Not Found"),
            ("plain text\n", "404", "plain text"),
            ("", "404", "Not Found"),
        ] {
            match Error::from_response(StatusCode::NOT_FOUND, body.as_bytes()) {
                Error::Problem {
                    code: found,
                    detail: told,
                    ..
                } => assert_eq!((&*found, &*told), (code, detail)),
                other => panic!("{other}"),
            }
        }
    }
}
