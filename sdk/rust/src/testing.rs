//! Unit tests of a module without a kernel: the same calls cross the same boundary, in one process.
//!
//! What a kernel adds, authentication, limits and time-outs, is not there. [`Context::data_dir`] is a new directory of each
//! module's, which goes with it. See the crate's first page for an example.

use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use midplane_abi::{self as abi, Slice};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::boundary::instance::ModuleService;
use crate::boundary::loopback::{self, Answerer, ClientSocket, Loaded};
use crate::boundary::metrics::Meter;
use crate::calls::Caller;
use crate::context::Context;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::state::Saved;
use crate::storage::Storage;
use crate::ws::Message;

/// The kernel's own `drain_timeout`, where the configuration names no other.
const DRAIN_MS: u64 = 30_000;

/// A running module. Dropping it ends its runtime.
pub struct Module(Arc<Loaded>);

/// Starts a module with its configuration.
///
/// # Errors
/// What the module's function failed with.
pub async fn start<C, F, Fut, S>(module: F, config: Value) -> Result<Module>
where
    C: DeserializeOwned,
    F: FnOnce(Context<C>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<S>> + Send + 'static,
    S: ModuleService,
{
    prepare(module, config).start().await
}

/// Starts a module as the next generation, with `state` that was written in `schema`.
///
/// # Errors
/// What the module's function failed with, or that it refused the state.
pub async fn start_from<C, F, Fut, S>(
    module: F,
    config: Value,
    schema: u32,
    state: &Value,
) -> Result<Module>
where
    C: DeserializeOwned,
    F: FnOnce(Context<C>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<S>> + Send + 'static,
    S: ModuleService,
{
    prepare(module, config).state(schema, state).start().await
}

/// A module that is about to be started with its configuration, for what [`start`] has no argument for.
pub fn prepare<F>(module: F, config: Value) -> Prepared<F> {
    Prepared {
        module,
        config,
        state: None,
        answerer: None,
    }
}

/// See [`prepare`].
#[must_use]
pub struct Prepared<F> {
    module: F,
    config: Value,
    state: Option<Saved>,
    answerer: Option<Answerer>,
}

impl<F> Prepared<F> {
    /// Answers the module's calls to others: `answer` is given the name of the module that is called, and the request. Without
    /// it, none is loaded.
    ///
    /// ```
    /// # use axum::{Router, routing::get};
    /// # use midplane_sdk::{Body, CallError, Context, Result, testing};
    /// async fn notes(ctx: Context) -> Result<Router> {
    ///     let calls = ctx.calls();
    ///     let count = async move || {
    ///         let request = http::Request::new(Body::empty());
    ///         Ok::<_, CallError>(calls.call("store", request).await?.into_body())
    ///     };
    ///     Ok(Router::new().route("/count", get(count)))
    /// }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let module = testing::prepare(notes, serde_json::json!({}))
    ///     .answer_calls(async |module, _request| http::Response::new(Body::from(format!("17 in {module}"))))
    ///     .start()
    ///     .await?;
    /// let request = http::Request::get("/count").body(Body::empty())?;
    /// let response = module.call(None, request).await;
    /// assert_eq!(axum::body::to_bytes(response.into_body(), 100).await?, "17 in store");
    /// # Ok::<(), midplane_sdk::Error>(())
    /// # })?;
    /// # Ok::<(), midplane_sdk::Error>(())
    /// ```
    pub fn answer_calls<A, Fut>(mut self, answer: A) -> Prepared<F>
    where
        A: Fn(String, http::Request<Body>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = http::Response<Body>> + Send + 'static,
    {
        self.answerer = Some(Arc::new(move |module, request| {
            Box::pin(answer(module, request))
        }));
        self
    }

    /// The next generation, with `state` that was written in `schema`.
    pub fn state(mut self, schema: u32, state: &Value) -> Prepared<F> {
        self.state = Some(Saved {
            schema,
            bytes: state.to_string().into_bytes(),
        });
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// What the module's function failed with, or that it refused the state.
    pub async fn start<C, Fut, S>(self) -> Result<Module>
    where
        C: DeserializeOwned,
        F: FnOnce(Context<C>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<S>> + Send + 'static,
        S: ModuleService,
    {
        let config = self.config.to_string();
        let loaded = loopback::load(self.module, config, self.state, self.answerer).await?;
        Ok(Module(Arc::new(loaded)))
    }
}

impl Module {
    /// Sends a request, with a session or, as on a public route, without. The response streams; dropping it is the client
    /// leaving. A handler that fails or panics answers 500 with the reason as text.
    pub async fn call(
        &self,
        session: Option<SessionBuilder>,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        self.0.call(None, session, request).await
    }

    /// Sends a request as the module `caller` does that calls this one, for a session or none.
    pub async fn call_from(
        &self,
        caller: impl Into<String>,
        session: Option<SessionBuilder>,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        self.0.call(Some(caller.into()), session, request).await
    }

    /// Opens a WebSocket: `request` is taken for a valid handshake. What it offers stands in `sec-websocket-protocol`.
    ///
    /// # Errors
    /// What the module declined it with.
    pub async fn websocket(
        &self,
        session: Option<SessionBuilder>,
        request: http::Request<Body>,
    ) -> Result<WebSocket> {
        Ok(WebSocket(self.0.websocket(session, request).await?))
    }

    /// Whether the module lets this session be issued.
    ///
    /// # Errors
    /// The module's reason.
    pub async fn check(&self, session: SessionBuilder) -> Result<()> {
        self.0.check(session).await
    }

    /// Whether sessions for this module must name a secret.
    pub fn needs_secret(&self) -> bool {
        self.0.needs_secret()
    }

    /// The module's OpenAPI document.
    pub fn openapi(&self) -> Option<Value> {
        serde_json::from_str(&self.0.openapi()?).ok()
    }

    /// What the module has counted under these labels, for whomever: a counter's or a gauge's value, cut to a whole number that
    /// is not negative, or how many values a histogram has. 0 before the first.
    ///
    /// # Panics
    /// When the module has declared no metric `name`.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.number(name, labels, false)
    }

    /// The same, counted for sessions only: what [`Counter::add_for`](crate::Counter::add_for) added.
    ///
    /// # Panics
    /// As [`Module::metric`].
    pub fn session_metric(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.number(name, labels, true)
    }

    fn number(&self, name: &str, labels: &[(&str, &str)], for_sessions: bool) -> u64 {
        match self.0.metric(name, labels, for_sessions) {
            Some(number) => number as u64,
            None => panic!("the module has declared no metric `{name}`, or its name is refused"),
        }
    }

    /// What the module hands over to the next generation; `None` when that is nothing.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn save(&self) -> Result<Option<Value>> {
        let saved = self.0.save()?;
        Ok(saved
            .map(|bytes| serde_json::from_slice(&bytes))
            .transpose()?)
    }

    /// Tells the module that no new request will come, and that those which are there have as long as a kernel gives them by
    /// default.
    pub fn drain(&self) {
        self.0.quiesce(DRAIN_MS);
    }
}

/// The client's end of a WebSocket. Dropping it is the client leaving without a word.
pub struct WebSocket(ClientSocket);

impl WebSocket {
    /// Sends a message; [`Message::Close`] closes, as the client or the kernel would.
    pub async fn send(&mut self, message: Message) {
        self.0.send(message);
    }

    /// The module's next message; [`Message::Close`] is the last, and `None` comes behind it.
    pub async fn recv(&mut self) -> Option<Message> {
        self.0.recv().await
    }

    /// Of the answer to the handshake.
    pub fn headers(&self) -> &http::HeaderMap {
        self.0.headers()
    }
}

/// What a service sees of a module that calls it, for no session: as a request extension, where the service is tested by itself.
pub fn caller(module: impl Into<String>) -> Caller {
    Caller {
        module: module.into(),
        generation: 1,
        session: None,
    }
}

/// Storage in memory, with a quota of its own: nothing else sees it, and it goes with its last clone.
pub fn storage(quota_bytes: u64) -> Storage {
    Storage::in_memory(quota_bytes)
}

/// Metrics of no module's: they take everything and show nothing. For what is tested without a module.
pub fn metrics() -> Metrics {
    Metrics(Meter::NOWHERE)
}

/// A session for `user`, with nothing else.
pub fn session(user: impl Into<String>) -> SessionBuilder {
    SessionBuilder {
        user: user.into(),
        ..SessionBuilder::default()
    }
}

/// The session of a test's request.
#[derive(Clone, Debug)]
pub struct SessionBuilder {
    user: String,
    scope: String,
    environment: String,
    metadata: String,
    pub(crate) secret: Option<String>,
    pub(crate) refreshed: Option<std::result::Result<String, String>>,
}

impl Default for SessionBuilder {
    fn default() -> SessionBuilder {
        SessionBuilder {
            user: "local".to_owned(),
            scope: String::new(),
            environment: "pro".to_owned(),
            metadata: "{}".to_owned(),
            secret: None,
            refreshed: None,
        }
    }
}

impl SessionBuilder {
    /// Space-separated scopes.
    pub fn scope(mut self, scope: impl Into<String>) -> SessionBuilder {
        self.scope = scope.into();
        self
    }

    pub fn environment(mut self, environment: impl Into<String>) -> SessionBuilder {
        self.environment = environment.into();
        self
    }

    /// A JSON object.
    pub fn metadata(mut self, metadata: &Value) -> SessionBuilder {
        self.metadata = metadata.to_string();
        self
    }

    /// What [`Session::secret`](crate::Session::secret) gives.
    pub fn secret(mut self, secret: impl Into<String>) -> SessionBuilder {
        self.secret = Some(secret.into());
        self
    }

    /// What the source answers when asked again; without this, the same secret.
    pub fn refreshed(mut self, outcome: std::result::Result<String, String>) -> SessionBuilder {
        self.refreshed = Some(outcome);
        self
    }

    pub(crate) fn view(&self) -> SessionView<'_> {
        let session = abi::Session {
            size: u32::try_from(size_of::<abi::Session>()).expect("a small struct"),
            flags: 0,
            id: Slice::new(b"ses_test"),
            user: Slice::new(self.user.as_bytes()),
            scope: Slice::new(self.scope.as_bytes()),
            metadata: Slice::new(self.metadata.as_bytes()),
            environment: Slice::new(self.environment.as_bytes()),
            secret_key_id: if self.secret.is_some() {
                Slice::new(b"test-key")
            } else {
                Slice::NONE
            },
            expires_at: u64::MAX,
        };
        SessionView {
            session,
            _borrowed: std::marker::PhantomData,
        }
    }
}

/// The session as it crosses the boundary.
pub(crate) struct SessionView<'a> {
    pub(crate) session: abi::Session,
    _borrowed: std::marker::PhantomData<&'a SessionBuilder>,
}
