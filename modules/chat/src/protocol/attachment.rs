//! Attachments of messages: what is kept of one, and how its bytes are sent in the second phase of an upload.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::{AttachmentId, ThreadId};

/// `FileAttachment` and `ImageAttachment`, without the metadata that the reference leaves out of every answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    pub(crate) id: AttachmentId,
    pub(crate) name: String,
    pub(crate) mime_type: String,
    /// Only while the bytes are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upload_descriptor: Option<UploadDescriptor>,
    /// Once a message has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) thread_id: Option<ThreadId>,
    #[serde(flatten)]
    pub(crate) kind: AttachmentKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum AttachmentKind {
    File,
    Image {
        /// Absolute, as pydantic's `AnyUrl` demands.
        preview_url: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadDescriptor {
    /// Absolute, as pydantic's `AnyUrl` demands: a path alone is refused by the reference's types.
    pub(crate) url: String,
    pub(crate) method: UploadMethod,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum UploadMethod {
    Post,
    Put,
}

/// What speech said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TranscriptionResult {
    pub(crate) text: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_kinds_are_written_as_they_are_read() {
        for wire in [
            json!({"id": "atc_1", "name": "a.txt", "mime_type": "text/plain", "type": "file"}),
            json!({"id": "atc_1", "name": "a.png", "mime_type": "image/png", "type": "image", "thread_id": "thr_1",
                   "preview_url": "http://localhost/a", "upload_descriptor":
                   {"url": "http://localhost/a", "method": "PUT", "headers": {"x": "y"}}}),
        ] {
            let read: Attachment = serde_json::from_value(wire.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), wire);
        }
    }
}
