//! An action under way: the other module's events, checked and turned into steps of the turn.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::{BoxFuture, FutureExt};
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use midplane_sdk::Session;
use tokio::time::timeout;

use super::apply::apply;
use super::event::ModuleEvent;
use super::event_stream::{EventStream, ReadError};
use super::{Asked, Hook};
use crate::protocol::event::Event;
use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::update::Update;
use crate::store::Store;
use crate::turn::{Failure, Heard, Step};

/// Longer than a person waits for a button; a module that works for longer says so with progress.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Items that were added and are not done: more than one stands in a client's view at once.
const PENDING_MAX: usize = 100;

pub(crate) struct Performance {
    hook: Hook,
    thread: ThreadId,
    user: String,
    store: Arc<dyn Store>,
    state: State,
    /// Added, and not done yet; with their updates.
    pending: HashMap<ItemId, Item>,
}

enum State {
    Asking(BoxFuture<'static, Result<Response<Body>, Failure>>),
    Answering(EventStream),
}

impl Performance {
    /// Nothing is sent before the first [`listen`](Self::listen).
    pub(crate) fn new(
        hook: Hook,
        store: Arc<dyn Store>,
        session: Session,
        asked: Asked,
    ) -> Performance {
        let called = hook.clone();
        Performance {
            thread: asked.thread.id.clone(),
            user: asked.user.clone(),
            store,
            state: State::Asking(
                async move { called.call(&session, &asked, "text/event-stream").await }.boxed(),
            ),
            pending: HashMap::new(),
            hook,
        }
    }

    /// Waits for the next event and appends what is to be done for it. Cancel-safe until an event was taken; a turn that is
    /// ended in the middle of one wants no more of them.
    pub(crate) async fn listen(&mut self, steps: &mut VecDeque<Step>) -> Result<Heard, Failure> {
        let silent = |_| {
            Failure::passing(format!(
                "The module {} sent nothing for {}: try again.",
                self.hook.module,
                humantime::format_duration(SILENCE_MAX)
            ))
        };
        let events = match &mut self.state {
            State::Answering(events) => events,
            State::Asking(answer) => {
                let answer = timeout(SILENCE_MAX, answer).await.map_err(silent)??;
                match self.events(answer)? {
                    Some(events) => self.state = State::Answering(events),
                    None => return Ok(Heard::All),
                }
                return Ok(Heard::More);
            }
        };
        let data = match timeout(SILENCE_MAX, events.next()).await.map_err(silent)? {
            Ok(Some(data)) => data,
            Ok(None) => return Ok(Heard::All),
            Err(error) => return Err(self.broke_off(&error)),
        };
        let event = serde_json::from_str(&data).map_err(|error| {
            self.hook
                .wrong(&format!("sent what is no event of ChatKit's: {error}"))
        })?;
        self.take(event, steps).await
    }

    /// The assistant's messages that are not done, as the reference keeps them; nothing else.
    pub(crate) fn unfinished(self) -> Vec<Item> {
        let messages = self.pending.into_values().filter(|item| match &item.kind {
            ItemKind::AssistantMessage { content } => {
                content.iter().any(|part| !part.text.trim().is_empty())
            }
            _ => false,
        });
        let mut messages: Vec<Item> = messages.collect();
        messages.sort_by_key(|item| item.created_at);
        messages
    }

    fn events(&self, answer: Response<Body>) -> Result<Option<EventStream>, Failure> {
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let is_stream = answer
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
        match is_stream {
            true => Ok(Some(EventStream::new(answer.into_body()))),
            false => Err(self.hook.wrong("answered an action with no event stream")),
        }
    }

    async fn take(
        &mut self,
        event: ModuleEvent,
        steps: &mut VecDeque<Step>,
    ) -> Result<Heard, Failure> {
        let wrong = |hook: &Hook, error: &dyn std::fmt::Display| hook.wrong(&error.to_string());
        match event {
            ModuleEvent::ThreadUpdated { thread } => {
                let edit = thread
                    .into_edit(&self.thread)
                    .map_err(|error| wrong(&self.hook, &error))?;
                steps.push_back(Step::EditThread(edit));
            }
            ModuleEvent::ItemAdded { item } => {
                let item = item
                    .into_named_item(&self.thread)
                    .map_err(|error| wrong(&self.hook, &error))?;
                if self.pending.len() >= PENDING_MAX {
                    let why = format!("added {PENDING_MAX} items that are not done");
                    return Err(self.hook.wrong(&why));
                }
                self.pending.insert(item.id.clone(), item.clone());
                if !item.is_hidden() {
                    steps.push_back(Step::Send(Event::ItemAdded { item }));
                }
            }
            ModuleEvent::ItemUpdated { item_id, update } => {
                self.update(item_id, update, steps).await?;
            }
            ModuleEvent::ItemDone { item } => {
                let item = item
                    .into_item(&self.thread)
                    .map_err(|error| wrong(&self.hook, &error))?;
                let item = self.dated(item).await;
                self.pending.remove(&item.id);
                steps.push_back(Step::Save(item));
            }
            ModuleEvent::ItemReplaced { item } => {
                let item = item
                    .into_named_item(&self.thread)
                    .map_err(|error| wrong(&self.hook, &error))?;
                let item = self.dated(item).await;
                self.pending.remove(&item.id);
                steps.push_back(Step::Replace(item));
            }
            ModuleEvent::ItemRemoved { item_id } => {
                self.pending.remove(&item_id);
                steps.push_back(Step::Remove(item_id));
            }
            ModuleEvent::StreamOptions { stream_options } => {
                steps.push_back(Step::Send(Event::StreamOptions { stream_options }));
            }
            ModuleEvent::ProgressUpdate(progress) => {
                steps.push_back(Step::Send(Event::ProgressUpdate(progress)));
            }
            ModuleEvent::ClientEffect(effect) => {
                steps.push_back(Step::Send(Event::ClientEffect(effect)));
            }
            ModuleEvent::Notice(notice) => steps.push_back(Step::Send(Event::Notice(notice))),
            ModuleEvent::Error(error) => steps.push_back(Step::Send(Event::Error(error))),
            ModuleEvent::Respond => {
                steps.push_back(Step::AskModel);
                return Ok(Heard::All);
            }
        }
        Ok(Heard::More)
    }

    /// As old as it was when it was added, or as the one that is kept and whose place it takes.
    async fn dated(&mut self, mut item: Item) -> Item {
        let added = self.pending.get(&item.id).map(|item| item.created_at);
        let since = match added {
            Some(since) => Some(since),
            None => {
                let kept = self.store.item(&self.user, &self.thread, &item.id).await;
                kept.ok().map(|kept| kept.created_at)
            }
        };
        item.created_at = since.unwrap_or(item.created_at);
        item
    }

    /// Of an item that was added before, or of one that is kept; that one is kept as it is then.
    async fn update(
        &mut self,
        item_id: ItemId,
        update: Update,
        steps: &mut VecDeque<Step>,
    ) -> Result<(), Failure> {
        let hook = &self.hook;
        let refuse = |error: &dyn std::fmt::Display| {
            hook.wrong(&format!(
                "sent an update that does not fit its item: {error}"
            ))
        };
        let is_hidden = match self.pending.get_mut(&item_id) {
            Some(item) => {
                apply(&update, item).map_err(|error| refuse(&error))?;
                item.is_hidden()
            }
            None => {
                let kept = self.store.item(&self.user, &self.thread, &item_id).await;
                let mut item = kept.map_err(|error| refuse(&error))?;
                apply(&update, &mut item).map_err(|error| refuse(&error))?;
                let is_hidden = item.is_hidden();
                steps.push_back(Step::Store(item));
                is_hidden
            }
        };
        if !is_hidden {
            steps.push_back(Step::Send(Event::ItemUpdated { item_id, update }));
        }
        Ok(())
    }

    fn broke_off(&self, error: &ReadError) -> Failure {
        match error {
            ReadError::BrokenOff => Failure::passing(format!(
                "The module {} {error}: try again.",
                self.hook.module
            )),
            wrong => self.hook.wrong(&wrong.to_string()),
        }
    }
}
