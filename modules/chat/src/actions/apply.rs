//! Carries out on an item what its updates say, so that what is kept is what the user saw.
//!
//! For an assistant's message this is `_apply_assistant_message_update` of `chatkit/server.py`.

use crate::protocol::item::{Item, ItemKind};
use crate::protocol::message::AssistantContent;
use crate::protocol::update::Update;
use crate::protocol::widget::WidgetError;

/// Of one message: no client shows more.
const PARTS_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotApplied {
    #[error("the item is of another kind")]
    OtherKind,
    #[error("a message has {PARTS_MAX} parts at most")]
    TooManyParts,
    #[error("the workflow has no task {0}")]
    NoTask(usize),
    #[error(transparent)]
    Widget(#[from] WidgetError),
}

pub(super) fn apply(update: &Update, item: &mut Item) -> Result<(), NotApplied> {
    match (&mut item.kind, update) {
        (
            ItemKind::AssistantMessage { content },
            Update::ContentAdded {
                content_index,
                content: part,
            }
            | Update::ContentDone {
                content_index,
                content: part,
            },
        ) => part_at(content, *content_index).map(|at| *at = part.clone()),
        (
            ItemKind::AssistantMessage { content },
            Update::TextDelta {
                content_index,
                delta,
            },
        ) => part_at(content, *content_index).map(|part| part.text.push_str(delta)),
        (
            ItemKind::AssistantMessage { content },
            Update::AnnotationAdded {
                content_index,
                annotation_index,
                annotation,
            },
        ) => {
            let annotations = &mut part_at(content, *content_index)?.annotations;
            let at = (*annotation_index).min(annotations.len());
            annotations.insert(at, annotation.clone());
            Ok(())
        }
        (ItemKind::Workflow { workflow }, Update::TaskAdded { task, .. }) => {
            workflow.tasks.push(task.clone());
            Ok(())
        }
        (ItemKind::Workflow { workflow }, Update::TaskUpdated { task_index, task }) => {
            match workflow.tasks.get_mut(*task_index) {
                Some(at) => {
                    *at = task.clone();
                    Ok(())
                }
                None => Err(NotApplied::NoTask(*task_index)),
            }
        }
        (ItemKind::Widget { widget, .. }, Update::WidgetRoot { widget: root }) => {
            widget.clone_from(root);
            Ok(())
        }
        (
            ItemKind::Widget { widget, .. },
            Update::WidgetComponent {
                component_id,
                component,
            },
        ) => Ok(widget.replace(component_id, component.clone())?),
        (
            ItemKind::Widget { widget, .. },
            Update::WidgetText {
                component_id,
                delta,
                ..
            },
        ) => Ok(widget.append(component_id, delta)?),
        (ItemKind::GeneratedImage { image }, Update::GeneratedImage { image: given, .. }) => {
            *image = Some(given.clone());
            Ok(())
        }
        _ => Err(NotApplied::OtherKind),
    }
}

/// The part at this index; updates may come for one that was not begun.
fn part_at(
    content: &mut Vec<AssistantContent>,
    index: u32,
) -> Result<&mut AssistantContent, NotApplied> {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    if index >= PARTS_MAX {
        return Err(NotApplied::TooManyParts);
    }
    while content.len() <= index {
        content.push(AssistantContent::new(""));
    }
    Ok(&mut content[index])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn item(kind: Value) -> Item {
        let mut item = json!({"id": "i", "thread_id": "t", "created_at": "1970-01-01T00:00:00Z"});
        item.as_object_mut()
            .unwrap()
            .extend(kind.as_object().unwrap().clone());
        serde_json::from_value(item).unwrap()
    }

    fn applied(kind: Value, updates: &[Value]) -> Result<Value, NotApplied> {
        let mut item = item(kind);
        for update in updates {
            apply(&serde_json::from_value(update.clone()).unwrap(), &mut item)?;
        }
        Ok(serde_json::to_value(item.kind).unwrap())
    }

    #[test]
    fn a_message_is_said_part_by_part() {
        let annotation = |title: &str| json!({"type": "annotation", "source": {"type": "file", "title": title, "filename": "f"}});
        let part = "assistant_message.content_part";
        let message = applied(
            json!({"type": "assistant_message", "content": []}),
            &[
                json!({"type": format!("{part}.text_delta"), "content_index": 1, "delta": "Hel"}),
                json!({"type": format!("{part}.text_delta"), "content_index": 1, "delta": "lo"}),
                json!({"type": format!("{part}.added"), "content_index": 0, "content": {"text": "first"}}),
                json!({"type": format!("{part}.annotation_added"), "content_index": 1, "annotation_index": 9, "annotation": annotation("b")}),
                json!({"type": format!("{part}.annotation_added"), "content_index": 1, "annotation_index": 0, "annotation": annotation("a")}),
            ],
        )
        .unwrap();
        assert_eq!(message["content"][0]["text"], "first");
        assert_eq!(message["content"][1]["text"], "Hello");
        assert_eq!(
            message["content"][1]["annotations"],
            json!([annotation("a"), annotation("b")])
        );
    }

    #[test]
    fn workflows_widgets_and_images_follow_their_updates() {
        let thought = |text: &str| json!({"type": "thought", "content": text});
        let workflow = applied(
            json!({"type": "workflow", "workflow": {"type": "custom", "tasks": []}}),
            &[
                json!({"type": "workflow.task.added", "task_index": 0, "task": thought("a")}),
                json!({"type": "workflow.task.updated", "task_index": 0, "task": thought("b")}),
            ],
        );
        assert_eq!(workflow.unwrap()["workflow"]["tasks"][0]["content"], "b");
        let widget = applied(
            json!({"type": "widget", "widget": {"type": "Card"}}),
            &[
                json!({"type": "widget.root.updated", "widget": {"type": "Card", "children": [{"type": "Text", "id": "t", "value": "a"}]}}),
                json!({"type": "widget.streaming_text.value_delta", "component_id": "t", "delta": "b", "done": true}),
            ],
        );
        assert_eq!(widget.unwrap()["widget"]["children"][0]["value"], "ab");
        let image = applied(
            json!({"type": "generated_image"}),
            &[
                json!({"type": "generated_image.updated", "image": {"id": "i", "url": "u"}, "progress": 0.5}),
            ],
        );
        assert_eq!(image.unwrap()["image"]["url"], "u");
    }

    #[test]
    fn an_update_that_does_not_fit_is_refused() {
        let check = |kind: Value, update: Value, expect: NotApplied| {
            assert_eq!(applied(kind, &[update]).unwrap_err(), expect);
        };
        let delta = |index: u32| json!({"type": "assistant_message.content_part.text_delta", "content_index": index, "delta": "x"});
        let message = || json!({"type": "assistant_message", "content": []});
        check(message(), delta(100), NotApplied::TooManyParts);
        check(message(), delta(u32::MAX), NotApplied::TooManyParts);
        check(
            json!({"type": "end_of_turn"}),
            delta(0),
            NotApplied::OtherKind,
        );
        check(
            json!({"type": "workflow", "workflow": {"type": "custom", "tasks": []}}),
            json!({"type": "workflow.task.updated", "task_index": 1, "task": {"type": "image"}}),
            NotApplied::NoTask(1),
        );
        check(
            json!({"type": "widget", "widget": {"type": "Card"}}),
            json!({"type": "widget.streaming_text.value_delta", "component_id": "t", "delta": "b", "done": true}),
            NotApplied::Widget(WidgetError::NoComponent("t".to_owned())),
        );
    }
}
