//! Turns what a provider says into ChatKit's events: a pure machine, without store, network or clock.
//!
//! The events and their order are those of `stream_agent_response` in `chatkit/agents.py`: thoughts are a workflow, which
//! ends where the answer begins; each message of the model's is an item; a call of a client's tool is the last item of
//! its turn.

mod message;
mod thinking;

use std::collections::VecDeque;

use serde_json::{Map, Value};

use self::message::Message;
use self::thinking::Thinking;
use crate::protocol::event::{Event, Notice, NoticeLevel};
use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::timestamp::Timestamp;
use crate::protocol::tool_call::{CallStatus, ClientToolCall};
use crate::provider::{Delta, Ending, ProviderError, Usage};
use crate::turn::Step;
use crate::usage::Cost;

/// Of an answer and of its thoughts, each; no model says more in one turn.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// What an annotation counts for, about.
const ANNOTATION_BYTES: usize = 256;

/// The assistant's half of a turn, as far as it was said.
pub(crate) struct Answer {
    thread: ThreadId,
    /// The names of the tools that the model was offered.
    tools: Vec<String>,
    thinking: Thinking,
    message: Option<Message>,
    call: Option<Item>,
    /// Whether there is a message that was said to its end.
    said: bool,
    bytes: usize,
    /// The last item that was said to its end, on which the answer's cost is noted.
    last: Option<Item>,
    /// Who answers.
    model: String,
    usage: Option<Usage>,
}

impl Answer {
    /// `workflow` is one that the turn before left open, for the thoughts to go on in.
    pub(crate) fn new(thread: ThreadId, tools: Vec<String>, workflow: Option<Item>) -> Answer {
        Answer {
            thinking: Thinking::new(thread.clone(), workflow),
            thread,
            tools,
            message: None,
            call: None,
            said: false,
            bytes: 0,
            last: None,
            model: String::new(),
            usage: None,
        }
    }

    /// The same, of this model, which the cost is noted with.
    pub(crate) fn of_model(self, model: String) -> Answer {
        Answer { model, ..self }
    }

    /// Appends what follows from `delta`.
    pub(crate) fn take(
        &mut self,
        delta: Delta,
        now: Timestamp,
        steps: &mut VecDeque<Step>,
    ) -> Result<(), ProviderError> {
        match delta {
            Delta::Thinking => {
                self.finish_message(None, steps);
                self.thinking.begin(now, steps);
            }
            // A thought in the middle of a message would stand behind the words it led to.
            Delta::Thought { .. } if self.message.is_some() => {}
            Delta::Thought { part, text } => self.thinking.think(part, &text, now, steps)?,
            Delta::Text(text) if text.is_empty() => {}
            Delta::Text(text) => self.message(text.len(), now, steps)?.say(text, steps),
            Delta::Refusal(text) => self.message(text.len(), now, steps)?.refuse(&text, steps),
            Delta::Annotation(annotation) => {
                self.message(ANNOTATION_BYTES, now, steps)?
                    .annotate(annotation, steps);
            }
            Delta::NextPart => {
                if let Some(message) = &mut self.message {
                    message.end_part(steps);
                }
            }
            Delta::NextMessage => self.finish_message(None, steps),
            Delta::ToolCall {
                call_id,
                name,
                arguments,
            } => self.call(call_id, name, &arguments, now)?,
            Delta::Usage(usage) => self.usage = Some(usage),
            Delta::Done(ending) => self.finish(ending, now, steps)?,
        }
        Ok(())
    }

    /// The message as far as it was said, if that is more than white space.
    pub(crate) fn unfinished(&self) -> Option<Item> {
        self.message.as_ref().and_then(Message::unfinished)
    }

    /// The message that is being said; the thoughts before it are over.
    fn message(
        &mut self,
        bytes: usize,
        now: Timestamp,
        steps: &mut VecDeque<Step>,
    ) -> Result<&mut Message, ProviderError> {
        self.bytes += bytes;
        if self.bytes > TEXT_BYTES_MAX {
            return Err(ProviderError::Malformed);
        }
        self.thinking.end(now, steps);
        Ok(match &mut self.message {
            Some(message) => message,
            none => none.insert(Message::begin(self.thread.clone(), now, steps)),
        })
    }

    fn finish_message(&mut self, cost: Option<Cost>, steps: &mut VecDeque<Step>) {
        if let Some(message) = self.message.take() {
            self.said = true;
            let mut item = message.end(steps);
            item.cost = cost;
            steps.push_back(Step::Keep(item.clone()));
            self.last = Some(item);
        }
    }

    /// Notes the call, for the turn's end. The protocol has room for one: the client's output names no call. A model that
    /// made several sees the first one's output, and makes the others again if it still wants them.
    fn call(
        &mut self,
        call_id: String,
        name: String,
        arguments: &str,
        now: Timestamp,
    ) -> Result<(), ProviderError> {
        let arguments: Map<String, Value> =
            serde_json::from_str(arguments).map_err(|_| ProviderError::ToolCall)?;
        if !self.tools.contains(&name) {
            return Err(ProviderError::ToolCall);
        }
        if self.call.is_some() {
            tracing::info!(tool = name, "one of several calls in an answer is left out");
            return Ok(());
        }
        self.call = Some(Item {
            id: ItemId::tool_call(),
            thread_id: self.thread.clone(),
            created_at: now,
            cost: None,
            kind: ItemKind::ClientToolCall(ClientToolCall {
                status: CallStatus::Pending,
                call_id,
                name,
                arguments,
                output: None,
            }),
        });
        Ok(())
    }

    fn finish(
        &mut self,
        ending: Ending,
        now: Timestamp,
        steps: &mut VecDeque<Step>,
    ) -> Result<(), ProviderError> {
        let cost = self.cost();
        let of_message = cost.clone().filter(|_| self.call.is_none());
        self.finish_message(of_message, steps);
        let last = self.last.take().filter(|last| last.cost.is_none());
        if let Some(call) = self.call.take() {
            // The thoughts go on when the tool's output is there.
            let thoughts = self.thinking.suspend(steps);
            steps.extend(thoughts.map(Step::Store));
            steps.push_back(Step::Keep(Item { cost, ..call }));
        } else if !self.said && ending == Ending::Complete {
            return Err(ProviderError::Empty);
        } else {
            self.thinking.end(now, steps);
            // Some providers count when the last item is kept already.
            if let (Some(last), Some(_)) = (last, &cost) {
                steps.push_back(Step::Store(Item { cost, ..last }));
            }
        }
        steps.extend(notice(ending));
        Ok(())
    }

    fn cost(&self) -> Option<Cost> {
        Some(Cost {
            model: self.model.clone(),
            usage: self.usage?,
        })
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
mod tests;
