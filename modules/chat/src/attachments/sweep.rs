//! Takes away what nobody needs: uploads that never ended, files that no message named, and those of threads that are gone.
//!
//! Runs when the module starts and then beside requests, so that nothing wakes an idle process. What it does not understand, and
//! what is young, it leaves: others may be at work on it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::files::{EntryKind, Folder};
use super::limits::{SWEEP_PAUSE, UNSENT_AGE_MAX, UPLOAD_TIME_MAX, WANTED_AGE_MAX};
use super::{Attachments, Refusal, blocking};
use crate::protocol::id::{AttachmentId, ThreadId};
use crate::protocol::timestamp::Timestamp;
use crate::store::{StoreError, StoredAttachment};

/// What is known of attachments is read in steps.
const STEP: usize = 500;

/// Whose folder it is, and what is known of the attachments in it.
#[derive(Default)]
struct Known {
    user: Option<Arc<str>>,
    records: HashMap<AttachmentId, StoredAttachment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Remove,
    /// If the thread it belongs to is gone.
    RemoveWithThread,
}

impl Attachments {
    /// Looks through everything.
    pub(crate) async fn sweep(self) {
        *self.0.swept.lock().expect("no code panics under this lock") = Some(Instant::now());
        match self.try_sweep().await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed attachments that nobody needs"),
            Err(error) => {
                tracing::warn!(%error, "attachments that nobody needs could not all be removed")
            }
        }
    }

    /// In the background, if the last time is long ago.
    pub(super) fn sweep_if_due(&self) {
        let swept = *self.0.swept.lock().expect("no code panics under this lock");
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_PAUSE) {
            tokio::spawn(self.clone().sweep());
        }
    }

    /// Removes the attachments of a thread that was deleted.
    pub(crate) async fn forget_thread(&self, user: &str, thread: &ThreadId) {
        if let Err(error) = self.try_forget(user, thread).await {
            // The sweep finds what is left.
            tracing::warn!(%error, "attachments of a deleted thread could not all be removed");
        }
    }

    async fn try_forget(&self, user: &str, thread: &ThreadId) -> Result<(), Refusal> {
        let folder = self.folder(user);
        let entries = blocking(move || folder.entries(SystemTime::now())).await;
        for entry in entries.map_err(Refusal::disk("listed"))? {
            let EntryKind::Whole(id) = entry.kind else {
                continue;
            };
            match self.0.store.attachment(user, &id).await {
                Ok(record) if record.attachment.thread_id.as_ref() == Some(thread) => {
                    self.forget(user, &id).await?;
                    self.remove_files(user, &id).await?;
                }
                Ok(_) | Err(StoreError::AttachmentNotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Another sweep, of another kernel perhaps, may have been here before.
    async fn forget(&self, user: &str, id: &AttachmentId) -> Result<(), StoreError> {
        match self.0.store.delete_attachment(user, id).await {
            Err(StoreError::AttachmentNotFound) => Ok(()),
            done => done,
        }
    }

    async fn try_sweep(&self) -> Result<usize, Refusal> {
        let mut known = self.known().await?;
        let files = self.0.files.clone();
        let folders = blocking(move || files.folders()).await;
        let mut removed = 0;
        for folder in folders.map_err(Refusal::disk("listed"))? {
            let known = known.remove(folder.path()).unwrap_or_default();
            removed += self.sweep_folder(folder, known).await?;
        }
        // Whose files went otherwise.
        for Known { user, records } in known.into_values() {
            for record in records.into_values().filter(is_lost) {
                let user = user.as_deref().unwrap_or_default();
                self.forget(user, &record.attachment.id).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// By folder.
    async fn known(&self) -> Result<HashMap<PathBuf, Known>, Refusal> {
        let mut known: HashMap<PathBuf, Known> = HashMap::new();
        let mut after = None;
        loop {
            let step = self.0.store.attachments(after, STEP).await?;
            let Some((last, _)) = step.last() else {
                return Ok(known);
            };
            after = Some(last.clone());
            for (key, record) in step {
                let of_user = known
                    .entry(self.folder(&key.user).path().to_owned())
                    .or_default();
                of_user.user = Some(key.user);
                of_user.records.insert(key.id, record);
            }
        }
    }

    async fn sweep_folder(&self, folder: Folder, mut known: Known) -> Result<usize, Refusal> {
        let listed = folder.clone();
        let entries = blocking(move || listed.entries(SystemTime::now())).await;
        let mut removed = 0;
        for entry in entries.map_err(Refusal::disk("listed"))? {
            let mut record = match &entry.kind {
                EntryKind::Wanted(id) | EntryKind::Whole(id) => known.records.remove(id),
                EntryKind::Part => None,
            };
            if verdict(&entry.kind, entry.age, record.as_ref()) == Verdict::Remove {
                // A message may have named it since all was listed.
                record = self.as_it_is_now(known.user.as_deref(), record).await?;
            }
            let is_unneeded = match verdict(&entry.kind, entry.age, record.as_ref()) {
                Verdict::Keep => false,
                Verdict::Remove => true,
                Verdict::RemoveWithThread => self.lost_its_thread(&known, record.as_ref()).await?,
            };
            if !is_unneeded {
                continue;
            }
            if let (Some(record), Some(user)) = (record, &known.user) {
                self.forget(user, &record.attachment.id).await?;
            }
            let folder = folder.clone();
            let gone = blocking(move || folder.remove_entry(&entry)).await;
            gone.map_err(Refusal::disk("removed"))?;
            removed += 1;
        }
        for record in known.records.into_values().filter(is_lost) {
            if let Some(user) = &known.user {
                self.forget(user, &record.attachment.id).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    async fn as_it_is_now(
        &self,
        user: Option<&str>,
        record: Option<StoredAttachment>,
    ) -> Result<Option<StoredAttachment>, Refusal> {
        let (Some(user), Some(record)) = (user, record) else {
            return Ok(None);
        };
        match self.0.store.attachment(user, &record.attachment.id).await {
            Ok(now) => Ok(Some(now)),
            Err(StoreError::AttachmentNotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn lost_its_thread(
        &self,
        known: &Known,
        record: Option<&StoredAttachment>,
    ) -> Result<bool, Refusal> {
        let thread = record.and_then(|record| record.attachment.thread_id.as_ref());
        let (Some(user), Some(thread)) = (&known.user, thread) else {
            return Ok(false);
        };
        match self.0.store.thread(user, thread).await {
            Ok(_) => Ok(false),
            Err(StoreError::ThreadNotFound) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

fn verdict(kind: &EntryKind, age: Duration, record: Option<&StoredAttachment>) -> Verdict {
    let age_max = match kind {
        // Nothing was written to it for as long as a whole upload may take.
        EntryKind::Part => UPLOAD_TIME_MAX,
        EntryKind::Wanted(_) => WANTED_AGE_MAX,
        EntryKind::Whole(_) => UNSENT_AGE_MAX,
    };
    if age <= age_max {
        return Verdict::Keep;
    }
    match record.and_then(|record| record.attachment.thread_id.as_ref()) {
        Some(_) => Verdict::RemoveWithThread,
        None => Verdict::Remove,
    }
}

/// Of a record without a file: no file will come.
fn is_lost(record: &StoredAttachment) -> bool {
    record.created_at.until(Timestamp::now()) > UNSENT_AGE_MAX
}
