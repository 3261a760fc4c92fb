//! One generation of the module: from its function's first poll to its runtime's end.

use std::ffi::OsStr;
use std::future::Future;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use midplane_abi::{self as abi, Slice, instance, status};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tower_service::Service;

use super::calls::Switch;
use super::host;
use super::task::HandlerFuture;
use crate::context::{Context, SessionCheck, Surroundings, Told};
use crate::error::{Error, Result};
use crate::state::Saved;
use crate::telemetry;

/// How long the runtime may take to end at the end of a generation; blocking calls of the module count.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the attribute says of how generations follow on each other.
#[derive(Clone, Copy)]
pub struct Attribute {
    /// The schema that state is written in; 0 when the module declares none.
    pub schema: u32,
    /// Nothing of the module runs before the generation before has ended.
    pub exclusive: bool,
}

/// One generation of the module.
pub(super) struct Instance {
    owner: u64,
    attribute: Attribute,
    runtime: Runtime,
    surroundings: Surroundings,
    /// The module's function, while it waits for the state.
    starting: Mutex<Option<Starting>>,
    ready: OnceLock<Ready>,
}

type Starting = Pin<Box<dyn Future<Output = Result<Box<dyn ModuleService>>> + Send>>;

/// What the module's function made.
struct Ready {
    service: Box<dyn ModuleService>,
    on_session: Option<SessionCheck>,
    openapi: Option<String>,
}

/// What a module's function may return: any tower service of HTTP requests that can be cloned, an `axum::Router` first of
/// all. Implemented for every such service, and for nothing else.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no service that a module can be",
    note = "it must be a `tower::Service<http::Request<midplane_sdk::Body>>` that answers `http::Response`, and `Clone + Send + Sync + 'static`"
)]
pub trait ModuleService: Send + Sync + 'static {
    /// Calls a clone of the service.
    #[doc(hidden)]
    fn handle(&self, request: http::Request<Body>) -> HandlerFuture;
}

impl<S, B> ModuleService for S
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn handle(&self, request: http::Request<Body>) -> HandlerFuture {
        let mut service = self.clone();
        Box::pin(async move {
            std::future::poll_fn(|cx| service.poll_ready(cx))
                .await
                .map_err(Error::from)?;
            let response = service.call(request).await.map_err(Error::from)?;
            Ok(response.map(Body::new))
        })
    }
}

impl Instance {
    /// Runs the module's function to its end, or until it waits for the state; if it is exclusive, that is from the beginning.
    pub(super) fn start<C, F, Fut, S>(
        given: &abi::Init,
        attribute: Attribute,
        module: F,
    ) -> Result<Instance>
    where
        C: DeserializeOwned,
        F: FnOnce(Context<C>) -> Fut,
        Fut: Future<Output = Result<S>> + Send + 'static,
        S: ModuleService,
    {
        let name = text(given.name);
        // SAFETY: valid during `init`, of which this is a part.
        let config = unsafe { given.config.bytes() }.unwrap_or(b"{}");
        // SAFETY: as above.
        let data_dir = unsafe { given.data_dir.bytes() }.unwrap_or_default();
        let told = Told {
            owner: given.owner,
            name: &name,
            generation: given.generation,
            config,
            data_dir: Path::new(OsStr::from_bytes(data_dir)),
        };
        // One thread: it turns the timers and sockets and runs what handlers spawn; handlers run on the kernel's workers.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(format!("{name}#{}", given.generation))
            .enable_all()
            .build()?;
        let (context, surroundings) = Context::new(told, runtime.handle().clone())?;
        let service = {
            let _entered = runtime.enter();
            module(context)
        };
        let instance = Instance {
            owner: given.owner,
            attribute,
            runtime,
            surroundings,
            starting: Mutex::new(Some(Box::pin(async move {
                let service: Box<dyn ModuleService> = Box::new(service.await?);
                Ok(service)
            }))),
            ready: OnceLock::new(),
        };
        if attribute.exclusive {
            return Ok(instance);
        }
        match instance.go_on() {
            Ok(()) => Ok(instance),
            Err(error) => {
                instance.end();
                Err(error)
            }
        }
    }

    /// Gives the module's function what the generation before left, and runs it to its end.
    pub(super) fn restore(&self, state: Option<Saved>) -> Result<()> {
        let handover = &self.surroundings.handover;
        handover.offer(state);
        self.go_on()?;
        if self.ready.get().is_none() {
            return Err(Error::msg(
                "the module's function neither ended nor waited for its state: await restore in it, not in a task",
            ));
        }
        if !handover.is_taken() {
            return Err(Error::msg(
                "the module declares `state` and left what was handed over: await ctx.restore() in its function",
            ));
        }
        Ok(())
    }

    /// Polls the module's function until it ends or waits for the state.
    fn go_on(&self) -> Result<()> {
        let mut slot = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut starting) = slot.take() else {
            return Ok(());
        };
        let handover = &self.surroundings.handover;
        let service = self.runtime.block_on(std::future::poll_fn(|cx| {
            match starting.as_mut().poll(cx) {
                Poll::Ready(made) => Poll::Ready(made.map(Some)),
                Poll::Pending if handover.is_waited_for() => Poll::Ready(Ok(None)),
                Poll::Pending => Poll::Pending,
            }
        }))?;
        let Some(service) = service else {
            *slot = Some(starting);
            return Ok(());
        };
        let (on_session, openapi) = {
            let mut wishes = self.surroundings.wishes();
            if wishes.on_save.is_some() && self.attribute.schema == 0 {
                return Err(Error::msg(
                    "on_save needs the number of its schema in the attribute: `state = 1`",
                ));
            }
            (wishes.on_session.clone(), wishes.openapi.take())
        };
        let ready = Ready {
            service,
            on_session,
            openapi,
        };
        // Only this function sets it, and the slot is locked and was not empty.
        let _ = self.ready.set(ready);
        Ok(())
    }

    /// Bits of [`abi::Instance::flags`].
    pub(super) fn flags(&self) -> u32 {
        let wishes = self.surroundings.wishes();
        let needs_secret = u32::from(wishes.needs_secret) * instance::NEEDS_SECRET;
        let checks = u32::from(wishes.on_session.is_some()) * instance::CHECKS_SESSIONS;
        needs_secret | checks
    }

    /// Looks whether the module can serve.
    pub(super) fn probe(&self) -> Result<()> {
        let steps = std::mem::take(&mut self.surroundings.wishes().on_probe);
        for step in steps {
            self.runtime.block_on(step)?;
        }
        Ok(())
    }

    /// Writes what is handed over; the schema it is in, or 0 when it is nothing.
    pub(super) fn save(&self) -> Result<u32> {
        let on_save = self.surroundings.wishes().on_save.clone();
        let Some(save) = on_save else { return Ok(0) };
        let bytes = {
            let _entered = self.runtime.enter();
            save()?
        };
        match host::state_write(self.owner, &bytes) {
            status::OK => Ok(self.attribute.schema),
            status::TOO_LARGE => Err(Error::msg(format!(
                "the state has {} bytes, more than the kernel takes: hand over less, or raise `state_bytes` in [limits]",
                bytes.len()
            ))),
            other => Err(Error::msg(format!(
                "the kernel did not take the state (status {other})"
            ))),
        }
    }

    /// What its calls to other modules go through.
    pub(super) fn switch(&self) -> &Arc<Switch> {
        &self.surroundings.calls.0
    }

    pub(super) fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.runtime.enter()
    }

    /// The service; the kernel sends no request before it is there.
    pub(super) fn service(&self) -> Option<&dyn ModuleService> {
        self.ready.get().map(|ready| &*ready.service)
    }

    pub(super) fn on_session(&self) -> Option<&SessionCheck> {
        self.ready.get()?.on_session.as_ref()
    }

    pub(super) fn openapi(&self) -> Slice {
        let document = self.ready.get().and_then(|ready| ready.openapi.as_deref());
        document.map_or(Slice::NONE, |text| Slice::new(text.as_bytes()))
    }

    /// Tells the module that no new request will come, and how long those may take that are there.
    pub(super) fn quiesce(&self, drain: Duration) {
        self.surroundings.draining.end_in(drain);
        let _entered = self.runtime.enter();
        let steps = std::mem::take(&mut self.surroundings.wishes().on_drain);
        for step in steps {
            contain(step);
        }
        self.surroundings.draining.tell();
    }

    /// Ends the module and its runtime.
    pub(super) fn end(self) {
        let Instance {
            runtime,
            surroundings,
            starting,
            ready,
            ..
        } = self;
        let (steps, rest) = {
            let mut wishes = surroundings.wishes();
            let wishes = std::mem::take(&mut *wishes);
            (wishes.on_shutdown, (wishes.on_save, wishes.on_probe))
        };
        for step in steps {
            contain(|| runtime.block_on(step));
        }
        surroundings.ended.cancel();
        {
            let _entered = runtime.enter();
            contain(|| drop(ready));
            contain(|| drop(starting));
            contain(|| drop(rest));
        }
        runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
        telemetry::uninstall();
    }
}

/// Runs one of several steps; its panic, which the hook has told, does not keep the others from running.
fn contain(step: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(step)) {
        // The payload's own drop may panic, too; it is not worth the process.
        std::mem::forget(payload);
    }
}

fn text(slice: Slice) -> String {
    // SAFETY: the kernel's slices are valid during the call that this is a part of.
    String::from_utf8_lossy(unsafe { slice.bytes() }.unwrap_or_default()).into_owned()
}
