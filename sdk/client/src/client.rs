//! The connection to the kernel: requests of any kind, and the routes that programs use by name.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use hyperlocal::UnixConnector;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::api::{
    Health, IssuedSession, Module, Modules, NewModule, NewSession, Receipt, Session, Sessions,
};
use crate::error::Error;
use crate::events::EventStream;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A client of one kernel. Connections are kept and used again; clones share them.
#[derive(Clone)]
pub struct Client {
    socket: PathBuf,
    credential: Option<HeaderValue>,
    http: legacy::Client<UnixConnector, Body>,
}

impl Client {
    /// Connects at the first request, within a tokio runtime.
    pub fn new(socket: impl Into<PathBuf>) -> Client {
        let http = legacy::Client::builder(TokioExecutor::new()).build(UnixConnector);
        Client {
            socket: socket.into(),
            credential: None,
            http,
        }
    }

    /// Sends `token`, a host key or a client secret, with every request.
    #[must_use]
    pub fn credential(mut self, token: impl Into<String>) -> Client {
        // What is no header value is no credential either; without one, the kernel says what is missing.
        self.credential = HeaderValue::try_from(format!("Bearer {}", token.into())).ok();
        if let Some(value) = &mut self.credential {
            value.set_sensitive(true);
        }
        self
    }

    /// The same kernel with another credential.
    #[must_use]
    pub fn with_credential(&self, token: impl Into<String>) -> Client {
        self.clone().credential(token)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request whose URI is a path, `/api/…`. Any status is an answer. Dropping the future or the response's body
    /// ends the request.
    ///
    /// # Errors
    /// [`Error::Connect`] and [`Error::Exchange`].
    pub async fn request<B>(&self, request: Request<B>) -> Result<Response<Incoming>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        *request.uri_mut() = hyperlocal::Uri::new(&self.socket, &path).into();
        let headers = request.headers_mut();
        // hyperlocal's URI has the socket's path in hex as its host.
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        if let Some(credential) = &self.credential
            && !headers.contains_key(AUTHORIZATION)
        {
            headers.insert(AUTHORIZATION, credential.clone());
        }
        self.http.request(request).await.map_err(|source| {
            if source.is_connect() {
                Error::Connect {
                    socket: self.socket.clone(),
                    source,
                }
            } else {
                Error::Exchange {
                    source: Box::new(source),
                }
            }
        })
    }

    /// Sends JSON, or nothing, and reads JSON.
    ///
    /// # Errors
    /// As [`Client::request`]; [`Error::Problem`] for a status of 400 and above.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let told = format!("{method} {path}");
        let text = self.send_text(method, path, body).await?;
        // An answer without a body, such as 204, reads as null.
        let text = if text.is_empty() {
            b"null".as_slice()
        } else {
            &text
        };
        serde_json::from_slice(text).map_err(|error| Error::Protocol {
            request: told,
            reason: error.to_string(),
        })
    }

    async fn send_text(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Bytes, Error> {
        let told = format!("{method} {path}");
        let protocol = |reason: String| Error::Protocol {
            request: told.clone(),
            reason,
        };
        let mut builder = Request::builder().method(method).uri(path);
        let body = match body {
            Some(body) => {
                builder = builder.header(CONTENT_TYPE, "application/json");
                serde_json::to_vec(body).map_err(|error| protocol(error.to_string()))?
            }
            None => Vec::new(),
        };
        let request = builder
            .body(Full::from(body))
            .map_err(|error| protocol(error.to_string()))?;
        let response = self.request(request).await?;
        let status = response.status();
        let text = response.into_body().collect().await;
        let text = text
            .map_err(|error| Error::Exchange {
                source: Box::new(error),
            })?
            .to_bytes();
        if status.is_client_error() || status.is_server_error() {
            return Err(Error::from_response(status, &text));
        }
        Ok(text)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.send(Method::GET, path, NOTHING).await
    }

    pub async fn health(&self) -> Result<Health, Error> {
        self.get("/health").await
    }

    pub async fn issue_session(&self, session: &NewSession) -> Result<IssuedSession, Error> {
        self.send(Method::POST, "/sessions", Some(session)).await
    }

    /// Newest first; those older than `after`, up to `limit` (100 at most).
    pub async fn sessions(&self, limit: usize, after: Option<&str>) -> Result<Sessions, Error> {
        let after = after
            .map(|id| format!("&after={}", encode(id)))
            .unwrap_or_default();
        self.get(&format!("/sessions?limit={limit}{after}")).await
    }

    pub async fn session(&self, id: &str) -> Result<Session, Error> {
        self.get(&format!("/sessions/{}", encode(id))).await
    }

    pub async fn revoke(&self, id: &str) -> Result<(), Error> {
        self.send(
            Method::DELETE,
            &format!("/sessions/{}", encode(id)),
            NOTHING,
        )
        .await
    }

    /// Revokes every session of a user, or on a secret, or both; returns how many there were.
    pub async fn revoke_matching(
        &self,
        user: Option<&str>,
        secret_key_id: Option<&str>,
    ) -> Result<u64, Error> {
        let members = [("user", user), ("secret_key_id", secret_key_id)];
        let query: Vec<_> = members
            .iter()
            .filter_map(|(name, value)| value.map(|value| format!("{name}={}", encode(value))))
            .collect();
        let answer: Value = self
            .send(
                Method::DELETE,
                &format!("/sessions?{}", query.join("&")),
                NOTHING,
            )
            .await?;
        Ok(answer["revoked"].as_u64().unwrap_or(0))
    }

    pub async fn renew(&self, id: &str, expires_in: Option<u64>) -> Result<IssuedSession, Error> {
        let body = expires_in.map_or_else(|| json!({}), |seconds| json!({ "expires_in": seconds }));
        self.send(
            Method::POST,
            &format!("/sessions/{}/renew", encode(id)),
            Some(&body),
        )
        .await
    }

    pub async fn modules(&self) -> Result<Vec<Module>, Error> {
        Ok(self.get::<Modules>("/modules").await?.modules)
    }

    pub async fn module(&self, name: &str) -> Result<Module, Error> {
        self.get(&format!("/modules/{}", encode(name))).await
    }

    /// Loads a module, or swaps the one of that name.
    pub async fn put_module(
        &self,
        name: &str,
        module: &NewModule,
        wait: bool,
    ) -> Result<Receipt, Error> {
        self.send(
            Method::PUT,
            &format!("/modules/{}{}", encode(name), wait_query(wait)),
            Some(module),
        )
        .await
    }

    /// Swaps a module for what is at its path now. With `wait`, answers after the old one is gone.
    pub async fn reload_module(
        &self,
        name: &str,
        config: Option<Map<String, Value>>,
        wait: bool,
    ) -> Result<Receipt, Error> {
        let body = config.map_or_else(|| json!({}), |config| json!({ "config": config }));
        self.send(
            Method::POST,
            &format!("/modules/{}/reload{}", encode(name), wait_query(wait)),
            Some(&body),
        )
        .await
    }

    pub async fn unload_module(&self, name: &str, drain_ms: Option<u64>) -> Result<Receipt, Error> {
        let query = drain_ms
            .map(|ms| format!("?drain_ms={ms}"))
            .unwrap_or_default();
        self.send(
            Method::DELETE,
            &format!("/modules/{}{query}", encode(name)),
            NOTHING,
        )
        .await
    }

    /// A new signing key; returns its id.
    pub async fn rotate_keys(&self, revoke_previous: bool) -> Result<String, Error> {
        let answer: Value = self
            .send(
                Method::POST,
                "/keys/rotate",
                Some(&json!({ "revoke_previous": revoke_previous })),
            )
            .await?;
        Ok(answer["kid"].as_str().unwrap_or_default().to_owned())
    }

    pub async fn log_filter(&self) -> Result<String, Error> {
        let answer: Value = self.get("/log-level").await?;
        Ok(answer["filter"].as_str().unwrap_or_default().to_owned())
    }

    /// Returns the filter as the kernel understood it.
    pub async fn set_log_filter(&self, filter: &str) -> Result<String, Error> {
        let answer: Value = self
            .send(
                Method::PUT,
                "/log-level",
                Some(&json!({ "filter": filter })),
            )
            .await?;
        Ok(answer["filter"].as_str().unwrap_or_default().to_owned())
    }

    /// OpenMetrics text.
    pub async fn metrics(&self) -> Result<String, Error> {
        let text = self.send_text(Method::GET, "/metrics", NOTHING).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub async fn openapi(&self) -> Result<Value, Error> {
        self.get("/openapi.json").await
    }

    /// What happens in the kernel, from now on.
    pub async fn events(&self) -> Result<EventStream, Error> {
        let request = Request::get("/events")
            .body(String::new())
            .expect("a constant request");
        let response = self.request(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(EventStream::of(response));
        }
        let text = response.into_body().collect().await;
        let text = text
            .map_err(|error| Error::Exchange {
                source: Box::new(error),
            })?
            .to_bytes();
        Err(Error::from_response(status, &text))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// No body.
const NOTHING: Option<&()> = None;

fn wait_query(wait: bool) -> &'static str {
    if wait { "?wait=drained" } else { "" }
}

/// Percent-encodes what does not stand for itself in a path segment or a query value (RFC 3986 section 2.3).
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests;
