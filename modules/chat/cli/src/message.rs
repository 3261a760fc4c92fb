//! The items of a thread as something to read again.

use serde_json::Value;

use crate::event::{summary_of, tool_call};

/// An item that a terminal can show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    OfUser(String),
    OfAssistant(String),
    /// What went on beside the words.
    Aside(String),
}

/// The item, if there is something to show of it.
pub(crate) fn message(item: &Value) -> Option<Message> {
    match item["type"].as_str()? {
        "user_message" => {
            let mut text = text(item)?;
            let attachments = item["attachments"].as_array().into_iter().flatten();
            for name in attachments.filter_map(|attachment| attachment["name"].as_str()) {
                text.push_str(&format!("\n[attached: {name}]"));
            }
            Some(Message::OfUser(text))
        }
        "assistant_message" => Some(Message::OfAssistant(text(item)?)),
        "workflow" => summary_of(&item["workflow"]).map(Message::Aside),
        "client_tool_call" => Some(Message::Aside(format!("the tool {}", tool_call(item)))),
        "widget" => {
            let copy = item["copy_text"].as_str();
            Some(Message::Aside(
                copy.unwrap_or("a widget, which a terminal cannot show")
                    .to_owned(),
            ))
        }
        "generated_image" => Some(Message::Aside("an image".to_owned())),
        _ => None,
    }
}

/// The id of the last message of the user's.
pub(crate) fn last_of_user(items: &[Value]) -> Option<String> {
    let mut latest_first = items.iter().rev();
    let item = latest_first.find(|item| item["type"] == "user_message")?;
    item["id"].as_str().map(str::to_owned)
}

fn text(item: &Value) -> Option<String> {
    let parts = item["content"].as_array()?.iter();
    let texts: Vec<&str> = parts.filter_map(|part| part["text"].as_str()).collect();
    Some(texts.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_are_read_as_what_was_said() {
        let of_user = |text: &str| Some(Message::OfUser(text.to_owned()));
        let aside = |text: &str| Some(Message::Aside(text.to_owned()));
        for (item, expected) in [
            (
                json!({"type": "user_message", "content": [{"text": "a"}, {"text": "b"}], "attachments": [{"id": "x", "name": "a.png"}]}),
                of_user("a\n\nb\n[attached: a.png]"),
            ),
            (
                json!({"type": "assistant_message", "content": [{"text": "a"}]}),
                Some(Message::OfAssistant("a".to_owned())),
            ),
            (
                json!({"type": "workflow", "workflow": {"type": "reasoning", "tasks": [], "summary": {"duration": 3}}}),
                aside("thought for 3 s"),
            ),
            (
                json!({"type": "client_tool_call", "name": "open", "arguments": {"path": "/x"}, "status": "completed"}),
                aside("the tool `open` {\"path\":\"/x\"}"),
            ),
            (json!({"type": "widget", "copy_text": "42"}), aside("42")),
            (
                json!({"type": "generated_image", "image": null}),
                aside("an image"),
            ),
            (json!({"type": "end_of_turn"}), None),
            (json!({"type": "hologram"}), None),
            (json!({}), None),
        ] {
            assert_eq!(message(&item), expected, "{item}");
        }
    }

    #[test]
    fn a_retry_is_about_the_last_message_of_the_user() {
        let item = |kind: &str, id: &str| json!({"type": kind, "id": id});
        let items = [
            item("user_message", "1"),
            item("user_message", "2"),
            item("assistant_message", "3"),
        ];
        assert_eq!(last_of_user(&items).as_deref(), Some("2"));
        assert_eq!(last_of_user(&items[2..]), None);
    }
}
