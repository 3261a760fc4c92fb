//! Calls to other modules: requests that never leave memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use http_body::{Body as _, Frame};
use midplane_abi::{Request, status};

use crate::boundary::calls::{Started, Switch};
use crate::error::Error;
use crate::problem::Problem;
use crate::session::Session;

/// How much is read of an answer at first, and from then on: most are short.
const FIRST_CHUNK_LEN: usize = 4 * 1024;
const CHUNK_LEN: usize = 64 * 1024;

/// Calls other modules, for no session: from [`Context::calls`](crate::Context::calls), cheap to clone, for handlers,
/// background tasks and the module's function itself.
///
/// A call ends when its future, or the body of its answer, is dropped. [`Session::call`] makes one for a session.
#[derive(Clone)]
pub struct Calls(pub(crate) Arc<Switch>);

/// Why there is no answer to a call. What the other module answers is none of these, nor is it when that one is in quarantine,
/// overloaded, crashes or is being replaced: the kernel's answers to that are those that a client gets.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// The operator has not granted `call:<module>`, or the module's attribute does not ask for it.
    NotGranted { module: String },
    /// No module of that name is loaded.
    NotLoaded { module: String },
    /// It is the ninth of calls that led one to another: two modules call each other. Calls of spawned tasks are not counted so:
    /// a cycle of those ends as [`CallError::TooMany`].
    TooDeep { module: String },
    /// The module has 1,024 calls under way.
    TooMany,
    /// It is no request that a module can be sent: its path, its name, or more than 100 header fields.
    Invalid { module: String },
    /// Its own body failed.
    Body(Error),
    /// The session's request is over, the generation is, or the kernel.
    Over,
    /// The kernel is older than the SDK.
    Unsupported,
}

impl Calls {
    /// Sends a request to the module `module`. The path is below that module's prefix, as `/rows?limit=3`; nothing else of the
    /// request's target counts. Bodies stream both ways. What is left of the request's body when the answer begins is sent
    /// while the answer's is read.
    ///
    /// The other module sees a [`Caller`]. Its routes are open to modules only if its attribute names them as `internal`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<B>(
        &self,
        module: &str,
        request: http::Request<B>,
    ) -> Result<http::Response<Body>, CallError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        send(&self.0, None, module, request).await
    }
}

pub(crate) async fn send<B>(
    switch: &Arc<Switch>,
    bound_to: Option<Request>,
    module: &str,
    request: http::Request<B>,
) -> Result<http::Response<Body>, CallError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let length = match body.is_end_stream() {
        true => Some(0),
        false => body.size_hint().exact(),
    };
    let started = switch
        .start(bound_to, module, &head, length)
        .ok_or(CallError::Unsupported)?
        .map_err(|refused| CallError::of(refused, module))?;
    let mut exchange = Exchange {
        started,
        upload: (length != Some(0)).then(|| Upload {
            body: Body::new(body),
            unsent: None,
        }),
        drained: true,
        over: false,
    };
    let head = std::future::poll_fn(|cx| exchange.poll_head(cx)).await;
    let (code, headers) = head.map_err(|failure| match failure {
        Failure::Status(status) => CallError::of(status, module),
        Failure::Body(error) => CallError::Body(error),
    })?;
    let mut response = http::Response::new(Body::new(exchange));
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    Ok(response)
}

/// A call under way; once its head is there, the answer's body.
struct Exchange {
    started: Started,
    /// What is left of the request's body.
    upload: Option<Upload>,
    /// Nothing was waiting when it was last read.
    drained: bool,
    over: bool,
}

struct Upload {
    body: Body,
    /// Read of the body, and not taken yet.
    unsent: Option<Bytes>,
}

enum Failure {
    Status(i32),
    Body(Error),
}

impl Exchange {
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(StatusCode, http::HeaderMap), Failure>> {
        self.send_on(cx).map_err(Failure::Body)?;
        match self.started.response(cx) {
            Ok(head) => Poll::Ready(Ok(head)),
            Err(status::PENDING) => Poll::Pending,
            Err(refused) => Poll::Ready(Err(Failure::Status(refused))),
        }
    }

    /// Sends of the body what there is and has room.
    fn send_on(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        while let Some(upload) = &mut self.upload {
            let Some(bytes) = &upload.unsent else {
                match Pin::new(&mut upload.body).poll_frame(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(None) => {
                        self.started.end_body();
                        self.upload = None;
                    }
                    Poll::Ready(Some(Err(error))) => return Err(Error::from(error)),
                    Poll::Ready(Some(Ok(frame))) => upload.unsent = frame.into_data().ok(),
                }
                continue;
            };
            match self.started.write(bytes, cx) {
                status::OK => upload.unsent = None,
                status::PENDING => return Ok(()),
                // Nobody reads it any more; the answer may come all the same.
                _ => self.upload = None,
            }
        }
        Ok(())
    }
}

impl http_body::Body for Exchange {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.send_on(cx).is_err() {
            self.over = true;
            return Poll::Ready(Some(Err(AnswerError::Request)));
        }
        let capacity = if std::mem::take(&mut self.drained) {
            FIRST_CHUNK_LEN
        } else {
            CHUNK_LEN
        };
        let read = self.started.read(capacity, cx);
        self.over = !matches!(read, Ok(_) | Err(status::PENDING));
        match read {
            Ok(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Err(status::PENDING) => {
                self.drained = true;
                Poll::Pending
            }
            Err(status::END) => Poll::Ready(None),
            Err(_cut) => Poll::Ready(Some(Err(AnswerError::Cut))),
        }
    }
}

/// Why an answer's body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnswerError {
    Cut,
    Request,
}

impl std::fmt::Display for AnswerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AnswerError::Cut => "the answer of the other module was cut",
            AnswerError::Request => "the body of the request to the other module failed",
        })
    }
}

impl std::error::Error for AnswerError {}

impl CallError {
    fn of(refused: i32, module: &str) -> CallError {
        let module = module.to_owned();
        match refused {
            status::DENIED => CallError::NotGranted { module },
            status::NOT_LOADED => CallError::NotLoaded { module },
            status::TOO_DEEP => CallError::TooDeep { module },
            status::FULL => CallError::TooMany,
            status::INVALID => CallError::Invalid { module },
            _ => CallError::Over,
        }
    }
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::NotGranted { module } => write!(
                f,
                "this module may not call {module}: ask for `call:{module}` in `grants` of its attribute, and grant it in the kernel's configuration"
            ),
            CallError::NotLoaded { module } => write!(
                f,
                "the module {module}, which this one calls, is not loaded: load it first, or name it in the kernel's configuration"
            ),
            CallError::TooDeep { module } => write!(
                f,
                "the call of {module} is one too many of those that led to each other: two modules call each other"
            ),
            CallError::TooMany => {
                f.write_str("the module has as many calls under way as it may have")
            }
            CallError::Invalid { module } => write!(
                f,
                "what was to be sent to {module} is no request: the path must start with a slash, with 100 header fields at most"
            ),
            CallError::Body(error) => write!(f, "the body of the call failed: {error}"),
            CallError::Over => {
                f.write_str("the request or the module that the call was made for is over")
            }
            CallError::Unsupported => {
                f.write_str("the kernel has no calls between modules: update it")
            }
        }
    }
}

impl std::error::Error for CallError {}

/// To the client that waits for the module: 503 when the other one is not loaded or there are too many calls, else 502.
impl From<CallError> for Problem {
    fn from(error: CallError) -> Problem {
        let status = match error {
            CallError::NotLoaded { .. } | CallError::TooMany => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        };
        Problem::new(status, "call_failed", error.to_string())
    }
}

impl IntoResponse for CallError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// The module that makes a request; an axum extractor, and a request extension for other tower services.
///
/// As an extractor it refuses with 404 what a client sends. The kernel lets no client on routes that the attribute names as
/// `internal`; it lets modules on no others.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) module: String,
    pub(crate) generation: u64,
    pub(crate) session: Option<Session>,
}

impl Caller {
    /// Its name.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Counts the loads of that name since the kernel started.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The session that it acts for, if any: that of the request that it was answering.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Caller, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| {
            let detail = "this route is for other modules";
            Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> Result<Option<Caller>, Self::Rejection> {
        Ok(parts.extensions.get::<Caller>().cloned())
    }
}
