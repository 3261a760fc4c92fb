//! OpenAI-compatible chat completions that repeat the user's last message, for clients that were made for a provider:
//! `POST /v1/chat/completions`, whole and streamed, and `GET /v1/models`.
//!
//! The model `endless` says the first word and then nothing more, so that a test can end the stream.

mod completion;

use std::convert::Infallible;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use midplane_sdk::{Context, Result};
use serde_json::{Value, json};

use crate::completion::{Completion, MODELS, Request};

#[midplane_sdk::module(name = "completions")]
async fn completions(_ctx: Context) -> Result<Router> {
    Ok(Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(complete)))
}

async fn models() -> Json<Value> {
    let models =
        MODELS.map(|id| json!({"id": id, "object": "model", "created": 0, "owned_by": "midplane"}));
    Json(json!({"object": "list", "data": models}))
}

async fn complete(Json(request): Json<Request>) -> Response {
    let Some(completion) = Completion::of(&request) else {
        let error = json!({"error": {
            "message": format!("there is no model {:?} here", request.model),
            "type": "invalid_request_error",
            "code": "model_not_found",
        }});
        return (StatusCode::NOT_FOUND, Json(error)).into_response();
    };
    if !request.stream {
        return Json(completion.whole()).into_response();
    }
    let events = stream::iter(completion.events(request.includes_usage())).map(event);
    // A stream that is said to have no end is left open after what it had to say.
    let rest = match completion.is_endless() {
        true => stream::pending().left_stream(),
        false => stream::iter([Bytes::from_static(b"data: [DONE]\n\n")]).right_stream(),
    };
    let body = Body::from_stream(events.chain(rest).map(Ok::<_, Infallible>));
    ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
}

fn event(value: Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use midplane_sdk::testing;

    use super::*;

    async fn answer(request: Request<Body>) -> (StatusCode, String) {
        let module = testing::start(completions, json!({})).await.unwrap();
        let response = module.call(Some(testing::session("ada")), request).await;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        (status, String::from_utf8(body.into()).unwrap())
    }

    fn ask(body: &Value) -> Request<Body> {
        Request::post("/v1/chat/completions")
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap()
    }

    #[tokio::test]
    async fn a_whole_answer_repeats_the_last_message() {
        let messages =
            json!([{"role": "user", "content": "one"}, {"role": "user", "content": "two three"}]);
        let (status, body) = answer(ask(&json!({"model": "echo", "messages": messages}))).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["choices"][0]["message"]["content"], "two three");
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
    }

    #[tokio::test]
    async fn a_streamed_answer_comes_in_words_and_ends() {
        let request = json!({"model": "echo", "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "two three"}]});
        let (status, body) = answer(ask(&request)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let (events, done) = body.trim_end().rsplit_once("\n\n").unwrap();
        assert_eq!(done, "data: [DONE]");
        let events: Vec<Value> = events
            .split("\n\n")
            .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
            .collect();
        let words: Vec<&str> = events
            .iter()
            .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
            .filter(|word| !word.is_empty())
            .collect();
        assert_eq!(words, ["two ", "three"]);
        assert_eq!(events.last().unwrap()["usage"]["completion_tokens"], 2);
    }

    #[tokio::test]
    async fn an_unknown_model_is_refused() {
        let (status, body) = answer(ask(&json!({"model": "gpt", "messages": []}))).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
        assert!(body.contains("model_not_found"), "{body}");
    }

    #[tokio::test]
    async fn models_are_listed() {
        let request = Request::get("/v1/models").body(Body::empty()).unwrap();
        let (status, body) = answer(request).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert!(body.contains("\"echo\""), "{body}");
    }
}
