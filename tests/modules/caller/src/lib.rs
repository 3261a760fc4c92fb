//! Calls another module in every way there is: from a handler, from a task, from the module's function, with and without a
//! session.

mod upload;

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use midplane_sdk::{CallError, Calls, Context, Error, Result, Session};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// More than any answer that is read whole.
const ANSWER_LEN_MAX: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Config {
    /// Calls the other module before it can serve.
    #[serde(default)]
    call_at_start: bool,
}

#[derive(Clone)]
struct Caller {
    calls: Calls,
    /// What a background task was answered.
    heard: Arc<Mutex<Value>>,
    produced: upload::Produced,
}

#[midplane_sdk::module(name = "caller", grants = ["call:callee", "call:caller"], internal = ["/in/*"])]
async fn caller(ctx: Context<Config>) -> Result<Router> {
    let heard: Arc<Mutex<Value>> = Arc::default();
    if ctx.config().call_at_start {
        let at_start = json(ctx.call("callee", get_request("/in/who")).await?).await?;
        // From a task of the module's own, before it serves.
        let calls = ctx.calls();
        let in_task = ctx.spawn(async move { who(&calls).await }).await?;
        let in_task = in_task.ok_or_else(|| Error::msg("the task was ended"))??;
        *heard.lock().unwrap_or_else(PoisonError::into_inner) =
            json!({"at_start": at_start, "in_task": in_task});
    }
    let caller = Caller {
        calls: ctx.calls(),
        heard,
        produced: upload::Produced::default(),
    };
    Ok(Router::new()
        .route("/call/{*path}", any(call))
        .route("/many", get(many))
        .route("/heard", get(heard_so_far))
        .route("/background", get(background))
        .route("/upload", get(upload::start))
        .route("/produced", get(upload::produced))
        .route("/in/again", get(again))
        .route("/again", get(again))
        .with_state(caller))
}

/// How a call is made.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum From {
    /// By the handler, for its session.
    #[default]
    Session,
    /// By the handler, for none.
    Nobody,
    /// By a task, for the handler's session.
    Task,
    /// By a task, for none.
    Background,
}

#[derive(Deserialize)]
struct How {
    #[serde(default)]
    from: From,
    module: Option<String>,
}

/// Passes a request on to `/in/…` of the other module, and its answer back.
async fn call(
    State(caller): State<Caller>,
    Query(how): Query<How>,
    session: Option<Session>,
    request: Request,
) -> std::result::Result<Response, CallError> {
    let module = how.module.unwrap_or_else(|| "callee".to_owned());
    let (mut head, body) = request.into_parts();
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let target = target.strip_prefix("/call").unwrap_or(target);
    head.uri = target.parse::<Uri>().unwrap_or_default();
    let request = Request::from_parts(head, body);
    let calls = caller.calls;
    match (how.from, session) {
        (From::Session, Some(session)) => session.call(&module, request).await,
        (From::Task, Some(session)) => {
            let task = tokio::spawn(async move { session.call(&module, request).await });
            task.await.unwrap_or(Err(CallError::Over))
        }
        (From::Background, _) => {
            let task = tokio::spawn(async move { calls.call(&module, request).await });
            task.await.unwrap_or(Err(CallError::Over))
        }
        (From::Session | From::Task | From::Nobody, _) => calls.call(&module, request).await,
    }
}

#[derive(Deserialize)]
struct Many {
    n: usize,
}

/// So many calls at once, each polled by a waker of its own.
async fn many(
    State(caller): State<Caller>,
    Query(Many { n }): Query<Many>,
) -> std::result::Result<String, Response> {
    let calls = (0..n).map(|_| who(&caller.calls));
    let mut calls: FuturesUnordered<_> = calls.collect();
    let mut answered = 0;
    while let Some(outcome) = calls.next().await {
        outcome.map_err(|error| error.to_string().into_response())?;
        answered += 1;
    }
    Ok(answered.to_string())
}

async fn heard_so_far(State(caller): State<Caller>) -> Json<Value> {
    let heard = caller.heard.lock().unwrap_or_else(PoisonError::into_inner);
    Json(heard.clone())
}

/// Has a task call that outlives the handler, and answers what it heard.
async fn background(State(caller): State<Caller>) -> std::result::Result<Json<Value>, String> {
    let (sender, heard) = oneshot::channel();
    tokio::spawn(async move {
        // The receiver goes with the client.
        let _ = sender.send(who(&caller.calls).await);
    });
    let heard = heard.await.map_err(|error| error.to_string())?;
    heard.map(Json).map_err(|error| error.to_string())
}

/// Calls the other module, which calls this one, and so on.
async fn again(State(caller): State<Caller>) -> Response {
    match caller.calls.call("callee", get_request("/in/again")).await {
        Ok(response) => response.into_response(),
        Err(error) => format!("caller: {error}").into_response(),
    }
}

async fn who(calls: &Calls) -> Result<Value> {
    json(calls.call("callee", get_request("/in/who")).await?).await
}

async fn json(response: Response<Body>) -> Result<Value> {
    let status = response.status();
    let bytes = to_bytes(response.into_body(), ANSWER_LEN_MAX).await?;
    if !status.is_success() {
        return Err(Error::msg(format!(
            "{status}: {}",
            String::from_utf8_lossy(&bytes)
        )));
    }
    Ok(serde_json::from_slice(&bytes)?)
}

fn get_request(target: &'static str) -> Request {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(target);
    request
}
