//! Why nothing comes of a request about attachments, in words that say what to do.

use std::io::{self, ErrorKind};

use http::StatusCode;
use midplane_sdk::Problem;

use super::inspect::Mismatch;
use super::limits::UPLOAD_TIME_MAX;
use crate::protocol::id::AttachmentId;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "attachments are switched off here: remove `attachments = false` from the module's configuration"
    )]
    Off,
    #[error("no attachment {0}: it was deleted, never created, or belongs to another user")]
    NotFound(AttachmentId),
    #[error("`name` has to be a text of 1 to {most} bytes without control characters")]
    Name { most: usize },
    #[error("`mime_type` is no media type: write it like `image/png`, or leave it empty for text")]
    NoType,
    #[error("files of type {given} cannot be attached: allowed are {allowed}")]
    Type { given: String, allowed: String },
    #[error(
        "the file has {given} bytes, and at most {most} may be attached: attach a smaller one, or a part of it"
    )]
    TooLarge { given: u64, most: u64 },
    #[error(
        "attachments of this user take {used} of {most} bytes: delete threads or attachments that are not needed"
    )]
    UserFull { used: u64, most: u64 },
    #[error("this user has {0} attachments: delete threads or attachments that are not needed")]
    TooManyFiles(usize),
    #[error("{0} attachments of this user wait for their bytes: upload or delete them first")]
    TooManyWanted(usize),
    #[error("attachment {0} is uploaded already: create another one for other bytes")]
    AlreadyUploaded(AttachmentId),
    #[error(
        "attachment {0} is being uploaded by another request: wait for it, or delete the attachment"
    )]
    UnderWay(AttachmentId),
    #[error(
        "the upload is of type {given}, but `{wanted}` was announced: send that as content-type, or none"
    )]
    OtherType { given: String, wanted: String },
    #[error("send the file's bytes themselves as the body, not a form")]
    Form,
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    #[error(
        "the upload has more than the {0} bytes that were announced as `size`: create another attachment"
    )]
    Longer(u64),
    #[error(
        "the upload has {given} bytes, but {wanted} were announced as `size`: send the whole file"
    )]
    Shorter { given: u64, wanted: u64 },
    #[error("the upload took longer than {} s: send it again", UPLOAD_TIME_MAX.as_secs())]
    Slow,
    #[error("the upload broke off: send it again ({0})")]
    BrokenOff(String),
    #[error("attachment {0} was deleted while it was uploaded: create it again")]
    Unwanted(AttachmentId),
    #[error(
        "a message can have {most} attachments, and this one has {given}: send several messages"
    )]
    TooManyInMessage { given: usize, most: usize },
    #[error("attachment {0} is named twice in `attachments`: name it once")]
    Twice(AttachmentId),
    #[error("attachment {id} (`{name}`) is not uploaded yet: send its bytes to {url} first")]
    NotUploaded {
        id: AttachmentId,
        name: String,
        url: String,
    },
    #[error("attachment {0} belongs to another thread: upload the file again for this one")]
    OtherThread(AttachmentId),
    #[error("the disk is full: make room, then send it again")]
    DiskFull,
    #[error("the attachment's file cannot be {done}")]
    Disk {
        done: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    pub(super) fn disk(done: &'static str) -> impl FnOnce(io::Error) -> Refusal {
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Refusal::DiskFull,
            _ => Refusal::Disk { done, source },
        }
    }

    /// As a client is told.
    pub(crate) fn problem(&self) -> Problem {
        let (status, code) = match self {
            Refusal::Off => (StatusCode::NOT_IMPLEMENTED, "not_offered"),
            Refusal::NotFound(_) => (StatusCode::NOT_FOUND, "attachment_not_found"),
            Refusal::Name { .. }
            | Refusal::NoType
            | Refusal::TooManyInMessage { .. }
            | Refusal::Twice(_)
            | Refusal::BrokenOff(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Refusal::Type { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "type_not_allowed"),
            Refusal::OtherType { .. } | Refusal::Form | Refusal::Mismatch(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_mismatch")
            }
            Refusal::TooLarge { .. } | Refusal::Longer(_) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "attachment_too_large")
            }
            Refusal::Shorter { .. } => (StatusCode::BAD_REQUEST, "attachment_incomplete"),
            Refusal::Slow => (StatusCode::REQUEST_TIMEOUT, "upload_timeout"),
            Refusal::UserFull { .. } | Refusal::TooManyFiles(_) | Refusal::DiskFull => {
                (StatusCode::INSUFFICIENT_STORAGE, "attachments_full")
            }
            Refusal::TooManyWanted(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_uploads"),
            Refusal::AlreadyUploaded(_) => (StatusCode::CONFLICT, "already_uploaded"),
            Refusal::UnderWay(_) => (StatusCode::CONFLICT, "upload_under_way"),
            Refusal::Unwanted(_) => (StatusCode::CONFLICT, "attachment_deleted"),
            Refusal::NotUploaded { .. } => (StatusCode::CONFLICT, "attachment_not_uploaded"),
            Refusal::OtherThread(_) => (StatusCode::CONFLICT, "attachment_in_use"),
            Refusal::Disk { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "attachment_failed"),
            Refusal::Store(error) => return error.problem(),
        };
        if let Refusal::Disk { done, source } = self {
            tracing::error!(done, error = %source, "an attachment's file failed");
        }
        Problem::new(status, code, self.to_string())
    }
}
