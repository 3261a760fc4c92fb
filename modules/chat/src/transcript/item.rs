//! One item of a thread as a model reads it.
//!
//! The words are those of `ThreadItemConverter` in `chatkit/agents.py`, which models are used to.

use serde_json::Value;

use crate::attachments::Contents;
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::message::{Tag, UserContent, UserMessage};
use crate::protocol::structured_input::{InputStatus, StructuredInput};
use crate::protocol::tool_call::{CallStatus, ClientToolCall};
use crate::protocol::widget::Root;
use crate::protocol::workflow::{Task, TaskKind};
use crate::provider::{Message, Part};

/// Nothing, for items that are only for the user's eyes.
pub(super) fn messages(item: &Item, attached: &Contents) -> Vec<Message> {
    match &item.kind {
        ItemKind::UserMessage(message) => {
            let (text, attached) = (user_text(message), attached.of(&item.id));
            // Providers refuse a part without words; without any part there is no message.
            let text = (!text.is_empty() || attached.is_empty()).then_some(Part::Text(text));
            let words = Message::User(text.into_iter().chain(attached.iter().cloned()).collect());
            mentioned(message).into_iter().chain([words]).collect()
        }
        ItemKind::AssistantMessage { content } => {
            let text = content.iter().map(|part| part.text.as_str()).collect();
            vec![Message::Assistant(text)]
        }
        ItemKind::ClientToolCall(call) => tool_call(call),
        ItemKind::Widget { widget, .. } => vec![widget_text(item, widget)],
        ItemKind::StructuredInput(input) => vec![structured_input(input)],
        ItemKind::Task { task } => performed(task).into_iter().collect(),
        ItemKind::Workflow { workflow } => workflow.tasks.iter().filter_map(performed).collect(),
        ItemKind::HiddenContext { content } => vec![hidden_context(content)],
        ItemKind::SdkHiddenContext { content } => {
            vec![hidden_context(&Value::String(content.clone()))]
        }
        ItemKind::GeneratedImage { .. } | ItemKind::EndOfTurn | ItemKind::Unknown(_) => Vec::new(),
    }
}

/// The words as they were typed, behind what they are about.
fn user_text(message: &UserMessage) -> String {
    let mut text = String::new();
    if let Some(quoted) = (message.quoted_text.as_deref()).filter(|text| !text.trim().is_empty()) {
        text += &format!("The user is referring to this in particular:\n{quoted}\n\n");
    }
    text.extend(message.content.iter().map(|part| match part {
        UserContent::InputText { text } => text.clone(),
        UserContent::InputTag(tag) => mention(tag),
    }));
    text
}

/// What stands behind the names that the user wrote with an `@`, each once.
fn mentioned(message: &UserMessage) -> Option<Message> {
    let mut told: Vec<&str> = Vec::new();
    let mut text = "What is mentioned with an @ in the next message:".to_owned();
    for part in &message.content {
        if let UserContent::InputTag(tag) = part
            && !tag.data.is_empty()
            && !told.contains(&tag.text.as_str())
        {
            let about = Value::Object(tag.data.clone());
            text += &format!("\n- {}: {about}", mention(tag));
            told.push(&tag.text);
        }
    }
    (!told.is_empty()).then(|| Message::user(text))
}

fn mention(tag: &Tag) -> String {
    match tag.text.starts_with('@') {
        true => tag.text.clone(),
        false => format!("@{}", tag.text),
    }
}

/// Nothing while the output is missing: providers refuse a call without one.
fn tool_call(call: &ClientToolCall) -> Vec<Message> {
    if call.status == CallStatus::Pending {
        return Vec::new();
    }
    let output = call.output.as_ref().unwrap_or(&Value::Null);
    vec![
        Message::ToolCall {
            call_id: call.call_id.clone(),
            name: call.name.clone(),
            arguments: Value::Object(call.arguments.clone()).to_string(),
        },
        Message::ToolOutput {
            call_id: call.call_id.clone(),
            output: output.to_string(),
        },
    ]
}

fn widget_text(item: &Item, widget: &Root) -> Message {
    let json = serde_json::to_string(widget).expect("JSON is written as JSON");
    Message::user(format!(
        "The following graphical UI widget (id: {}) was displayed to the user:{json}",
        item.id
    ))
}

fn structured_input(input: &StructuredInput) -> Message {
    let status = match input.status {
        InputStatus::Pending => "pending",
        InputStatus::Answered => "answered",
        InputStatus::Skipped => "skipped",
    };
    let lines: Vec<String> = (input.inputs.iter())
        .map(|input| {
            let answer = match &input.answer {
                None => "unanswered".to_owned(),
                Some(answer) if answer.skipped => "skipped".to_owned(),
                Some(answer) => answer.values.join(", "),
            };
            format!("- {}: {answer}", input.question)
        })
        .collect();
    Message::user(format!(
        "A structured input request was displayed to the user with the following status: {status}\n<StructuredInput>\n{}\n</StructuredInput>",
        lines.join("\n")
    ))
}

fn performed(task: &Task) -> Option<Message> {
    let TaskKind::Custom { title, content, .. } = &task.kind else {
        return None;
    };
    let told: Vec<&str> = [title, content]
        .into_iter()
        .filter_map(|text| text.as_deref().filter(|text| !text.is_empty()))
        .collect();
    (!told.is_empty()).then(|| {
        Message::user(format!(
            "A message was displayed to the user that the following task was performed:\n<Task>\n{}\n</Task>",
            told.join(": ")
        ))
    })
}

fn hidden_context(content: &Value) -> Message {
    let text = match content {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Message::user(format!(
        "Hidden context for the agent (not shown to the user):\n<HiddenContext>\n{text}\n</HiddenContext>"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(kind: Value) -> Vec<Message> {
        let mut item = json!({"id": "i", "thread_id": "t", "created_at": "1970-01-01T00:00:00Z"});
        item.as_object_mut()
            .unwrap()
            .extend(kind.as_object().unwrap().clone());
        messages(&serde_json::from_value(item).unwrap(), &Contents::default())
    }

    fn user(kind: Value) -> String {
        match &read(kind)[..] {
            [Message::User(parts)] => match &parts[..] {
                [Part::Text(text)] => text.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_is_read_with_its_quote_and_its_mentions() {
        let tag = |text: &str, data: Value| json!({"type": "input_tag", "id": text, "text": text, "data": data});
        let content = json!([{"type": "input_text", "text": "look at "}, tag("main.rs", json!({"line": 3})), tag("@b", json!({})),
                             tag("main.rs", json!({"line": 3}))]);
        let read = read(
            json!({"type": "user_message", "content": content, "quoted_text": "fn main", "inference_options": {}}),
        );
        assert_eq!(
            read,
            [
                Message::user(
                    "What is mentioned with an @ in the next message:\n- @main.rs: {\"line\":3}"
                ),
                Message::user(
                    "The user is referring to this in particular:\nfn main\n\nlook at @main.rs@b@main.rs"
                ),
            ]
        );
    }

    #[test]
    fn a_call_is_read_once_it_has_an_output() {
        let call = |status: &str, output: Value| {
            read(
                json!({"type": "client_tool_call", "status": status, "call_id": "c", "name": "n", "arguments": {"a": 1}, "output": output}),
            )
        };
        assert_eq!(call("pending", Value::Null), []);
        for (output, expect) in [
            (json!("x"), "\"x\""),
            (json!({"a": [1]}), "{\"a\":[1]}"),
            (Value::Null, "null"),
        ] {
            let [
                Message::ToolCall { arguments, .. },
                Message::ToolOutput { output, .. },
            ] = &call("completed", output)[..]
            else {
                panic!("a call and its output")
            };
            assert_eq!((arguments.as_str(), output.as_str()), ("{\"a\":1}", expect));
        }
    }

    #[test]
    fn what_else_was_shown_is_told_in_the_reference_s_words() {
        let form = json!([{"id": "a", "question": "A?", "type": "freeform", "answer": {"values": ["x", "y"]}},
                          {"id": "b", "question": "B?", "type": "freeform", "answer": {"skipped": true}},
                          {"id": "c", "question": "C?", "type": "freeform"}]);
        let text = user(json!({"type": "structured_input", "status": "answered", "inputs": form}));
        assert!(
            text.contains(
                "status: answered\n<StructuredInput>\n- A?: x, y\n- B?: skipped\n- C?: unanswered\n"
            ),
            "{text}"
        );
        let text = user(json!({"type": "widget", "widget": {"type": "Card", "children": []}}));
        assert!(
            text.contains("(id: i)") && text.contains("\"type\":\"Card\""),
            "{text}"
        );
        let task = json!({"type": "custom", "title": "Read", "content": "main.rs"});
        let text = user(json!({"type": "task", "task": task}));
        assert!(text.contains("<Task>\nRead: main.rs\n</Task>"), "{text}");
        let text = user(json!({"type": "hidden_context_item", "content": {"a": 1}}));
        assert!(text.contains("<HiddenContext>\n{\"a\":1}\n"), "{text}");
        let tasks = json!([task, {"type": "thought", "content": "hm"}, {"type": "custom"}]);
        let workflow = json!({"type": "workflow", "workflow": {"type": "custom", "tasks": tasks}});
        assert_eq!(read(workflow).len(), 1);
        assert_eq!(read(json!({"type": "end_of_turn"})), []);
    }
}
