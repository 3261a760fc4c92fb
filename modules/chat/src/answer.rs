//! Turns what a provider says into ChatKit's events: a pure machine, without store, network or clock.

use std::collections::VecDeque;

use crate::protocol::event::{Event, Notice, NoticeLevel};
use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::message::AssistantContent;
use crate::protocol::timestamp::Timestamp;
use crate::protocol::update::Update;
use crate::protocol::workflow::{Summary, Task, Workflow, WorkflowType};
use crate::provider::{Delta, Ending, ProviderError};

/// Of an answer and of its thoughts, each; no model says more in one turn.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// An answer has one part: no provider here gives others.
const CONTENT_INDEX: u32 = 0;

/// What is to be done next in a turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Send(Event),
    /// Keep this item; then send that it is done.
    Keep(Item),
}

/// The assistant's half of a turn, as far as it was said.
pub(crate) struct Answer {
    thread: ThreadId,
    thinking: Option<Thinking>,
    message: Option<Message>,
}

struct Thinking {
    id: ItemId,
    since: Timestamp,
    thoughts: Vec<String>,
    part: u64,
    bytes: usize,
}

struct Message {
    id: ItemId,
    since: Timestamp,
    text: String,
}

impl Answer {
    pub(crate) fn new(thread: ThreadId) -> Answer {
        Answer {
            thread,
            thinking: None,
            message: None,
        }
    }

    /// Appends what follows from `delta`.
    pub(crate) fn take(
        &mut self,
        delta: Delta,
        now: Timestamp,
        steps: &mut VecDeque<Step>,
    ) -> Result<(), ProviderError> {
        match delta {
            // A late thought would stand behind the answer it led to; the reference's user never sees one either.
            Delta::Thought { .. } if self.message.is_some() => Ok(()),
            Delta::Thought { part, text } => self.think(part, text, now, steps),
            Delta::Text(text) | Delta::Refusal(text) => self.say(text, now, steps),
            // No tool is offered, so that none can be called.
            Delta::ToolCall { .. } => Err(ProviderError::ToolCall),
            Delta::Usage(_) => Ok(()),
            Delta::Done(ending) => self.finish(ending, now, steps),
        }
    }

    /// The message as far as it was said, if that is more than white space.
    pub(crate) fn unfinished(&self) -> Option<Item> {
        let message = self.message.as_ref()?;
        (!message.text.trim().is_empty()).then(|| self.message_item(message))
    }

    fn think(
        &mut self,
        part: u64,
        text: String,
        now: Timestamp,
        steps: &mut VecDeque<Step>,
    ) -> Result<(), ProviderError> {
        let thinking = match &mut self.thinking {
            Some(thinking) => thinking,
            none => {
                let thinking = Thinking {
                    id: ItemId::workflow(),
                    since: now,
                    thoughts: Vec::new(),
                    part,
                    bytes: 0,
                };
                let item = workflow_item(&self.thread, &thinking, None);
                steps.push_back(Step::Send(Event::ItemAdded { item }));
                none.insert(thinking)
            }
        };
        thinking.bytes += text.len();
        if thinking.bytes > TEXT_BYTES_MAX {
            return Err(ProviderError::Malformed);
        }
        let is_new = thinking.thoughts.is_empty() || thinking.part != part;
        thinking.part = part;
        match thinking.thoughts.last_mut() {
            Some(thought) if !is_new => thought.push_str(&text),
            _ => thinking.thoughts.push(text),
        }
        let task_index = thinking.thoughts.len() - 1;
        let task = Task::thought(thinking.thoughts[task_index].as_str());
        let update = match is_new {
            true => Update::TaskAdded { task_index, task },
            false => Update::TaskUpdated { task_index, task },
        };
        steps.push_back(Step::Send(Event::ItemUpdated {
            item_id: thinking.id.clone(),
            update,
        }));
        Ok(())
    }

    fn say(
        &mut self,
        text: String,
        now: Timestamp,
        steps: &mut VecDeque<Step>,
    ) -> Result<(), ProviderError> {
        if text.is_empty() {
            return Ok(());
        }
        self.finish_thinking(now, steps);
        let message = match &mut self.message {
            Some(message) => message,
            none => {
                let id = ItemId::message();
                let kind = ItemKind::AssistantMessage {
                    content: Vec::new(),
                };
                let item = Item {
                    id: id.clone(),
                    thread_id: self.thread.clone(),
                    created_at: now,
                    kind,
                };
                let content = AssistantContent::new("");
                let update = Update::ContentAdded {
                    content_index: CONTENT_INDEX,
                    content,
                };
                steps.push_back(Step::Send(Event::ItemAdded { item }));
                steps.push_back(Step::Send(Event::ItemUpdated {
                    item_id: id.clone(),
                    update,
                }));
                none.insert(Message {
                    id,
                    since: now,
                    text: String::new(),
                })
            }
        };
        message.text.push_str(&text);
        if message.text.len() > TEXT_BYTES_MAX {
            return Err(ProviderError::Malformed);
        }
        let update = Update::TextDelta {
            content_index: CONTENT_INDEX,
            delta: text,
        };
        steps.push_back(Step::Send(Event::ItemUpdated {
            item_id: message.id.clone(),
            update,
        }));
        Ok(())
    }

    fn finish(
        &mut self,
        ending: Ending,
        now: Timestamp,
        steps: &mut VecDeque<Step>,
    ) -> Result<(), ProviderError> {
        self.finish_thinking(now, steps);
        let Some(message) = &self.message else {
            return match ending {
                Ending::Complete => Err(ProviderError::Empty),
                cut => {
                    steps.extend(notice(cut));
                    Ok(())
                }
            };
        };
        let content = AssistantContent::new(message.text.as_str());
        let update = Update::ContentDone {
            content_index: CONTENT_INDEX,
            content,
        };
        steps.push_back(Step::Send(Event::ItemUpdated {
            item_id: message.id.clone(),
            update,
        }));
        steps.push_back(Step::Keep(self.message_item(message)));
        steps.extend(notice(ending));
        Ok(())
    }

    fn finish_thinking(&mut self, now: Timestamp, steps: &mut VecDeque<Step>) {
        if let Some(thinking) = self.thinking.take() {
            let summary = Summary::Duration {
                duration_s: thinking.since.until(now).as_secs(),
            };
            steps.push_back(Step::Keep(workflow_item(
                &self.thread,
                &thinking,
                Some(summary),
            )));
        }
    }

    fn message_item(&self, message: &Message) -> Item {
        let content = vec![AssistantContent::new(message.text.as_str())];
        Item {
            id: message.id.clone(),
            thread_id: self.thread.clone(),
            created_at: message.since,
            kind: ItemKind::AssistantMessage { content },
        }
    }
}

fn workflow_item(thread: &ThreadId, thinking: &Thinking, summary: Option<Summary>) -> Item {
    let tasks = thinking
        .thoughts
        .iter()
        .map(|thought| Task::thought(thought.as_str()))
        .collect();
    let workflow = Workflow {
        r#type: WorkflowType::Reasoning,
        tasks,
        summary,
        expanded: false,
    };
    Item {
        id: thinking.id.clone(),
        thread_id: thread.clone(),
        created_at: thinking.since,
        kind: ItemKind::Workflow { workflow },
    }
}

fn notice(ending: Ending) -> Option<Step> {
    let (title, message) = match ending {
        Ending::Complete => return None,
        Ending::LengthLimit => (
            "Answer cut",
            "The model's limit of length ended the answer: ask it to go on.",
        ),
        Ending::Filtered => (
            "Answer withheld",
            "The provider withheld the rest of the answer.",
        ),
    };
    let notice = Notice {
        level: NoticeLevel::Warning,
        title: Some(title.to_owned()),
        message: message.to_owned(),
    };
    Some(Step::Send(Event::Notice(notice)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Takes a delta each second; gives the events, and `keep` for what is kept.
    fn steps(deltas: Vec<Delta>) -> (Answer, Result<Vec<Value>, ProviderError>) {
        let (mut answer, mut steps) = (Answer::new("thr_1".into()), VecDeque::new());
        for (second, delta) in (0..).zip(deltas) {
            if let Err(error) = answer.take(
                delta,
                Timestamp::from_micros(second * 1_000_000),
                &mut steps,
            ) {
                return (answer, Err(error));
            }
        }
        let json = steps.into_iter().map(|step| match step {
            Step::Send(event) => serde_json::to_value(event).unwrap(),
            Step::Keep(item) => json!({"keep": item}),
        });
        let json = json.collect();
        (answer, Ok(json))
    }

    fn text(text: &str) -> Delta {
        Delta::Text(text.to_owned())
    }

    fn thought(part: u64, text: &str) -> Delta {
        Delta::Thought {
            part,
            text: text.to_owned(),
        }
    }

    fn name(step: &Value) -> &str {
        let kept = step
            .pointer("/keep/type")
            .or_else(|| step.pointer("/update/type"));
        kept.unwrap_or(&step["type"]).as_str().unwrap()
    }

    fn types(steps: &[Value]) -> Vec<&str> {
        steps.iter().map(name).collect()
    }

    #[test]
    fn an_answer_is_added_said_and_kept() {
        let (_, steps) = steps(vec![
            text("Hel"),
            text(""),
            text("lo"),
            Delta::Done(Ending::Complete),
        ]);
        let steps = steps.unwrap();
        assert_eq!(
            types(&steps),
            [
                "thread.item.added",
                "assistant_message.content_part.added",
                "assistant_message.content_part.text_delta",
                "assistant_message.content_part.text_delta",
                "assistant_message.content_part.done",
                "assistant_message"
            ]
        );
        let id = steps[0]["item"]["id"].clone();
        assert_eq!(
            steps[0],
            json!({"type": "thread.item.added", "item": {"id": id, "thread_id": "thr_1", "type": "assistant_message",
                   "created_at": "1970-01-01T00:00:00Z", "content": []}})
        );
        assert_eq!(
            steps[3],
            json!({"type": "thread.item.updated", "item_id": id, "update":
                   {"type": "assistant_message.content_part.text_delta", "content_index": 0, "delta": "lo"}})
        );
        assert_eq!(
            steps[5]["keep"]["content"],
            json!([{"annotations": [], "text": "Hello", "type": "output_text"}])
        );
        assert_eq!(steps[5]["keep"]["id"], id);
    }

    #[test]
    fn thoughts_become_a_workflow_that_ends_where_the_answer_begins() {
        let deltas = vec![
            thought(0, "Hm"),
            thought(0, "m."),
            thought(1, "Oh."),
            text("Hi"),
            thought(2, "late"),
            Delta::Done(Ending::Complete),
        ];
        let (_, steps) = steps(deltas);
        let steps = steps.unwrap();
        assert_eq!(
            types(&steps)[..6],
            [
                "thread.item.added",
                "workflow.task.added",
                "workflow.task.updated",
                "workflow.task.added",
                "workflow",
                "thread.item.added"
            ]
        );
        assert_eq!(
            steps[2]["update"]["task"],
            json!({"type": "thought", "status_indicator": "none", "content": "Hmm."})
        );
        assert_eq!(steps[3]["update"]["task_index"], 1);
        assert_eq!(
            steps[4]["keep"]["workflow"]["summary"],
            json!({"duration": 3})
        );
        assert_eq!(
            steps[4]["keep"]["workflow"]["tasks"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
        assert!(!serde_json::to_string(&steps).unwrap().contains("late"));
    }

    #[test]
    fn a_cut_answer_is_kept_and_the_user_told() {
        let (_, steps) = steps(vec![text("Hel"), Delta::Done(Ending::LengthLimit)]);
        let steps = steps.unwrap();
        assert_eq!(types(&steps)[4..], ["assistant_message", "notice"]);
        assert_eq!(steps[5]["level"], "warning");
    }

    #[test]
    fn saying_nothing_is_an_error_and_saying_too_much_too() {
        assert_eq!(
            steps(vec![Delta::Done(Ending::Complete)]).1.unwrap_err(),
            ProviderError::Empty
        );
        assert_eq!(
            types(&steps(vec![Delta::Done(Ending::Filtered)]).1.unwrap()),
            ["notice"]
        );
        let much = "x".repeat(TEXT_BYTES_MAX);
        assert!(steps(vec![text(&much)]).1.is_ok());
        assert_eq!(
            steps(vec![text(&much), text("x")]).1.unwrap_err(),
            ProviderError::Malformed
        );
        assert_eq!(
            steps(vec![thought(0, &much), thought(1, "x")])
                .1
                .unwrap_err(),
            ProviderError::Malformed
        );
    }

    #[test]
    fn what_was_said_so_far_is_there_unless_it_is_white_space() {
        assert!(steps(vec![]).0.unfinished().is_none());
        assert!(steps(vec![text(" \n")]).0.unfinished().is_none());
        let item = steps(vec![text("Hel"), text("lo")]).0.unfinished().unwrap();
        assert_eq!(
            serde_json::to_value(item).unwrap()["content"][0]["text"],
            "Hello"
        );
    }
}
