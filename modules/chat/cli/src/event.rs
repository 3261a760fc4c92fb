//! What the events of a turn mean for a reader: event -> actions, without I/O.
//!
//! What it does not know it ignores, as the protocol asks of clients: new kinds of events may come.

mod wire;

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use self::wire::{CallStatus, Event, Item, ItemKind, Task, Update, Workflow};
use crate::text::one_line;

/// Of a tool call's arguments, what a line or two hold.
const ARGUMENTS_CHARS_MAX: usize = 160;

/// What the terminal or the conversation does about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// The turn belongs to this thread.
    Thread { id: String, title: Option<String> },
    /// The user's message is kept under this id.
    Asked { item_id: String },
    /// More of the answer.
    Say(String),
    /// The assistant's message, or what stands for one, is complete.
    Answered,
    /// What goes on meanwhile; worth a line that vanishes.
    Progress(String),
    /// Something the user should know beside the answer.
    Note(String),
    /// What went on beside the answer; worth a line to someone who watches.
    Aside(String),
    /// The turn failed; the stream has nothing more to say.
    Fail { message: String, allow_retry: bool },
}

/// An event was not what the protocol says.
#[derive(Debug, thiserror::Error)]
#[error("the chat module sent an event that is not ChatKit's: {0}")]
pub(crate) struct MalformedEvent(#[from] serde_json::Error);

/// Reads the events of one turn, remembering what was said of each part of the answer: a part can come in deltas, whole,
/// or both.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    said: HashMap<(String, usize), String>,
    spoke: bool,
}

impl Reader {
    /// The actions of one event, given its `data`.
    pub(crate) fn read(&mut self, data: &str) -> Result<Vec<Action>, MalformedEvent> {
        Ok(match serde_json::from_str(data)? {
            Event::ThreadCreated { thread } | Event::ThreadUpdated { thread } => {
                vec![Action::Thread {
                    id: thread.id,
                    title: thread.title,
                }]
            }
            Event::ItemAdded { item } => self.item(item, Stage::Begun),
            Event::ItemDone { item } | Event::ItemReplaced { item } => self.item(item, Stage::Done),
            Event::ItemUpdated { item_id, update } => self.update(item_id, update),
            Event::ItemRemoved { item_id } => {
                if self.said.keys().any(|(item, _)| *item == item_id) {
                    vec![Action::Note("the answer was taken back".to_owned())]
                } else {
                    Vec::new()
                }
            }
            Event::Progress { text } => vec![Action::Progress(text)],
            Event::Notice { title, message } => vec![Action::Note(match title {
                Some(title) if !title.is_empty() => format!("{title}: {message}"),
                _ => message,
            })],
            Event::Error {
                code,
                message,
                allow_retry,
            } => vec![Action::Fail {
                message: message.unwrap_or_else(|| format!("the turn failed ({code})")),
                allow_retry,
            }],
            Event::Other => Vec::new(),
        })
    }

    fn item(&mut self, item: Item, stage: Stage) -> Vec<Action> {
        match (item.kind, stage) {
            (ItemKind::UserMessage, Stage::Done) => vec![Action::Asked { item_id: item.id }],
            (ItemKind::AssistantMessage { content }, stage) => {
                let mut actions: Vec<Action> = content
                    .into_iter()
                    .enumerate()
                    .filter_map(|(index, part)| self.whole(&item.id, index, part.text))
                    .collect();
                if let Stage::Done = stage {
                    actions.push(Action::Answered);
                }
                actions
            }
            (ItemKind::Workflow { workflow }, Stage::Begun) => {
                workflow.tasks.iter().filter_map(progress).collect()
            }
            (ItemKind::Task { task }, Stage::Begun) => progress(&task).into_iter().collect(),
            (ItemKind::Workflow { workflow }, Stage::Done) => workflow
                .summarized()
                .map(Action::Aside)
                .into_iter()
                .collect(),
            (
                ItemKind::ClientToolCall {
                    status: CallStatus::Pending,
                    name,
                    arguments,
                },
                Stage::Done,
            ) => not_in_words(format!(
                "the model asked for the tool {}, which this client has not; what you say next goes on without it",
                called(&name, &arguments)
            )),
            (ItemKind::Widget { copy_text }, Stage::Done) => {
                not_in_words(copy_text.unwrap_or_else(|| not_shown("a widget")))
            }
            (ItemKind::GeneratedImage { image: Some(image) }, Stage::Done) => {
                not_in_words(match image.url.starts_with("data:") {
                    true => not_shown("an image"),
                    false => format!("an image: {}", image.url),
                })
            }
            (ItemKind::StructuredInput, Stage::Done) => not_in_words(not_shown("a form")),
            _ => Vec::new(),
        }
    }

    fn update(&mut self, item_id: String, update: Update) -> Vec<Action> {
        match update {
            Update::ContentAdded {
                content_index,
                content,
            }
            | Update::ContentDone {
                content_index,
                content,
            } => self
                .whole(&item_id, content_index, content.text)
                .into_iter()
                .collect(),
            Update::TextDelta {
                content_index,
                delta,
            } => self
                .more(item_id, content_index, &delta)
                .into_iter()
                .collect(),
            Update::TaskAdded { task } | Update::TaskUpdated { task } => {
                progress(&task).into_iter().collect()
            }
            Update::Other => Vec::new(),
        }
    }

    /// The part's text is `text`; says what of it was not said yet.
    fn whole(&mut self, item_id: &str, index: usize, text: String) -> Option<Action> {
        let said = self.said.get(&(item_id.to_owned(), index));
        match said.map(|said| text.strip_prefix(said.as_str())) {
            None => self.more(item_id.to_owned(), index, &text),
            Some(Some(rest)) => self.more(item_id.to_owned(), index, rest),
            // What a terminal has shown stays: the text that holds follows it.
            Some(None) => {
                self.said.remove(&(item_id.to_owned(), index));
                self.more(item_id.to_owned(), index, &text)
            }
        }
    }

    fn more(&mut self, item_id: String, index: usize, text: &str) -> Option<Action> {
        if text.is_empty() {
            return None;
        }
        let said = self.said.entry((item_id, index)).or_default();
        let is_new_part = said.is_empty();
        said.push_str(text);
        let apart = is_new_part && std::mem::replace(&mut self.spoke, true);
        Some(Action::Say(if apart {
            format!("\n\n{text}")
        } else {
            text.to_owned()
        }))
    }
}

/// Whether an item's event begins it or completes it.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Begun,
    Done,
}

fn progress(task: &Task) -> Option<Action> {
    let line = |text: &Option<String>| {
        let text = text.as_deref()?.trim();
        text.lines().last().map(str::to_owned)
    };
    line(&task.title)
        .or_else(|| line(&task.content))
        .map(Action::Progress)
}

/// What a stored workflow came to, in a line for each thing it did.
pub(crate) fn summary_of(workflow: &Value) -> Option<String> {
    Workflow::deserialize(workflow).ok()?.summarized()
}

/// A stored call of a client tool: its name and what it was given.
pub(crate) fn tool_call(item: &Value) -> String {
    called(
        item["name"].as_str().unwrap_or_default(),
        &item["arguments"],
    )
}

fn called(name: &str, arguments: &Value) -> String {
    let arguments = match arguments {
        Value::Null => String::new(),
        arguments => one_line(&arguments.to_string()),
    };
    let shown: String = arguments.chars().take(ARGUMENTS_CHARS_MAX).collect();
    let cut = if shown.len() < arguments.len() {
        "…"
    } else {
        ""
    };
    format!("`{}` {shown}{cut}", one_line(name))
        .trim_end()
        .to_owned()
}

impl Workflow {
    fn summarized(&self) -> Option<String> {
        let summary = self.summary.as_ref().and_then(|summary| match summary {
            wire::Summary {
                title: Some(title), ..
            } => Some(one_line(title)),
            wire::Summary {
                duration_s: Some(0),
                ..
            } => Some("thought for a moment".to_owned()),
            wire::Summary { duration_s, .. } => {
                duration_s.map(|seconds| format!("thought for {seconds} s"))
            }
        });
        let titles = self.tasks.iter().filter_map(|task| task.title.as_deref());
        let titles = titles.map(|title| format!("· {}", one_line(title)));
        let lines: Vec<String> = summary.into_iter().chain(titles).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// An answer all the same.
fn not_in_words(note: String) -> Vec<Action> {
    vec![Action::Note(note), Action::Answered]
}

fn not_shown(what: &str) -> String {
    format!("the answer holds {what}, which a terminal cannot show")
}

#[cfg(test)]
mod tests;
