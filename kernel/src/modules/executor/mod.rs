//! Polls a module's task inline, on the worker that has the connection, as the HTTP response that it becomes.
//!
//! [`call`] is the future of a response's head; a body that is not whole by then goes on as a [`ModuleBody`], which polls the
//! same task. Nothing is polled while the client does not read, and the client's body is not read while the module does
//! not: that is the whole back-pressure. A WebSocket goes on as an [`OpenSocket`], once the connection has been upgraded.

mod body;
mod call;
mod socket;
mod upload;

pub(crate) use body::{Cut, ModuleBody};
use call::Answered;
pub(crate) use call::{Call, Fault, Purpose, Turn};
pub(crate) use socket::{Handshake, OpenSocket, SocketLimits};
pub(crate) use upload::{RequestBody, Upload};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response};

use super::calls::{Caller, Carrier};
use super::exchange::{self, InputEnd, Lease};
use super::generation::{self, Generation};
use super::instance::{RequestHead, Task};
use crate::clock;
use crate::problem::{Code, Problem};
use crate::secrets::SecretError;
use crate::session::Session;

/// The session a request acts for.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) session: Arc<Session>,
    /// Unix seconds: when the token that came with the request ends.
    pub(crate) expires_at: u64,
    /// How long a stream may outlive the token.
    pub(crate) stream_grace: Duration,
}

impl Actor {
    /// How long a stream may go on from now.
    fn stream_left(&self) -> Duration {
        let end = Duration::from_secs(self.expires_at) + self.stream_grace;
        end.saturating_sub(Duration::from_secs(clock::unix_now()))
    }
}

/// Asks the source of a session's secret again and gives the session what it answers.
pub(crate) type RefreshSecret = Arc<
    dyn Fn(Arc<Session>, &str) -> Pin<Box<dyn Future<Output = Result<(), SecretError>> + Send>>
        + Send
        + Sync,
>;

/// What a call needs of its surroundings.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) body_stall_timeout: Duration,
    pub(crate) sockets: SocketLimits,
    pub(crate) refresh: RefreshSecret,
    pub(crate) calls: Arc<dyn Carrier>,
}

/// A request on its way into a module.
pub(crate) struct Incipient<'a> {
    pub(crate) pin: generation::Pin,
    pub(crate) parts: &'a Parts,
    /// Below the module's prefix.
    pub(crate) path: &'a str,
    pub(crate) request_id: HeaderValue,
    pub(crate) actor: Option<Actor>,
    /// The module that makes it; `None`: a client does.
    pub(crate) caller: Option<Caller>,
    /// How many calls between modules led to it.
    pub(crate) depth: u8,
    /// How many bytes the body has, if that is known.
    pub(crate) content_length: Option<u64>,
    pub(crate) body: RequestBody,
    /// There when it is a WebSocket's handshake.
    pub(crate) offer: Option<Offer>,
}

/// What a WebSocket's handshake offers the module.
pub(crate) struct Offer {
    /// Values of `Sec-WebSocket-Protocol`.
    pub(crate) protocols: Vec<HeaderValue>,
    pub(crate) message_len_max: usize,
}

/// A module's response: its body is whole, or still being made, or it opens a WebSocket.
pub(crate) enum Answer {
    Whole(Bytes),
    Socket(Box<OpenSocket>),
    Streaming(Box<ModuleBody>),
}

/// Hands a request to a module and answers with the response's head; the body follows as the module makes it.
///
/// Dropping the future or the body is the client leaving.
pub(crate) async fn call(
    mut incipient: Incipient<'_>,
    handshake: Option<Handshake>,
    surroundings: &Surroundings,
) -> Result<Response<Answer>, Problem> {
    let limit = incipient.pin.generation().body_limit(incipient.path);
    if incipient
        .content_length
        .is_some_and(|length| length > limit)
    {
        return Err(too_large(limit));
    }
    incipient.offer = handshake.as_ref().map(|handshake| Offer {
        protocols: handshake.protocols.clone(),
        message_len_max: surroundings.sockets.message_len_max,
    });
    let generation = Arc::clone(incipient.pin.generation());
    let mut call = match begin(incipient, limit, surroundings.clone())? {
        Ok(call) => call,
        Err(fault) => {
            let problem = fault.problem();
            generation.stats.count_status(problem.status());
            return Err(problem);
        }
    };
    match std::future::poll_fn(|cx| call.poll_head(cx)).await? {
        Answered::Response(head, whole) => Ok(call.respond(head, whole)),
        Answered::WebSocket(accepted) => {
            let handshake = handshake.expect("only a handshake can be accepted");
            Ok(socket::open(
                call,
                handshake,
                accepted,
                surroundings.sockets,
            ))
        }
    }
}

/// Hands a request to a module, for whoever passes its answer on turn by turn. `Err(_)`: every place is taken; `Ok(Err(_))`:
/// the module did not take it.
pub(crate) fn begin(
    incipient: Incipient<'_>,
    body_limit: u64,
    surroundings: Surroundings,
) -> Result<Result<Call, Fault>, Problem> {
    let Incipient {
        pin,
        parts,
        path,
        request_id,
        actor,
        caller,
        depth,
        content_length,
        body,
        offer,
    } = incipient;
    let lease = lease(
        &pin,
        actor.as_ref().map(|actor| &actor.session),
        &request_id,
        (parts.method.as_str(), path),
    )?;
    if content_length == Some(0) {
        lease.lock().input.end = InputEnd::Whole;
    }
    let websocket = offer.is_some();
    if let Some(offer) = offer {
        let socket = exchange::socket::Socket::offered(offer.protocols, offer.message_len_max);
        lease.lock().socket = Some(Box::new(socket));
    }
    let head = RequestHead {
        parts,
        path,
        request_id: request_id.to_str().unwrap_or_default(),
        session: actor
            .as_ref()
            .map(|actor| (&*actor.session, actor.expires_at)),
        content_length,
        websocket,
        caller: caller.as_ref(),
    };
    let begun = Task::begin(pin, &lease, &head);
    let call = Call::new(
        begun,
        lease,
        actor,
        surroundings,
        &request_id,
        Purpose::Request,
    );
    Ok(call.map(|mut call| {
        call.depth = depth;
        call.input = (content_length != Some(0)).then(|| Upload::new(body, body_limit));
        call
    }))
}

/// Asks a module whether it accepts a session that is about to be issued.
///
/// # Errors
/// The module's reason, as `Err(Ok(reason))`, or that it failed, as `Err(Err(problem))`.
pub(crate) async fn check_session(
    pin: generation::Pin,
    actor: Actor,
    request_id: HeaderValue,
    surroundings: &Surroundings,
) -> Result<(), Result<String, Problem>> {
    let mut call = begin_check(pin, actor, &request_id, surroundings.clone())
        .map_err(Err)?
        .map_err(|fault| Err(fault.problem()))?;
    match std::future::poll_fn(|cx| call.poll_turn(cx)).await {
        Turn::Finished => Ok(()),
        Turn::Fault(Fault::Failed(reason)) => Err(Ok(reason)),
        Turn::Fault(fault) => Err(Err(fault.problem())),
        // A check has nobody to answer.
        Turn::Head(..) | Turn::Accepted(_) | Turn::Bytes(_) | Turn::End(_) => Err(Err(
            Fault::Failed("it answered a check".to_owned()).problem(),
        )),
    }
}

/// As [`begin`], for a session that is about to be issued.
pub(crate) fn begin_check(
    pin: generation::Pin,
    actor: Actor,
    request_id: &HeaderValue,
    surroundings: Surroundings,
) -> Result<Result<Call, Fault>, Problem> {
    let lease = lease(&pin, Some(&actor.session), request_id, ("session", "check"))?;
    let begun = Task::check_session(
        pin,
        &lease,
        request_id.to_str().unwrap_or_default(),
        &actor.session,
        actor.expires_at,
    );
    Ok(Call::new(
        begun,
        lease,
        Some(actor),
        surroundings,
        request_id,
        Purpose::SessionCheck,
    ))
}

fn lease(
    pin: &generation::Pin,
    session: Option<&Arc<Session>>,
    request_id: &HeaderValue,
    (method, path): (&str, &str),
) -> Result<Lease, Problem> {
    let context = exchange::Context {
        generation: Arc::clone(pin.generation()),
        session: session.cloned(),
        request_id: request_id.clone(),
    };
    Lease::new(context, method, path).ok_or_else(overloaded)
}

/// The answer to a request that finds every place taken.
pub(crate) fn overloaded() -> Problem {
    Problem::new(
        Code::ModuleOverloaded,
        "the module has as many requests under way as it may have: try again shortly",
    )
    .retry_after(Duration::from_secs(1))
}

/// Waits until requests of a generation need not wait any more.
pub(crate) async fn released(generation: &Generation, wait: Duration) -> Result<(), Problem> {
    tokio::time::timeout(wait, generation.released())
        .await
        .map_err(|_elapsed| {
            let detail = format!(
                "{} ended, and another has not taken its place after {} s: try again shortly",
                generation.label,
                wait.as_secs_f32()
            );
            Problem::new(Code::ModuleRestarting, detail).retry_after(Duration::from_secs(1))
        })
}

/// The answer to a request for a module in quarantine.
pub(crate) fn quarantined(generation: &Generation) -> Problem {
    Problem::new(
        Code::ModuleUnavailable,
        format!(
            "{} is in quarantine, since it held up other requests or crashed too often: the host can reload it",
            generation.label
        ),
    )
}

fn too_large(limit: u64) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("the body may have up to {limit} bytes on this route: send less"),
    )
}
