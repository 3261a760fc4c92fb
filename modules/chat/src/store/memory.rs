//! Conversations in memory: they live as long as this generation of the module.

mod changed;
mod tables;

use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::{self, FutureExt};

use super::{
    Answer, AttachmentKey, Changes, Mark, Store, StoreError, StoredAttachment, ThreadChange,
};
use crate::protocol::id::{AttachmentId, ItemId, ThreadId};
use crate::protocol::item::Item;
use crate::protocol::page::{Page, Scan};
use crate::protocol::request::FeedbackKind;
use crate::protocol::thread::ThreadMetadata;
use changed::Changed;
use tables::Tables;

#[derive(Default)]
pub(crate) struct Memory {
    tables: Mutex<Tables>,
    changed: Changed,
}

impl Memory {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("no code panics under this lock")
    }

    fn answer<'a, T: Send + 'a>(
        &'a self,
        act: impl FnOnce(&mut Tables) -> Result<T, StoreError>,
    ) -> Answer<'a, T> {
        let answer = act(&mut self.tables());
        future::ready(answer).boxed()
    }

    /// As `answer`; listeners are told of the thread, under the lock, so that they are told in order.
    fn change<'a, T: Send + 'a>(
        &'a self,
        user: &str,
        thread: &ThreadId,
        act: impl FnOnce(&mut Tables) -> Result<T, StoreError>,
    ) -> Answer<'a, T> {
        let mut tables = self.tables();
        let answer = act(&mut tables);
        if answer.is_ok() {
            self.changed.note(user, thread, !tables.has(user, thread));
        }
        drop(tables);
        future::ready(answer).boxed()
    }
}

impl Store for Memory {
    fn add_thread<'a>(&'a self, user: &'a str, thread: ThreadMetadata) -> Answer<'a, ()> {
        let id = thread.id.clone();
        self.change(user, &id, |tables| tables.add_thread(user, thread))
    }

    fn thread<'a>(&'a self, user: &'a str, thread: &'a ThreadId) -> Answer<'a, ThreadMetadata> {
        self.answer(|tables| Ok(tables.thread(user, thread)?.metadata.clone()))
    }

    fn threads<'a>(
        &'a self,
        user: &'a str,
        scan: Scan<ThreadId>,
    ) -> Answer<'a, Page<ThreadMetadata>> {
        self.answer(|tables| tables.threads(user, scan))
    }

    fn update_thread<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        change: ThreadChange<'a>,
    ) -> Answer<'a, ThreadMetadata> {
        self.change(user, thread, |tables| {
            tables.update_thread(user, thread, change)
        })
    }

    fn delete_thread<'a>(&'a self, user: &'a str, thread: &'a ThreadId) -> Answer<'a, ()> {
        self.change(user, thread, |tables| tables.delete_thread(user, thread))
    }

    fn add_item<'a>(&'a self, user: &'a str, item: Item) -> Answer<'a, ()> {
        let thread = item.thread_id.clone();
        self.change(user, &thread, |tables| tables.add_item(user, item))
    }

    fn save_item<'a>(&'a self, user: &'a str, item: Item) -> Answer<'a, ()> {
        let thread = item.thread_id.clone();
        self.change(user, &thread, |tables| tables.save_item(user, item))
    }

    fn replace_item<'a>(&'a self, user: &'a str, before: &'a Item, now: Item) -> Answer<'a, ()> {
        self.change(user, &before.thread_id, |tables| {
            match tables.thread(user, &before.thread_id)?.item(&before.id)? {
                there if there == before => tables.save_item(user, now),
                _changed => Err(StoreError::ItemChanged),
            }
        })
    }

    fn item<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, Item> {
        self.answer(|tables| Ok(tables.thread(user, thread)?.item(item)?.clone()))
    }

    fn items<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        scan: Scan<ItemId>,
    ) -> Answer<'a, Page<Item>> {
        self.answer(|tables| tables.thread(user, thread)?.items(scan))
    }

    fn delete_item<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, ()> {
        self.change(user, thread, |tables| {
            tables.delete_item(user, thread, item)
        })
    }

    fn delete_items_after<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, ()> {
        self.change(user, thread, |tables| {
            tables.delete_items_after(user, thread, item)
        })
    }

    fn add_feedback<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        items: &'a [ItemId],
        kind: FeedbackKind,
    ) -> Answer<'a, ()> {
        self.answer(|tables| tables.thread_mut(user, thread)?.add_feedback(items, kind))
    }

    #[cfg(test)]
    fn feedback<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, Option<FeedbackKind>> {
        self.answer(|tables| tables.thread(user, thread)?.feedback(item))
    }

    fn save_attachment<'a>(
        &'a self,
        user: &'a str,
        attachment: StoredAttachment,
    ) -> Answer<'a, ()> {
        self.answer(|tables| {
            tables.save_attachment(key(user, &attachment.attachment.id), attachment)
        })
    }

    fn attachment<'a>(
        &'a self,
        user: &'a str,
        id: &'a AttachmentId,
    ) -> Answer<'a, StoredAttachment> {
        self.answer(|tables| tables.attachment(&key(user, id)).cloned())
    }

    fn delete_attachment<'a>(&'a self, user: &'a str, id: &'a AttachmentId) -> Answer<'a, ()> {
        self.answer(|tables| tables.delete_attachment(&key(user, id)))
    }

    fn attachments(
        &self,
        after: Option<AttachmentKey>,
        limit: usize,
    ) -> Answer<'_, Vec<(AttachmentKey, StoredAttachment)>> {
        self.answer(|tables| Ok(tables.attachments(after, limit)))
    }

    fn changes(&self, seen: Option<Mark>) -> Answer<'_, Changes> {
        self.changed.since(seen).map(Ok).boxed()
    }
}

fn key(user: &str, id: &AttachmentId) -> AttachmentKey {
    AttachmentKey {
        user: Arc::from(user),
        id: id.clone(),
    }
}

#[cfg(test)]
mod tests;
