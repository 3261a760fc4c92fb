//! One bridge from its first message to its end: reads what the host says, answers it, and sends what it wants to hear.
//!
//! What the host does costs only itself: requests under way are counted, answers that it does not read hold up its own next
//! requests and, after the write time-out, end the bridge.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use zeroize::Zeroizing;

use super::calls;
use super::frame::{Decoder, Frame, FrameError};
use super::hosts::{Attached, HOSTS_MAX, Hosts};
use super::listening::Listening;
use super::message::{self, ErrorObject, Id, Message, Params, code};
use super::methods::{
    CANCEL_REQUEST, Cancel, INITIALIZE, Initialize, Initialized, READY, Ready, SECRET_CHANGED,
    SHUTDOWN, SecretChanged, SecretsForgotten,
};
use crate::kernel::{Kernel, PROTOCOL, Stop};
use crate::problem::{Code, Problem};

/// Requests of a host that may be under way.
pub(crate) const REQUESTS_MAX: usize = 64;
/// Messages that wait for a host to read: an answer to each of its requests, as many questions, and notifications.
const OUTGOING_MAX: usize = 192;
/// What is read at once.
const READ_LEN: usize = 8 * 1024;

/// Why a bridge ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the host closed it")]
    Closed,
    #[error("the host closed it in the middle of a message")]
    CutOff,
    #[error("what the host sent cannot be read: {0}")]
    Frame(#[from] FrameError),
    #[error("the host did not read for {0:?}")]
    Stalled(Duration),
    #[error("the host speaks protocol {0}, and this kernel {PROTOCOL}")]
    Protocol(u32),
    #[error("the host did not send `initialize` within {0:?}")]
    Silent(Duration),
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the kernel ends")]
    KernelEnded,
}

/// What the writer is to do besides sending.
pub(super) enum Order {
    Listen(Listening),
}

/// Speaks to a host until one of them ends it. `initialize_within`: how long it may take to say who it is.
pub(super) async fn run(
    kernel: &Arc<Kernel>,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    initialize_within: Option<Duration>,
) -> End {
    let (outgoing, frames) = mpsc::channel(OUTGOING_MAX);
    let (orders, listening) = mpsc::channel(1);
    let mut peer = Peer {
        kernel: Arc::clone(kernel),
        outgoing,
        orders,
        attached: None,
        under_way: HashMap::new(),
        calls: JoinSet::new(),
    };
    let mut writing = std::pin::pin!(write(kernel, writer, frames, listening));
    let end = tokio::select! {
        end = peer.read(reader, initialize_within) => end,
        end = &mut writing => return end,
        () = kernel.hosts.ending.cancelled() => End::KernelEnded,
    };
    // What it was told last, such as why the bridge ends, still goes out; the channels close with the peer.
    drop(peer);
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, writing).await;
    end
}

/// How long the last messages may take: they fit into the socket's buffer unless the host does not read.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// Sends frames, and what the host listens to, in between.
async fn write(
    kernel: &Kernel,
    mut writer: impl AsyncWrite + Unpin,
    mut frames: mpsc::Receiver<Frame>,
    mut orders: mpsc::Receiver<Order>,
) -> End {
    let timeout = kernel.config.limits.write_stall_timeout;
    let mut listening = Listening::default();
    loop {
        // Each of them can be dropped while it waits without losing anything.
        let frame = tokio::select! {
            biased;
            frame = frames.recv() => match frame {
                Some(frame) => frame,
                // What has happened by now is told to the end, `kernel.draining` the last of it.
                None => match listening.next().now_or_never() {
                    Some(frame) => frame,
                    None => return End::KernelEnded,
                },
            },
            Some(Order::Listen(wanted)) = orders.recv() => {
                listening = wanted;
                continue;
            }
            frame = listening.next() => frame,
        };
        match tokio::time::timeout(timeout, writer.write_all(&frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return End::Io(error),
            Err(_elapsed) => return End::Stalled(timeout),
        }
    }
}

struct Peer {
    kernel: Arc<Kernel>,
    outgoing: mpsc::Sender<Frame>,
    orders: mpsc::Sender<Order>,
    /// Once it has said who it is.
    attached: Option<Attached>,
    under_way: HashMap<Id, AbortHandle>,
    calls: JoinSet<Outcome>,
}

type Outcome = Result<Box<RawValue>, ErrorObject>;

impl Peer {
    async fn read(
        &mut self,
        mut reader: impl AsyncRead + Unpin,
        initialize_within: Option<Duration>,
    ) -> End {
        self.send(message::notification(READY, &self.ready())).await;
        let mut decoder = Decoder::default();
        let mut buffer = Zeroizing::new([0_u8; READ_LEN]);
        let initialize_by =
            initialize_within.map(|wait| (tokio::time::Instant::now() + wait, wait));
        loop {
            let late = async {
                match initialize_by {
                    Some((deadline, wait)) if self.attached.is_none() => {
                        tokio::time::sleep_until(deadline).await;
                        wait
                    }
                    _ => std::future::pending().await,
                }
            };
            // Reading and joining can be dropped while they wait without losing anything.
            let read = tokio::select! {
                Some(ended) = self.calls.join_next_with_id() => {
                    self.answer(ended).await;
                    continue;
                }
                wait = late => return End::Silent(wait),
                read = reader.read(&mut *buffer) => read,
            };
            let mut bytes = match read {
                Ok(0) if decoder.is_between() => return End::Closed,
                Ok(0) => return End::CutOff,
                Ok(length) => &buffer[..length],
                Err(error) => return End::Io(error),
            };
            while !bytes.is_empty() {
                match decoder.read(&mut bytes) {
                    Ok(Some(frame)) => {
                        if let Err(end) = self.take(&frame).await {
                            return end;
                        }
                    }
                    Ok(None) => {}
                    Err(error) => return End::Frame(error),
                }
            }
        }
    }

    /// Answers the request whose call has ended, unless it was cancelled just now, which has been answered.
    async fn answer(&mut self, ended: Result<(task::Id, Outcome), JoinError>) {
        let (call, outcome) = match ended {
            Ok(ended) => ended,
            // The runtime tells of the panic.
            Err(error) => {
                let outcome = Err(ErrorObject::new(code::INTERNAL_ERROR, "the kernel failed"));
                (error.id(), outcome)
            }
        };
        let of_call = |under_way: &AbortHandle| under_way.id() == call;
        let id = self
            .under_way
            .iter()
            .find_map(|(id, under_way)| of_call(under_way).then(|| id.clone()));
        if let Some(id) = id {
            self.under_way.remove(&id);
            self.send(message::response(Some(&id), &outcome)).await;
        }
    }

    fn ready(&self) -> Ready<'_> {
        Ready {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION"),
            instance: self.kernel.sessions.instance(),
            pid: std::process::id(),
            socket: self.kernel.socket(),
            host_key: self.kernel.host_key.expose(),
        }
    }

    async fn take(&mut self, frame: &[u8]) -> Result<(), End> {
        match Message::parse(frame) {
            Ok(Message::Request { id, method, params }) => self.request(id, &method, params).await,
            Ok(Message::Notification { method, params }) => {
                self.notification(&method, params).await;
                Ok(())
            }
            Ok(Message::Response { id, outcome }) => {
                if let Some(attached) = &self.attached {
                    attached.host.answered(&id, outcome);
                }
                Ok(())
            }
            Ok(Message::Stray) => Ok(()),
            Err(refused) => {
                let outcome = Err(refused.error);
                self.send(message::response(refused.id.as_ref(), &outcome))
                    .await;
                Ok(())
            }
        }
    }

    async fn request(&mut self, id: Id, method: &str, params: Params<'_>) -> Result<(), End> {
        if self.under_way.contains_key(&id) {
            // Under the same id, the answer to this and to that could not be told apart.
            let error = format!("a request with the id {id} is under way already");
            let outcome = Err(ErrorObject::new(code::INVALID_REQUEST, error));
            self.send(message::response(None, &outcome)).await;
            return Ok(());
        }
        let mut end = Ok(());
        let outcome = match method {
            INITIALIZE => self.initialize(params).await.map_err(|refused| {
                end = refused.end.map_or(Ok(()), Err);
                refused.error
            }),
            _ if self.attached.is_none() => Err(ErrorObject::new(
                code::INVALID_REQUEST,
                "initialize first: {\"method\": \"initialize\", \"params\": {\"client\": {\"name\", \"version\"}, \"protocol\": 1}}",
            )),
            SECRET_CHANGED => self.secret_changed(params),
            SHUTDOWN => {
                tracing::info!(host = self.label(), "a host asks for the end");
                self.kernel.stop(Stop::Shutdown);
                result(&())
            }
            _ => match calls::request(method, params) {
                Some(Ok(request)) if self.under_way.len() < REQUESTS_MAX => {
                    let kernel = Arc::clone(&self.kernel);
                    let call = self
                        .calls
                        .spawn(async move { calls::answer(&kernel, request).await });
                    self.under_way.insert(id, call);
                    return Ok(());
                }
                Some(Ok(_over)) => Err(too_many()),
                Some(Err(error)) => Err(error),
                None => Err(ErrorObject::new(
                    code::METHOD_NOT_FOUND,
                    format!("there is no method {method:?}"),
                )),
            },
        };
        self.send(message::response(Some(&id), &outcome)).await;
        end
    }

    async fn notification(&mut self, method: &str, params: Params<'_>) {
        match method {
            CANCEL_REQUEST => {
                let Ok(Cancel { id }) = params.read::<Cancel<Id>>() else {
                    return;
                };
                if let Some(call) = self.under_way.remove(&id) {
                    call.abort();
                    let error = ErrorObject::new(code::REQUEST_CANCELLED, "cancelled");
                    self.send(message::response(Some(&id), &Err(error))).await;
                }
            }
            SECRET_CHANGED if self.attached.is_some() => {
                if let Err(error) = self.secret_changed(params) {
                    tracing::warn!(
                        host = self.label(),
                        reason = error.message,
                        "secret/changed was not understood"
                    );
                }
            }
            // Unknown ones are not to be answered (JSON-RPC 2.0, "Notification").
            _ => tracing::debug!(
                host = self.label(),
                method,
                "a notification that says nothing here"
            ),
        }
    }

    async fn initialize(&mut self, params: Params<'_>) -> Result<Box<RawValue>, Refused> {
        if self.attached.is_some() {
            return Err(ErrorObject::new(code::INVALID_REQUEST, "already initialized").into());
        }
        let protocol = params.read::<ProtocolOnly>()?.protocol;
        if protocol != PROTOCOL {
            let older = if protocol < PROTOCOL {
                "host"
            } else {
                "kernel"
            };
            let message = format!(
                "this kernel (midplane {}) speaks protocol {PROTOCOL}, and the host protocol {protocol}: update the {older}",
                env!("CARGO_PKG_VERSION")
            );
            let data = json!({ "code": "protocol_mismatch", "kernel": PROTOCOL, "host": protocol });
            return Err(Refused {
                error: ErrorObject::new(code::PROTOCOL_MISMATCH, message).with_data(data),
                end: Some(End::Protocol(protocol)),
            });
        }
        let initialize: Initialize = params.read()?;
        initialize.check()?;
        let attached =
            Hosts::attach(&self.kernel, &initialize, self.outgoing.clone()).map_err(|_full| {
                let detail = format!("{HOSTS_MAX} hosts are attached, as many as there may be");
                calls::problem(Problem::new(Code::HostLimit, detail))
            })?;
        let listening = Listening::to(&self.kernel, &initialize.capabilities);
        let initialized = result(&Initialized {
            protocol: PROTOCOL,
            host: &attached.host.label,
        });
        self.attached = Some(attached);
        // It has room: this is the only order. A writer that has ended ends the bridge.
        let _ = self.orders.send(Order::Listen(listening)).await;
        Ok(initialized?)
    }

    fn secret_changed(&self, params: Params<'_>) -> Outcome {
        let SecretChanged { secret_key_id } = params.read()?;
        let sessions = self.kernel.forget_secret(&secret_key_id);
        tracing::info!(
            host = self.label(),
            secret_key_id,
            sessions,
            "a secret changed"
        );
        result(&SecretsForgotten { sessions })
    }

    fn label(&self) -> &str {
        self.attached
            .as_ref()
            .map_or("-", |attached| &attached.host.label)
    }

    /// Waits while the host does not read; the writer's time-out ends that.
    async fn send(&self, frame: Frame) {
        // A writer that has ended ends the bridge.
        let _ = self.outgoing.send(frame).await;
    }
}

/// The one member that is read before the others, so that a newer host is told of its number and not of its new members.
#[derive(serde::Deserialize)]
struct ProtocolOnly {
    protocol: u32,
}

struct Refused {
    error: ErrorObject,
    /// Whether the bridge ends with it.
    end: Option<End>,
}

impl From<ErrorObject> for Refused {
    fn from(error: ErrorObject) -> Refused {
        Refused { error, end: None }
    }
}

fn result(value: &impl Serialize) -> Outcome {
    Ok(to_raw_value(value).expect("the bridge's own values are plain JSON"))
}

fn too_many() -> ErrorObject {
    calls::problem(Problem::new(
        Code::TooManyRequests,
        format!(
            "{REQUESTS_MAX} requests are under way, as many as there may be: wait for an answer"
        ),
    ))
}
