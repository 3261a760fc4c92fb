//! Messages of the user.

use std::sync::Arc;

use midplane_sdk::Session;

use super::respond::{Asking, Begun};
use super::{Conversations, EventStream, Refusal};
use crate::protocol::event::Event;
use crate::protocol::id::{AttachmentId, ItemId, ThreadId};
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::message::UserMessage;
use crate::protocol::request::{AddUserMessage, Create, UserMessageInput};
use crate::protocol::thread::{Thread, ThreadMetadata};
use crate::protocol::timestamp::Timestamp;

impl Conversations {
    pub(super) async fn create(
        self: &Arc<Self>,
        session: Session,
        Create { input }: Create,
    ) -> Result<EventStream, Refusal> {
        let (message, attached) = self.check(input)?;
        let asking = Asking::of_message(&message);
        let thread = ThreadMetadata::new(Timestamp::now());
        self.store
            .add_thread(session.user(), thread.clone())
            .await?;
        let added = self.add_message(&session, &thread.id, message, &attached);
        let item = match added.await {
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
        let begun = Begun {
            events: vec![created, Event::ItemDone { item }],
            steps: Vec::new(),
        };
        self.respond(session, thread.id, asking, begun).await
    }

    pub(super) async fn add_user_message(
        self: &Arc<Self>,
        session: Session,
        request: AddUserMessage,
    ) -> Result<EventStream, Refusal> {
        let (message, attached) = self.check(request.input)?;
        let asking = Asking::of_message(&message);
        let thread = request.thread_id;
        // Before anything is attached to a thread that is not there.
        self.store.thread(session.user(), &thread).await?;
        let item = self
            .add_message(&session, &thread, message, &attached)
            .await?;
        let begun = Begun {
            events: vec![Event::ItemDone { item }],
            steps: Vec::new(),
        };
        self.respond(session, thread, asking, begun).await
    }

    /// The message, and what is to be attached to it.
    fn check(&self, input: UserMessageInput) -> Result<(UserMessage, Vec<AttachmentId>), Refusal> {
        let mut texts = input.content.iter().map(|part| part.text());
        if input.attachments.is_empty() && texts.all(|text| text.trim().is_empty()) {
            return Err(Refusal::EmptyMessage);
        }
        let options = &input.inference_options;
        if let Some(unknown) = (options.model.as_ref()).filter(|model| !self.models.contains(model))
        {
            return Err(Refusal::Model(unknown.chars().take(64).collect()));
        }
        let is_tool = |id: &str| self.tools.iter().any(|tool| tool.name == id);
        if let Some(choice) = (options.tool_choice.as_ref()).filter(|choice| !is_tool(&choice.id)) {
            return Err(Refusal::ToolChoice(choice.id.chars().take(64).collect()));
        }
        let message = UserMessage {
            content: input.content,
            attachments: Vec::new(),
            quoted_text: input.quoted_text,
            inference_options: input.inference_options,
        };
        Ok((message, input.attachments))
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
            cost: None,
            kind: ItemKind::UserMessage(message),
        };
        self.store.add_item(session.user(), item.clone()).await?;
        Ok(item)
    }
}
