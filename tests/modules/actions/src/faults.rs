//! What an author may get wrong.

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use crate::Asked;
use crate::actions::{events, frame, stream_of};

pub(crate) fn commit(fault: &str, asked: &Asked) -> Response {
    let end = |more: Value| {
        let mut item = json!({"type": "end_of_turn"});
        let more = more.as_object().cloned().unwrap_or_default();
        item.as_object_mut()
            .into_iter()
            .for_each(|item| item.extend(more.clone()));
        json!({"type": "thread.item.done", "item": item})
    };
    let before = json!({"type": "progress_update", "text": "So far, so good"});
    match fault {
        "other_thread" => events([before, end(json!({"thread_id": "thr_of_others"}))]),
        "bad_id" => events([before, end(json!({"id": "no good id"}))]),
        "no_id" => events([json!({"type": "thread.item.added", "item": {"type": "end_of_turn"}})]),
        "no_event" => events([
            before,
            json!({"type": "thread.created", "thread": asked.thread}),
        ]),
        "no_item" => events([
            before,
            json!({"type": "thread.item.done", "item": {"type": "poem"}}),
        ]),
        "no_widget" => events([
            json!({"type": "thread.item.done", "item": {"type": "widget", "widget": {"type": "Text", "value": "x"}}}),
        ]),
        "no_such_item" => events([
            json!({"type": "thread.item.updated", "item_id": "msg_0", "update":
                                         {"type": "widget.root.updated", "widget": {"type": "Card"}}}),
        ]),
        "misfit" => match &asked.item {
            Some(item) => events([
                json!({"type": "thread.item.updated", "item_id": item["id"], "update":
                                         {"type": "assistant_message.content_part.text_delta", "content_index": 0, "delta": "x"}}),
            ]),
            None => StatusCode::NO_CONTENT.into_response(),
        },
        "no_json" => stream_of(stream::iter([Ok("data: hello\n\n".to_owned())])),
        "no_stream" => Json(json!([])).into_response(),
        "not_json" => "hello".into_response(),
        "huge" => stream_of(stream::iter(vec![Ok("x".repeat(64 * 1024)); 20])),
        // Enough that the head and the first of it leave before the failure.
        "cut" => {
            let line = json!({"type": "progress_update", "text": "x".repeat(1024)});
            let lines = stream::iter(std::iter::repeat_n(line, 1024).map(frame));
            let cut = lines
                .map(|line| line.map_err(|never| match never {}))
                .chain(stream::iter([Err(std::io::Error::other("on purpose"))]));
            ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(cut)).into_response()
        }
        "fails" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "forbids" => StatusCode::FORBIDDEN.into_response(),
        "panics" => panic!("on purpose"),
        other => panic!("no fault {other}"),
    }
}
