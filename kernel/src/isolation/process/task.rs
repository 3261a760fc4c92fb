//! A request under way in a module process: what the executor polls in the kernel.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use midplane_abi::{Request, why};

use super::socket::Progress;
use super::{Process, lanes};
use crate::isolation::lane::Lane;
use crate::isolation::wire::{
    Begin, BodyEnd, Field, Offer, REQUEST_FRAME_LEN_MAX, SessionView, ToModule,
};
use crate::modules::exchange::socket::Socket;
use crate::modules::exchange::{self, Exchange, InputEnd, Lease, OUTPUT_WINDOW_LEN, Refresh};
use crate::modules::generation::Pin;
use crate::modules::instance::{Outcome, RequestHead};
use crate::secrets::Secret;
use crate::session::Session;
use crate::workers;

/// Room is told in pieces of this size, so that a stream of small events costs nothing on the way back.
const CREDIT_LEN_MIN: usize = OUTPUT_WINDOW_LEN / 2;

pub(crate) struct Task {
    pin: Pin,
    process: Arc<Process>,
    lane: usize,
    request: Request,
    /// Of the answer's bytes, how many the other process knows to be taken.
    credited: usize,
    /// The end of the body was told.
    body_ended: bool,
    pub(super) socket: Progress,
    /// The process has finished with it, or was told to.
    over: bool,
}

impl Task {
    pub(crate) fn begin(
        pin: Pin,
        process: Arc<Process>,
        lease: &Lease,
        head: &RequestHead<'_>,
    ) -> Result<Task, Outcome> {
        let secret = head
            .session
            .and_then(|(session, _)| granted_secret(&pin, session));
        let session = head
            .session
            .map(|(session, expires_at)| view(session, expires_at, secret.as_ref()));
        let mut exchange = lease.lock();
        exchange.input.ahead = head.content_length != Some(0);
        let offer = exchange.socket.as_ref().map(|socket| Offer {
            protocols: socket
                .protocols()
                .iter()
                .map(|value| Field(value.as_bytes()))
                .collect(),
            message_len_max: socket.message_len_max(),
        });
        let begin = ToModule::Begin(Begin {
            request: lease.handle().0,
            method: head.parts.method.as_str(),
            path: head.path,
            query: head.parts.uri.query(),
            headers: head
                .parts
                .headers
                .iter()
                .filter(|(name, _value)| *name != AUTHORIZATION)
                .map(|(name, value)| (name.as_str(), Field(value.as_bytes())))
                .collect(),
            request_id: head.request_id,
            session,
            content_length: head.content_length,
            offer,
            caller: head
                .caller
                .map(|caller| (&*caller.module, caller.generation)),
        });
        let mut task = send(pin, process, lease, &begin, secret.is_some())?;
        if let Some((session, _)) = head.session {
            task.take_back(session, secret.as_ref());
        }
        // Where there is none, the head has said so.
        task.body_ended = head.content_length == Some(0);
        Ok(task)
    }

    pub(crate) fn check_session(
        pin: Pin,
        process: Arc<Process>,
        lease: &Lease,
        request_id: &str,
        session: &Session,
        expires_at: u64,
    ) -> Result<Task, Outcome> {
        let secret = granted_secret(&pin, session);
        let check = ToModule::Check {
            request: lease.handle().0,
            request_id,
            session: view(session, expires_at, secret.as_ref()),
        };
        let task = send(pin, process, lease, &check, secret.is_some())?;
        task.take_back(session, secret.as_ref());
        Ok(task)
    }

    pub(crate) fn set_streaming(&mut self) {
        self.pin.set_streaming();
    }

    /// Moves what was put down for the module over the lane, and looks at how the task has ended if it has.
    pub(crate) fn poll(&mut self, why: u32) -> Outcome {
        if why == why::CANCEL {
            self.cancel();
            return Outcome::Ready;
        }
        let Some(mut exchange) = exchange::find(self.request) else {
            return Outcome::Ready;
        };
        if let Some(outcome) = exchange.finished.take() {
            self.over = true;
            return outcome;
        }
        self.queue_body(&mut exchange);
        self.queue_messages(&mut exchange);
        self.queue_credit(&exchange);
        self.queue_refreshed(&mut exchange);
        drop(exchange);
        self.lane().flush();
        Outcome::Pending
    }

    fn queue_body(&mut self, exchange: &mut Exchange) {
        let request = self.request.0;
        while let Some(chunk) = exchange.input.chunks.pop_front() {
            exchange.input.len -= chunk.len();
            for bytes in chunk.chunks(OUTPUT_WINDOW_LEN) {
                self.queue(&ToModule::Body { request, bytes });
            }
        }
        let end = match exchange.input.end {
            InputEnd::Open => return,
            InputEnd::Whole => BodyEnd::Whole,
            InputEnd::TooLarge => BodyEnd::TooLarge,
            InputEnd::Disconnected => BodyEnd::Disconnected,
        };
        if !std::mem::replace(&mut self.body_ended, true) {
            self.queue(&ToModule::BodyEnd { request, end });
        }
    }

    fn queue_credit(&mut self, exchange: &Exchange) {
        let output = &exchange.output;
        let waits = |socket: &Socket| !socket.is_taken();
        if exchange.socket.as_deref().is_some_and(waits) {
            return;
        }
        let taken = output.received - output.bytes.len().min(output.received);
        let bytes = taken - self.credited;
        if bytes >= CREDIT_LEN_MIN {
            self.credited = taken;
            let request = self.request.0;
            self.queue(&ToModule::Credit { request, bytes });
        }
    }

    fn queue_refreshed(&self, exchange: &mut Exchange) {
        if !matches!(exchange.refresh, Refresh::Done(_)) {
            return;
        }
        let Refresh::Done(outcome) = std::mem::take(&mut exchange.refresh) else {
            return;
        };
        let session = exchange
            .context
            .as_ref()
            .and_then(|context| context.session.as_ref());
        let secret = session.and_then(|session| session.secret());
        let reason = match &outcome {
            Ok(()) if session.is_some_and(|session| !session.is_revoked()) => {
                "the secret changed again; try again".to_owned()
            }
            Ok(()) => "the session has ended".to_owned(),
            Err(error) => error.to_string(),
        };
        let refreshed = ToModule::Refreshed {
            request: self.request.0,
            outcome: match (&outcome, &secret) {
                (Ok(()), Some(secret)) => Ok(secret.expose()),
                _ => Err(&reason),
            },
        };
        // As in `queue`.
        let _ = self.lane().queue(&refreshed, true);
        if let Some(session) = session {
            self.take_back(session, secret.as_ref());
        }
    }

    /// Call it when `secret` has been queued: if it changed while it was on its way, the other process may have been told so
    /// before it got it.
    fn take_back(&self, session: &Session, secret: Option<&Arc<Secret>>) {
        let Some(secret) = secret else { return };
        let is_still_so = session
            .secret()
            .is_some_and(|now| Arc::ptr_eq(&now, secret));
        if !is_still_so {
            self.queue(&ToModule::Forget {
                secret_key_id: session.secret_key_id().unwrap_or_default(),
            });
        }
    }

    fn cancel(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            let request = self.request.0;
            let _ = self.lane().send(&ToModule::Cancel { request });
        }
    }

    pub(super) fn request(&self) -> Request {
        self.request
    }

    pub(super) fn queue(&self, message: &ToModule<'_>) {
        // What cannot be sent is for a process that has ended, which ends the task too.
        let _ = self.lane().queue(message, false);
    }

    fn lane(&self) -> &Lane {
        &self.process.lanes[self.lane].lane
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let finished =
            exchange::find(self.request).is_some_and(|exchange| exchange.finished.is_some());
        if !finished {
            self.cancel();
        }
        // Also when the end was told on another lane than its own.
        self.process.lanes[self.lane].forget(self.request);
    }
}

fn send(
    pin: Pin,
    process: Arc<Process>,
    lease: &Lease,
    message: &ToModule<'_>,
    secret: bool,
) -> Result<Task, Outcome> {
    let number = workers::own_number().unwrap_or_default() % process.request_lanes();
    let lane = &process.lanes[number];
    if let Some(socket) = lane.lane.claim() {
        tokio::spawn(lanes::serve(Arc::clone(&process), number, socket));
    }
    lane.open(lease.handle()).map_err(Outcome::Crashed)?;
    if lane.lane.queue(message, secret).is_err() {
        if !lane.lane.is_closed() {
            lane.forget(lease.handle());
            return Err(Outcome::Failed(format!(
                "its head does not fit into the {REQUEST_FRAME_LEN_MAX} bytes that a lane's message may have"
            )));
        }
        // A lane that is closed ends what is open on it.
        tracing::debug!("a request was not told to its module's process");
    }
    // Not flushed: the first poll follows at once, and what it sends goes in the same write.
    process.note_busy();
    Ok(Task {
        pin,
        lane: number,
        request: lease.handle(),
        process,
        credited: 0,
        body_ended: false,
        socket: Progress::default(),
        over: false,
    })
}

/// The session's secret, for a module that may have it.
fn granted_secret(pin: &Pin, session: &Session) -> Option<Arc<Secret>> {
    if pin.generation().grants.secrets {
        session.secret()
    } else {
        None
    }
}

fn view<'a>(
    session: &'a Session,
    expires_at: u64,
    secret: Option<&'a Arc<Secret>>,
) -> SessionView<'a> {
    SessionView {
        id: session.id(),
        user: session.user(),
        scope: session.scope(),
        metadata: session.metadata_json(),
        environment: session.environment(),
        secret_key_id: session.secret_key_id(),
        secret: secret.map(|secret| secret.expose()),
        expires_at,
    }
}
