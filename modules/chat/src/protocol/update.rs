//! What changes of an item while it is streamed.

use serde::{Deserialize, Serialize};

use super::item::GeneratedImage;
use super::message::AssistantContent;
use super::source::Annotation;
use super::widget::{Component, Root};
use super::workflow::Task;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Update {
    #[serde(rename = "assistant_message.content_part.added")]
    ContentAdded {
        content_index: u32,
        content: AssistantContent,
    },
    #[serde(rename = "assistant_message.content_part.text_delta")]
    TextDelta { content_index: u32, delta: String },
    #[serde(rename = "assistant_message.content_part.annotation_added")]
    AnnotationAdded {
        content_index: u32,
        annotation_index: usize,
        annotation: Annotation,
    },
    #[serde(rename = "assistant_message.content_part.done")]
    ContentDone {
        content_index: u32,
        content: AssistantContent,
    },
    #[serde(rename = "widget.streaming_text.value_delta")]
    WidgetText {
        component_id: String,
        delta: String,
        done: bool,
    },
    #[serde(rename = "widget.root.updated")]
    WidgetRoot { widget: Root },
    #[serde(rename = "widget.component.updated")]
    WidgetComponent {
        component_id: String,
        component: Component,
    },
    #[serde(rename = "workflow.task.added")]
    TaskAdded { task_index: usize, task: Task },
    #[serde(rename = "workflow.task.updated")]
    TaskUpdated { task_index: usize, task: Task },
    #[serde(rename = "generated_image.updated")]
    GeneratedImage {
        image: GeneratedImage,
        /// Between 0 and 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<f64>,
    },
}
