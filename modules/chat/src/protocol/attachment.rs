//! Attachments and dictation as data: what a client asks for, and what it is answered.
//!
//! The shapes are those of `AttachmentCreateParams`, `Attachment`, `InputTranscribeParams` and `TranscriptionResult` in
//! `chatkit/types.py`. An attachment is stored as it is answered, but for its upload descriptor, which only the answer to
//! `attachments.create` has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::{AttachmentId, ThreadId};

/// `attachments.create`: nothing of it has been looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct CreateAttachment {
    pub(crate) name: String,
    #[serde(rename = "size")]
    pub(crate) size_bytes: u64,
    /// As the browser knows it: may be empty.
    pub(crate) mime_type: String,
}

/// `attachments.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct DeleteAttachment {
    pub(crate) attachment_id: AttachmentId,
}

/// `input.transcribe`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Transcribe {
    pub(crate) audio_base64: String,
    /// With parameters: `audio/webm;codecs=opus`.
    pub(crate) mime_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Transcription {
    pub(crate) text: String,
}

/// A file of the user's that goes with messages; its bytes are elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    pub(crate) id: AttachmentId,
    pub(crate) name: String,
    pub(crate) mime_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upload_descriptor: Option<UploadDescriptor>,
    /// Once a message names it.
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
        /// Absolute, as pydantic's `AnyUrl` wants it.
        preview_url: String,
    },
}

/// How the bytes get here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadDescriptor {
    /// Absolute, as pydantic's `AnyUrl` wants it.
    pub(crate) url: String,
    pub(crate) method: UploadMethod,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum UploadMethod {
    #[serde(rename = "PUT")]
    Put,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_attachment_is_written_as_the_reference_writes_it_and_read_back() {
        let url = "http://localhost/api/chat/attachments/atc_1";
        let mut attachment = Attachment {
            id: "atc_1".into(),
            name: "cat.png".to_owned(),
            mime_type: "image/png".to_owned(),
            upload_descriptor: Some(UploadDescriptor {
                url: url.to_owned(),
                method: UploadMethod::Put,
                headers: BTreeMap::new(),
            }),
            thread_id: None,
            kind: AttachmentKind::Image {
                preview_url: url.to_owned(),
            },
        };
        let json = serde_json::to_value(&attachment).unwrap();
        assert_eq!(
            json,
            json!({"id": "atc_1", "name": "cat.png", "mime_type": "image/png", "type": "image", "preview_url": url,
                   "upload_descriptor": {"url": url, "method": "PUT", "headers": {}}})
        );
        assert_eq!(
            serde_json::from_value::<Attachment>(json).unwrap(),
            attachment
        );
        attachment.kind = AttachmentKind::File;
        attachment.upload_descriptor = None;
        attachment.thread_id = Some("thr_1".into());
        let json = serde_json::to_value(&attachment).unwrap();
        assert_eq!(
            json,
            json!({"id": "atc_1", "name": "cat.png", "mime_type": "image/png", "type": "file", "thread_id": "thr_1"})
        );
        assert_eq!(
            serde_json::from_value::<Attachment>(json).unwrap(),
            attachment
        );
    }
}
