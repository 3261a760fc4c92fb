//! The module's routes, and the HTTP form of its answers.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{Stream, StreamExt};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use midplane_sdk::{Problem, Session};

use crate::conversation::{Conversations, Refusal, Reply};
use crate::protocol::event::Event;
use crate::protocol::request::{Request, RequestError};
use crate::websocket;

/// Most events are a delta of a few words.
const EVENT_BYTES: usize = 256;

pub(crate) fn router(conversations: Conversations) -> Router {
    Router::new()
        .route("/chatkit", post(chatkit))
        .route("/ws", get(websocket::open))
        // The kernel limits bodies, by route.
        .layer(DefaultBodyLimit::disable())
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(Arc::new(conversations))
}

async fn chatkit(
    State(conversations): State<Arc<Conversations>>,
    session: Session,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|rejection| {
        Problem::new(rejection.status(), "invalid_request", rejection.body_text())
    })?;
    let request = Request::parse(&body).map_err(RequestError::problem)?;
    Ok(
        match conversations
            .process(session, request)
            .await
            .map_err(Refusal::problem)?
        {
            Reply::Json(json) => axum::Json(json).into_response(),
            Reply::Events(events) => event_stream(events),
        },
    )
}

async fn no_such_route() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "the chat module has no such route: it listens at POST /chatkit, GET /ws, GET /changes, GET /threads/{id}/usage, \
         /attachments/{id}, /v1/… and POST /chatkit/sessions",
    )
}

async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this route has another method: POST /chatkit, GET /ws, GET /changes, GET /threads/{id}/usage, POST /chatkit/sessions",
    )
}

fn event_stream(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(
        events.map(|event| Ok::<_, Infallible>(frame(&event))),
    ));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// One server-sent event; JSON holds no line ending.
fn frame(event: &Event) -> Bytes {
    let mut frame = BytesMut::with_capacity(EVENT_BYTES);
    frame.put_slice(b"data: ");
    let mut writer = frame.writer();
    serde_json::to_writer(&mut writer, event).expect("the protocol's types have string keys only");
    let mut frame = writer.into_inner();
    frame.put_slice(b"\n\n");
    frame.freeze()
}
