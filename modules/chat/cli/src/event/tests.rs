use serde_json::{Value, json};

use super::*;

fn read(events: &[Value]) -> Vec<Action> {
    let mut reader = Reader::default();
    events
        .iter()
        .flat_map(|event| reader.read(&event.to_string()).expect("a known form"))
        .collect()
}

fn say(text: &str) -> Action {
    Action::Say(text.to_owned())
}

fn note(text: &str) -> Action {
    Action::Note(text.to_owned())
}

fn aside(text: &str) -> Action {
    Action::Aside(text.to_owned())
}

fn added(item: &str, index: usize, text: &str) -> Value {
    part("added", item, index, text)
}

fn done(item: &str, index: usize, text: &str) -> Value {
    part("done", item, index, text)
}

fn part(stage: &str, item: &str, index: usize, text: &str) -> Value {
    json!({"type": "thread.item.updated", "item_id": item, "update": {
        "type": format!("assistant_message.content_part.{stage}"), "content_index": index,
        "content": {"type": "output_text", "text": text, "annotations": []}}})
}

fn delta(item: &str, index: usize, text: &str) -> Value {
    json!({"type": "thread.item.updated", "item_id": item, "update": {
        "type": "assistant_message.content_part.text_delta", "content_index": index, "delta": text}})
}

fn item(event: &str, id: &str, mut kind: Value) -> Value {
    kind["id"] = json!(id);
    kind["thread_id"] = json!("thr_1");
    kind["created_at"] = json!("2026-01-01T00:00:00Z");
    json!({"type": format!("thread.item.{event}"), "item": kind})
}

fn message(event: &str, id: &str, texts: &[&str]) -> Value {
    let content: Vec<Value> = texts
        .iter()
        .map(|text| json!({"type": "output_text", "text": text}))
        .collect();
    item(
        event,
        id,
        json!({"type": "assistant_message", "content": content}),
    )
}

#[test]
fn an_answer_is_said_once_in_whatever_form_it_comes() {
    for (name, events, expected) in [
        (
            "deltas",
            vec![
                message("added", "m", &[]),
                added("m", 0, ""),
                delta("m", 0, "he"),
                delta("m", 0, "llo"),
                done("m", 0, "hello"),
                message("done", "m", &["hello"]),
            ],
            vec![say("he"), say("llo"), Action::Answered],
        ),
        (
            "whole",
            vec![message("done", "m", &["hello"])],
            vec![say("hello"), Action::Answered],
        ),
        (
            "a first text, a delta, and a rest that only the end brings",
            vec![
                added("m", 0, "a"),
                delta("m", 0, "b"),
                done("m", 0, "abc"),
                message("done", "m", &["abcd"]),
            ],
            vec![say("a"), say("b"), say("c"), say("d"), Action::Answered],
        ),
        (
            "two parts",
            vec![
                delta("m", 0, "a"),
                delta("m", 1, "b"),
                delta("m", 1, "c"),
                message("done", "m", &["a", "bc"]),
            ],
            vec![say("a"), say("\n\nb"), say("c"), Action::Answered],
        ),
        (
            "two messages",
            vec![delta("m", 0, "a"), delta("n", 0, "b")],
            vec![say("a"), say("\n\nb")],
        ),
        (
            "a text that is another in the end",
            vec![delta("m", 0, "secret"), message("replaced", "m", &["no"])],
            vec![say("secret"), say("\n\nno"), Action::Answered],
        ),
        (
            "silence",
            vec![message("added", "m", &[]), message("done", "m", &[])],
            vec![Action::Answered],
        ),
    ] {
        assert_eq!(read(&events), expected, "{name}");
    }
}

#[test]
fn what_is_not_the_answer_is_its_own_action() {
    let thread = |title: Option<&str>| Action::Thread {
        id: "thr_1".to_owned(),
        title: title.map(str::to_owned),
    };
    let fail = |message: &str, allow_retry| Action::Fail {
        message: message.to_owned(),
        allow_retry,
    };
    let progress = |text: &str| Action::Progress(text.to_owned());
    for (event, expected) in [
        (
            json!({"type": "thread.created", "thread": {"id": "thr_1", "items": {"data": []}}}),
            vec![thread(None)],
        ),
        (
            json!({"type": "thread.updated", "thread": {"id": "thr_1", "title": "Tea"}}),
            vec![thread(Some("Tea"))],
        ),
        (
            item("done", "u", json!({"type": "user_message", "content": []})),
            vec![Action::Asked {
                item_id: "u".to_owned(),
            }],
        ),
        (
            json!({"type": "progress_update", "text": "looking"}),
            vec![progress("looking")],
        ),
        (
            item(
                "added",
                "w",
                json!({"type": "workflow", "workflow": {"tasks": [{"type": "thought", "content": "one\ntwo\n"}]}}),
            ),
            vec![progress("two")],
        ),
        (
            json!({"type": "thread.item.updated", "item_id": "w", "update":
                {"type": "workflow.task.updated", "task_index": 0, "task": {"title": "Searching", "content": "x"}}}),
            vec![progress("Searching")],
        ),
        (
            json!({"type": "notice", "level": "info", "title": "Echo", "message": "no model"}),
            vec![note("Echo: no model")],
        ),
        (
            json!({"type": "notice", "level": "info", "title": "", "message": "no model"}),
            vec![note("no model")],
        ),
        (
            json!({"type": "notice", "level": "info", "message": "no model"}),
            vec![note("no model")],
        ),
        (
            json!({"type": "error", "code": "custom", "message": "the key is wrong", "allow_retry": true}),
            vec![fail("the key is wrong", true)],
        ),
        (
            json!({"type": "error", "code": "stream.error", "message": null}),
            vec![fail("the turn failed (stream.error)", false)],
        ),
        (
            json!({"type": "error"}),
            vec![fail("the turn failed (custom)", false)],
        ),
        (
            item(
                "done",
                "c",
                json!({"type": "client_tool_call", "name": "open_file", "arguments": {}}),
            ),
            vec![
                note(
                    "the model asked for the tool `open_file` {}, which this client has not; what you say next goes on without it",
                ),
                Action::Answered,
            ],
        ),
        (
            item(
                "done",
                "w",
                json!({"type": "workflow", "workflow": {"type": "custom", "summary": {"title": "Looked\naround"},
                       "tasks": [{"type": "web_search", "title": "tea"}, {"type": "thought", "content": "hm"}]}}),
            ),
            vec![aside("Looked around\n· tea")],
        ),
        (
            item(
                "done",
                "w",
                json!({"type": "workflow", "workflow": {"type": "reasoning", "tasks": [], "summary": {"duration": 4}}}),
            ),
            vec![aside("thought for 4 s")],
        ),
        (
            item(
                "done",
                "g",
                json!({"type": "generated_image", "image": {"id": "i", "url": "https://i.example/1"}}),
            ),
            vec![note("an image: https://i.example/1"), Action::Answered],
        ),
        (
            item(
                "done",
                "g",
                json!({"type": "generated_image", "image": {"id": "i", "url": "data:image/png;base64,AAAA"}}),
            ),
            vec![
                note("the answer holds an image, which a terminal cannot show"),
                Action::Answered,
            ],
        ),
    ] {
        assert_eq!(read(std::slice::from_ref(&event)), expected, "{event}");
    }
}

#[test]
fn a_tool_call_is_told_in_a_line_or_two() {
    for (call, expected) in [
        (
            json!({"name": "a\u{1b}b", "arguments": {"x": "\n"}}),
            "`ab` {\"x\":\"\\n\"}",
        ),
        (json!({"name": "a"}), "`a`"),
        (json!({}), "``"),
    ] {
        assert_eq!(tool_call(&call), expected);
    }
    let long = tool_call(&json!({"name": "a", "arguments": {"x": "é".repeat(500)}}));
    assert!(long.ends_with('…') && long.chars().count() < 200, "{long}");
}

#[test]
fn an_answer_taken_back_is_noted_if_it_was_shown() {
    let removed = json!({"type": "thread.item.removed", "item_id": "m"});
    assert_eq!(read(std::slice::from_ref(&removed)), []);
    assert_eq!(
        read(&[delta("m", 0, "a"), removed]),
        [say("a"), note("the answer was taken back")]
    );
}

#[test]
fn what_is_not_known_is_ignored() {
    for event in [
        json!({"type": "thread.exploded", "pieces": 3}),
        json!({"type": "stream_options", "stream_options": {"allow_cancel": true}}),
        json!({"type": "client_effect", "name": "x"}),
        json!({"type": "thread.item.updated", "item_id": "m", "update": {"type": "widget.root.updated"}}),
        item("done", "x", json!({"type": "hologram", "depth": 3})),
        item("done", "x", json!({"type": "end_of_turn"})),
        item(
            "done",
            "x",
            json!({"type": "workflow", "workflow": {"type": "reasoning", "tasks": []}}),
        ),
        item(
            "done",
            "x",
            json!({"type": "client_tool_call", "status": "completed", "name": "x", "call_id": "c", "arguments": {}}),
        ),
        item("added", "u", json!({"type": "user_message", "content": []})),
    ] {
        assert_eq!(read(std::slice::from_ref(&event)), [], "{event}");
    }
}

#[test]
fn what_breaks_the_protocol_is_an_error() {
    for data in ["", "[1]", "{}", "{\"type\":\"notice\"}", "[DONE]"] {
        assert!(Reader::default().read(data).is_err(), "{data}");
    }
}
