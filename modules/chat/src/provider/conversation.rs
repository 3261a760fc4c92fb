//! What a model is shown: the conversation so far, and the tools it may call.

use std::collections::HashSet;
use std::sync::Arc;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Conversation {
    /// In place of the configured model.
    pub(crate) model: Option<String>,
    /// In place of the configured instructions.
    pub(crate) instructions: Option<Arc<str>>,
    pub(crate) messages: Vec<Message>,
    pub(crate) tools: Vec<Tool>,
    /// The name of the tool that is to be called; left out, the model decides.
    pub(crate) tool_choice: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    User(Vec<Part>),
    Assistant(String),
    ToolCall {
        call_id: String,
        name: String,
        /// A JSON object.
        arguments: String,
    },
    ToolOutput {
        call_id: String,
        output: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Image {
        media_type: String,
        data: Bytes,
    },
    File {
        name: String,
        media_type: String,
        data: Bytes,
    },
}

/// A function that a model may call; somebody else runs it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) description: String,
    /// A JSON schema of an object.
    pub(crate) parameters: Value,
}

impl Message {
    pub(crate) fn user(text: impl Into<String>) -> Message {
        Message::User(vec![Part::Text(text.into())])
    }

    /// How much a model has to read, in bytes of text. Images and files are counted by the provider in its own way.
    pub(crate) fn text_len(&self) -> usize {
        match self {
            Message::User(parts) => parts.iter().map(|part| part.text().len()).sum(),
            Message::Assistant(text) => text.len(),
            Message::ToolCall {
                name, arguments, ..
            } => name.len() + arguments.len(),
            Message::ToolOutput { output, .. } => output.len(),
        }
    }
}

impl Part {
    fn text(&self) -> &str {
        match self {
            Part::Text(text) => text,
            Part::Image { .. } | Part::File { .. } => "",
        }
    }
}

impl Conversation {
    /// The messages without tool calls that have no output, and without outputs of calls that are not there: providers refuse
    /// a conversation with either, for ever. The first is a call that nobody has answered; the second what is left when a
    /// long conversation is cut between the two.
    pub(super) fn paired(&self) -> impl Iterator<Item = &Message> {
        let (mut called, mut answered) = (HashSet::new(), HashSet::new());
        for message in &self.messages {
            match message {
                Message::ToolCall { call_id, .. } => {
                    called.insert(call_id);
                }
                Message::ToolOutput { call_id, .. } if called.contains(call_id) => {
                    answered.insert(call_id);
                }
                _ => {}
            }
        }
        self.messages.iter().filter(move |message| match message {
            Message::ToolCall { call_id, .. } | Message::ToolOutput { call_id, .. } => {
                answered.contains(call_id)
            }
            Message::User(_) | Message::Assistant(_) => true,
        })
    }
}

/// Bytes as a `data:` URL (RFC 2397), written without a copy of their text.
pub(super) struct DataUrl<'a> {
    pub(super) media_type: &'a str,
    pub(super) data: &'a [u8],
}

impl Serialize for DataUrl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let data = Base64Display::new(self.data, &STANDARD);
        serializer.collect_str(&format_args!("data:{};base64,{data}", self.media_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_outputs_go_in_pairs_or_not_at_all() {
        let call = |id: &str| Message::ToolCall {
            call_id: id.to_owned(),
            name: "look".to_owned(),
            arguments: "{}".to_owned(),
        };
        let output = |id: &str| Message::ToolOutput {
            call_id: id.to_owned(),
            output: "seen".to_owned(),
        };
        let conversation = Conversation {
            messages: vec![
                output("cut"),
                call("a"),
                call("b"),
                output("b"),
                output("a"),
                call("pending"),
                Message::user("never mind"),
            ],
            ..Conversation::default()
        };
        let paired: Vec<_> = conversation.paired().cloned().collect();
        assert_eq!(
            paired,
            [
                call("a"),
                call("b"),
                output("b"),
                output("a"),
                Message::user("never mind")
            ]
        );
    }

    #[test]
    fn bytes_are_a_data_url() {
        let url = DataUrl {
            media_type: "image/png",
            data: b"\x89PNG",
        };
        assert_eq!(
            serde_json::to_string(&url).unwrap(),
            r#""data:image/png;base64,iVBORw==""#
        );
    }
}
