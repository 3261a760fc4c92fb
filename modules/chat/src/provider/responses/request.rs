//! The body of a request of the Responses API.

use serde::Serialize;
use serde_json::Value;

use crate::config::ReasoningSummary;
use crate::provider::conversation::DataUrl;
use crate::provider::openai::OpenAiSettings;
use crate::provider::{Conversation, Message, Part, Tool};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    input: Vec<InputItem<'a>>,
    stream: bool,
    /// The conversation is kept here; the provider need not keep another.
    store: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<InputTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum InputItem<'a> {
    Message {
        role: &'static str,
        content: Content<'a>,
    },
    Tool(ToolItem<'a>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToolItem<'a> {
    FunctionCall {
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: &'a str,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    /// The short form, which every server knows.
    Text(&'a str),
    Parts(Vec<InputPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum InputPart<'a> {
    #[serde(rename = "input_text")]
    Text { text: &'a str },
    #[serde(rename = "input_image")]
    Image {
        image_url: DataUrl<'a>,
        detail: &'static str,
    },
    #[serde(rename = "input_file")]
    File {
        filename: &'a str,
        file_data: DataUrl<'a>,
    },
}

#[derive(Serialize)]
struct Reasoning {
    summary: ReasoningSummary,
}

#[derive(Serialize)]
struct InputTool<'a> {
    r#type: &'static str,
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
    /// This API's default is `true`, which takes few schemas.
    strict: bool,
}

#[derive(Serialize)]
struct ToolChoice<'a> {
    r#type: &'static str,
    name: &'a str,
}

pub(in crate::provider) fn request(
    settings: &OpenAiSettings,
    conversation: &Conversation,
) -> Vec<u8> {
    let instructions = conversation.instructions.as_deref();
    let body = Body {
        model: conversation.model.as_deref().unwrap_or(&settings.model),
        instructions: instructions.or(settings.instructions.as_deref()),
        input: conversation.paired().map(item).collect(),
        stream: true,
        store: false,
        max_output_tokens: settings.max_output_tokens,
        reasoning: settings
            .reasoning_summary
            .map(|summary| Reasoning { summary }),
        tools: conversation.tools.iter().map(tool).collect(),
        tool_choice: conversation.tool_choice.as_deref().map(|name| ToolChoice {
            r#type: "function",
            name,
        }),
    };
    serde_json::to_vec(&body).expect("the body's types have string keys only")
}

fn item(message: &Message) -> InputItem<'_> {
    match message {
        Message::User(parts) => InputItem::Message {
            role: "user",
            content: match &parts[..] {
                [Part::Text(text)] => Content::Text(text),
                parts => Content::Parts(parts.iter().map(part).collect()),
            },
        },
        Message::Assistant(text) => InputItem::Message {
            role: "assistant",
            content: Content::Text(text),
        },
        Message::ToolCall {
            call_id,
            name,
            arguments,
        } => InputItem::Tool(ToolItem::FunctionCall {
            call_id,
            name,
            arguments,
        }),
        Message::ToolOutput { call_id, output } => {
            InputItem::Tool(ToolItem::FunctionCallOutput { call_id, output })
        }
    }
}

fn part(part: &Part) -> InputPart<'_> {
    match part {
        Part::Text(text) => InputPart::Text { text },
        Part::Image { media_type, data } => InputPart::Image {
            image_url: DataUrl { media_type, data },
            detail: "auto",
        },
        Part::File {
            name,
            media_type,
            data,
        } => InputPart::File {
            filename: name,
            file_data: DataUrl { media_type, data },
        },
    }
}

fn tool(tool: &Tool) -> InputTool<'_> {
    InputTool {
        r#type: "function",
        name: &tool.name,
        description: &tool.description,
        parameters: &tool.parameters,
        strict: false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Api;
    use crate::provider::openai::{conversation_for_tests, settings_for_tests};

    #[test]
    fn the_request_carries_the_conversation_and_is_not_stored() {
        let conversation = Conversation {
            messages: vec![
                Message::user("hi"),
                Message::Assistant("hello".to_owned()),
                Message::user("bye"),
            ],
            ..Conversation::default()
        };
        let mut settings = settings_for_tests(Api::Responses);
        settings.reasoning_summary = Some(ReasoningSummary::Auto);
        let body: Value = serde_json::from_slice(&request(&settings, &conversation)).unwrap();
        assert_eq!(
            body,
            json!({"model": "tiny", "instructions": "Be brief.", "stream": true, "store": false,
                   "reasoning": {"summary": "auto"},
                   "input": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"},
                             {"role": "user", "content": "bye"}]})
        );
    }

    #[test]
    fn parts_and_tools_have_this_api_s_form() {
        let body = request(
            &settings_for_tests(Api::Responses),
            &conversation_for_tests(),
        );
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({
                "model": "large", "instructions": "Be kind.", "stream": true, "store": false,
                "input": [
                    {"role": "user", "content": [
                        {"type": "input_text", "text": "Look"},
                        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw==", "detail": "auto"},
                        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
                    ]},
                    {"role": "assistant", "content": "I look."},
                    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{\"at\":1}"},
                    {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
                    {"type": "function_call_output", "call_id": "c2", "output": "a dog"},
                ],
                "tools": [{"type": "function", "name": "look", "description": "Looks.",
                           "parameters": {"type": "object"}, "strict": false}],
                "tool_choice": {"type": "function", "name": "look"},
            })
        );
    }
}
