//! What can be done with conversations: every request of the protocol, on the store and the providers.

mod act;
mod go_on;
mod message;
mod refusal;
mod respond;

use std::sync::Arc;

use futures_util::stream::Stream;
use midplane_sdk::{Draining, Session};
use serde_json::{Value, json};

pub(crate) use self::refusal::Refusal;
use crate::actions::Hook;
use crate::attachments::Attachments;
use crate::config::{Choice, Settings};
use crate::protocol::event::Event;
use crate::protocol::id::ThreadId;
use crate::protocol::item::Item;
use crate::protocol::page::{Order, PAGE_SIZE_DEFAULT, Page, Scan};
use crate::protocol::request::{Feedback, ListItems, Plain, Request, Streamed, UpdateThread};
use crate::protocol::thread::Thread;
use crate::provider::{Echo, OpenAi, Tool};
use crate::store::{Store, StoreError};
use crate::title::Titles;
use crate::transcription::{self, Transcriber};
use crate::turn::Saves;
use crate::upstream::Upstream;
use crate::usage::Meter;

/// As long as any title a person reads, in bytes.
const TITLE_BYTES_MAX: usize = 1_000;

pub(crate) struct Conversations {
    store: Arc<dyn Store>,
    attachments: Attachments,
    transcriber: Transcriber,
    titles: Titles,
    choice: Choice,
    openai: Arc<OpenAi>,
    echo: Arc<Echo>,
    models: Vec<String>,
    tools: Vec<Tool>,
    actions: Option<Hook>,
    draining: Draining,
    saves: Saves,
}

/// What a request that can be carried out is answered with.
pub(crate) enum Reply<S> {
    Json(Value),
    Events(S),
}

type EventStream = std::pin::Pin<Box<dyn Stream<Item = Event> + Send>>;

impl Conversations {
    /// To be called in the module's runtime.
    pub(crate) fn new(
        settings: Settings,
        upstream: Upstream,
        store: Arc<dyn Store>,
        attachments: Attachments,
        meter: Meter,
        draining: Draining,
    ) -> Conversations {
        Conversations {
            store,
            attachments,
            transcriber: Transcriber::new(upstream.clone(), settings.transcription_model),
            titles: settings.titles,
            choice: settings.choice,
            openai: Arc::new(OpenAi::new(settings.openai, upstream, meter)),
            echo: Arc::new(settings.echo),
            models: settings.models,
            tools: settings.tools,
            actions: settings.actions,
            draining,
            saves: Saves::new(),
        }
    }

    /// Whether the module is being replaced or stopped.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_draining()
    }

    /// What must be awaited before the module ends.
    pub(crate) fn saves(&self) -> Saves {
        self.saves.clone()
    }

    /// Carries out a request of the session's user.
    pub(crate) async fn process(
        self: &Arc<Self>,
        session: Session,
        request: Request,
    ) -> Result<Reply<impl Stream<Item = Event> + Send + use<>>, Refusal> {
        if let Some(thread) = request.thread_id() {
            self.saves.settled(session.user(), thread).await;
        }
        let request = match request {
            Request::Streamed(request) => request,
            Request::Plain(request) => return self.answer(session, request).await.map(Reply::Json),
        };
        let events: EventStream = match request {
            Streamed::Create(request) => self.create(session, request).await?,
            Streamed::AddUserMessage(request) => self.add_user_message(session, request).await?,
            Streamed::AddClientToolOutput(request) => {
                self.add_client_tool_output(session, request).await?
            }
            Streamed::AddStructuredInput(request) => {
                self.add_structured_input(session, request).await?
            }
            Streamed::RetryAfterItem(request) => self.retry(session, request).await?,
            Streamed::CustomAction(request) => self.custom_action(session, request).await?,
        };
        Ok(Reply::Events(events))
    }

    /// Of requests whose answer is one piece of JSON.
    async fn answer(&self, session: Session, request: Plain) -> Result<Value, Refusal> {
        let user = session.user();
        Ok(match request {
            Plain::GetThread(request) => {
                to_json(&self.full_thread(user, &request.thread_id).await?)
            }
            Plain::ListThreads(paging) => {
                let page = self.store.threads(user, paging.scan()).await?;
                to_json(&page.map(Thread::without_items))
            }
            Plain::ListItems(ListItems { thread_id, paging }) => {
                let page: Page<Item> = self.store.items(user, &thread_id, paging.scan()).await?;
                to_json(&page.retain(|item| !item.is_hidden()))
            }
            Plain::UpdateThread(request) => self.rename(user, request).await?,
            Plain::DeleteThread(request) => {
                self.store.delete_thread(user, &request.thread_id).await?;
                self.attachments
                    .forget_thread(user, &request.thread_id)
                    .await;
                json!({})
            }
            Plain::Feedback(Feedback {
                thread_id,
                item_ids,
                kind,
            }) => {
                self.store
                    .add_feedback(user, &thread_id, &item_ids, kind)
                    .await?;
                json!({})
            }
            Plain::SyncCustomAction(request) => self.sync_custom_action(&session, request).await?,
            Plain::CreateAttachment(request) => {
                to_json(&self.attachments.create(user, request).await?)
            }
            Plain::DeleteAttachment(request) => {
                self.attachments
                    .delete(user, &request.attachment_id)
                    .await?;
                json!({})
            }
            Plain::Transcribe(_) if self.is_echo(&session) => {
                return Err(transcription::Refusal::NoProvider.into());
            }
            Plain::Transcribe(request) => {
                to_json(&self.transcriber.transcribe(request, &session).await?)
            }
        })
    }

    async fn rename(&self, user: &str, request: UpdateThread) -> Result<Value, Refusal> {
        let UpdateThread { thread_id, title } = request;
        if title.len() > TITLE_BYTES_MAX {
            return Err(Refusal::LongTitle);
        }
        let renamed = self
            .store
            .update_thread(user, &thread_id, &|thread| {
                thread.title = Some(title.clone());
            })
            .await?;
        Ok(to_json(&Thread::without_items(renamed)))
    }

    async fn full_thread(&self, user: &str, thread: &ThreadId) -> Result<Thread, StoreError> {
        let metadata = self.store.thread(user, thread).await?;
        let scan = Scan {
            limit: PAGE_SIZE_DEFAULT,
            order: Order::Asc,
            after: None,
        };
        let items = self.store.items(user, thread, scan).await?;
        Ok(Thread::new(metadata, items))
    }
}

fn to_json(answer: &impl serde::Serialize) -> Value {
    serde_json::to_value(answer).expect("the protocol's types have string keys only")
}
