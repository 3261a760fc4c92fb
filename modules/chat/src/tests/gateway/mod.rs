//! The gateway as a whole: what passes, what does not, and what it says itself.

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use http::{Method, Request, Response};
use midplane_sdk::testing::{Module, SessionBuilder};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::scripted::Scripted;
use super::{DEADLINE, ada, start, text};

mod echo;
mod keys;
mod passing;
mod streams;

/// Long enough to be told from a word.
const KEY: &str = "sk-scripted-0123456789";

struct Gateway {
    provider: Scripted,
    module: Module,
}

impl Gateway {
    async fn start(gateway: Value) -> Gateway {
        let provider = Scripted::start().await;
        let config = json!({"base_url": provider.base_url(), "model": "tiny", "gateway": gateway});
        let module = start(config).await;
        Gateway { provider, module }
    }

    async fn call(&self, request: Request<Body>) -> Response<Body> {
        call(&self.module, ada().secret(KEY), request).await
    }
}

async fn call(module: &Module, session: SessionBuilder, request: Request<Body>) -> Response<Body> {
    timeout(DEADLINE, module.call(Some(session), request))
        .await
        .expect("the module answers")
}

fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

fn get(path: &str) -> Request<Body> {
    request(Method::GET, path, Body::empty())
}

fn post(path: &str, body: &Value) -> Request<Body> {
    request(Method::POST, path, Body::from(body.to_string()))
}

/// A request that a provider would answer in one of the ways that the tests play.
fn ask() -> Request<Body> {
    post(
        "/v1/chat/completions",
        &json!({"model": "tiny", "messages": []}),
    )
}

async fn json_of(response: Response<Body>) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

/// The error in OpenAI's shape, which nothing else may stand beside.
async fn error_of(response: Response<Body>, status: u16, code: &str) -> String {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = json_of(response).await;
    assert_eq!(body["error"]["code"], code, "{body}");
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

async fn next(stream: &mut BodyDataStream) -> String {
    let piece = timeout(DEADLINE, stream.next())
        .await
        .expect("a piece comes");
    let piece = piece.expect("the body goes on").expect("it is whole");
    String::from_utf8(piece.to_vec()).unwrap()
}
