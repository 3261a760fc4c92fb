//! The events of the Responses API, as far as they are read.

use serde::Deserialize;

use crate::protocol::source::{Annotation, FileSource, Source, SourceBase, UrlSource};
use crate::provider::Usage;
use crate::provider::error::ErrorMembers;

#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum StreamEvent {
    #[serde(rename = "response.output_text.delta")]
    Text(TextDelta),
    #[serde(rename = "response.refusal.delta")]
    Refusal(TextDelta),
    #[serde(rename = "response.output_text.annotation.added")]
    Annotation {
        #[serde(default)]
        output_index: u64,
        #[serde(default)]
        content_index: u64,
        annotation: Citation,
    },
    #[serde(rename = "response.reasoning_summary_text.delta")]
    Thought {
        #[serde(default)]
        output_index: u64,
        #[serde(default)]
        summary_index: u64,
        delta: String,
    },
    #[serde(rename = "response.output_item.added")]
    ItemAdded {
        #[serde(default)]
        output_index: u64,
        item: OutputItem,
    },
    #[serde(rename = "response.function_call_arguments.delta")]
    Arguments {
        #[serde(default)]
        output_index: u64,
        delta: String,
    },
    #[serde(rename = "response.output_item.done")]
    ItemDone {
        #[serde(default)]
        output_index: u64,
        item: OutputItem,
    },
    #[serde(rename = "response.completed")]
    Completed {
        #[serde(default)]
        response: EndedResponse,
    },
    #[serde(rename = "response.incomplete")]
    Incomplete {
        #[serde(default)]
        response: EndedResponse,
    },
    #[serde(rename = "response.failed")]
    Failed {
        #[serde(default)]
        response: EndedResponse,
    },
    #[serde(rename = "error")]
    Error {
        #[serde(default)]
        code: serde_json::Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(super) struct TextDelta {
    #[serde(default)]
    pub(super) output_index: u64,
    #[serde(default)]
    pub(super) content_index: u64,
    pub(super) delta: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutputItem {
    FunctionCall {
        #[serde(default)]
        call_id: String,
        #[serde(default)]
        name: String,
        #[serde(default)]
        arguments: String,
    },
    Reasoning {},
    #[serde(other)]
    Other,
}

/// What the words rest on. A member that is missing makes it one that is left out, not a stream that cannot be read.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Citation {
    #[serde(rename = "file_citation")]
    File {
        #[serde(default)]
        filename: Option<String>,
        #[serde(default)]
        index: Option<u64>,
    },
    #[serde(rename = "container_file_citation")]
    ContainerFile {
        #[serde(default)]
        filename: Option<String>,
        #[serde(default)]
        end_index: Option<u64>,
    },
    #[serde(rename = "url_citation")]
    Url {
        #[serde(default)]
        url: Option<String>,
        #[serde(default)]
        title: Option<String>,
        #[serde(default)]
        end_index: Option<u64>,
    },
    #[serde(other)]
    Other,
}

impl Citation {
    /// As `ResponseStreamConverter` in `chatkit/agents.py` has it: nothing for a file without a name.
    pub(super) fn annotation(self) -> Option<Annotation> {
        let file = |filename: Option<String>, index| {
            let filename = filename.filter(|name| !name.is_empty())?;
            let source = FileSource {
                base: SourceBase::titled(filename.as_str()),
                filename,
            };
            Some(Annotation::new(Source::File(source), index))
        };
        match self {
            Citation::File { filename, index } => file(filename, index),
            Citation::ContainerFile {
                filename,
                end_index,
            } => file(filename, end_index),
            Citation::Url {
                url,
                title,
                end_index,
            } => {
                let url = url?;
                let source = UrlSource {
                    base: SourceBase::titled(title.unwrap_or_else(|| url.clone())),
                    url,
                    attribution: None,
                };
                Some(Annotation::new(Source::Url(source), end_index))
            }
            Citation::Other => None,
        }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct EndedResponse {
    #[serde(default)]
    pub(super) usage: Option<ResponseUsage>,
    #[serde(default)]
    pub(super) incomplete_details: Option<IncompleteDetails>,
    #[serde(default)]
    pub(super) error: Option<ErrorMembers>,
}

#[derive(Deserialize)]
pub(super) struct ResponseUsage {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    input_tokens_details: Option<InputDetails>,
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct InputDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

impl From<ResponseUsage> for Usage {
    fn from(usage: ResponseUsage) -> Usage {
        let cached = usage.input_tokens_details;
        let reasoning = usage.output_tokens_details;
        Usage {
            input_tokens: usage.input_tokens.unwrap_or_default(),
            cached_input_tokens: cached
                .and_then(|details| details.cached_tokens)
                .unwrap_or_default(),
            output_tokens: usage.output_tokens.unwrap_or_default(),
            reasoning_tokens: reasoning
                .and_then(|details| details.reasoning_tokens)
                .unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct IncompleteDetails {
    #[serde(default)]
    pub(super) reason: Option<String>,
}
