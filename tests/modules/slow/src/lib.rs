//! What the tests of the HTTP API need of a module: answers that do not end, bodies that are read or left, a secret, and a
//! say in who gets a session.

use std::convert::Infallible;
use std::future::pending;
use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use midplane_sdk::ws::{Message, WebSocketUpgrade};
use midplane_sdk::{Context, Error, Result, Session};
use serde::Deserialize;

/// One piece of the flood: much more than any buffer between module and client after a few of them.
const FLOOD_PIECE: &[u8] = &[b'x'; 64 * 1024];
/// Longer than the default limit of bodies.
const LARGE_BODY_BYTES: u64 = 2 << 20;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Sessions must name a secret.
    needs_secret: bool,
    /// Refuses the sessions of this user.
    refuse_user: Option<String>,
    /// `init` reads this first: a FIFO holds it until someone writes there.
    wait_for: Option<PathBuf>,
}

#[midplane_sdk::module(name = "slow", grants = ["secrets"], public = ["/public/*"])]
async fn slow(mut ctx: Context<Config>) -> Result<Router> {
    if let Some(path) = &ctx.config().wait_for {
        std::fs::read(path)?;
    }
    let needs_secret = ctx.config().needs_secret;
    ctx.needs_secret(needs_secret);
    let refused = ctx.config().refuse_user.clone();
    ctx.on_session(move |session| {
        let refuses = refused.as_deref() == Some(session.user());
        async move {
            if refuses {
                return Err(Error::msg("this user is not welcome"));
            }
            Ok(())
        }
    });
    ctx.body_limit("/large", LARGE_BODY_BYTES)?;
    ctx.openapi(
        &serde_json::json!({"openapi": "3.1.0", "info": {"title": "slow", "version": "1"}}),
    );
    Ok(Router::new()
        .route("/public/hello", get(async || "hello"))
        .route("/whoami", get(whoami))
        .route("/secret-len", get(secret_len))
        .route("/secret-lens", post(secret_lens))
        .route("/secret-socket", get(secret_socket))
        .route("/count", post(count))
        .route("/large", post(count))
        .route("/hold", get(async || pending::<()>().await))
        .route("/events", get(events))
        .route("/flood", get(flood)))
}

/// What the kernel tells of the session.
async fn whoami(session: Session) -> String {
    serde_json::json!({
        "id": session.id(),
        "user": session.user(),
        "scope": session.scope(),
        "environment": session.environment(),
        "metadata": session.metadata(),
        "has_secret": session.has_secret(),
    })
    .to_string()
}

/// How long the secret is: enough to show that it came, and nothing of it.
async fn secret_len(session: Session) -> String {
    match session.secret().await {
        Ok(secret) => secret.expose().len().to_string(),
        Err(error) => error.to_string(),
    }
}

/// The same for each piece of the body, as it comes.
async fn secret_lens(session: Session, body: Body) -> Body {
    Body::from_stream(body.into_data_stream().then(move |_piece| {
        let session = session.clone();
        async move { Ok::<_, Infallible>(format!("{};", secret_len(session).await)) }
    }))
}

/// The same for each message.
async fn secret_socket(session: Session, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(Message::Text(_))) = socket.recv().await {
            let len = secret_len(session.clone()).await;
            if socket.send(Message::text(len)).await.is_err() {
                return;
            }
        }
    })
}

/// Reads the body, and says how long it was.
async fn count(body: Body) -> String {
    let mut pieces = body.into_data_stream();
    let mut len = 0;
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => len += piece.len(),
            Err(error) => return error.to_string(),
        }
    }
    len.to_string()
}

/// One event, and then nothing more.
async fn events() -> impl IntoResponse {
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"data: first\n\n"))]);
    let body = Body::from_stream(first.chain(stream::pending()));
    ([(CONTENT_TYPE, "text/event-stream")], body)
}

/// Bytes for as long as they are taken.
async fn flood() -> Body {
    Body::from_stream(flood_pieces())
}

fn flood_pieces() -> impl Stream<Item = std::result::Result<Bytes, Infallible>> {
    stream::repeat_with(|| Ok(Bytes::from_static(FLOOD_PIECE)))
}
