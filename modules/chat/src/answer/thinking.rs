//! What the model thinks, as a workflow.
//!
//! As in the reference, the first thought is shown word by word, and those behind it when they are whole.

use std::collections::VecDeque;

use super::TEXT_BYTES_MAX;
use crate::protocol::event::Event;
use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::timestamp::Timestamp;
use crate::protocol::update::Update;
use crate::protocol::workflow::{Summary, Task, TaskKind, Workflow, WorkflowType};
use crate::provider::ProviderError;
use crate::turn::Step;

pub(super) struct Thinking {
    thread: ThreadId,
    open: Option<Open>,
    bytes: usize,
}

struct Open {
    id: ItemId,
    since: Timestamp,
    workflow: Workflow,
    thought: Option<Thought>,
}

/// The one that is being said.
struct Thought {
    part: u64,
    text: String,
    is_shown: bool,
}

impl Thinking {
    pub(super) fn new(thread: ThreadId, workflow: Option<Item>) -> Thinking {
        let open = workflow.and_then(|item| match item.kind {
            ItemKind::Workflow { workflow } => Some(Open {
                id: item.id,
                since: item.created_at,
                workflow,
                thought: None,
            }),
            _ => None,
        });
        Thinking {
            thread,
            open,
            bytes: 0,
        }
    }

    /// Shows that there are thoughts, before the first of them.
    pub(super) fn begin(&mut self, now: Timestamp, steps: &mut VecDeque<Step>) {
        if self.open.is_some() {
            return;
        }
        let open = Open {
            id: ItemId::workflow(),
            since: now,
            workflow: Workflow {
                r#type: WorkflowType::Reasoning,
                tasks: Vec::new(),
                summary: None,
                expanded: false,
            },
            thought: None,
        };
        let item = open.item(&self.thread);
        steps.push_back(Step::Send(Event::ItemAdded { item }));
        self.open = Some(open);
    }

    pub(super) fn think(
        &mut self,
        part: u64,
        text: &str,
        now: Timestamp,
        steps: &mut VecDeque<Step>,
    ) -> Result<(), ProviderError> {
        self.bytes += text.len();
        if self.bytes > TEXT_BYTES_MAX {
            return Err(ProviderError::Malformed);
        }
        self.begin(now, steps);
        let open = self.open.as_mut().expect("it was begun");
        if open
            .thought
            .as_ref()
            .is_some_and(|before| before.part != part)
        {
            open.end_thought(steps);
        }
        open.think(part, text, steps);
        Ok(())
    }

    /// The thoughts led to something that stands behind them.
    pub(super) fn end(&mut self, now: Timestamp, steps: &mut VecDeque<Step>) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        open.end_thought(steps);
        open.workflow.expanded = false;
        open.workflow.summary.get_or_insert(Summary::Duration {
            duration_s: open.since.until(now).as_secs(),
        });
        steps.push_back(Step::Save(open.item(&self.thread)));
    }

    /// The thoughts as far as they are, to go on later.
    pub(super) fn suspend(&mut self, steps: &mut VecDeque<Step>) -> Option<Item> {
        let mut open = self.open.take()?;
        open.end_thought(steps);
        Some(open.item(&self.thread))
    }
}

impl Open {
    fn think(&mut self, part: u64, text: &str, steps: &mut VecDeque<Step>) {
        let Some(thought) = &mut self.thought else {
            let is_shown =
                self.workflow.r#type == WorkflowType::Reasoning && self.workflow.tasks.is_empty();
            self.thought = Some(Thought {
                part,
                text: text.to_owned(),
                is_shown,
            });
            if is_shown {
                self.add(text.to_owned(), steps);
            }
            return;
        };
        thought.text.push_str(text);
        if thought.is_shown {
            let said = thought.text.clone();
            self.update(said, steps);
        }
    }

    fn end_thought(&mut self, steps: &mut VecDeque<Step>) {
        match self.thought.take() {
            Some(thought) if thought.is_shown => self.update(thought.text, steps),
            Some(thought) => self.add(thought.text, steps),
            None => {}
        }
    }

    fn add(&mut self, text: String, steps: &mut VecDeque<Step>) {
        let task = Task::thought(text);
        let update = Update::TaskAdded {
            task_index: self.workflow.tasks.len(),
            task: task.clone(),
        };
        self.workflow.tasks.push(task);
        steps.push_back(self.updated(update));
    }

    /// Of the last task.
    fn update(&mut self, text: String, steps: &mut VecDeque<Step>) {
        let task_index = self.workflow.tasks.len() - 1;
        self.workflow.tasks[task_index].kind = TaskKind::Thought {
            title: None,
            content: text,
        };
        let task = self.workflow.tasks[task_index].clone();
        steps.push_back(self.updated(Update::TaskUpdated { task_index, task }));
    }

    fn updated(&self, update: Update) -> Step {
        Step::Send(Event::ItemUpdated {
            item_id: self.id.clone(),
            update,
        })
    }

    fn item(&self, thread: &ThreadId) -> Item {
        Item {
            id: self.id.clone(),
            thread_id: thread.clone(),
            created_at: self.since,
            cost: None,
            kind: ItemKind::Workflow {
                workflow: self.workflow.clone(),
            },
        }
    }
}
