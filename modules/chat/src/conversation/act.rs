//! Custom actions of clients and widgets.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use midplane_sdk::Session;
use serde_json::{Value, json};

use super::respond::{Asking, Begun};
use super::{Conversations, EventStream, Refusal, to_json};
use crate::actions::{Asked, Performance};
use crate::protocol::event::Event;
use crate::protocol::id::ItemId;
use crate::protocol::item::ItemKind;
use crate::protocol::request::CustomAction;
use crate::turn::{Failure, Speaker, sentence};

impl Conversations {
    pub(super) async fn custom_action(
        self: &Arc<Self>,
        session: Session,
        request: CustomAction,
    ) -> Result<EventStream, Refusal> {
        let asked = match self.asked(&session, "threads.custom_action", request).await {
            // As in the reference, this is told in the stream, before anything else.
            Err(refusal @ Refusal::NotAWidget(_)) => {
                let failure = Failure::unmendable(refusal.to_string());
                let error = Event::Error(failure.into());
                return Ok(stream::iter([error]).boxed());
            }
            asked => asked?,
        };
        let thread = asked.thread.id.clone();
        let speaker = match &self.actions {
            Some(hook) => Speaker::Module(Box::new(Performance::new(
                hook.clone(),
                Arc::clone(&self.store),
                session.clone(),
                asked,
            ))),
            None => Speaker::Failed(Failure::to_mend(
                sentence(&Refusal::NoActions.to_string()),
                false,
            )),
        };
        let begun = Begun::default();
        Ok(self.act(session, thread, speaker, Asking::Again, begun))
    }

    pub(super) async fn sync_custom_action(
        &self,
        session: &Session,
        request: CustomAction,
    ) -> Result<Value, Refusal> {
        let asked = self
            .asked(session, "threads.sync_custom_action", request)
            .await?;
        let hook = self.actions.as_ref().ok_or(Refusal::NoActions)?;
        let updated = hook
            .perform(session, &asked)
            .await
            .map_err(Refusal::Action)?;
        let Some(mut item) = updated else {
            return Ok(json!({}));
        };
        let user = session.user();
        // One that takes the place of another is as old.
        if let Ok(kept) = self.store.item(user, &item.thread_id, &item.id).await {
            item.created_at = kept.created_at;
        }
        self.store.save_item(user, item.clone()).await?;
        Ok(match item.is_hidden() {
            true => json!({}),
            false => json!({"updated_item": to_json(&item)}),
        })
    }

    async fn asked(
        &self,
        session: &Session,
        r#type: &'static str,
        request: CustomAction,
    ) -> Result<Asked, Refusal> {
        let CustomAction {
            thread_id,
            item_id,
            action,
        } = request;
        let user = session.user();
        let thread = self.store.thread(user, &thread_id).await?;
        let mut item = None;
        if let Some(id) = item_id.filter(|id: &ItemId| !id.as_str().is_empty()) {
            let sender = self.store.item(user, &thread_id, &id).await?;
            if !matches!(sender.kind, ItemKind::Widget { .. }) {
                return Err(Refusal::NotAWidget(id));
            }
            item = Some(sender);
        }
        Ok(Asked {
            r#type,
            thread,
            item,
            action,
            user: user.to_owned(),
        })
    }
}
