//! One request and its answer: over the socket, with the credential, and within the deadline.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, InvalidHeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use hyperlocal::UnixConnector;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower_service::Service;

use crate::error::{BoxError, Error};

/// How long a whole answer may take. The slowest that a kernel gives by default: a secret's command has 60 s, a drain 30 s.
const DEADLINE: Duration = Duration::from_secs(120);
/// Below the 75 s after which a kernel closes an idle connection, so that no request meets one that is closing.
const IDLE: Duration = Duration::from_secs(30);
/// More than any answer that is read as a whole: 100 sessions with their metadata are below 2 MiB.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A problem is a few sentences.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// `sun_path`, less its final NUL.
const SOCKET_PATH_LEN_MAX: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// A client of one kernel. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    socket: Arc<Path>,
    authorization: Option<Result<HeaderValue, ()>>,
    deadline: Duration,
    http: legacy::Client<Dial, UnsyncBoxBody<Bytes, BoxError>>,
}

impl Client {
    /// A client without a credential. Connects to nothing yet.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Client {
        let socket: Arc<Path> = socket.into().into();
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .build(Dial(Arc::clone(&socket)));
        Client {
            socket,
            authorization: None,
            deadline: DEADLINE,
            http,
        }
    }

    /// Sends this host key or client secret with every request that carries no `Authorization` of its own.
    #[must_use]
    pub fn credential(mut self, token: impl Into<String>) -> Client {
        self.authorization = Some(bearer(&token.into()).map_err(drop));
        self
    }

    /// How long [`send`](Client::send) and the methods that stand on it wait for a whole answer; 120 s otherwise.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Client {
        self.deadline = deadline;
        self
    }

    /// Where it connects to.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request and returns as soon as the answer's headers are there, whatever its status. Of the URI, the path and
    /// query count. There is no deadline; dropping the future closes the connection.
    ///
    /// # Errors
    /// [`Error::Connect`] when nothing answers on the socket, [`Error::Protocol`] when the exchange breaks.
    pub async fn request<B>(&self, request: Request<B>) -> Result<Response<Incoming>, Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        // From it comes `Host: localhost`, which every kernel serves.
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(Authority::from_static("localhost"));
        uri.path_and_query
            .get_or_insert(http::uri::PathAndQuery::from_static("/"));
        parts.uri = Uri::from_parts(uri).map_err(Error::request)?;
        if let Some(authorization) = &self.authorization
            && !parts.headers.contains_key(AUTHORIZATION)
        {
            let value = authorization.clone().map_err(|()| Error::Credential)?;
            parts.headers.insert(AUTHORIZATION, value);
        }
        self.check_socket_path()?;
        let body = body.map_err(Into::into).boxed_unsync();
        let sent = self.http.request(Request::from_parts(parts, body)).await;
        sent.map_err(|error| self.failed(error))
    }

    /// Sends JSON and reads JSON; an empty answer reads as `null`, so that `()` takes it.
    ///
    /// # Errors
    /// [`Error::Problem`] for a status of 400 and above, [`Error::Timeout`] after the [`deadline`](Client::deadline), and
    /// those of [`request`](Client::request).
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let bytes = self
            .exchange(method, path, body, Some(self.deadline))
            .await?;
        let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(text).map_err(Error::protocol)
    }

    /// As [`send`](Client::send), with the answer as it came, and as long as it takes when there is no deadline.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        deadline: Option<Duration>,
    ) -> Result<Bytes, Error> {
        let mut request = Request::builder().method(method).uri(path);
        let body: Full<Bytes> = match body {
            None => Full::default(),
            Some(body) => {
                let json = serde_json::to_vec(body).map_err(Error::request)?;
                request = request.header(CONTENT_TYPE, "application/json");
                Full::from(json)
            }
        };
        let request = request.body(body).map_err(Error::request)?;
        let answer = async {
            let response = checked(self.request(request).await?).await?;
            read(response, ANSWER_BYTES_MAX).await
        };
        match deadline {
            None => answer.await,
            Some(after) => tokio::time::timeout(after, answer)
                .await
                .unwrap_or(Err(Error::Timeout { after })),
        }
    }

    /// The deadline in force.
    pub(crate) fn patience(&self) -> Duration {
        self.deadline
    }

    fn check_socket_path(&self) -> Result<(), Error> {
        let len = self.socket.as_os_str().as_bytes().len();
        if len > SOCKET_PATH_LEN_MAX {
            return Err(Error::SocketPathTooLong {
                socket: self.socket.to_path_buf(),
                len,
                max: SOCKET_PATH_LEN_MAX,
            });
        }
        Ok(())
    }

    fn failed(&self, error: legacy::Error) -> Error {
        if !error.is_connect() {
            return Error::protocol(error);
        }
        let cause = std::error::Error::source(&error)
            .and_then(|cause| cause.downcast_ref::<io::Error>())
            .map(|cause| match cause.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(cause.kind(), cause.to_string()),
            });
        Error::Connect {
            socket: self.socket.to_path_buf(),
            source: cause.unwrap_or_else(|| io::Error::other(error)),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("socket", &self.socket)
            .field("credential", &self.authorization.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}

/// Turns an answer of 400 and above into [`Error::Problem`], and lets every other pass unread.
///
/// # Errors
/// [`Error::Problem`]; [`Error::Protocol`] when the connection breaks before its body is read.
pub async fn checked(response: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    let status = response.status();
    if status.as_u16() < 400 {
        return Ok(response);
    }
    let header = response.headers().get("x-request-id");
    let request_id = header
        .and_then(|id| id.to_str().ok())
        .map(ToOwned::to_owned);
    let body = read(response, PROBLEM_BYTES_MAX).await?;
    Err(problem(status, request_id, &body))
}

fn problem(status: StatusCode, request_id: Option<String>, body: &[u8]) -> Error {
    #[derive(serde::Deserialize)]
    struct Document {
        #[serde(default)]
        code: String,
        #[serde(default)]
        title: String,
        #[serde(default)]
        detail: String,
        instance: Option<String>,
    }
    // A module's answer may have any form; its text, cut to a line, says more than that it is no problem document.
    let document = serde_json::from_slice(body).unwrap_or_else(|_| Document {
        code: String::new(),
        title: String::new(),
        detail: first_line(&String::from_utf8_lossy(body)),
        instance: None,
    });
    let mut detail = document.detail;
    if detail.is_empty() {
        detail = document.title;
    }
    if detail.is_empty() {
        status
            .canonical_reason()
            .unwrap_or("refused")
            .clone_into(&mut detail);
    }
    Error::Problem {
        status,
        code: document.code,
        detail,
        request_id: request_id.or(document.instance),
    }
}

fn first_line(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars()
        .filter(|c| !c.is_control())
        .take(CHARS_MAX)
        .collect()
}

async fn read(response: Response<Incoming>, bytes_max: usize) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), bytes_max);
    let whole = body.collect().await.map_err(Error::Protocol)?;
    Ok(whole.to_bytes())
}

fn bearer(token: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Connects to one socket, whatever host a URI names.
#[derive(Clone)]
struct Dial(Arc<Path>);

impl Service<Uri> for Dial {
    type Response = <UnixConnector as Service<Uri>>::Response;
    type Error = <UnixConnector as Service<Uri>>::Error;
    type Future = <UnixConnector as Service<Uri>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        UnixConnector.poll_ready(context)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        UnixConnector.call(hyperlocal::Uri::new(&self.0, "/").into())
    }
}

#[cfg(test)]
mod tests;
