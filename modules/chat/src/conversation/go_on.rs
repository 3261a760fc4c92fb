//! What lets the model go on without a new message: a tool's output, a form's answers, another try.

use std::sync::Arc;

use midplane_sdk::Session;

use super::respond::{Asking, Begun};
use super::{Conversations, EventStream, Refusal};
use crate::protocol::event::Event;
use crate::protocol::id::ThreadId;
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::page::{Order, PAGE_SIZE_DEFAULT, Scan};
use crate::protocol::request::{AddClientToolOutput, AddStructuredInput, RetryAfterItem};
use crate::protocol::structured_input::InputStatus;
use crate::protocol::tool_call::CallStatus;
use crate::store::StoreError;
use crate::turn::Step;

impl Conversations {
    /// The output is that of the thread's last item: the protocol names no call.
    pub(super) async fn add_client_tool_output(
        self: &Arc<Self>,
        session: Session,
        request: AddClientToolOutput,
    ) -> Result<EventStream, Refusal> {
        let AddClientToolOutput { thread_id, result } = request;
        let user = session.user();
        let last = self.newest(user, &thread_id, 1).await?.pop();
        let asked = last.ok_or(Refusal::NoPendingCall)?;
        let mut item = asked.clone();
        match &mut item.kind {
            ItemKind::ClientToolCall(call) if call.status == CallStatus::Pending => {
                call.status = CallStatus::Completed;
                call.output = (!result.is_null()).then_some(result);
            }
            _ => return Err(Refusal::NoPendingCall),
        }
        let kept = self.store.replace_item(user, &asked, item).await;
        kept.map_err(|error| or_answered(error, Refusal::NoPendingCall))?;
        self.forget_pending_calls(user, &thread_id).await?;
        self.respond(session, thread_id, Asking::Again, Begun::default())
            .await
    }

    pub(super) async fn add_structured_input(
        self: &Arc<Self>,
        session: Session,
        request: AddStructuredInput,
    ) -> Result<EventStream, Refusal> {
        let AddStructuredInput {
            thread_id,
            item_id,
            input,
        } = request;
        let user = session.user();
        let asked = self.store.item(user, &thread_id, &item_id).await?;
        let mut item = asked.clone();
        match &mut item.kind {
            ItemKind::StructuredInput(form) if form.status == InputStatus::Pending => {
                form.answer(input);
            }
            ItemKind::StructuredInput(_) => return Err(Refusal::FormAnswered(item_id)),
            _ => return Err(Refusal::NotAForm(item_id)),
        }
        let kept = self.store.replace_item(user, &asked, item.clone()).await;
        kept.map_err(|error| or_answered(error, Refusal::FormAnswered(item_id)))?;
        let begun = Begun {
            events: Vec::new(),
            steps: vec![Step::Send(Event::ItemReplaced { item })],
        };
        self.respond(session, thread_id, Asking::Again, begun).await
    }

    /// Forgets what came after a message, and answers it anew.
    pub(super) async fn retry(
        self: &Arc<Self>,
        session: Session,
        request: RetryAfterItem,
    ) -> Result<EventStream, Refusal> {
        let RetryAfterItem { thread_id, item_id } = request;
        let user = session.user();
        let item = self.store.item(user, &thread_id, &item_id).await?;
        let ItemKind::UserMessage(message) = item.kind else {
            return Err(Refusal::NotAUserMessage(item_id));
        };
        self.store
            .delete_items_after(user, &thread_id, &item_id)
            .await?;
        let asking = Asking::of_message(&message);
        self.respond(session, thread_id, asking, Begun::default())
            .await
    }

    /// Calls that nobody answered, of the last page, as the reference's `_cleanup_pending_client_tool_call` does it.
    async fn forget_pending_calls(&self, user: &str, thread: &ThreadId) -> Result<(), StoreError> {
        for item in self.newest(user, thread, PAGE_SIZE_DEFAULT).await? {
            if let ItemKind::ClientToolCall(call) = &item.kind
                && call.status == CallStatus::Pending
            {
                tracing::info!(
                    tool = call.name,
                    "a call that was never answered is forgotten"
                );
                match self.store.delete_item(user, thread, &item.id).await {
                    Ok(()) | Err(StoreError::ItemNotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    pub(super) async fn newest(
        &self,
        user: &str,
        thread: &ThreadId,
        limit: usize,
    ) -> Result<Vec<Item>, StoreError> {
        let scan = Scan {
            limit,
            order: Order::Desc,
            after: None,
        };
        Ok(self.store.items(user, thread, scan).await?.data)
    }
}

/// Of two windows that answer at once, the second is told what it would have been told a moment later.
fn or_answered(error: StoreError, answered: Refusal) -> Refusal {
    match error {
        StoreError::ItemChanged => answered,
        error => error.into(),
    }
}
