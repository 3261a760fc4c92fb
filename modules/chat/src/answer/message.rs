//! One message of the assistant's, as it is said.

use std::collections::VecDeque;

use crate::protocol::event::Event;
use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::message::AssistantContent;
use crate::protocol::source::Annotation;
use crate::protocol::timestamp::Timestamp;
use crate::protocol::update::Update;
use crate::turn::Step;

pub(super) struct Message {
    id: ItemId,
    thread: ThreadId,
    since: Timestamp,
    parts: Vec<AssistantContent>,
    part: PartState,
}

/// Of the last part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartState {
    Text,
    /// The reference shows a refusal when the message is done, and not before.
    Refusal,
    /// The next word begins a part.
    Over,
}

impl Message {
    pub(super) fn begin(thread: ThreadId, now: Timestamp, steps: &mut VecDeque<Step>) -> Message {
        let message = Message {
            id: ItemId::message(),
            thread,
            since: now,
            parts: Vec::new(),
            part: PartState::Over,
        };
        let item = message.item(Vec::new());
        steps.push_back(Step::Send(Event::ItemAdded { item }));
        message
    }

    pub(super) fn say(&mut self, text: String, steps: &mut VecDeque<Step>) {
        self.expect_part(PartState::Text, steps);
        self.last().text.push_str(&text);
        let update = Update::TextDelta {
            content_index: self.index(),
            delta: text,
        };
        steps.push_back(self.updated(update));
    }

    pub(super) fn refuse(&mut self, text: &str, steps: &mut VecDeque<Step>) {
        self.expect_part(PartState::Refusal, steps);
        self.last().text.push_str(text);
    }

    pub(super) fn annotate(&mut self, annotation: Annotation, steps: &mut VecDeque<Step>) {
        self.expect_part(PartState::Text, steps);
        let content_index = self.index();
        let part = self.last();
        let update = Update::AnnotationAdded {
            content_index,
            annotation_index: part.annotations.len(),
            annotation: annotation.clone(),
        };
        part.annotations.push(annotation);
        steps.push_back(self.updated(update));
    }

    pub(super) fn end_part(&mut self, steps: &mut VecDeque<Step>) {
        if std::mem::replace(&mut self.part, PartState::Over) == PartState::Text {
            // Annotations are told when they come, and with the whole item.
            let content = AssistantContent::new(self.last().text.clone());
            let update = Update::ContentDone {
                content_index: self.index(),
                content,
            };
            steps.push_back(self.updated(update));
        }
    }

    /// The whole of it, which is to be kept.
    pub(super) fn end(mut self, steps: &mut VecDeque<Step>) -> Item {
        self.end_part(steps);
        let parts = std::mem::take(&mut self.parts);
        self.item(parts)
    }

    /// As far as it was said, if that is more than white space.
    pub(super) fn unfinished(&self) -> Option<Item> {
        let is_blank = self.parts.iter().all(|part| part.text.trim().is_empty());
        (!is_blank).then(|| self.item(self.parts.clone()))
    }

    fn expect_part(&mut self, state: PartState, steps: &mut VecDeque<Step>) {
        if self.part == state {
            return;
        }
        self.end_part(steps);
        self.part = state;
        self.parts.push(AssistantContent::new(""));
        let update = Update::ContentAdded {
            content_index: self.index(),
            content: AssistantContent::new(""),
        };
        steps.push_back(self.updated(update));
    }

    fn last(&mut self) -> &mut AssistantContent {
        self.parts.last_mut().expect("a part was begun")
    }

    fn index(&self) -> u32 {
        u32::try_from(self.parts.len().saturating_sub(1)).expect("parts are few")
    }

    fn updated(&self, update: Update) -> Step {
        Step::Send(Event::ItemUpdated {
            item_id: self.id.clone(),
            update,
        })
    }

    fn item(&self, content: Vec<AssistantContent>) -> Item {
        Item {
            id: self.id.clone(),
            thread_id: self.thread.clone(),
            created_at: self.since,
            cost: None,
            kind: ItemKind::AssistantMessage { content },
        }
    }
}
