//! What a module's function is given, once for every generation.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use midplane_abi::status;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::boundary::calls::Switch;
use crate::boundary::host;
use crate::boundary::metrics::Meter;
use crate::boundary::task::CheckFuture;
use crate::calls::{CallError, Calls};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::session::Session;
use crate::state::Handover;
use crate::storage::Storage;

/// The configuration of a module that has none: any member in it is refused.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[non_exhaustive]
pub struct NoConfig {}

/// The surroundings of one generation of the module, with its typed configuration `C`.
///
/// `C` is read with serde from `[modules.<name>.config]`; a member that `C` does not know is refused.
pub struct Context<C = NoConfig> {
    config: C,
    owner: u64,
    name: String,
    generation: u64,
    data_dir: PathBuf,
    draining: Draining,
    ended: CancellationToken,
    wishes: Arc<Mutex<Wishes>>,
    handover: Arc<Handover>,
    calls: Calls,
}

/// What the kernel tells a generation of itself.
pub(crate) struct Told<'a> {
    pub(crate) owner: u64,
    pub(crate) name: &'a str,
    pub(crate) generation: u64,
    /// A JSON object.
    pub(crate) config: &'a [u8],
    pub(crate) data_dir: &'a Path,
}

/// What the module's function asks for while it runs.
#[derive(Default)]
pub(crate) struct Wishes {
    pub(crate) needs_secret: bool,
    pub(crate) openapi: Option<String>,
    pub(crate) on_session: Option<SessionCheck>,
    pub(crate) on_drain: Vec<Box<dyn FnOnce() + Send>>,
    pub(crate) on_shutdown: Vec<ShutdownStep>,
    pub(crate) on_save: Option<Save>,
    pub(crate) on_probe: Vec<ProbeStep>,
}

pub(crate) type SessionCheck = Arc<dyn Fn(Session) -> CheckFuture + Send + Sync>;
pub(crate) type Save = Arc<dyn Fn() -> Result<Vec<u8>> + Send + Sync>;
pub(crate) type ProbeStep = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
pub(crate) type ShutdownStep = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<C> Context<C> {
    /// The module's configuration.
    pub fn config(&self) -> &C {
        &self.config
    }

    /// The name the module is mounted under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts the loads of this name since the kernel started.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// An absolute path: a directory for files of the module's own, which the kernel has made and nobody else can enter. Every
    /// generation has the same one, in each isolation and after a restart of the kernel; with `isolation = "process"` it is
    /// the only place where the module can write, unless the operator allows more.
    ///
    /// While one generation drains and the next serves, both use it, as do several kernels of one user: write a file under
    /// another name and rename it. In the kernel's process a database of the module's own is for `exclusive` modules only (see
    /// [the crate's page](crate#state)). With `isolation = "process"` each generation is a process, and the locks that
    /// a database takes hold between them.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Whether sessions for this module must name a secret. They need not unless this is called with `true`.
    pub fn needs_secret(&mut self, needed: bool) {
        self.wishes().needs_secret = needed;
    }

    /// Looks at every session before it is issued; an error refuses it, and its message goes to whoever asked for the
    /// session. May use the network. [`Session::secret`] works in it.
    pub fn on_session<F, Fut>(&mut self, check: F)
    where
        F: Fn(Session) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.wishes().on_session = Some(Arc::new(move |session| Box::pin(check(session))));
    }

    /// Allows request bodies of up to `bytes` on `pattern`: a path below the module's prefix, or a prefix that ends in
    /// `/*`. The kernel has a highest value of its own (`[limits] body_bytes_max`).
    ///
    /// # Errors
    /// When the pattern does not start with a slash, or `bytes` is over the kernel's highest value.
    pub fn body_limit(&mut self, pattern: &str, bytes: u64) -> Result<()> {
        match host::body_limit(self.owner, pattern, bytes) {
            status::OK => Ok(()),
            status::DENIED => Err(Error::msg(format!(
                "body_limit: {bytes} bytes for {pattern} are more than the kernel allows: raise `body_bytes_max` in [limits]"
            ))),
            _ => Err(Error::msg(format!(
                "body_limit: {pattern} is not a path or a prefix like /files/*"
            ))),
        }
    }

    /// The module's OpenAPI document, served by the kernel.
    pub fn openapi(&mut self, document: &Value) {
        self.wishes().openapi = Some(document.to_string());
    }

    /// Runs when no new request will come, before those under way have finished. Must not block.
    pub fn on_drain(&mut self, step: impl FnOnce() + Send + 'static) {
        self.wishes().on_drain.push(Box::new(step));
    }

    /// Runs after the last request, before the generation's runtime is shut down.
    pub fn on_shutdown(&mut self, step: impl Future<Output = ()> + Send + 'static) {
        self.wishes().on_shutdown.push(Box::pin(step));
    }

    /// Looks whether the module can serve, once, when all else is done and before the first request; an error refuses this
    /// generation, and the one before goes on. New requests may wait meanwhile, so be quick.
    pub fn on_probe(&mut self, step: impl Future<Output = Result<()>> + Send + 'static) {
        self.wishes().on_probe.push(Box::pin(step));
    }

    /// Hands state that is only in memory over to the next generation, which gets it from [`Context::restore`]. It is
    /// written as JSON, in the last schema that the attribute's `state` names, and may have `[limits] state_bytes`.
    ///
    /// When the module is reloaded, new requests wait, for a quarter of a second at most, and those that have not answered
    /// yet may finish; then `save` is called. What a stream changes after that is lost, and so is everything when the
    /// kernel ends: what has to last belongs in durable storage. `save` is called again when the generation that was to
    /// take over is refused, so it must not take anything apart.
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// # use midplane_sdk::{Context, Result};
    /// # async fn counter(mut ctx: Context) -> Result<axum::Router> {
    /// // #[midplane_sdk::module(name = "counter", state = 1)]
    /// let count: Arc<Mutex<u64>> = Arc::new(Mutex::new(ctx.restore().await?.unwrap_or_default()));
    /// ctx.on_save({
    ///     let count = Arc::clone(&count);
    ///     move || *count.lock().expect("no code panics under this lock")
    /// });
    /// # Ok(axum::Router::new())
    /// # }
    /// ```
    pub fn on_save<T: Serialize>(&mut self, save: impl Fn() -> T + Send + Sync + 'static) {
        self.wishes().on_save = Some(Arc::new(move || Ok(serde_json::to_vec(&save())?)));
    }

    /// What the generation before handed over, or `None` when there was none or it left nothing. A version must read what
    /// the one before and the one after it write; members with `#[serde(default)]` go far, and
    /// [`Context::restore_with`] the whole way.
    ///
    /// What stands before this in the module's function runs while the generation before still serves, what stands after it
    /// while new requests wait: do what takes long first. Await it in the function itself, not in a spawned task.
    ///
    /// # Errors
    /// When the state cannot be read as `T`; passed on with `?`, it refuses this generation.
    pub async fn restore<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.restore_with(|_schema, bytes| Ok(serde_json::from_slice(bytes)?))
            .await
    }

    /// As [`Context::restore`]; `read` is given the schema that the state was written in, and the bytes.
    ///
    /// # Errors
    /// What `read` fails with.
    pub async fn restore_with<T>(
        &self,
        read: impl FnOnce(u32, &[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        let state = std::future::poll_fn(|cx| self.handover.poll_take(cx)).await?;
        let Some(state) = state else { return Ok(None) };
        read(state.schema, &state.bytes).map(Some).map_err(|error| {
            Error::msg(format!(
                "the handed-over state of schema {} cannot be read: {error}",
                state.schema
            ))
        })
    }

    /// Tells handlers that no new request will come, so that streams can end in good order.
    pub fn draining(&self) -> Draining {
        self.draining.clone()
    }

    /// Calls another module, for no session; needs the grant `call:<module>`. Works in the module's function itself, too, if the
    /// other one is loaded by then: modules that the configuration names are loaded behind those that they call.
    ///
    /// ```
    /// # use midplane_sdk::{Body, Context, Result};
    /// # async fn notes(ctx: Context) -> Result<axum::Router> {
    /// // #[midplane_sdk::module(name = "notes", grants = ["call:store"])]
    /// let request = http::Request::get("/rows?limit=3").body(Body::empty())?;
    /// let answer = ctx.call("store", request).await?;
    /// # Ok(axum::Router::new())
    /// # }
    /// ```
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
        self.calls.call(module, request).await
    }

    /// What calls other modules for no session, for handlers and background tasks. See [`Session::call`] for the other kind.
    pub fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// Durable keys of this module's own, kept by the module store: needs the grant `call:store`. Nothing is asked of the store
    /// before the first operation.
    pub fn storage(&self) -> Storage {
        Storage::over(self.calls())
    }

    /// Numbers of the module's own in the kernel's `GET /metrics`: see [`metrics`](crate::metrics).
    pub fn metrics(&self) -> Metrics {
        Metrics(Meter::new(self.owner))
    }

    /// Runs work in the background until it ends or the generation does.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(self.ended.clone().run_until_cancelled_owned(work))
    }
}

impl<C> Context<C> {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().expect("no code panics under this lock")
    }
}

/// The parts of a [`Context`] that outlive the module's function.
pub(crate) struct Surroundings {
    pub(crate) draining: Draining,
    pub(crate) ended: CancellationToken,
    pub(crate) wishes: Arc<Mutex<Wishes>>,
    pub(crate) handover: Arc<Handover>,
    pub(crate) calls: Calls,
}

impl Surroundings {
    pub(crate) fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().expect("no code panics under this lock")
    }
}

impl<C: DeserializeOwned> Context<C> {
    pub(crate) fn new(told: Told<'_>, runtime: Handle) -> Result<(Context<C>, Surroundings)> {
        let context = Context {
            config: read_config(told.config)?,
            owner: told.owner,
            name: told.name.to_owned(),
            generation: told.generation,
            data_dir: told.data_dir.to_owned(),
            draining: Draining::default(),
            ended: CancellationToken::new(),
            wishes: Arc::default(),
            handover: Arc::default(),
            calls: Calls(Switch::new(told.owner, runtime)),
        };
        let surroundings = Surroundings {
            draining: context.draining.clone(),
            ended: context.ended.clone(),
            wishes: Arc::clone(&context.wishes),
            handover: Arc::clone(&context.handover),
            calls: context.calls.clone(),
        };
        Ok((context, surroundings))
    }
}

/// Tells that the generation drains: a newer one has taken its place, or the kernel shuts down.
#[derive(Clone, Debug, Default)]
pub struct Draining {
    told: CancellationToken,
    end: Arc<OnceLock<Instant>>,
}

impl Draining {
    pub fn is_draining(&self) -> bool {
        self.told.is_cancelled()
    }

    /// Resolves once the generation drains. Cancel-safe.
    pub async fn wait(&self) {
        self.told.cancelled().await;
    }

    /// When the kernel cuts what is still under way: after the module's `drain_timeout`, or the time that whoever unloads it names, or
    /// the kernel's `shutdown_timeout`. `None` before the generation drains.
    pub fn deadline(&self) -> Option<Instant> {
        self.end.get().copied()
    }

    pub(crate) fn end_in(&self, drain: Duration) {
        // One that is out of reach is none.
        if let Some(end) = Instant::now().checked_add(drain) {
            let _ = self.end.set(end);
        }
    }

    pub(crate) fn tell(&self) {
        self.told.cancel();
    }
}

fn read_config<C: DeserializeOwned>(text: &[u8]) -> Result<C> {
    let mut unknown = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(text);
    let config = serde_ignored::deserialize(&mut reader, |path| unknown.push(path.to_string()))
        .map_err(|error| Error::msg(format!("configuration: {error}")))?;
    match unknown.as_slice() {
        [] => Ok(config),
        [one] => Err(Error::msg(format!(
            "configuration: unknown member `{one}`: remove or correct it"
        ))),
        many => Err(Error::msg(format!(
            "configuration: unknown members `{}`: remove or correct them",
            many.join("`, `")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "read by serde and printed")]
    struct Config {
        greeting: String,
        #[serde(default)]
        nested: Option<Nested>,
    }

    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "read by serde and printed")]
    struct Nested {
        depth: u8,
    }

    #[test]
    fn configuration_is_typed_and_unknown_members_are_refused() {
        let check = |text: &str, expect: &str| match read_config::<Config>(text.as_bytes()) {
            Ok(config) => assert_eq!(format!("{config:?}"), expect, "{text}"),
            Err(error) => assert!(error.to_string().contains(expect), "{text}: {error}"),
        };
        check(
            r#"{"greeting":"hi"}"#,
            r#"Config { greeting: "hi", nested: None }"#,
        );
        check(
            r#"{"greeting":"hi","nested":{"depth":1,"width":2}}"#,
            "unknown member `nested.?.width`",
        );
        check(
            r#"{"greeting":"hi","shout":true,"whisper":true}"#,
            "unknown members `shout`, `whisper`",
        );
        check(
            r#"{"greeting":1}"#,
            "invalid type: integer `1`, expected a string",
        );
        check("{}", "missing field `greeting`");
    }

    #[test]
    fn a_module_without_configuration_refuses_any() {
        assert!(read_config::<NoConfig>(b"{}").is_ok());
        assert!(read_config::<NoConfig>(br#"{"a":1}"#).is_err());
    }
}
