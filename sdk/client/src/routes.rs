//! A method for each route of the kernel. All but `health` and `openapi` need the host key.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::Empty;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::client::{Client, checked};
use crate::error::Error;
use crate::events::EventStream;
use crate::path::{segment, with_query};
use crate::views::{
    Health, IssuedSession, Module, ModuleList, ModuleSource, NewSession, Receipt, RotatedKeys,
    Session, SessionPage,
};

const NO_BODY: Option<&()> = None;

impl Client {
    /// `GET /health`
    ///
    /// # Errors
    /// Those of [`send`](Client::send); 503 while the kernel starts or shuts down.
    pub async fn health(&self) -> Result<Health, Error> {
        self.send(Method::GET, "/health", NO_BODY).await
    }

    /// `POST /sessions`
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn issue_session(&self, new: &NewSession) -> Result<IssuedSession, Error> {
        self.send(Method::POST, "/sessions", Some(new)).await
    }

    /// `GET /sessions`, newest first: up to 100, those older than `after`.
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn sessions(
        &self,
        limit: Option<u32>,
        after: Option<&str>,
    ) -> Result<SessionPage, Error> {
        let limit = limit.map(|limit| limit.to_string());
        let path = with_query(
            "/sessions",
            &[("limit", limit.as_deref()), ("after", after)],
        );
        self.send(Method::GET, &path, NO_BODY).await
    }

    /// `GET /sessions/{id}`
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn session(&self, id: &str) -> Result<Session, Error> {
        self.send(Method::GET, &segment("/sessions/", id, ""), NO_BODY)
            .await
    }

    /// `DELETE /sessions/{id}`: ends it at once; no error when it had ended already.
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn revoke(&self, id: &str) -> Result<(), Error> {
        self.send(Method::DELETE, &segment("/sessions/", id, ""), NO_BODY)
            .await
    }

    /// `DELETE /sessions?user=&secret_key_id=`: ends all that match, and returns how many did.
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn revoke_matching(
        &self,
        user: Option<&str>,
        secret_key_id: Option<&str>,
    ) -> Result<u64, Error> {
        #[derive(Deserialize)]
        struct Revoked {
            revoked: u64,
        }
        let filter = [("user", user), ("secret_key_id", secret_key_id)];
        let path = with_query("/sessions", &filter);
        let answer: Revoked = self.send(Method::DELETE, &path, NO_BODY).await?;
        Ok(answer.revoked)
    }

    /// `POST /sessions/{id}/renew`: a new token for the same session.
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn renew(&self, id: &str, expires_in: Option<u64>) -> Result<IssuedSession, Error> {
        let body = expires_in.map_or_else(|| json!({}), |seconds| json!({ "expires_in": seconds }));
        let path = segment("/sessions/", id, "/renew");
        self.send(Method::POST, &path, Some(&body)).await
    }

    /// `GET /modules`
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn modules(&self) -> Result<ModuleList, Error> {
        self.send(Method::GET, "/modules", NO_BODY).await
    }

    /// `GET /modules/{name}`
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn module(&self, name: &str) -> Result<Module, Error> {
        self.send(Method::GET, &segment("/modules/", name, ""), NO_BODY)
            .await
    }

    /// `PUT /modules/{name}`: loads it, or swaps it for what is there now.
    ///
    /// # Errors
    /// Those of [`send`](Client::send); what ran before keeps running.
    pub async fn put_module(&self, name: &str, source: &ModuleSource) -> Result<Receipt, Error> {
        self.send(Method::PUT, &segment("/modules/", name, ""), Some(source))
            .await
    }

    /// `POST /modules/{name}/reload`: swaps it to what is at its path now. With `wait` it returns when the old one is gone,
    /// however long its requests take.
    ///
    /// # Errors
    /// Those of [`send`](Client::send); what ran before keeps running.
    pub async fn reload_module(
        &self,
        name: &str,
        config: Option<&Map<String, Value>>,
        wait: bool,
    ) -> Result<Receipt, Error> {
        let body = config.map_or_else(|| json!({}), |config| json!({ "config": config }));
        let (query, deadline) = if wait {
            ("/reload?wait=drained", None)
        } else {
            ("/reload", Some(self.patience()))
        };
        let path = segment("/modules/", name, query);
        let bytes = self
            .exchange(Method::POST, &path, Some(&body), deadline)
            .await?;
        serde_json::from_slice(&bytes).map_err(Error::protocol)
    }

    /// `DELETE /modules/{name}`: takes no new requests, gives those under way this long, and unloads it. With `force` also when
    /// other modules may call it, whose calls are refused from then on.
    ///
    /// # Errors
    /// Those of [`send`](Client::send); without `force`, `module_in_use` names those that may call it.
    pub async fn unload_module(
        &self,
        name: &str,
        drain_ms: Option<u64>,
        force: bool,
    ) -> Result<Receipt, Error> {
        let text = drain_ms.map(|ms| ms.to_string());
        let path = with_query(
            &segment("/modules/", name, ""),
            &[
                ("drain_ms", text.as_deref()),
                ("force", force.then_some("true")),
            ],
        );
        let drain = Duration::from_millis(drain_ms.unwrap_or(0));
        let deadline = self.patience().saturating_add(drain);
        let bytes = self
            .exchange(Method::DELETE, &path, NO_BODY, Some(deadline))
            .await?;
        serde_json::from_slice(&bytes).map_err(Error::protocol)
    }

    /// `POST /keys/rotate`: a new signing key; with `revoke_previous` every token signed before ends.
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn rotate_keys(&self, revoke_previous: bool) -> Result<RotatedKeys, Error> {
        let body = json!({ "revoke_previous": revoke_previous });
        self.send(Method::POST, "/keys/rotate", Some(&body)).await
    }

    /// `GET /log-level`: the filter that is in force.
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn log_level(&self) -> Result<String, Error> {
        let level: LogLevel = self.send(Method::GET, "/log-level", NO_BODY).await?;
        Ok(level.filter)
    }

    /// `PUT /log-level`: a filter such as `info,hello=debug`; returns the one that is in force then.
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn set_log_level(&self, filter: &str) -> Result<String, Error> {
        let body = json!({ "filter": filter });
        let level: LogLevel = self.send(Method::PUT, "/log-level", Some(&body)).await?;
        Ok(level.filter)
    }

    /// `GET /metrics`: OpenMetrics text.
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn metrics(&self) -> Result<String, Error> {
        let deadline = Some(self.patience());
        let bytes = self
            .exchange(Method::GET, "/metrics", NO_BODY, deadline)
            .await?;
        String::from_utf8(bytes.into()).map_err(Error::protocol)
    }

    /// `GET /openapi.json`
    ///
    /// # Errors
    /// Those of [`send`](Client::send).
    pub async fn openapi(&self) -> Result<Value, Error> {
        self.send(Method::GET, "/openapi.json", NO_BODY).await
    }

    /// `GET /events`: what happens in the kernel, from now on.
    ///
    /// # Errors
    /// [`Error::Problem`] and those of [`request`](Client::request).
    pub async fn events(&self) -> Result<EventStream, Error> {
        let request = Request::builder()
            .uri("/events")
            .header(http::header::ACCEPT, "text/event-stream")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(Error::request)?;
        let response = checked(self.request(request).await?).await?;
        Ok(EventStream::of(response))
    }
}

#[derive(Deserialize)]
struct LogLevel {
    filter: String,
}
