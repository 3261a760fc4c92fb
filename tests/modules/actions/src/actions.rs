//! Actions that are carried out well.

use std::convert::Infallible;

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use midplane_sdk::Problem;
use serde_json::{Value, json};

use crate::Asked;

/// Of `threads.sync_custom_action`: the item as it is now, or nothing.
pub(crate) fn at_once(asked: &Asked) -> Response {
    match (&*asked.action.r#type, &asked.item) {
        ("count", Some(item)) => {
            let mut item = item.clone();
            item["widget"] = counter(&asked.action.payload);
            Json(json!({"updated_item": item})).into_response()
        }
        ("nothing", _) => StatusCode::NO_CONTENT.into_response(),
        (other, _) => unknown(other),
    }
}

/// Of `threads.custom_action`: ChatKit's events. Items may leave out their thread and when they were made; those that no
/// later event names, their id too.
pub(crate) fn in_events(asked: &Asked) -> Response {
    let payload = &asked.action.payload;
    match &*asked.action.r#type {
        // A widget, whole.
        "show" => events([
            json!({"type": "progress_update", "icon": "bolt", "text": "Counting"}),
            json!({"type": "thread.item.done", "item": {"type": "widget", "widget": counter(payload), "copy_text": "A counter"}}),
            json!({"type": "notice", "level": "info", "message": "There it is."}),
        ]),
        // A widget, as it grows.
        "tell" => events(story(&asked.thread["id"])),
        // The widget that the button stands in, changed for good.
        "count" => match &asked.item {
            Some(item) => {
                let mut item = item.clone();
                item["widget"] = counter(payload);
                events([json!({"type": "thread.item.replaced", "item": item})])
            }
            None => unknown("count"),
        },
        // The same, as an update: chat keeps what it changes.
        "recount" => match &asked.item {
            Some(item) => events(
                [json!({"type": "thread.item.updated", "item_id": item["id"],
                                         "update": {"type": "widget.root.updated", "widget": counter(payload)}})],
            ),
            None => unknown("recount"),
        },
        "remove" => match &asked.item {
            Some(item) => events([json!({"type": "thread.item.removed", "item_id": item["id"]})]),
            None => unknown("remove"),
        },
        // A form; what the user answers goes to the model.
        "ask" => events([
            json!({"type": "thread.item.done", "item": {"type": "structured_input", "inputs": form()}}),
        ]),
        // Something only the model is told, and then the model's turn.
        "whisper" => events([
            json!({"type": "thread.item.done", "item": {"type": "hidden_context_item", "content": payload}}),
            json!({"type": "midplane.respond"}),
        ]),
        "close" => events([json!({"type": "thread.updated", "thread":
                                  {"title": "Closed", "status": {"type": "closed", "reason": "All is said."}}})]),
        "effect" => {
            events([json!({"type": "client_effect", "name": "confetti", "data": {"n": 3}})])
        }
        // What has no other item of its own.
        "report" => events([
            json!({"type": "thread.item.done", "item": {"type": "task", "task": {"type": "custom", "title": "Read", "content": "main.rs"}}}),
            json!({"type": "thread.item.done", "item": {"type": "generated_image", "image": {"id": "img_a", "url": "https://example.com/a.png"}}}),
            json!({"type": "thread.item.done", "item": {"type": "end_of_turn"}}),
        ]),
        // Words, and no end of them.
        "talk" => Response::builder()
            .header(CONTENT_TYPE, "text/event-stream")
            .body(Body::from_stream(
                stream::iter(talk().map(frame)).chain(stream::pending()),
            ))
            .unwrap_or_default(),
        // Whatever the test likes.
        "say" => match payload["events"].as_array() {
            Some(given) => events(given.clone()),
            None => unknown("say"),
        },
        "nothing" => StatusCode::NO_CONTENT.into_response(),
        other => unknown(other),
    }
}

/// A widget whose button sends the action `count` with the next number.
fn counter(payload: &Value) -> Value {
    let n = payload["n"].as_u64().unwrap_or_default();
    let action = json!({"type": "count", "payload": {"n": n + 1}, "handler": "server", "loadingBehavior": "auto", "streaming": true});
    json!({"type": "Card", "children": [
        {"type": "Text", "id": "shown", "value": n.to_string()},
        {"type": "Button", "label": "More", "onClickAction": action},
    ]})
}

fn story(thread: &Value) -> Vec<Value> {
    let card = |value: &str, streaming: bool| json!({"type": "Card", "children": [{"type": "Markdown", "id": "story", "value": value, "streaming": streaming}]});
    let item = |widget: Value| json!({"id": "msg_5701e9", "thread_id": thread, "type": "widget", "widget": widget});
    let more = |delta: &str, done: bool| {
        json!({"type": "thread.item.updated", "item_id": "msg_5701e9", "update":
               {"type": "widget.streaming_text.value_delta", "component_id": "story", "delta": delta, "done": done}})
    };
    vec![
        json!({"type": "thread.item.added", "item": item(card("Once", true))}),
        more(" upon", false),
        more(" a time.", true),
        json!({"type": "thread.item.done", "item": item(card("Once upon a time.", false))}),
    ]
}

fn form() -> Value {
    json!([
        {"id": "colour", "question": "Which colour?", "type": "multiple_choice", "options": [{"value": "red"}, {"value": "blue"}]},
        {"id": "why", "question": "Why?", "type": "freeform", "description": "In a word"},
    ])
}

fn talk() -> impl Iterator<Item = Value> {
    let part = |update: Value| json!({"type": "thread.item.updated", "item_id": "msg_7a1c", "update": update});
    let item = json!({"id": "msg_7a1c", "type": "assistant_message", "content": []});
    [
        json!({"type": "thread.item.added", "item": item}),
        part(json!({"type": "assistant_message.content_part.added", "content_index": 0, "content": {"text": ""}})),
        part(json!({"type": "assistant_message.content_part.text_delta", "content_index": 0, "delta": "Well, "})),
        part(json!({"type": "assistant_message.content_part.text_delta", "content_index": 0, "delta": "you see"})),
    ]
    .into_iter()
}

/// What an author answers to an action that there is not: chat tells the user the detail.
fn unknown(action: &str) -> Response {
    let detail = format!("There is no action {action} here.");
    Problem::new(StatusCode::BAD_REQUEST, "unknown_action", detail).into_response()
}

pub(crate) fn events(
    events: impl IntoIterator<Item = Value, IntoIter: Send + 'static>,
) -> Response {
    stream_of(stream::iter(events.into_iter().map(frame)))
}

pub(crate) fn stream_of(
    frames: impl Stream<Item = Result<String, Infallible>> + Send + 'static,
) -> Response {
    (
        [(CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(frames),
    )
        .into_response()
}

pub(crate) fn frame(event: Value) -> Result<String, Infallible> {
    Ok(format!("data: {event}\n\n"))
}
