//! One attached host, as the kernel asks it: requests out, answers in, each with a deadline.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

use super::frame::Frame;
use super::message::{self, ErrorObject, Id, code};
use super::methods::{CANCEL_REQUEST, Cancel, SECRET_GET, SecretGet, SecretResult};
use crate::secrets::{Secret, SecretError, SecretRequest};

/// How long a host may take to give a secret: it reads a store on this machine, and a person who creates a session waits.
pub(crate) const SECRET_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests that wait for one host. The broker asks once for each key and environment, so that this many are a mistake.
pub(crate) const REQUESTS_MAX: usize = 64;
/// Of what a host says to a person.
const REASON_LEN_MAX: usize = 1024;

/// An attached host.
pub(crate) struct Host {
    /// The same for a host that attaches again.
    pub(super) identity: Arc<str>,
    /// `vscode#1`.
    pub(super) label: String,
    pub(super) generation: u64,
    pub(super) gives_secrets: bool,
    outgoing: mpsc::Sender<Frame>,
    /// `None` when it has gone.
    waiting: Mutex<Option<HashMap<i64, oneshot::Sender<Answer>>>>,
    next_id: AtomicI64,
    /// It did not answer the last time.
    silent: AtomicBool,
    /// It has given a key, now or when it was attached before.
    gave: AtomicBool,
}

type Answer = Result<Secret, SecretError>;

/// Why a host gave no secret.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another one may have it.
    Here(SecretError),
    Finally(SecretError),
}

impl Host {
    pub(super) fn new(
        identity: Arc<str>,
        label: String,
        generation: u64,
        gives_secrets: bool,
        outgoing: mpsc::Sender<Frame>,
    ) -> Host {
        Host {
            identity,
            label,
            generation,
            gives_secrets,
            outgoing,
            waiting: Mutex::new(Some(HashMap::new())),
            next_id: AtomicI64::new(1),
            silent: AtomicBool::new(false),
            gave: AtomicBool::new(false),
        }
    }

    /// Whether sessions may have keys of its.
    pub(super) fn gave(&self) -> bool {
        self.gave.load(Ordering::Acquire)
    }

    pub(super) fn set_gave(&self) {
        self.gave.store(true, Ordering::Release);
    }

    /// Whether it left the last question unanswered; such are asked last.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Asks it. Dropping the future takes the question back.
    pub(super) async fn secret(&self, request: &SecretRequest) -> Result<Arc<Secret>, Refused> {
        let (sender, answer) = oneshot::channel();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        {
            let mut waiting = self.waiting();
            match &mut *waiting {
                None => return Err(Refused::Here(gone(&self.label))),
                Some(waiting) if waiting.len() >= REQUESTS_MAX => {
                    return Err(Refused::Here(busy(&self.label)));
                }
                Some(waiting) => waiting.insert(id, sender),
            };
        }
        let mut asked = Asked {
            host: self,
            id,
            over: false,
        };
        let question = SecretGet {
            secret_key_id: &request.secret_key_id,
            environment: &request.environment,
            session_id: &request.session_id,
            module: request.module.as_deref(),
        };
        let question = message::request(id, SECRET_GET, &question);
        if let Err(error) = self.outgoing.try_send(question) {
            asked.over = true;
            return Err(Refused::Here(match error {
                TrySendError::Full(_) => busy(&self.label),
                TrySendError::Closed(_) => gone(&self.label),
            }));
        }
        match tokio::time::timeout(SECRET_TIMEOUT, answer).await {
            Err(_elapsed) => {
                self.silent.store(true, Ordering::Relaxed);
                tracing::warn!(host = self.label, "a host did not answer in time");
                Err(Refused::Here(SecretError::Timeout))
            }
            Ok(Err(_gone)) => {
                asked.over = true;
                Err(Refused::Here(gone(&self.label)))
            }
            Ok(Ok(answer)) => {
                asked.over = true;
                self.silent.store(false, Ordering::Relaxed);
                match answer {
                    Ok(secret) => Ok(Arc::new(secret.given_by(Arc::clone(&self.identity)))),
                    Err(error @ (SecretError::Denied(_) | SecretError::Malformed(_))) => {
                        Err(Refused::Finally(error))
                    }
                    Err(error) => Err(Refused::Here(error)),
                }
            }
        }
    }

    /// Its answer to something; an answer that nobody waits for is none.
    pub(super) fn answered(&self, id: &Id, outcome: Result<&RawValue, ErrorObject>) {
        let Id::Number(id) = id else { return };
        let waiting = self.waiting().as_mut().and_then(|all| all.remove(id));
        let Some(waiting) = waiting else {
            tracing::debug!(host = self.label, id, "an answer that nobody waits for");
            return;
        };
        if outcome.is_ok() {
            self.set_gave();
        }
        // Whoever asked may have left just now.
        let _ = waiting.send(outcome.map_or_else(|error| Err(refusal(error)), secret_of));
    }

    /// It has gone: nobody waits for it any more.
    pub(super) fn abandon(&self) {
        *self.waiting() = None;
    }

    fn waiting(&self) -> MutexGuard<'_, Option<HashMap<i64, oneshot::Sender<Answer>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is taken back when nobody waits for its answer.
struct Asked<'a> {
    host: &'a Host,
    id: i64,
    over: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut waiting = self.host.waiting();
        let waited = waiting
            .as_mut()
            .is_some_and(|waiting| waiting.remove(&self.id).is_some());
        drop(waiting);
        if waited && !self.over {
            let cancel = message::notification(CANCEL_REQUEST, &Cancel { id: self.id });
            // A host that takes nothing will not miss it.
            let _ = self.host.outgoing.try_send(cancel);
        }
    }
}

fn secret_of(result: &RawValue) -> Answer {
    let parsed: Result<SecretResult, _> = serde_json::from_str(result.get());
    // serde's text could show what it read.
    let mut result = parsed.map_err(|_| {
        SecretError::Malformed("the host's answer is not {\"secret\": \"…\"}".to_owned())
    })?;
    Ok(Secret::parse(std::mem::take(&mut *result.secret))?)
}

fn refusal(error: ErrorObject) -> SecretError {
    let mut reason = error.message;
    reason.truncate(reason.floor_char_boundary(REASON_LEN_MAX));
    if reason.chars().any(char::is_control) {
        reason = reason.escape_debug().to_string();
    }
    match error.code {
        code::DENIED => SecretError::Denied(or(reason, "the host does not give this secret")),
        code::NOT_FOUND => SecretError::NotFound(or(reason, "the host has no such secret")),
        _ => SecretError::Unavailable(format!("the host could not give the secret: {reason}")),
    }
}

fn or(reason: String, otherwise: &str) -> String {
    if reason.is_empty() {
        otherwise.to_owned()
    } else {
        reason
    }
}

fn gone(label: &str) -> SecretError {
    SecretError::Unavailable(format!("the host {label} has gone; try again"))
}

fn busy(label: &str) -> SecretError {
    SecretError::Unavailable(format!(
        "the host {label} has {REQUESTS_MAX} questions to answer already; try again"
    ))
}
