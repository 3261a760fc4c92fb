//! What is known of an attachment: its bytes are kept elsewhere, as files.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::attachment::Attachment;
use crate::protocol::id::AttachmentId;
use crate::protocol::timestamp::Timestamp;

/// Stored as it is written here: new members need a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredAttachment {
    pub(crate) attachment: Attachment,
    /// As announced; as received, once it is uploaded.
    pub(crate) size_bytes: u64,
    pub(crate) created_at: Timestamp,
    #[serde(default)]
    pub(crate) is_uploaded: bool,
}

/// Whose attachment, and which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AttachmentKey {
    pub(crate) user: Arc<str>,
    pub(crate) id: AttachmentId,
}
