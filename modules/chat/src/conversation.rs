//! What can be done with conversations: every request of the protocol, on the store and the providers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::Stream;
use midplane_sdk::{Draining, Session};
use serde_json::{Value, json};

use crate::attachments::{self, Attachments};
use crate::config::{Choice, Settings};
use crate::credential::Credential;
use crate::protocol::event::Event;
use crate::protocol::id::{AttachmentId, ItemId, ThreadId};
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::message::UserMessage;
use crate::protocol::page::{Order, PAGE_SIZE_DEFAULT, Page, Scan};
use crate::protocol::request::{
    AddUserMessage, Create, Feedback, ListItems, Request, RetryAfterItem, UpdateThread,
    UserMessageInput,
};
use crate::protocol::thread::{Thread, ThreadMetadata};
use crate::protocol::timestamp::Timestamp;
use crate::provider::{Conversation, Echo, OpenAi, Provider};
use crate::store::{Store, StoreError};
use crate::title::{Asked, Titles, Titling};
use crate::transcript;
use crate::transcription::{self, Transcriber};
use crate::turn::{Opening, Saves, Turn};
use crate::upstream::Upstream;

/// How long a turn may go on when the module drains: most answers end in it, and a reload should not take longer. Well
/// below the 30 s after which the kernel cancels what has not drained.
const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// As long as any title a person reads, in bytes.
const TITLE_BYTES_MAX: usize = 1_000;
/// Of a thread, newest; what a model is shown is bounded in bytes besides.
const TRANSCRIPT_ITEMS_MAX: usize = 400;

pub(crate) struct Conversations {
    store: Arc<dyn Store>,
    attachments: Attachments,
    transcriber: Transcriber,
    titles: Titles,
    choice: Choice,
    openai: Arc<OpenAi>,
    echo: Arc<Echo>,
    models: Vec<String>,
    draining: Draining,
    saves: Saves,
}

/// What a request that can be carried out is answered with.
pub(crate) enum Reply<S> {
    Json(Value),
    Events(S),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("`{0}` is not offered by this server yet")]
    NotOffered(&'static str),
    #[error(transparent)]
    Attachments(#[from] attachments::Refusal),
    #[error(transparent)]
    Transcription(#[from] transcription::Refusal),
    #[error("the message is empty: give `content` at least one part with text, or attach a file")]
    EmptyMessage,
    #[error(
        "the model `{0}` is not among those configured: leave `inference_options.model` out, or add it to `models`"
    )]
    Model(String),
    #[error("`item_id` {0} is not a message of the user: name the message to answer again")]
    NotAUserMessage(ItemId),
    #[error("`title` has more than {TITLE_BYTES_MAX} bytes: shorten it")]
    LongTitle,
}

impl Conversations {
    /// To be called in the module's runtime.
    pub(crate) fn new(
        settings: Settings,
        upstream: Upstream,
        store: Arc<dyn Store>,
        attachments: Attachments,
        draining: Draining,
    ) -> Conversations {
        Conversations {
            store,
            attachments,
            transcriber: Transcriber::new(upstream.clone(), settings.transcription_model),
            titles: settings.titles,
            choice: settings.choice,
            openai: Arc::new(OpenAi::new(settings.openai, upstream)),
            echo: Arc::new(settings.echo),
            models: settings.models,
            draining,
            saves: Saves::new(),
        }
    }

    /// What must be awaited before the module ends.
    pub(crate) fn saves(&self) -> Saves {
        self.saves.clone()
    }

    /// Carries out a request of the session's user.
    pub(crate) async fn process(
        &self,
        session: Session,
        request: Request,
    ) -> Result<Reply<impl Stream<Item = Event> + Send + use<>>, Refusal> {
        let user = session.user();
        let json = match request {
            Request::Create(request) => {
                return self.create(session, request).await.map(Reply::Events);
            }
            Request::AddUserMessage(request) => {
                return self
                    .add_user_message(session, request)
                    .await
                    .map(Reply::Events);
            }
            Request::RetryAfterItem(request) => {
                return self.retry(session, request).await.map(Reply::Events);
            }
            Request::GetThread(request) => {
                to_json(&self.full_thread(user, &request.thread_id).await?)
            }
            Request::ListThreads(paging) => to_json(
                &self
                    .store
                    .threads(user, paging.scan())
                    .await?
                    .map(Thread::without_items),
            ),
            Request::ListItems(ListItems { thread_id, paging }) => {
                let page: Page<Item> = self.store.items(user, &thread_id, paging.scan()).await?;
                to_json(&page.retain(|item| !item.is_hidden()))
            }
            Request::UpdateThread(UpdateThread { title, .. }) if title.len() > TITLE_BYTES_MAX => {
                return Err(Refusal::LongTitle);
            }
            Request::UpdateThread(UpdateThread { thread_id, title }) => {
                to_json(&Thread::without_items(
                    self.store
                        .update_thread(user, &thread_id, &|thread| {
                            thread.title = Some(title.clone());
                        })
                        .await?,
                ))
            }
            Request::DeleteThread(request) => {
                self.store.delete_thread(user, &request.thread_id).await?;
                self.attachments
                    .forget_thread(user, &request.thread_id)
                    .await;
                json!({})
            }
            Request::Feedback(Feedback {
                thread_id,
                item_ids,
                kind,
            }) => {
                self.store
                    .add_feedback(user, &thread_id, &item_ids, kind)
                    .await?;
                json!({})
            }
            Request::AddClientToolOutput(_) => {
                return Err(Refusal::NotOffered("threads.add_client_tool_output"));
            }
            Request::AddStructuredInput(_) => {
                return Err(Refusal::NotOffered("threads.add_structured_input"));
            }
            Request::CustomAction(_) => return Err(Refusal::NotOffered("threads.custom_action")),
            Request::SyncCustomAction(_) => {
                return Err(Refusal::NotOffered("threads.sync_custom_action"));
            }
            Request::CreateAttachment(request) => {
                to_json(&self.attachments.create(user, request).await?)
            }
            Request::DeleteAttachment(request) => {
                self.attachments
                    .delete(user, &request.attachment_id)
                    .await?;
                json!({})
            }
            Request::Transcribe(_) if self.is_echo(&session) => {
                return Err(transcription::Refusal::NoProvider.into());
            }
            Request::Transcribe(request) => {
                to_json(&self.transcriber.transcribe(request, &session).await?)
            }
        };
        Ok(Reply::Json(json))
    }

    async fn create(
        &self,
        session: Session,
        Create { input }: Create,
    ) -> Result<EventStream, Refusal> {
        let (model, message, attached) = self.check(input)?;
        let thread = ThreadMetadata::new(Timestamp::now());
        self.store
            .add_thread(session.user(), thread.clone())
            .await?;
        let item = match self
            .add_message(&session, &thread.id, message, &attached)
            .await
        {
            Ok(item) => item,
            Err(refused) => {
                // A thread that nobody was told of would only take room.
                self.store.delete_thread(session.user(), &thread.id).await?;
                return Err(refused);
            }
        };
        let created = Event::ThreadCreated {
            thread: Thread::without_items(thread.clone()),
        };
        self.respond(
            session,
            thread,
            model,
            vec![created, Event::ItemDone { item }],
        )
        .await
    }

    async fn add_user_message(
        &self,
        session: Session,
        request: AddUserMessage,
    ) -> Result<EventStream, Refusal> {
        let (model, message, attached) = self.check(request.input)?;
        let thread = self
            .store
            .thread(session.user(), &request.thread_id)
            .await?;
        let item = self
            .add_message(&session, &thread.id, message, &attached)
            .await?;
        self.respond(session, thread, model, vec![Event::ItemDone { item }])
            .await
    }

    async fn retry(
        &self,
        session: Session,
        request: RetryAfterItem,
    ) -> Result<EventStream, Refusal> {
        let RetryAfterItem { thread_id, item_id } = request;
        let thread = self.store.thread(session.user(), &thread_id).await?;
        let item = self
            .store
            .item(session.user(), &thread_id, &item_id)
            .await?;
        let ItemKind::UserMessage(message) = item.kind else {
            return Err(Refusal::NotAUserMessage(item_id));
        };
        self.store
            .delete_items_after(session.user(), &thread_id, &item_id)
            .await?;
        self.respond(session, thread, message.inference_options.model, Vec::new())
            .await
    }

    async fn respond(
        &self,
        session: Session,
        thread: ThreadMetadata,
        model: Option<String>,
        events: Vec<Event>,
    ) -> Result<EventStream, Refusal> {
        let scan = Scan {
            limit: TRANSCRIPT_ITEMS_MAX,
            order: Order::Desc,
            after: None,
        };
        let newest_first = self
            .store
            .items(session.user(), &thread.id, scan)
            .await?
            .data;
        let attached = self
            .attachments
            .contents(session.user(), newest_first.iter())
            .await;
        let provider = self.provider(&session);
        let credential: Arc<dyn Credential> = Arc::new(session.clone());
        let titling = || {
            Titling::of(self.titles, newest_first.iter().rev(), || {
                (!self.is_echo(&session)).then(|| Asked {
                    provider: Arc::clone(&provider),
                    credential: Arc::clone(&credential),
                    model: model.clone(),
                })
            })
        };
        let title = match thread.title {
            None => titling(),
            Some(_) => None,
        };
        let conversation = Conversation {
            model,
            messages: transcript::messages(newest_first.iter().rev(), &attached),
            ..Conversation::default()
        };
        let draining = self.draining.clone();
        let opening = Opening {
            store: Arc::clone(&self.store),
            user: session.user().to_owned(),
            thread: thread.id,
            title,
            events,
            notice: provider.notice().map(Event::Notice),
            deltas: provider.answer(conversation, credential),
            drained: async move {
                draining.wait().await;
                tokio::time::sleep(DRAIN_GRACE).await;
            }
            .boxed(),
            saves: self.saves.clone(),
        };
        Ok(Box::pin(Turn::new(opening).into_events()))
    }

    fn provider(&self, session: &Session) -> Arc<dyn Provider> {
        match self.is_echo(session) {
            true => self.echo.clone(),
            false => self.openai.clone(),
        }
    }

    fn is_echo(&self, session: &Session) -> bool {
        match self.choice {
            Choice::OpenAi => false,
            Choice::BySecret => !session.has_secret(),
            Choice::Echo => true,
        }
    }

    /// The model the message asks for, the message, and what is to be attached to it.
    fn check(
        &self,
        input: UserMessageInput,
    ) -> Result<(Option<String>, UserMessage, Vec<AttachmentId>), Refusal> {
        let mut texts = input.content.iter().map(|part| part.text());
        if input.attachments.is_empty() && texts.all(|text| text.trim().is_empty()) {
            return Err(Refusal::EmptyMessage);
        }
        let model = input.inference_options.model.clone();
        if let Some(unknown) = model.as_ref().filter(|model| !self.models.contains(model)) {
            return Err(Refusal::Model(unknown.chars().take(64).collect()));
        }
        let message = UserMessage {
            content: input.content,
            attachments: Vec::new(),
            quoted_text: input.quoted_text,
            inference_options: input.inference_options,
        };
        Ok((model, message, input.attachments))
    }

    async fn add_message(
        &self,
        session: &Session,
        thread: &ThreadId,
        mut message: UserMessage,
        attached: &[AttachmentId],
    ) -> Result<Item, Refusal> {
        message.attachments = self
            .attachments
            .attach(session.user(), thread, attached)
            .await?;
        let item = Item {
            id: ItemId::message(),
            thread_id: thread.clone(),
            created_at: Timestamp::now(),
            kind: ItemKind::UserMessage(message),
        };
        self.store.add_item(session.user(), item.clone()).await?;
        Ok(item)
    }

    async fn full_thread(&self, user: &str, thread: &ThreadId) -> Result<Thread, StoreError> {
        let metadata = self.store.thread(user, thread).await?;
        let scan = Scan {
            limit: PAGE_SIZE_DEFAULT,
            order: Order::Asc,
            after: None,
        };
        Ok(Thread::new(
            metadata,
            self.store.items(user, thread, scan).await?,
        ))
    }
}

type EventStream = std::pin::Pin<Box<dyn Stream<Item = Event> + Send>>;

fn to_json(answer: &impl serde::Serialize) -> Value {
    serde_json::to_value(answer).expect("the protocol's types have string keys only")
}
