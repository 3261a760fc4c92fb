//! For whom a request acts. The kernel has verified it before the module sees it.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};

use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use midplane_abi as abi;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::boundary::calls::Switch;
use crate::boundary::host;
use crate::calls::{self, CallError};
use crate::problem::Problem;
use crate::secret::{Secret, SecretError};

/// The session of a request; an axum extractor, and a request extension for other tower services.
///
/// As an extractor it refuses with 401 where there is none, which happens on public routes only; use `Option<Session>`
/// there.
#[derive(Clone)]
pub struct Session(pub(crate) Arc<Exchange>);

impl Session {
    /// `ses_…`
    pub fn id(&self) -> &str {
        self.text(&self.0.session.id)
    }

    pub fn user(&self) -> &str {
        self.text(&self.0.session.user)
    }

    /// Space-separated words that mean something to modules only.
    pub fn scope(&self) -> &str {
        self.text(&self.0.session.scope)
    }

    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope().split(' ').any(|word| word == scope)
    }

    /// Refuses with 403 when the session lacks `scope`.
    pub fn require(&self, scope: &str) -> Result<(), Problem> {
        if self.has_scope(scope) {
            return Ok(());
        }
        let detail = format!(
            "the session lacks the scope `{scope}`: name it in `scope` when the session is created"
        );
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "insufficient_scope",
            detail,
        ))
    }

    /// For example `pro` or `dev`.
    pub fn environment(&self) -> &str {
        self.text(&self.0.session.environment)
    }

    /// Unix seconds: when the token that came with this request ends.
    pub fn expires_at(&self) -> u64 {
        self.0.session.expires_at
    }

    /// What the host wrote into the session when it created it.
    pub fn metadata(&self) -> &Map<String, Value> {
        self.0.metadata.get_or_init(|| {
            serde_json::from_str(self.text(&self.0.session.metadata)).unwrap_or_default()
        })
    }

    /// Whether the session names a secret; says nothing of the grant.
    pub fn has_secret(&self) -> bool {
        self.0.session.has_secret
    }

    /// The session's API key; after the host said that it changed, the new one. Needs the grant `secrets`.
    ///
    /// # Errors
    /// [`SecretError`]; [`SecretError::Absent`] also once the request is over.
    pub async fn secret(&self) -> Result<Secret, SecretError> {
        match host::secret_get(self.0.request) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => self.refresh_secret().await,
        }
    }

    /// Has the source of the session's key asked again, for the case that a provider refuses the one at hand.
    ///
    /// Dropping the future leaves the question running; its answer still reaches the session.
    pub async fn refresh_secret(&self) -> Result<Secret, SecretError> {
        loop {
            std::future::poll_fn(|cx| {
                self.0.park(cx.waker());
                host::secret_refresh(self.0.request)
            })
            .await?;
            // Pending once more: it changed just now.
            if let Poll::Ready(outcome) = host::secret_get(self.0.request) {
                return outcome;
            }
        }
    }

    /// Calls another module for this session, as [`Calls::call`](crate::Calls::call) does for none: the other one finds the
    /// session as if the client had called it, and its secret if it has that grant. The call ends with this request, also one
    /// that a spawned task makes.
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
        calls::send(&self.0.switch, Some(self.0.request), module, request).await
    }

    /// Resolves when the session was revoked or the client left: for tasks that a handler spawned, since the handler
    /// itself is dropped then.
    pub async fn revoked(&self) {
        self.0
            .cancelled
            .get_or_init(CancellationToken::new)
            .clone()
            .cancelled_owned()
            .await;
    }

    fn text(&self, range: &Range<usize>) -> &str {
        self.0
            .head
            .get(range.clone())
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id())
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Session, Problem> {
        parts.extensions.get::<Session>().cloned().ok_or_else(|| {
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "credential_required",
                "this route needs a session's client secret",
            )
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> Result<Option<Session>, Self::Rejection> {
        Ok(parts.extensions.get::<Session>().cloned())
    }
}

/// What the parts of one request share: its handle, the bytes of its head, and who waits for the kernel.
pub(crate) struct Exchange {
    pub(crate) request: abi::Request,
    /// Everything textual of the request, in one allocation.
    pub(crate) head: Bytes,
    pub(crate) session: SessionFields,
    metadata: OnceLock<Map<String, Value>>,
    cancelled: OnceLock<CancellationToken>,
    /// Wakers of the module's own tasks that wait for the request's body or secret: the kernel wakes the request's task
    /// only, which passes it on.
    parked: Mutex<Vec<Waker>>,
    /// WebSockets of it that are not dropped: one at most, but for a handler that makes more of one handshake.
    sockets: AtomicUsize,
    /// What calls to other modules go through.
    pub(crate) switch: Arc<Switch>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// Where the session's texts stand in [`Exchange::head`].
#[derive(Default)]
pub(crate) struct SessionFields {
    pub(crate) id: Range<usize>,
    pub(crate) user: Range<usize>,
    pub(crate) scope: Range<usize>,
    pub(crate) metadata: Range<usize>,
    pub(crate) environment: Range<usize>,
    pub(crate) has_secret: bool,
    pub(crate) expires_at: u64,
}

impl Exchange {
    pub(crate) fn new(
        request: abi::Request,
        head: Bytes,
        session: SessionFields,
        switch: Arc<Switch>,
    ) -> Arc<Exchange> {
        Arc::new(Exchange {
            request,
            head,
            session,
            metadata: OnceLock::new(),
            cancelled: OnceLock::new(),
            parked: Mutex::default(),
            sockets: AtomicUsize::new(0),
            switch,
        })
    }

    /// Has `waker` woken when the kernel next polls the request's task; the task's own needs no such help.
    pub(crate) fn park(&self, waker: &Waker) {
        if waker.will_wake(&host::waker(self.request)) {
            return;
        }
        let mut parked = self.parked.lock().expect("no code panics under this lock");
        if !parked.iter().any(|other| other.will_wake(waker)) {
            parked.push(waker.clone());
        }
    }

    /// The kernel polls the request's task: wakes everyone else who waits.
    pub(crate) fn unpark(&self) {
        let parked =
            std::mem::take(&mut *self.parked.lock().expect("no code panics under this lock"));
        parked.into_iter().for_each(Waker::wake);
    }

    /// There is a WebSocket of it.
    pub(crate) fn add_socket(&self) {
        self.sockets.fetch_add(1, Ordering::Relaxed);
    }

    /// A WebSocket of it was dropped: its task looks whether it is done.
    pub(crate) fn drop_socket(&self) {
        self.sockets.fetch_sub(1, Ordering::Release);
        host::waker(self.request).wake();
    }

    pub(crate) fn has_socket(&self) -> bool {
        self.sockets.load(Ordering::Acquire) > 0
    }

    /// The client left or the session was revoked.
    pub(crate) fn cancel(&self) {
        self.cancelled.get_or_init(CancellationToken::new).cancel();
    }
}
