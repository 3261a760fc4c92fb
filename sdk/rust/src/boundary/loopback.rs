//! Stands in for the kernel in unit tests: the same tables and trampolines, without a process, a socket or a token.
//!
//! Here stands what a test may do with a module. `load` makes it, `drive` polls its tasks, `exchange` is what both sides touch of one
//! request, `host` are the functions that the module calls, `calls` its requests to other modules, `metrics` what it counts, `socket`
//! its WebSockets.

mod calls;
mod drive;
mod exchange;
mod host;
mod load;
mod metrics;
mod socket;

use std::ffi::c_void;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use midplane_abi::{self as abi, Header, Request, Slice, instance, status};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::testing::SessionBuilder;
pub(crate) use calls::Answerer;
pub(super) use drive::Frames;
use drive::{drive, feed};
use exchange::Call;
use load::DataDir;
pub(crate) use load::load;
pub(crate) use socket::ClientSocket;
use socket::Socket;

/// A loaded instance.
pub(crate) struct Loaded {
    table: abi::Module,
    instance: *mut c_void,
    flags: u32,
    owner: u64,
    _data_dir: DataDir,
}

// SAFETY: the ABI allows every function of the table on any thread; `fini` is called once, in `drop`.
unsafe impl Send for Loaded {}
// SAFETY: as above; `poll` and `drop_task` are kept serial for each task by `drive`.
unsafe impl Sync for Loaded {}

impl Loaded {
    pub(crate) fn needs_secret(&self) -> bool {
        self.flags & instance::NEEDS_SECRET != 0
    }

    /// See [`metrics::number`].
    pub(crate) fn metric(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        for_sessions: bool,
    ) -> Option<f64> {
        metrics::number(self.owner, name, labels, for_sessions)
    }

    pub(crate) fn openapi(&self) -> Option<String> {
        let openapi = self.table.openapi?;
        // SAFETY: the instance lives; the slice is valid until `fini`.
        let bytes = unsafe { openapi(self.instance).bytes() }?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// What the module hands over.
    pub(crate) fn save(&self) -> Result<Option<Vec<u8>>> {
        let save = self.table.save.expect("the entry fills the table");
        let mut schema = 0;
        host::take_saved();
        // SAFETY: the instance lives and the place is ours.
        match unsafe { save(self.instance, &raw mut schema) } {
            status::OK if schema == 0 => Ok(None),
            status::OK => Ok(Some(host::take_saved())),
            _ => Err(Error::msg(host::take_failure())),
        }
    }

    pub(crate) fn quiesce(&self, drain_ms: u64) {
        if let Some(quiesce) = self.table.quiesce {
            // SAFETY: the instance lives.
            unsafe { quiesce(self.instance, drain_ms) }
        }
    }

    /// Asks the module whether it accepts the session.
    pub(crate) async fn check(self: &Arc<Loaded>, session: SessionBuilder) -> Result<()> {
        if self.flags & instance::CHECKS_SESSIONS == 0 {
            return Ok(());
        }
        let on_session = self
            .table
            .on_session
            .ok_or_else(|| Error::msg("the module has no on_session"))?;
        let (request, call) = exchange::register(&session);
        let task = {
            let mut task = abi::Task(0);
            let view = session.view();
            // SAFETY: the instance lives and the view outlives the call.
            let answer = unsafe {
                on_session(
                    self.instance,
                    request,
                    &raw const view.session,
                    &raw mut task,
                )
            };
            (answer == status::OK)
                .then_some(task)
                .ok_or_else(|| Error::msg(host::take_failure()))?
        };
        drive(Arc::clone(self), request, call, task, None).await
    }

    /// Sends one request, of the module `caller` or a client; answers when the response's head is there.
    pub(crate) async fn call(
        self: &Arc<Loaded>,
        caller: Option<String>,
        session: Option<SessionBuilder>,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        let builder = session.clone().unwrap_or_default();
        let (handle, call) = exchange::register(&builder);
        match self.start(caller, session, request, handle, call).await {
            Ok((status, headers, mut frames)) => {
                let stream = stream_of(move |cx| frames.poll_recv(cx));
                let mut response = http::Response::new(Body::from_stream(stream));
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                response
            }
            Err(reason) => failed(&reason),
        }
    }

    /// Opens a WebSocket, as the kernel does with a valid handshake.
    pub(crate) async fn websocket(
        self: &Arc<Loaded>,
        session: Option<SessionBuilder>,
        request: http::Request<Body>,
    ) -> Result<ClientSocket> {
        let builder = session.clone().unwrap_or_default();
        let (handle, call) = exchange::register(&builder);
        call.state().socket = Some(Socket::default());
        match self
            .start(None, session, request, handle, Arc::clone(&call))
            .await
        {
            Ok((StatusCode::SWITCHING_PROTOCOLS, headers, frames)) => {
                Ok(ClientSocket::new(call, headers, frames))
            }
            Ok((status, ..)) => Err(Error::msg(format!(
                "the module declined the handshake with {status}"
            ))),
            Err(reason) => Err(Error::msg(reason)),
        }
    }

    /// Hands a request over, and waits for the answer's head.
    async fn start(
        self: &Arc<Loaded>,
        caller: Option<String>,
        session: Option<SessionBuilder>,
        request: http::Request<Body>,
        handle: Request,
        call: Arc<Call>,
    ) -> std::result::Result<(StatusCode, HeaderMap, Frames), String> {
        let (head, body) = request.into_parts();
        let builder = session.clone().unwrap_or_default();
        let websocket = call.state().socket.is_some();
        let ends = http_body::Body::is_end_stream(&body);
        let length = http_body::Body::size_hint(&body).exact();
        let pump = tokio::spawn(feed(Arc::clone(&call), body));
        let begun = {
            let headers: Vec<Header> = head
                .headers
                .iter()
                .map(|(name, value)| Header {
                    name: Slice::new(name.as_str().as_bytes()),
                    value: Slice::new(value.as_bytes()),
                })
                .collect();
            let view = builder.view();
            let mut caller_view = abi::Caller {
                size: u32::try_from(size_of::<abi::Caller>()).expect("a small struct"),
                flags: 0,
                module: Slice::NONE,
                generation: 1,
            };
            let content_length = if ends {
                0
            } else {
                length
                    .and_then(|length| i64::try_from(length).ok())
                    .unwrap_or(-1)
            };
            let raw = abi::RequestHead {
                size: u32::try_from(size_of::<abi::RequestHead>()).expect("a small struct"),
                flags: u32::from(websocket) * abi::head::WEBSOCKET,
                method: Slice::new(head.method.as_str().as_bytes()),
                path: Slice::new(head.uri.path().as_bytes()),
                query: head
                    .uri
                    .query()
                    .map_or(Slice::NONE, |query| Slice::new(query.as_bytes())),
                headers: headers.as_ptr(),
                headers_len: headers.len(),
                request_id: Slice::new(b"req_test"),
                session: if session.is_some() {
                    &raw const view.session
                } else {
                    std::ptr::null()
                },
                content_length,
                caller: match &caller {
                    Some(name) => {
                        caller_view.module = Slice::new(name.as_bytes());
                        &raw const caller_view
                    }
                    None => std::ptr::null(),
                },
            };
            let mut task = abi::Task(0);
            let begin = self.table.begin.expect("the entry filled it");
            // SAFETY: the instance lives and everything borrowed outlives the call.
            let answer = unsafe { begin(self.instance, handle, &raw const raw, &raw mut task) };
            (answer == status::OK).then_some(task)
        };
        let Some(task) = begun else {
            pump.abort();
            return Err(host::take_failure());
        };
        let (head_here, head) = oneshot::channel();
        let (frames, frames_in) = mpsc::channel::<std::result::Result<Bytes, String>>(1);
        let loaded = Arc::clone(self);
        tokio::spawn(async move {
            // A failure reaches the response through the channels.
            let _ = drive(loaded, handle, call, task, Some((head_here, frames))).await;
            pump.abort();
        });
        match head.await {
            Ok(Ok((status, headers))) => Ok((status, headers, frames_in)),
            Ok(Err(reason)) => Err(reason),
            Err(_dropped) => Err("the task ended without a response".to_owned()),
        }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if let Some(fini) = self.table.fini {
            let instance = self.instance as usize;
            let finished = std::thread::spawn(move || {
                // SAFETY: no call runs any more, since each holds an `Arc` of this.
                unsafe { fini(instance as *mut c_void) }
            });
            // A panic in `fini` is caught inside it.
            let _ = finished.join();
        }
        calls::unregister(self.owner);
        metrics::unregister(self.owner);
    }
}

fn failed(reason: &str) -> http::Response<Body> {
    let mut response = http::Response::new(Body::from(format!("module_failed: {reason}")));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

pub(super) fn stream_of<T>(
    poll: impl FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin,
) -> impl futures_core::Stream<Item = T> {
    struct PollFn<F>(F);
    impl<T, F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin>
        futures_core::Stream for PollFn<F>
    {
        type Item = T;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<T>> {
            (self.0)(cx)
        }
    }
    PollFn(poll)
}
