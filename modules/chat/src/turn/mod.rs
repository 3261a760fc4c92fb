//! One turn of a conversation: listens to who speaks in it, keeps what is said, and gives the events in order.
//!
//! A turn ends in one of four ways: all was said; the speaker failed; the module drains; the client left. The first three
//! end with an event. The last is the turn being dropped, which stops the speaker's request at once and keeps what was
//! said so far, with the hidden mark that the reference leaves (`handle_stream_cancelled` in `chatkit/server.py`). What a
//! failed turn did not say to its end is not kept, as in the reference: the client is told to retry.

mod failure;
mod saves;
mod speaker;
mod step;

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};

pub(crate) use self::failure::{Failure, sentence};
pub(crate) use self::saves::Saves;
pub(crate) use self::speaker::{Heard, Speaker};
pub(crate) use self::step::{Step, ThreadEdit};
use crate::protocol::event::{Event, StreamOptions};
use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::thread::Thread;
use crate::protocol::timestamp::Timestamp;
use crate::store::{Store, StoreError};
use crate::title::Titling;

/// The reference's words, which tell the model not to go on with the answer that was left.
const CANCELLED: &str = "The user cancelled the stream. Stop responding to the prior request.";

pub(crate) struct Turn {
    store: Arc<dyn Store>,
    user: String,
    thread: ThreadId,
    /// The title the thread gets when all was said, if it has none then.
    title: Option<Titling>,
    steps: VecDeque<Step>,
    /// An item that the store may or may not have taken yet.
    keeping: Option<Item>,
    speaker: Speaker,
    /// Begins the model's answer, when somebody else spoke first and wants one.
    ask_model: Option<AskModel>,
    /// Resolves when the module drains and the turn has had its grace.
    drained: BoxFuture<'static, ()>,
    phase: Phase,
    saves: Saves,
}

/// What the model's answer begins with.
pub(crate) type AskModel =
    Box<dyn FnOnce() -> BoxFuture<'static, Result<Asked, StoreError>> + Send>;

pub(crate) struct Asked {
    pub(crate) speaker: Speaker,
    /// What the user should know of the provider.
    pub(crate) notice: Option<Event>,
    pub(crate) title: Option<Titling>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The speaker may say more.
    Listening,
    /// The speaker has said everything; some of it is not kept or sent yet.
    Finishing,
    /// All is kept, or nothing more will be.
    Ended,
}

/// What a turn begins with.
pub(crate) struct Opening {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) user: String,
    pub(crate) thread: ThreadId,
    /// Events of what was kept before the turn: the thread, the user's message.
    pub(crate) events: Vec<Event>,
    /// Behind the stream's options: what was kept as a part of the turn.
    pub(crate) steps: Vec<Step>,
    pub(crate) asked: Asked,
    pub(crate) ask_model: Option<AskModel>,
    pub(crate) drained: BoxFuture<'static, ()>,
    pub(crate) saves: Saves,
}

impl Turn {
    pub(crate) fn new(opening: Opening) -> Turn {
        let options = Event::StreamOptions {
            stream_options: StreamOptions { allow_cancel: true },
        };
        let events = opening.events.into_iter().chain([options]);
        let notice = opening.asked.notice.map(Step::Send);
        Turn {
            store: opening.store,
            user: opening.user,
            thread: opening.thread,
            title: opening.asked.title,
            steps: events
                .map(Step::Send)
                .chain(opening.steps)
                .chain(notice)
                .collect(),
            keeping: None,
            speaker: opening.asked.speaker,
            ask_model: opening.ask_model,
            drained: opening.drained,
            phase: Phase::Listening,
            saves: opening.saves,
        }
    }

    pub(crate) fn into_events(self) -> impl Stream<Item = Event> + Send {
        stream::unfold(
            self,
            |mut turn| async move { Some((turn.next().await?, turn)) },
        )
    }

    /// The next event; nothing when the turn is over. Dropping the future and the turn is the client leaving.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(step) = self.steps.pop_front() {
                match self.carry_out(step).await {
                    Ok(Some(event)) => return Some(event),
                    Ok(None) => {}
                    Err(error) => {
                        self.steps.clear();
                        return Some(self.fail(Failure::not_kept(&error)));
                    }
                }
            }
            match self.phase {
                Phase::Listening => self.listen().await,
                Phase::Finishing => {
                    self.phase = Phase::Ended;
                    if let Some(event) = self.make_title().await {
                        return Some(event);
                    }
                }
                Phase::Ended => return None,
            }
        }
    }

    /// Waits for the speaker. A failure stands behind what was said already.
    async fn listen(&mut self) {
        let heard = tokio::select! {
            biased; // what was said already goes out before the turn is ended from outside
            heard = self.speaker.listen(&mut self.steps) => heard,
            // Cancel-safe: what loses the race stays in the speaker's stream, which ends with the turn.
            () = &mut self.drained => Err(Failure::drained()),
        };
        match heard {
            Ok(Heard::More) => {}
            Ok(Heard::All) => self.phase = Phase::Finishing,
            Err(failure) => {
                let event = self.fail(failure);
                self.steps.push_back(Step::Send(event));
            }
        }
    }

    /// Not cancel-safe by itself: what is being kept when the client leaves is kept once more when the turn is dropped.
    async fn carry_out(&mut self, step: Step) -> Result<Option<Event>, StoreError> {
        self.keeping = step.kept().cloned();
        let (store, user) = (&self.store, &self.user);
        let event = match step {
            Step::Send(event) => Some(event),
            Step::Keep(item) => {
                store.add_item(user, item.clone()).await?;
                shown(item).map(|item| Event::ItemDone { item })
            }
            Step::Save(item) => {
                store.save_item(user, item.clone()).await?;
                shown(item).map(|item| Event::ItemDone { item })
            }
            Step::Replace(item) => {
                store.save_item(user, item.clone()).await?;
                shown(item).map(|item| Event::ItemReplaced { item })
            }
            Step::Store(item) => {
                store.save_item(user, item).await?;
                None
            }
            Step::Remove(item_id) => {
                match store.delete_item(user, &self.thread, &item_id).await {
                    // One that was added, and never done.
                    Ok(()) | Err(StoreError::ItemNotFound) => {}
                    Err(error) => return Err(error),
                }
                Some(Event::ItemRemoved { item_id })
            }
            Step::EditThread(edit) => {
                let change = |thread: &mut _| edit.apply(thread);
                let thread = store.update_thread(user, &self.thread, &change).await?;
                Some(Event::ThreadUpdated {
                    thread: Thread::without_items(thread),
                })
            }
            Step::AskModel => match self.ask_model.take() {
                Some(ask) => {
                    let asked = ask().await?;
                    self.speaker = asked.speaker;
                    self.title = asked.title;
                    self.phase = Phase::Listening;
                    asked.notice
                }
                None => None,
            },
        };
        self.keeping = None;
        Ok(event)
    }

    /// Stops the speaker and ends the turn with this event.
    fn fail(&mut self, failure: Failure) -> Event {
        self.phase = Phase::Ended;
        self.speaker = Speaker::Nobody;
        Event::Error(failure.into())
    }

    async fn make_title(&mut self) -> Option<Event> {
        let titling = self.title.take()?;
        let titled = titling.give(&*self.store, &self.user, &self.thread).await?;
        Some(Event::ThreadUpdated {
            thread: Thread::without_items(titled),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        let speaker = std::mem::replace(&mut self.speaker, Speaker::Nobody);
        // What was said to its end, and did not get out, and then what was not said to its end.
        let steps = std::mem::take(&mut self.steps);
        let said: Vec<Item> = (self.keeping.take().into_iter())
            .chain(steps.iter().filter_map(Step::kept).cloned())
            .chain(speaker.unfinished())
            .collect();
        // A complete answer whose last events did not get out is no cancelled one.
        let mark = (self.phase == Phase::Listening).then(|| cancelled(self.thread.clone()));
        let (store, user) = (Arc::clone(&self.store), self.user.clone());
        self.saves.run(&self.user, &self.thread, async move {
            for item in said.into_iter().chain(mark) {
                if let Err(error) = store.save_item(&user, item).await {
                    tracing::info!(%error, "what was said before the client left is not kept");
                }
            }
        });
    }
}

/// Hidden items are kept, and never sent.
fn shown(item: Item) -> Option<Item> {
    (!item.is_hidden()).then_some(item)
}

fn cancelled(thread_id: ThreadId) -> Item {
    let kind = ItemKind::SdkHiddenContext {
        content: CANCELLED.to_owned(),
    };
    Item {
        id: ItemId::hidden_context(),
        thread_id,
        created_at: Timestamp::now(),
        cost: None,
        kind,
    }
}

#[cfg(test)]
mod tests;
