//! One turn of a conversation: asks the provider, keeps what it says, and gives the events in order.
//!
//! A turn ends in one of four ways: the answer is complete; the provider failed; the module drains; the client left. The
//! first three end with an event. The last is the turn being dropped, which stops the provider's request at once and
//! keeps what was said so far, with the hidden mark that the reference leaves (`handle_stream_cancelled` in
//! `chatkit/server.py`). What a failed turn said is not kept, as in the reference: the client is told to retry.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::answer::{Answer, Step};
use crate::protocol::event::{ErrorCode, Event, StreamError, StreamOptions};
use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::thread::Thread;
use crate::protocol::timestamp::Timestamp;
use crate::provider::{Delta, Deltas, ProviderError};
use crate::store::Store;
use crate::title::Titling;

/// The reference's words, which tell the model not to go on with the answer that was left.
const CANCELLED: &str = "The user cancelled the stream. Stop responding to the prior request.";
const DRAINED: &str = "The chat module is being replaced or stopped: try again.";

pub(crate) struct Turn {
    store: Arc<dyn Store>,
    user: String,
    thread: ThreadId,
    /// The title the thread gets when the answer is complete, if it has none then.
    title: Option<Titling>,
    steps: VecDeque<Step>,
    answer: Answer,
    deltas: Deltas,
    /// Resolves when the module drains and the turn has had its grace.
    drained: BoxFuture<'static, ()>,
    phase: Phase,
    saves: Saves,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The provider may say more.
    Answering,
    /// The provider has said everything; some of it is not kept or sent yet.
    Finishing,
    /// All is kept, or nothing more will be.
    Ended,
}

/// What a turn begins with.
pub(crate) struct Opening {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) user: String,
    pub(crate) thread: ThreadId,
    pub(crate) title: Option<Titling>,
    /// Events of what was kept before the answer: the thread, the user's message.
    pub(crate) events: Vec<Event>,
    /// What the user should know of the provider.
    pub(crate) notice: Option<Event>,
    pub(crate) deltas: Deltas,
    pub(crate) drained: BoxFuture<'static, ()>,
    pub(crate) saves: Saves,
}

/// Runs what turns that were left still have to save, to its end.
#[derive(Clone)]
pub(crate) struct Saves {
    tracker: TaskTracker,
    runtime: Handle,
}

impl Saves {
    /// Of the runtime this is called in.
    pub(crate) fn new() -> Saves {
        Saves {
            tracker: TaskTracker::new(),
            runtime: Handle::current(),
        }
    }

    /// Waits until everything is saved; new saves are waited for too.
    pub(crate) async fn finish(self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// At once if the store need not wait, so that the order of items is that of the requests.
    fn run(&self, save: impl Future<Output = ()> + Send + 'static) {
        let mut save = Box::pin(save);
        if save.as_mut().now_or_never().is_none() {
            self.tracker.spawn_on(save, &self.runtime);
        }
    }
}

impl Turn {
    pub(crate) fn new(opening: Opening) -> Turn {
        let options = Event::StreamOptions {
            stream_options: StreamOptions { allow_cancel: true },
        };
        let events = opening
            .events
            .into_iter()
            .chain([options])
            .chain(opening.notice);
        Turn {
            store: opening.store,
            user: opening.user,
            answer: Answer::new(opening.thread.clone()),
            thread: opening.thread,
            title: opening.title,
            steps: events.map(Step::Send).collect(),
            deltas: opening.deltas,
            drained: opening.drained,
            phase: Phase::Answering,
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
            match self.steps.pop_front() {
                Some(Step::Send(event)) => return Some(event),
                Some(Step::Keep(item)) => return Some(self.keep(item).await),
                None => {}
            }
            match self.phase {
                Phase::Answering => self.listen().await,
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

    /// Waits for the provider. A failure stands behind what was said already.
    async fn listen(&mut self) {
        let delta = tokio::select! {
            biased; // what was said already goes out before the turn is ended from outside
            delta = self.deltas.next() => delta.unwrap_or(Err(ProviderError::BrokenOff)),
            // Cancel-safe: a delta that loses the race stays in the stream, which ends with the turn.
            () = &mut self.drained => {
                let event = self.fail(DRAINED.to_owned(), true);
                return self.steps.push_back(Step::Send(event));
            }
        };
        let is_last = matches!(delta, Ok(Delta::Done(_)));
        let taken =
            delta.and_then(|delta| self.answer.take(delta, Timestamp::now(), &mut self.steps));
        match taken {
            Ok(()) if is_last => self.phase = Phase::Finishing,
            Ok(()) => {}
            Err(error) => {
                let event = self.fail(error.to_string(), error.allow_retry());
                self.steps.push_back(Step::Send(event));
            }
        }
    }

    async fn keep(&mut self, item: Item) -> Event {
        match self.store.add_item(&self.user, item.clone()).await {
            Ok(()) => Event::ItemDone { item },
            Err(error) => {
                self.steps.clear();
                self.fail(format!("The answer could not be kept: {error}."), false)
            }
        }
    }

    /// Stops the provider and ends the turn with this event.
    fn fail(&mut self, message: String, allow_retry: bool) -> Event {
        self.phase = Phase::Ended;
        self.deltas = stream::empty().boxed();
        Event::Error(StreamError {
            code: ErrorCode::Custom,
            message: Some(message),
            allow_retry,
        })
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
        self.deltas = stream::empty().boxed();
        let said = self.answer.unfinished();
        // A complete answer whose last events did not get out is no cancelled one.
        let mark = (self.phase == Phase::Answering).then(|| cancelled(self.thread.clone()));
        let (store, user) = (Arc::clone(&self.store), std::mem::take(&mut self.user));
        self.saves.run(async move {
            for item in said.into_iter().chain(mark) {
                if let Err(error) = store.add_item(&user, item).await {
                    tracing::info!(%error, "what was said before the client left is not kept");
                }
            }
        });
    }
}

fn cancelled(thread_id: ThreadId) -> Item {
    let kind = ItemKind::SdkHiddenContext {
        content: CANCELLED.to_owned(),
    };
    Item {
        id: ItemId::hidden_context(),
        thread_id,
        created_at: Timestamp::now(),
        kind,
    }
}

#[cfg(test)]
mod tests;
