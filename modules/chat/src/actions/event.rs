//! What another module may send: ChatKit's events, but that its items need say less, and a wish of ours.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::protocol::event::{ClientEffect, Notice, Progress, StreamError, StreamOptions};
use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::{GeneratedImage, Item, ItemKind};
use crate::protocol::message::{AssistantContent, UserMessage};
use crate::protocol::structured_input::StructuredInput;
use crate::protocol::thread::Status;
use crate::protocol::timestamp::Timestamp;
use crate::protocol::tool_call::ClientToolCall;
use crate::protocol::update::Update;
use crate::protocol::widget::Root;
use crate::protocol::workflow::{Task, Workflow};
use crate::turn::ThreadEdit;

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum ModuleEvent {
    #[serde(rename = "thread.updated")]
    ThreadUpdated { thread: GivenThread },
    #[serde(rename = "thread.item.added")]
    ItemAdded { item: Given },
    #[serde(rename = "thread.item.updated")]
    ItemUpdated { item_id: ItemId, update: Update },
    #[serde(rename = "thread.item.done")]
    ItemDone { item: Given },
    #[serde(rename = "thread.item.removed")]
    ItemRemoved { item_id: ItemId },
    #[serde(rename = "thread.item.replaced")]
    ItemReplaced { item: Given },
    #[serde(rename = "stream_options")]
    StreamOptions { stream_options: StreamOptions },
    #[serde(rename = "progress_update")]
    ProgressUpdate(Progress),
    #[serde(rename = "client_effect")]
    ClientEffect(ClientEffect),
    #[serde(rename = "notice")]
    Notice(Notice),
    #[serde(rename = "error")]
    Error(StreamError),
    /// No event of ChatKit's: the module is done, and the model shall go on from what the thread holds now.
    #[serde(rename = "midplane.respond")]
    Respond,
}

/// An item as another module gives it. Where and when it is written is chat's to say.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Given {
    id: Option<ItemId>,
    thread_id: Option<ThreadId>,
    kind: ItemKind,
}

impl TryFrom<Value> for Given {
    type Error = String;

    fn try_from(item: Value) -> Result<Given, String> {
        #[derive(Deserialize)]
        struct Place {
            #[serde(default)]
            id: Option<ItemId>,
            #[serde(default)]
            thread_id: Option<ThreadId>,
        }
        let Place { id, thread_id } =
            Place::deserialize(&item).map_err(|error| error.to_string())?;
        match ItemKind::deserialize(&item) {
            Ok(kind) => Ok(Given {
                id,
                thread_id,
                kind,
            }),
            Err(_) => Err(what_is_wrong(&item)),
        }
    }
}

/// With an item of no kind: serde says of such an enum only that nothing fits.
fn what_is_wrong(item: &Value) -> String {
    fn error<'a, T: Deserialize<'a>>(value: &'a Value) -> String {
        match T::deserialize(value) {
            Ok(_) => "a member is missing, or of the wrong type".to_owned(),
            Err(error) => error.to_string(),
        }
    }
    let r#type = item["type"].as_str().unwrap_or_default();
    let why = match r#type {
        "user_message" => error::<UserMessage>(item),
        "assistant_message" => error::<Vec<AssistantContent>>(&item["content"]),
        "client_tool_call" => error::<ClientToolCall>(item),
        "widget" => error::<Root>(&item["widget"]),
        "generated_image" => error::<GeneratedImage>(&item["image"]),
        "structured_input" => error::<StructuredInput>(item),
        "workflow" => error::<Workflow>(&item["workflow"]),
        "task" => error::<Task>(&item["task"]),
        "sdk_hidden_context" => error::<String>(&item["content"]),
        _ => "there is no such `type`".to_owned(),
    };
    format!("the item of type `{}`: {why}", r#type)
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize)]
pub(super) struct GivenThread {
    #[serde(default)]
    id: Option<ThreadId>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    status: Option<Status>,
    #[serde(default)]
    allowed_image_domains: Option<Vec<String>>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misplaced {
    #[error("sent something for the thread {0}, which is not the one the action came from")]
    OtherThread(ThreadId),
    #[error("gave an item the id `{0}`: take 1 to 64 letters, digits and `_-.:`, or leave it out")]
    Id(String),
    #[error("sent an item without an `id`, which later events could not name")]
    NoId,
}

impl Given {
    /// In its thread, with an id of its own if it has none, and written now.
    pub(super) fn into_item(self, thread: &ThreadId) -> Result<Item, Misplaced> {
        expect_thread(self.thread_id, thread)?;
        if let Some(id) = self.id.as_ref().filter(|id| !id.is_well_formed()) {
            return Err(Misplaced::Id(id.as_str().chars().take(64).collect()));
        }
        let id = self.id.unwrap_or_else(|| match &self.kind {
            ItemKind::ClientToolCall(_) => ItemId::tool_call(),
            ItemKind::Workflow { .. } => ItemId::workflow(),
            ItemKind::HiddenContext { .. } | ItemKind::SdkHiddenContext { .. } => {
                ItemId::hidden_context()
            }
            _ => ItemId::message(),
        });
        Ok(Item {
            id,
            thread_id: thread.clone(),
            created_at: Timestamp::now(),
            cost: None,
            kind: self.kind,
        })
    }

    /// For one that later events name.
    pub(super) fn into_named_item(self, thread: &ThreadId) -> Result<Item, Misplaced> {
        match self.id {
            Some(_) => self.into_item(thread),
            None => Err(Misplaced::NoId),
        }
    }
}

impl GivenThread {
    pub(super) fn into_edit(self, thread: &ThreadId) -> Result<ThreadEdit, Misplaced> {
        expect_thread(self.id, thread)?;
        Ok(ThreadEdit {
            title: self.title,
            status: self.status,
            allowed_image_domains: self.allowed_image_domains,
            metadata: self.metadata,
        })
    }
}

fn expect_thread(given: Option<ThreadId>, thread: &ThreadId) -> Result<(), Misplaced> {
    match given {
        Some(other) if other != *thread => Err(Misplaced::OtherThread(other)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(item: Value) -> Result<Given, serde_json::Error> {
        serde_json::from_value(item)
    }

    #[test]
    fn an_item_gets_what_it_does_not_say() {
        let thread = ThreadId::from("thr_1");
        for (item, prefix) in [
            (json!({"type": "end_of_turn"}), "msg_"),
            (
                json!({"type": "hidden_context_item", "content": {"a": 1}}),
                "shcx_",
            ),
            (
                json!({"type": "workflow", "workflow": {"type": "custom", "tasks": []}}),
                "wf_",
            ),
            (
                json!({"type": "end_of_turn", "id": "mine", "thread_id": "thr_1", "created_at": "whenever"}),
                "mine",
            ),
        ] {
            let item = given(item).unwrap().into_item(&thread).unwrap();
            assert!(item.id.as_str().starts_with(prefix), "{item:?}");
            assert_eq!(item.thread_id, thread);
        }
    }

    #[test]
    fn an_item_in_the_wrong_place_is_refused() {
        let check = |item: Value, expect: Misplaced| {
            let error = given(item).unwrap().into_named_item(&"thr_1".into());
            assert_eq!(error.unwrap_err(), expect);
        };
        let end = "end_of_turn";
        check(json!({"type": end}), Misplaced::NoId);
        check(
            json!({"type": end, "id": "a b"}),
            Misplaced::Id("a b".to_owned()),
        );
        check(
            json!({"type": end, "id": "a", "thread_id": "thr_2"}),
            Misplaced::OtherThread("thr_2".into()),
        );
        for (item, expect) in [
            (json!({"type": "poem"}), "type `poem`: there is no such"),
            (
                json!({"type": "widget", "widget": {"type": "Text"}}),
                "no root of a widget",
            ),
            (
                json!({"type": "task", "task": {"type": "custom", "icon": "no"}}),
                "no icon",
            ),
        ] {
            let error = given(item).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}
