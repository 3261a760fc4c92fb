//! The body of a request of the Chat Completions API.

use serde::Serialize;
use serde_json::Value;

use crate::provider::conversation::DataUrl;
use crate::provider::openai::OpenAiSettings;
use crate::provider::{Conversation, Message, Part, Tool};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<ChatMessage<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ChatTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum ChatMessage<'a> {
    /// OpenAI reads it as `developer`; local servers know only this name.
    System {
        content: &'a str,
    },
    User {
        content: Content<'a>,
    },
    Assistant {
        /// `null` beside calls, where the model said nothing: local servers want the member.
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<ToolCall<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    /// The short form, which every server knows.
    Text(&'a str),
    Parts(Vec<ChatPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ChatPart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
    File { file: FilePart<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: DataUrl<'a>,
}

#[derive(Serialize)]
struct FilePart<'a> {
    filename: &'a str,
    file_data: DataUrl<'a>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct ChatTool<'a> {
    r#type: &'static str,
    function: OfferedFunction<'a>,
}

#[derive(Serialize)]
struct OfferedFunction<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

#[derive(Serialize)]
struct ToolChoice<'a> {
    r#type: &'static str,
    function: ChosenFunction<'a>,
}

#[derive(Serialize)]
struct ChosenFunction<'a> {
    name: &'a str,
}

pub(in crate::provider) fn request(
    settings: &OpenAiSettings,
    conversation: &Conversation,
) -> Vec<u8> {
    let instructions = conversation.instructions.as_deref();
    let instructions = instructions.or(settings.instructions.as_deref());
    let mut messages: Vec<_> = instructions
        .map(|content| ChatMessage::System { content })
        .into_iter()
        .collect();
    for message in conversation.paired() {
        add(&mut messages, message);
    }
    let body = Body {
        model: conversation.model.as_deref().unwrap_or(&settings.model),
        messages,
        stream: true,
        stream_options: settings.stream_usage.then_some(StreamOptions {
            include_usage: true,
        }),
        max_completion_tokens: settings.max_output_tokens,
        tools: conversation.tools.iter().map(tool).collect(),
        tool_choice: conversation.tool_choice.as_deref().map(|name| ToolChoice {
            r#type: "function",
            function: ChosenFunction { name },
        }),
    };
    serde_json::to_vec(&body).expect("the body's types have string keys only")
}

fn add<'a>(messages: &mut Vec<ChatMessage<'a>>, message: &'a Message) {
    match message {
        Message::User(parts) => messages.push(ChatMessage::User {
            content: match &parts[..] {
                [Part::Text(text)] => Content::Text(text),
                parts => Content::Parts(parts.iter().map(part).collect()),
            },
        }),
        Message::Assistant(text) => messages.push(ChatMessage::Assistant {
            content: Some(text),
            tool_calls: Vec::new(),
        }),
        Message::ToolCall {
            call_id,
            name,
            arguments,
        } => {
            let call = ToolCall {
                id: call_id,
                r#type: "function",
                function: CalledFunction { name, arguments },
            };
            // What the model said and called in one answer is one message here.
            match messages.last_mut() {
                Some(ChatMessage::Assistant { tool_calls, .. }) => tool_calls.push(call),
                _ => messages.push(ChatMessage::Assistant {
                    content: None,
                    tool_calls: vec![call],
                }),
            }
        }
        Message::ToolOutput { call_id, output } => messages.push(ChatMessage::Tool {
            tool_call_id: call_id,
            content: output,
        }),
    }
}

fn part(part: &Part) -> ChatPart<'_> {
    match part {
        Part::Text(text) => ChatPart::Text { text },
        Part::Image { media_type, data } => ChatPart::ImageUrl {
            image_url: ImageUrl {
                url: DataUrl { media_type, data },
            },
        },
        Part::File {
            name,
            media_type,
            data,
        } => ChatPart::File {
            file: FilePart {
                filename: name,
                file_data: DataUrl { media_type, data },
            },
        },
    }
}

fn tool(tool: &Tool) -> ChatTool<'_> {
    ChatTool {
        r#type: "function",
        function: OfferedFunction {
            name: &tool.name,
            description: &tool.description,
            parameters: &tool.parameters,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Api;
    use crate::provider::openai::{conversation_for_tests, settings_for_tests};

    #[test]
    fn the_request_carries_instructions_and_conversation() {
        let conversation = Conversation {
            model: Some("large".to_owned()),
            messages: vec![Message::user("hi")],
            ..Conversation::default()
        };
        let mut settings = settings_for_tests(Api::ChatCompletions);
        let body = request(&settings, &conversation);
        let mut expect = json!({"model": "large", "stream": true, "stream_options": {"include_usage": true}, "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]});
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expect);
        settings.stream_usage = false;
        let body = request(&settings, &conversation);
        expect.as_object_mut().unwrap().remove("stream_options");
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expect);
    }

    #[test]
    fn parts_and_tools_have_this_api_s_form() {
        let body = request(
            &settings_for_tests(Api::ChatCompletions),
            &conversation_for_tests(),
        );
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({
                "model": "large", "stream": true, "stream_options": {"include_usage": true},
                "messages": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": [
                        {"type": "text", "text": "Look"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
                        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
                    ]},
                    {"role": "assistant", "content": "I look.", "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"at\":1}"}},
                        {"id": "c2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                    ]},
                    {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
                    {"role": "tool", "tool_call_id": "c2", "content": "a dog"},
                ],
                "tools": [{"type": "function", "function": {"name": "look", "description": "Looks.",
                           "parameters": {"type": "object"}}}],
                "tool_choice": {"type": "function", "function": {"name": "look"}},
            })
        );
    }
}
