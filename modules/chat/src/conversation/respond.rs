//! Lets a model, or another module, speak in a thread.

use std::sync::Arc;

use futures_util::future::FutureExt;
use midplane_sdk::Session;

use super::{Conversations, DRAIN_GRACE, EventStream, Refusal};
use crate::answer::Answer;
use crate::config::Choice;
use crate::credential::Credential;
use crate::protocol::event::Event;
use crate::protocol::id::ThreadId;
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::message::UserMessage;
use crate::provider::{Conversation, Provider};
use crate::store::StoreError;
use crate::title::{self, Titling};
use crate::transcript;
use crate::turn::{Asked, Opening, Speaker, Step, Turn};

/// Of a thread, newest; what a model is shown is bounded in bytes besides.
const TRANSCRIPT_ITEMS_MAX: usize = 400;

/// How the model is asked.
pub(super) enum Asking {
    /// As the user's message says.
    Message {
        model: Option<String>,
        tool_choice: Option<String>,
    },
    /// To go on, as the last message of the user said. A tool that it had to call it has called.
    Again,
}

/// What was kept before somebody speaks.
#[derive(Default)]
pub(super) struct Begun {
    pub(super) events: Vec<Event>,
    /// Behind the stream's options.
    pub(super) steps: Vec<Step>,
}

impl Asking {
    pub(super) fn of_message(message: &UserMessage) -> Asking {
        let options = &message.inference_options;
        Asking::Message {
            model: options.model.clone(),
            tool_choice: options.tool_choice.as_ref().map(|choice| choice.id.clone()),
        }
    }

    fn options(self, newest_first: &[Item]) -> (Option<String>, Option<String>) {
        match self {
            Asking::Message { model, tool_choice } => (model, tool_choice),
            Asking::Again => {
                let last = newest_first.iter().find_map(|item| match &item.kind {
                    ItemKind::UserMessage(message) => Some(message),
                    _ => None,
                });
                let model = last.and_then(|message| message.inference_options.model.clone());
                (model, None)
            }
        }
    }
}

impl Conversations {
    /// Lets the model speak.
    pub(super) async fn respond(
        self: &Arc<Self>,
        session: Session,
        thread: ThreadId,
        asking: Asking,
        begun: Begun,
    ) -> Result<EventStream, Refusal> {
        let asked = self.ask(session.clone(), thread.clone(), asking).await?;
        Ok(self.turn(&session, thread, begun, asked, None))
    }

    /// Lets somebody else speak, who may hand on to the model.
    pub(super) fn act(
        self: &Arc<Self>,
        session: Session,
        thread: ThreadId,
        speaker: Speaker,
        asking: Asking,
        begun: Begun,
    ) -> EventStream {
        let asked = Asked {
            speaker,
            notice: None,
            title: None,
        };
        let conversations = Arc::clone(self);
        let (asked_session, asked_thread) = (session.clone(), thread.clone());
        let ask_model = Box::new(move || {
            async move { conversations.ask(asked_session, asked_thread, asking).await }.boxed()
        });
        self.turn(&session, thread, begun, asked, Some(ask_model))
    }

    fn turn(
        &self,
        session: &Session,
        thread: ThreadId,
        begun: Begun,
        asked: Asked,
        ask_model: Option<crate::turn::AskModel>,
    ) -> EventStream {
        let draining = self.draining.clone();
        let opening = Opening {
            store: Arc::clone(&self.store),
            user: session.user().to_owned(),
            thread,
            events: begun.events,
            steps: begun.steps,
            asked,
            ask_model,
            drained: async move {
                draining.wait().await;
                tokio::time::sleep(DRAIN_GRACE).await;
            }
            .boxed(),
            saves: self.saves.clone(),
        };
        Box::pin(Turn::new(opening).into_events())
    }

    /// Begins the model's answer to what the thread holds now.
    async fn ask(
        &self,
        session: Session,
        thread: ThreadId,
        asking: Asking,
    ) -> Result<Asked, StoreError> {
        let metadata = self.store.thread(session.user(), &thread).await?;
        let newest_first = self
            .newest(session.user(), &thread, TRANSCRIPT_ITEMS_MAX)
            .await?;
        let attached = self
            .attachments
            .contents(session.user(), newest_first.iter())
            .await;
        let (model, tool_choice) = asking.options(&newest_first);
        let provider = self.provider(&session);
        let credential: Arc<dyn Credential> = Arc::new(session.clone());
        let titling = || {
            Titling::of(self.titles, newest_first.iter().rev(), || {
                (!self.is_echo(&session)).then(|| title::Asked {
                    provider: Arc::clone(&provider),
                    credential: Arc::clone(&credential),
                    model: model.clone(),
                })
            })
        };
        let title = match metadata.title {
            None => titling(),
            Some(_) => None,
        };
        // The echo repeats its user's words, and nothing that only a model is told.
        let is_echo = self.is_echo(&session);
        let is_told = |item: &&Item| !is_echo || matches!(item.kind, ItemKind::UserMessage(_));
        let told = newest_first.iter().rev().filter(is_told);
        let conversation = Conversation {
            model,
            instructions: instructions(&session),
            messages: transcript::messages(told, &attached),
            tools: self.tools.clone(),
            tool_choice,
        };
        let tools = self.tools.iter().map(|tool| tool.name.clone()).collect();
        let asked_model = conversation.model.as_ref().or(self.models.first());
        let answer = Answer::new(thread, tools, open_workflow(newest_first))
            .of_model(asked_model.cloned().unwrap_or_default());
        Ok(Asked {
            notice: provider.notice().map(Event::Notice),
            speaker: Speaker::Model {
                deltas: provider.answer(conversation, credential),
                answer: Box::new(answer),
            },
            title,
        })
    }

    fn provider(&self, session: &Session) -> Arc<dyn Provider> {
        match self.is_echo(session) {
            true => self.echo.clone(),
            false => self.openai.clone(),
        }
    }

    pub(super) fn is_echo(&self, session: &Session) -> bool {
        match self.choice {
            Choice::OpenAi => false,
            Choice::BySecret => !session.has_secret(),
            Choice::Echo => true,
        }
    }
}

/// Of this session, from who issued it; they stand in the place of the configured ones.
fn instructions(session: &Session) -> Option<Arc<str>> {
    let instructions = session.metadata().get("instructions")?.as_str()?;
    (!instructions.trim().is_empty()).then(|| instructions.into())
}

/// The workflow that the turn before left open for this one: the last item, or the one before a tool's call.
fn open_workflow(newest_first: Vec<Item>) -> Option<Item> {
    let mut items = newest_first.into_iter();
    let last = items.next()?;
    match &last.kind {
        ItemKind::Workflow { .. } => Some(last),
        ItemKind::ClientToolCall(_) => items
            .next()
            .filter(|item| matches!(item.kind, ItemKind::Workflow { .. })),
        _ => None,
    }
}
