//! Files that go with messages: announced by `attachments.create`, uploaded, named by a message, and shown to the model.
//!
//! What is known of an attachment is in the store; its bytes are files, and only whether such a file is there says that it is
//! uploaded. Nothing here knows HTTP but `routes` and `upload`, nor a model but for what `contents` gives it to read.

mod contents;
mod files;
mod inspect;
pub(crate) mod kind;
pub(crate) mod limits;
mod refusal;
mod routes;
mod sweep;
mod upload;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use midplane_sdk::Context;
use tokio::task::{JoinError, spawn_blocking};

use self::files::{Files, Folder, Standing, Usage};
use self::kind::Kind;
use self::limits::{FILES_PER_USER_MAX, Limits, WANTED_PER_USER_MAX};
use crate::config::Config;
use crate::protocol::attachment::{
    Attachment, AttachmentKind, CreateAttachment, UploadDescriptor, UploadMethod,
};
use crate::protocol::id::{AttachmentId, ThreadId};
use crate::protocol::timestamp::Timestamp;
use crate::store::{Store, StoreError, StoredAttachment};

pub(crate) use contents::Contents;
pub(crate) use refusal::Refusal;
pub(crate) use routes::router;

/// Of uploads, below the module's prefix.
const UPLOADS: &str = "/attachments/*";

/// The attachments of this module, as it is configured; what nobody needs of them is removed in the background.
pub(crate) fn start(
    ctx: &mut Context<Config>,
    limits: Option<Limits>,
    store: Arc<dyn Store>,
) -> Result<Attachments, midplane_sdk::Error> {
    if let Some(limits) = &limits {
        match ctx.body_limit(UPLOADS, limits.file_bytes) {
            Err(error) if ctx.config().says_how_large_attachments_are() => return Err(error),
            // Nobody asked for so much.
            Err(error) => {
                tracing::warn!(%error, "attachments may be no larger than other requests")
            }
            Ok(()) => {}
        }
    }
    let attachments = Attachments::new(limits, ctx.name(), ctx.data_dir(), store);
    ctx.spawn(attachments.clone().sweep());
    Ok(attachments)
}

/// The attachments of all users. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Attachments(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    files: Files,
    /// `None`: switched off.
    limits: Option<Limits>,
    /// The path of this module's attachments at the kernel.
    path: String,
    /// By this generation, now.
    uploading: Mutex<HashSet<AttachmentId>>,
    swept: Mutex<Option<Instant>>,
}

impl Attachments {
    /// `module` is the name this module is mounted under.
    fn new(
        limits: Option<Limits>,
        module: &str,
        data_dir: &Path,
        store: Arc<dyn Store>,
    ) -> Attachments {
        Attachments(Arc::new(Shared {
            store,
            files: Files::below(data_dir),
            limits,
            path: format!("/api/{module}/attachments"),
            uploading: Mutex::default(),
            swept: Mutex::default(),
        }))
    }

    /// Announces a file. Its room is kept until it is uploaded, or for an hour.
    pub(crate) async fn create(
        &self,
        user: &str,
        request: CreateAttachment,
    ) -> Result<Attachment, Refusal> {
        let limits = self.limits()?;
        let CreateAttachment {
            name,
            size_bytes,
            mime_type,
        } = request;
        if name.is_empty() || name.len() > limits.name_bytes || name.chars().any(char::is_control) {
            return Err(Refusal::Name {
                most: limits.name_bytes,
            });
        }
        let mime_type = kind::media_type(&mime_type, &name).ok_or(Refusal::NoType)?;
        if !limits.types.allow(&mime_type) {
            return Err(Refusal::Type {
                given: mime_type,
                allowed: limits.types.described(),
            });
        }
        if size_bytes > limits.file_bytes {
            return Err(Refusal::TooLarge {
                given: size_bytes,
                most: limits.file_bytes,
            });
        }
        self.sweep_if_due();
        let mut attachment = self.describe(name, mime_type);
        let (folder, id, most) = (self.folder(user), attachment.id.clone(), limits.user_bytes);
        blocking(move || {
            folder.reserve(&id, size_bytes, |usage| {
                check_usage(usage, size_bytes, most)
            })
        })
        .await
        .map_err(Refusal::disk("made"))??;
        let record = StoredAttachment {
            attachment: attachment.clone(),
            size_bytes,
            created_at: Timestamp::now(),
            is_uploaded: false,
        };
        if let Err(error) = self.0.store.save_attachment(user, record).await {
            // Its room would be kept for an hour.
            self.remove_files(user, &attachment.id).await?;
            return Err(error.into());
        }
        attachment.upload_descriptor = Some(UploadDescriptor {
            url: self.url(&attachment.id),
            method: UploadMethod::Put,
            headers: BTreeMap::new(),
        });
        Ok(attachment)
    }

    /// Deletes an attachment, also of a message: that goes on naming it.
    pub(crate) async fn delete(&self, user: &str, id: &AttachmentId) -> Result<(), Refusal> {
        self.limits()?;
        self.record(user, id).await?;
        // In this order, since a file that nothing is known of is found and removed; what is known of no file would be believed.
        self.0.store.delete_attachment(user, id).await?;
        self.remove_files(user, id).await
    }

    /// Gives these attachments to a thread: all or, if one of them cannot be had, none.
    pub(crate) async fn attach(
        &self,
        user: &str,
        thread: &ThreadId,
        ids: &[AttachmentId],
    ) -> Result<Vec<Attachment>, Refusal> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let limits = self.limits()?;
        if ids.len() > limits.per_message {
            return Err(Refusal::TooManyInMessage {
                given: ids.len(),
                most: limits.per_message,
            });
        }
        let mut records = Vec::with_capacity(ids.len());
        for (index, id) in ids.iter().enumerate() {
            if ids[..index].contains(id) {
                return Err(Refusal::Twice(id.clone()));
            }
            records.push(self.attachable(user, thread, id).await?);
        }
        let mut attachments = Vec::with_capacity(records.len());
        for mut record in records {
            record.attachment.thread_id = Some(thread.clone());
            record.is_uploaded = true;
            attachments.push(record.attachment.clone());
            self.0.store.save_attachment(user, record).await?;
        }
        Ok(attachments)
    }

    /// What is known of an attachment that can go to this thread.
    async fn attachable(
        &self,
        user: &str,
        thread: &ThreadId,
        id: &AttachmentId,
    ) -> Result<StoredAttachment, Refusal> {
        let record = self.record(user, id).await?;
        let before = record.attachment.thread_id.as_ref();
        if let Some(other) = before.filter(|other| *other != thread) {
            // One that is gone has left it: its message was refused, or the thread deleted a moment ago.
            match self.0.store.thread(user, other).await {
                Err(StoreError::ThreadNotFound) => {}
                Ok(_) => return Err(Refusal::OtherThread(id.clone())),
                Err(error) => return Err(error.into()),
            }
        }
        match self.standing(user, id).await? {
            Standing::Whole => Ok(record),
            Standing::Wanted => Err(self.not_uploaded(record.attachment)),
            Standing::Absent => Err(Refusal::NotFound(id.clone())),
        }
    }

    /// What is known of an attachment, with its bytes if it is uploaded.
    async fn open(
        &self,
        user: &str,
        id: &AttachmentId,
    ) -> Result<(Attachment, Option<(File, u64)>), Refusal> {
        self.limits()?;
        let record = self.record(user, id).await?;
        let (folder, id) = (self.folder(user), id.clone());
        let opened = blocking(move || folder.open(&id)).await;
        Ok((record.attachment, opened.map_err(Refusal::disk("read"))?))
    }

    async fn record(&self, user: &str, id: &AttachmentId) -> Result<StoredAttachment, Refusal> {
        let record = self.0.store.attachment(user, id).await;
        record.map_err(|error| match error {
            StoreError::AttachmentNotFound => Refusal::NotFound(id.clone()),
            error => error.into(),
        })
    }

    async fn standing(&self, user: &str, id: &AttachmentId) -> Result<Standing, Refusal> {
        let (folder, id) = (self.folder(user), id.clone());
        let standing = blocking(move || folder.standing(&id)).await;
        standing.map_err(Refusal::disk("read"))
    }

    async fn remove_files(&self, user: &str, id: &AttachmentId) -> Result<(), Refusal> {
        let (folder, id) = (self.folder(user), id.clone());
        let removed = blocking(move || folder.remove(&id)).await;
        removed.map_err(Refusal::disk("removed"))
    }

    /// A new attachment, as the protocol has it.
    fn describe(&self, name: String, mime_type: String) -> Attachment {
        let id = AttachmentId::generate();
        let kind = match Kind::of(&mime_type) {
            Kind::Image(_) => AttachmentKind::Image {
                preview_url: self.url(&id),
            },
            Kind::Pdf | Kind::Text | Kind::Other => AttachmentKind::File,
        };
        Attachment {
            id,
            name,
            mime_type,
            upload_descriptor: None,
            thread_id: None,
            kind,
        }
    }

    fn not_uploaded(&self, attachment: Attachment) -> Refusal {
        Refusal::NotUploaded {
            url: self.url(&attachment.id),
            id: attachment.id,
            name: attachment.name,
        }
    }

    fn url(&self, id: &AttachmentId) -> String {
        let base_url = self.0.limits.as_ref().map_or("", |limits| &limits.base_url);
        format!("{base_url}{}/{id}", self.0.path)
    }

    fn limits(&self) -> Result<&Limits, Refusal> {
        self.0.limits.as_ref().ok_or(Refusal::Off)
    }

    fn folder(&self, user: &str) -> Folder {
        self.0.files.folder(user)
    }
}

fn check_usage(usage: Usage, more: u64, most: u64) -> Result<(), Refusal> {
    if usage.wanted >= WANTED_PER_USER_MAX {
        return Err(Refusal::TooManyWanted(usage.wanted));
    }
    if usage.whole + usage.wanted >= FILES_PER_USER_MAX {
        return Err(Refusal::TooManyFiles(usage.whole));
    }
    match usage.bytes.checked_add(more) {
        Some(sum) if sum <= most => Ok(()),
        _ => Err(Refusal::UserFull {
            used: usage.bytes,
            most,
        }),
    }
}

/// Runs what waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work)
        .await
        .map_err(JoinError::try_into_panic)
    {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The generation's runtime has ended, and with it whoever waits.
        Err(Err(_cancelled)) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
