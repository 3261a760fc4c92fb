//! One of every item, update and event, written as it was read: nothing of it is lost or added.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::item::Item;
use super::thread::ThreadMetadata;
use super::update::Update;

fn same<T: Serialize + DeserializeOwned>(wire: &Value) {
    let read: T =
        serde_json::from_value(wire.clone()).unwrap_or_else(|error| panic!("{wire}: {error}"));
    assert_eq!(&serde_json::to_value(&read).unwrap(), wire);
}

fn item(kind: Value) -> Value {
    let mut item =
        json!({"id": "i", "thread_id": "t", "created_at": "2026-11-18T11:06:40.000001Z"});
    item.as_object_mut()
        .unwrap()
        .extend(kind.as_object().unwrap().clone());
    item
}

fn url() -> Value {
    json!({"type": "url", "title": "t", "description": "d", "timestamp": "ts", "group": "g", "url": "https://a/", "attribution": "a"})
}

fn file() -> Value {
    json!({"type": "file", "title": "t", "filename": "f"})
}

fn tasks() -> [Value; 6] {
    let none = "none";
    [
        json!({"status_indicator": none, "type": "custom", "title": "t", "icon": "bolt", "content": "c"}),
        json!({"status_indicator": "loading", "type": "custom"}),
        json!({"status_indicator": none, "type": "web_search", "title_query": "q", "queries": ["q"], "sources": [url()]}),
        json!({"status_indicator": none, "type": "thought", "content": "c"}),
        json!({"status_indicator": none, "type": "file", "sources": [file()]}),
        json!({"status_indicator": "complete", "type": "image", "title": "t"}),
    ]
}

fn content() -> Value {
    let entity = json!({"type": "entity", "title": "t", "id": "e", "icon": "lucide:cat", "label": "l", "inline_label": "i",
                        "interactive": true, "data": {"a": null}, "preview": "lazy"});
    let annotations: Vec<Value> = [url(), file(), entity]
        .into_iter()
        .map(|source| json!({"type": "annotation", "source": source, "index": 3}))
        .collect();
    json!({"type": "output_text", "text": "x", "annotations": annotations})
}

#[test]
fn every_item_is_written_as_it_is_read() {
    let attachment =
        json!({"id": "atc_1", "name": "n", "mime_type": "m", "type": "file", "thread_id": "t"});
    let tag = json!({"type": "input_tag", "id": "i", "text": "t", "data": {"a": [1]}, "group": "g", "interactive": true});
    for kind in [
        json!({"type": "user_message", "content": [{"type": "input_text", "text": "x"}, tag], "attachments": [attachment],
               "quoted_text": "q", "inference_options": {"tool_choice": {"id": "c"}, "model": "m"}}),
        json!({"type": "user_message", "content": [], "attachments": [], "inference_options": {}}),
        json!({"type": "assistant_message", "content": [content()]}),
        json!({"type": "client_tool_call", "status": "pending", "call_id": "c", "name": "n", "arguments": {"a": null}}),
        json!({"type": "client_tool_call", "status": "completed", "call_id": "c", "name": "n", "arguments": {}, "output": [1]}),
        json!({"type": "widget", "widget": {"type": "Card", "children": []}, "copy_text": "c"}),
        json!({"type": "generated_image"}),
        json!({"type": "generated_image", "image": {"id": "i", "url": "u"}}),
        json!({"type": "structured_input", "status": "pending", "inputs": []}),
        json!({"type": "workflow", "workflow": {"type": "custom", "tasks": tasks(), "summary": {"title": "t", "icon": "bug"},
               "expanded": true}}),
        json!({"type": "workflow", "workflow": {"type": "reasoning", "tasks": [], "summary": {"duration": 7}, "expanded": false}}),
        json!({"type": "task", "task": tasks()[0]}),
        json!({"type": "end_of_turn"}),
        json!({"type": "hidden_context_item", "content": {"a": 1}}),
        json!({"type": "sdk_hidden_context", "content": "c"}),
    ] {
        same::<Item>(&item(kind));
    }
}

#[test]
fn every_update_is_written_as_it_is_read() {
    let component = json!({"type": "Text", "id": "t", "value": "x"});
    let annotation = json!({"type": "annotation", "source": url()});
    for update in [
        json!({"type": "assistant_message.content_part.added", "content_index": 0, "content": content()}),
        json!({"type": "assistant_message.content_part.text_delta", "content_index": 1, "delta": "d"}),
        json!({"type": "assistant_message.content_part.annotation_added", "content_index": 0, "annotation_index": 1,
               "annotation": annotation}),
        json!({"type": "assistant_message.content_part.done", "content_index": 0, "content": content()}),
        json!({"type": "widget.streaming_text.value_delta", "component_id": "c", "delta": "d", "done": false}),
        json!({"type": "widget.root.updated", "widget": {"type": "Basic", "children": [component]}}),
        json!({"type": "widget.component.updated", "component_id": "t", "component": component}),
        json!({"type": "workflow.task.added", "task_index": 0, "task": tasks()[1]}),
        json!({"type": "workflow.task.updated", "task_index": 0, "task": tasks()[2]}),
        json!({"type": "generated_image.updated", "image": {"id": "i", "url": "u"}, "progress": 0.5}),
    ] {
        same::<Update>(&update);
    }
}

#[test]
fn every_thread_is_written_as_it_is_read() {
    for status in [
        json!({"type": "active"}),
        json!({"type": "locked"}),
        json!({"type": "closed", "reason": "over"}),
    ] {
        same::<ThreadMetadata>(
            &json!({"id": "t", "title": "x", "created_at": "2026-11-18T11:06:40Z", "status": status,
                    "allowed_image_domains": ["a"], "metadata": {"a": 1}}),
        );
    }
    same::<ThreadMetadata>(
        &json!({"id": "t", "created_at": "2026-11-18T11:06:40Z", "status": {"type": "active"}, "metadata": {}}),
    );
}

#[test]
fn what_no_type_has_is_refused() {
    for kind in [
        json!({"type": "poem"}),
        json!({"type": "assistant_message"}),
        json!({"type": "widget", "widget": {"type": "Text", "value": "x"}}),
        json!({"type": "task", "task": {"type": "custom", "icon": "unicorn"}}),
        json!({"type": "client_tool_call", "call_id": "c", "name": "n", "arguments": "{}"}),
    ] {
        let read: Result<Item, _> = serde_json::from_value(item(kind.clone()));
        assert!(read.is_err(), "{kind}");
    }
}
