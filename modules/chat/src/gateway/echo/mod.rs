//! The gateway where no provider is configured: the echo in OpenAI's shapes, so that an extension can be written, tried and
//! tested against it without a key. The echo answers to the name of any model, but has only its own to show.

mod completion;
mod response;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::Request;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body_util::BodyExt;
use midplane_sdk::Session;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::GatewayError;
use super::{Gateway, Offered, below, offered};
use crate::provider::{Conversation, Delta, Deltas, Message, Part, Provider};

const MODEL: &str = "echo";

pub(super) async fn answer(
    gateway: &Gateway,
    offered: Offered,
    session: Session,
    request: Request<Body>,
) -> Result<Response, GatewayError> {
    let (parts, body) = request.into_parts();
    match offered {
        Offered::ChatCompletions => {
            let request: completion::Request = read(body).await?;
            gateway.settings.models.check(&request.model)?;
            let deltas = said(gateway, session, request.text());
            Ok(speak(completion::Completion::of(&request), request.stream, deltas).await)
        }
        Offered::CreateResponse => {
            let request: response::Request = read(body).await?;
            gateway.settings.models.check(request.model())?;
            let deltas = said(gateway, session, request.text());
            Ok(speak(response::Answer::of(&request), request.stream, deltas).await)
        }
        Offered::ListModels => {
            Ok(axum::Json(json!({"object": "list", "data": [model()]})).into_response())
        }
        Offered::RetrieveModel => match offered::model_named(below(parts.uri.path())) {
            Some(name) if name == MODEL => Ok(axum::Json(model()).into_response()),
            name => Err(GatewayError::ModelNotOffered(name.unwrap_or_default())),
        },
        Offered::Embeddings | Offered::Response => Err(GatewayError::NotByEcho),
    }
}

/// How one of the APIs tells an answer.
trait Telling: Send + 'static {
    /// Appends the events that stand before the first word.
    fn begin(&mut self, events: &mut VecDeque<Bytes>);
    fn word(&mut self, word: &str, events: &mut VecDeque<Bytes>);
    fn end(&mut self, events: &mut VecDeque<Bytes>);
    /// The answer in one piece, once all of it is said.
    fn whole(&self) -> Value;
}

async fn speak(mut telling: impl Telling, is_streamed: bool, mut deltas: Deltas) -> Response {
    let mut events = VecDeque::new();
    telling.begin(&mut events);
    if !is_streamed {
        while let Some(delta) = deltas.next().await {
            tell(&mut telling, delta.ok(), &mut events);
        }
        return axum::Json(telling.whole()).into_response();
    }
    let telling = Some((telling, deltas, events));
    let events = stream::unfold(telling, |telling| async move {
        let (mut telling, mut deltas, mut events) = telling?;
        loop {
            if let Some(event) = events.pop_front() {
                return Some((
                    Ok::<_, std::convert::Infallible>(event),
                    Some((telling, deltas, events)),
                ));
            }
            tell(&mut telling, deltas.next().await?.ok(), &mut events);
        }
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn tell(telling: &mut impl Telling, delta: Option<Delta>, events: &mut VecDeque<Bytes>) {
    match delta {
        Some(Delta::Text(word)) => telling.word(&word, events),
        Some(Delta::Done(_)) => telling.end(events),
        _ => {}
    }
}

/// The echo of a text.
fn said(gateway: &Gateway, session: Session, text: String) -> Deltas {
    let conversation = Conversation {
        messages: vec![Message::User(vec![Part::Text(text)])],
        ..Conversation::default()
    };
    gateway.echo.answer(conversation, Arc::new(session))
}

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, GatewayError> {
    let bytes = body
        .collect()
        .await
        .map_err(|error| GatewayError::Unreadable(error.to_string()))?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| GatewayError::Malformed(error.to_string()))
}

/// A message of a request's, in either API; what else it has is passed over, as providers do.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

/// A text, or parts of which some are texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<SaidPart>),
}

#[derive(Deserialize)]
struct SaidPart {
    #[serde(default)]
    text: String,
}

/// What the user said last.
fn last_of_user(messages: &[Said]) -> String {
    let last = messages.iter().rfind(|message| message.role == "user");
    match last.and_then(|message| message.content.as_ref()) {
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Parts(parts)) => parts.iter().map(|part| part.text.as_str()).collect(),
        None => String::new(),
    }
}

fn model() -> Value {
    json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "midplane"})
}

/// A number that no other answer of this generation has.
fn next_number() -> u64 {
    static ANSWERS: AtomicU64 = AtomicU64::new(1);
    ANSWERS.fetch_add(1, Ordering::Relaxed)
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
