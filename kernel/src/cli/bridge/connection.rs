//! The host's side of a bridge: reads what the kernel says, and answers it. The framing and the messages are the kernel's own.
//!
//! Decides nothing, and asks nobody for a secret.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use midplane_client::BridgeStream;
use nix::unistd::getsid;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::super::Failure;
use crate::bridge::frame::{self, Decoder, Frame};
use crate::bridge::message::{self, ErrorObject, Id, Message, Params, code};
use crate::bridge::methods::{
    CANCEL_REQUEST, Cancel, Capabilities, Client, EVENT, INITIALIZE, Initialize, LOG, LogLevel,
    READY, SECRET_GET,
};
use crate::kernel::PROTOCOL;
use crate::secrets::{MAX_SECRET_LEN, Secret, SecretError, SecretRequest};

/// Who this host is, in the kernel's log and events.
const NAME: &str = "terminal";
/// How long the kernel may take to say who it is and to answer who we are; it serves already.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers that wait for the kernel to read; it has 64 questions under way at most.
const OUTGOING_MAX: usize = 128;
/// What is read at once.
const READ_LEN: usize = 8 * 1024;
/// What an answer has besides the secret: its names, the id and the escapes of JSON.
const ANSWER_LEN_MAX: usize = 2 * MAX_SECRET_LEN + 1024;
const INITIALIZE_ID: i64 = 1;

/// What a host wants to hear.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) events: bool,
    pub(super) log: Option<LogLevel>,
}

/// What to whom.
#[derive(Debug)]
pub(super) struct Attached {
    /// What the kernel calls this host.
    pub(super) host: String,
    pub(super) kernel: Kernel,
}

/// Of `ready`, what is shown; the host key is known already.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Kernel {
    pub(super) version: String,
    pub(super) instance: String,
    pub(super) pid: u32,
    pub(super) socket: String,
}

/// What the kernel says once the host is attached.
#[derive(Debug)]
pub(super) enum Incoming {
    SecretGet { id: Id, request: SecretRequest },
    Cancelled { id: Id },
    Event(Value),
    Log(Value),
}

pub(super) struct Connection {
    reader: ReadHalf<BridgeStream>,
    decoder: Decoder,
    buffer: Zeroizing<Vec<u8>>,
    /// Of the buffer.
    unread: Range<usize>,
    /// What came before the answer to `initialize`.
    early: VecDeque<Frame>,
    outgoing: mpsc::Sender<Frame>,
    writing: JoinHandle<()>,
}

impl Connection {
    /// Says who it is and what it wants, and hears whether that is fine.
    pub(super) async fn attach(
        stream: BridgeStream,
        wanted: Wanted,
    ) -> Result<(Connection, Attached), Failure> {
        let (reader, writer) = tokio::io::split(stream);
        let (outgoing, frames) = mpsc::channel(OUTGOING_MAX);
        let mut connection = Connection {
            reader,
            decoder: Decoder::default(),
            buffer: Zeroizing::new(vec![0; READ_LEN]),
            unread: 0..0,
            early: VecDeque::new(),
            outgoing,
            writing: tokio::spawn(write(writer, frames)),
        };
        let attached = tokio::time::timeout(ATTACH_TIMEOUT, connection.introduce(wanted)).await;
        let attached = attached.map_err(|_elapsed| {
            Failure::Unavailable(format!(
                "the kernel did not open the bridge within {} s: look at its log",
                ATTACH_TIMEOUT.as_secs()
            ))
        })??;
        Ok((connection, attached))
    }

    /// The next thing to do something about; `None` when the kernel has closed the bridge. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Incoming>, Failure> {
        loop {
            let frame = match self.early.pop_front() {
                Some(frame) => frame,
                None => match self.frame().await? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if let Some(incoming) = self.understand(&frame)? {
                return Ok(Some(incoming));
            }
        }
    }

    pub(super) fn give(&self, id: &Id, secret: &Secret) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Response<'a> {
            jsonrpc: &'static str,
            id: &'a Id,
            result: Given<'a>,
        }
        #[derive(Serialize)]
        struct Given<'a> {
            secret: &'a str,
        }
        // One allocation, so that growing leaves no copy behind.
        let mut json = Zeroizing::new(Vec::with_capacity(ANSWER_LEN_MAX));
        let response = Response {
            jsonrpc: "2.0",
            id,
            result: Given {
                secret: secret.expose(),
            },
        };
        serde_json::to_writer(&mut *json, &response).expect("plain text is JSON");
        self.send(frame::encode(&json))
    }

    pub(super) fn refuse(&self, id: &Id, error: &SecretError) -> Result<(), Failure> {
        let code = match error {
            SecretError::Denied(_) | SecretError::Malformed(_) => code::DENIED,
            SecretError::NotFound(_) => code::NOT_FOUND,
            SecretError::Unavailable(_) | SecretError::Timeout => code::INTERNAL_ERROR,
        };
        let error = ErrorObject::new(code, error.to_string());
        self.send(message::response(Some(id), &Err(error)))
    }

    async fn introduce(&mut self, wanted: Wanted) -> Result<Attached, Failure> {
        #[derive(Deserialize)]
        struct Initialized {
            host: String,
        }
        let mut ready: Option<Kernel> = None;
        loop {
            let Some(frame) = self.frame().await? else {
                return Err(Failure::Unavailable(
                    "the kernel closed the bridge before it was open: look at its log".to_owned(),
                ));
            };
            match Message::parse(&frame) {
                Ok(Message::Notification { method, params }) if method == READY => {
                    ready = Some(read(params)?);
                    let introduction = introduction(wanted);
                    self.send(message::request(INITIALIZE_ID, INITIALIZE, &introduction))?;
                }
                Ok(Message::Response {
                    id: Id::Number(INITIALIZE_ID),
                    outcome,
                }) => {
                    let result = outcome.map_err(|error| Failure::Refused(error.message))?;
                    let Initialized { host } =
                        serde_json::from_str(result.get()).map_err(|_| foreign())?;
                    let kernel = ready.ok_or_else(foreign)?;
                    return Ok(Attached { host, kernel });
                }
                // It is attached before it is told so, and may be asked at once.
                _ => self.early.push_back(frame),
            }
        }
    }

    /// The next message's JSON. Cancel-safe.
    async fn frame(&mut self) -> Result<Option<Frame>, Failure> {
        loop {
            while !self.unread.is_empty() {
                let mut bytes = &self.buffer[self.unread.clone()];
                let before = bytes.len();
                let frame = self.decoder.read(&mut bytes);
                self.unread.start += before - bytes.len();
                if let Some(frame) = frame.map_err(|error| broken(&error))? {
                    return Ok(Some(frame));
                }
            }
            let length = match self.reader.read(&mut self.buffer).await {
                Ok(0) => return Ok(None),
                Ok(length) => length,
                // A kernel that was killed.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Ok(None);
                }
                Err(error) => return Err(broken(&error)),
            };
            self.unread = 0..length;
        }
    }

    fn understand(&self, frame: &[u8]) -> Result<Option<Incoming>, Failure> {
        Ok(match Message::parse(frame) {
            Ok(Message::Request { id, method, params }) if method == SECRET_GET => {
                match params.read::<Question>() {
                    Ok(question) => Some(Incoming::SecretGet {
                        id,
                        request: question.into(),
                    }),
                    Err(error) => {
                        self.send(message::response(Some(&id), &Err(error)))?;
                        None
                    }
                }
            }
            Ok(Message::Request { id, method, .. }) => {
                let message = format!("`midplane bridge` has no method {method:?}");
                let error = ErrorObject::new(code::METHOD_NOT_FOUND, message);
                self.send(message::response(Some(&id), &Err(error)))?;
                None
            }
            Ok(Message::Notification { method, params }) => match method.as_str() {
                CANCEL_REQUEST => {
                    let Cancel { id } = read(params)?;
                    Some(Incoming::Cancelled { id })
                }
                EVENT => Some(Incoming::Event(read(params)?)),
                LOG => Some(Incoming::Log(read(params)?)),
                // Of a newer kernel.
                _ => None,
            },
            Ok(Message::Response { .. } | Message::Stray) => None,
            Err(refused) => return Err(broken(&refused.error.message)),
        })
    }

    fn send(&self, frame: Frame) -> Result<(), Failure> {
        match self.outgoing.try_send(frame) {
            // The writer has ended with the connection, whose end is read soon.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Failure::Unavailable(
                "the kernel asks and does not read the answers: look at its log".to_owned(),
            )),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

async fn write(mut writer: WriteHalf<BridgeStream>, mut frames: mpsc::Receiver<Frame>) {
    while let Some(frame) = frames.recv().await {
        if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
            // Reading tells of the same end.
            return;
        }
    }
}

/// `secret/get`; members that a newer kernel adds are passed over.
#[derive(Deserialize)]
struct Question {
    secret_key_id: String,
    environment: String,
    session_id: String,
    module: Option<String>,
}

impl From<Question> for SecretRequest {
    fn from(question: Question) -> SecretRequest {
        let Question {
            secret_key_id,
            environment,
            session_id,
            module,
        } = question;
        SecretRequest {
            secret_key_id,
            environment,
            session_id,
            module,
        }
    }
}

fn introduction(wanted: Wanted) -> Initialize {
    Initialize {
        client: Client {
            name: NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // Started again in the same terminal, it is the same host, and its sessions live on.
            instance: getsid(None).ok().map(|session| format!("sid {session}")),
        },
        protocol: PROTOCOL,
        capabilities: Capabilities {
            secrets: true,
            events: wanted.events,
            log: wanted.log,
        },
    }
}

fn read<T: serde::de::DeserializeOwned>(params: Params<'_>) -> Result<T, Failure> {
    params.read().map_err(|error| broken(&error.message))
}

fn foreign() -> Failure {
    broken(&"its answer to `initialize` has another form")
}

fn broken(why: &dyn std::fmt::Display) -> Failure {
    Failure::Refused(format!(
        "the bridge to the kernel broke: {why}; is the kernel of another version? `midplane status` says which"
    ))
}
