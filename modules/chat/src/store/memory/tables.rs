//! The records of a store in memory, and how much of it they take.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use serde::Serialize;

use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::Item;
use crate::protocol::page::{Order, Page, Scan};
use crate::protocol::request::FeedbackKind;
use crate::protocol::thread::ThreadMetadata;
use crate::protocol::timestamp::Timestamp;
use crate::store::{AttachmentKey, StoreError, StoredAttachment, ThreadChange};

/// More than a person starts between two restarts of an editor.
pub(super) const THREADS_PER_USER_MAX: usize = 1_000;
/// Far over what a model reads of one conversation.
const ITEMS_PER_THREAD_MAX: usize = 10_000;
/// Of all records as JSON, since the kernel and every other module share the process's memory.
pub(super) const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where in its thread an item stands.
type Position = u64;

#[derive(Default)]
pub(super) struct Tables {
    users: HashMap<String, Threads>,
    attachments: BTreeMap<AttachmentKey, StoredAttachment>,
    pub(super) bytes: usize,
}

#[derive(Default)]
struct Threads {
    by_id: HashMap<ThreadId, Thread>,
    in_order: BTreeSet<(Timestamp, ThreadId)>,
}

pub(super) struct Thread {
    pub(super) metadata: ThreadMetadata,
    items: BTreeMap<Position, Item>,
    positions: HashMap<ItemId, Position>,
    feedback: HashMap<ItemId, FeedbackKind>,
    /// Of the next item.
    next: Position,
}

impl Tables {
    pub(super) fn has(&self, user: &str, thread: &ThreadId) -> bool {
        self.thread(user, thread).is_ok()
    }

    pub(super) fn thread(&self, user: &str, thread: &ThreadId) -> Result<&Thread, StoreError> {
        let of_user = self.users.get(user).ok_or(StoreError::ThreadNotFound)?;
        of_user.by_id.get(thread).ok_or(StoreError::ThreadNotFound)
    }

    pub(super) fn thread_mut(
        &mut self,
        user: &str,
        thread: &ThreadId,
    ) -> Result<&mut Thread, StoreError> {
        let of_user = self.users.get_mut(user).ok_or(StoreError::ThreadNotFound)?;
        of_user
            .by_id
            .get_mut(thread)
            .ok_or(StoreError::ThreadNotFound)
    }

    pub(super) fn add_thread(
        &mut self,
        user: &str,
        metadata: ThreadMetadata,
    ) -> Result<(), StoreError> {
        if self.has(user, &metadata.id) {
            return Ok(());
        }
        let of_user = self.users.get(user);
        if of_user.is_some_and(|of_user| of_user.by_id.len() >= THREADS_PER_USER_MAX) {
            return Err(StoreError::Full {
                what: "threads of this user",
                max: THREADS_PER_USER_MAX,
            });
        }
        self.exchange(0, size(&metadata))?;
        let of_user = self.users.entry(user.to_owned()).or_default();
        of_user
            .in_order
            .insert((metadata.created_at, metadata.id.clone()));
        let thread = Thread {
            items: BTreeMap::new(),
            positions: HashMap::new(),
            feedback: HashMap::new(),
            next: 0,
            metadata,
        };
        of_user.by_id.insert(thread.metadata.id.clone(), thread);
        Ok(())
    }

    pub(super) fn threads(
        &self,
        user: &str,
        scan: Scan<ThreadId>,
    ) -> Result<Page<ThreadMetadata>, StoreError> {
        let after = match scan.after {
            None => None,
            Some(id) => match self.thread(user, &id) {
                Ok(thread) => Some((thread.metadata.created_at, id)),
                Err(_) => return Err(StoreError::UnknownCursor),
            },
        };
        let Some(of_user) = self.users.get(user) else {
            return Ok(Page::empty());
        };
        let range = of_user.in_order.range(behind(scan.order, after));
        let found = take(
            range.map(|(_, id)| &of_user.by_id[id].metadata),
            scan.order,
            scan.limit,
        );
        Ok(Page::of_scan(found, scan.limit, |thread| {
            thread.id.to_string()
        }))
    }

    pub(super) fn update_thread(
        &mut self,
        user: &str,
        thread: &ThreadId,
        change: ThreadChange<'_>,
    ) -> Result<ThreadMetadata, StoreError> {
        let before = &self.thread(user, thread)?.metadata;
        let (id, created_at) = (before.id.clone(), before.created_at);
        let (mut after, taken) = (before.clone(), size(before));
        change(&mut after);
        (after.id, after.created_at) = (id, created_at);
        self.exchange(taken, size(&after))?;
        self.thread_mut(user, thread)?.metadata = after.clone();
        Ok(after)
    }

    pub(super) fn delete_thread(
        &mut self,
        user: &str,
        thread: &ThreadId,
    ) -> Result<(), StoreError> {
        let of_user = self.users.get_mut(user).ok_or(StoreError::ThreadNotFound)?;
        let deleted = of_user
            .by_id
            .remove(thread)
            .ok_or(StoreError::ThreadNotFound)?;
        of_user
            .in_order
            .remove(&(deleted.metadata.created_at, thread.clone()));
        if of_user.by_id.is_empty() {
            self.users.remove(user);
        }
        let items: usize = deleted.items.values().map(size).sum();
        self.bytes -= items + size(&deleted.metadata);
        Ok(())
    }

    pub(super) fn add_item(&mut self, user: &str, item: Item) -> Result<(), StoreError> {
        let thread = self.thread(user, &item.thread_id)?;
        match thread.positions.contains_key(&item.id) {
            true => Ok(()),
            false => self.save_item(user, item),
        }
    }

    pub(super) fn save_item(&mut self, user: &str, item: Item) -> Result<(), StoreError> {
        let thread = self.thread(user, &item.thread_id)?;
        let position = thread.positions.get(&item.id).copied();
        if position.is_none() && thread.items.len() >= ITEMS_PER_THREAD_MAX {
            return Err(StoreError::Full {
                what: "items of this thread",
                max: ITEMS_PER_THREAD_MAX,
            });
        }
        let taken = position.map_or(0, |position| size(&thread.items[&position]));
        self.exchange(taken, size(&item))?;
        let thread = self.thread_mut(user, &item.thread_id)?;
        let position = position.unwrap_or(thread.next);
        thread.next = thread.next.max(position + 1);
        thread.positions.insert(item.id.clone(), position);
        thread.items.insert(position, item);
        Ok(())
    }

    pub(super) fn delete_item(
        &mut self,
        user: &str,
        thread: &ThreadId,
        item: &ItemId,
    ) -> Result<(), StoreError> {
        let thread = self.thread_mut(user, thread)?;
        let position = thread.position(item)?;
        self.bytes -= thread.delete(position);
        Ok(())
    }

    pub(super) fn delete_items_after(
        &mut self,
        user: &str,
        thread: &ThreadId,
        item: &ItemId,
    ) -> Result<(), StoreError> {
        let thread = self.thread_mut(user, thread)?;
        let position = thread.position(item)?;
        let behind = thread.items.range(position + 1..);
        let behind: Vec<Position> = behind.map(|(position, _)| *position).collect();
        let freed: usize = behind.into_iter().map(|at| thread.delete(at)).sum();
        self.bytes -= freed;
        Ok(())
    }

    pub(super) fn save_attachment(
        &mut self,
        key: AttachmentKey,
        attachment: StoredAttachment,
    ) -> Result<(), StoreError> {
        let taken = self.attachments.get(&key).map_or(0, size);
        self.exchange(taken, size(&attachment))?;
        self.attachments.insert(key, attachment);
        Ok(())
    }

    pub(super) fn attachment(&self, key: &AttachmentKey) -> Result<&StoredAttachment, StoreError> {
        self.attachments
            .get(key)
            .ok_or(StoreError::AttachmentNotFound)
    }

    pub(super) fn delete_attachment(&mut self, key: &AttachmentKey) -> Result<(), StoreError> {
        let deleted = self.attachments.remove(key);
        self.bytes -= size(&deleted.ok_or(StoreError::AttachmentNotFound)?);
        Ok(())
    }

    pub(super) fn attachments(
        &self,
        after: Option<AttachmentKey>,
        limit: usize,
    ) -> Vec<(AttachmentKey, StoredAttachment)> {
        let behind = self.attachments.range(behind(Order::Asc, after));
        let behind = behind.map(|(key, attachment)| (key.clone(), attachment.clone()));
        behind.take(limit).collect()
    }

    /// Takes `wanted` bytes in place of those that were `taken`.
    fn exchange(&mut self, taken: usize, wanted: usize) -> Result<(), StoreError> {
        let bytes = self.bytes - taken + wanted;
        if bytes > BYTES_MAX && wanted > taken {
            return Err(StoreError::Full {
                what: "bytes",
                max: BYTES_MAX,
            });
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Thread {
    pub(super) fn item(&self, item: &ItemId) -> Result<&Item, StoreError> {
        Ok(&self.items[&self.position(item)?])
    }

    pub(super) fn items(&self, scan: Scan<ItemId>) -> Result<Page<Item>, StoreError> {
        let after = match &scan.after {
            None => None,
            Some(id) => Some(self.position(id).map_err(|_| StoreError::UnknownCursor)?),
        };
        let range = self.items.range(behind(scan.order, after));
        let found = take(range.map(|(_, item)| item), scan.order, scan.limit);
        Ok(Page::of_scan(found, scan.limit, |item| item.id.to_string()))
    }

    pub(super) fn add_feedback(
        &mut self,
        items: &[ItemId],
        kind: FeedbackKind,
    ) -> Result<(), StoreError> {
        for item in items {
            self.position(item)?;
        }
        self.feedback
            .extend(items.iter().map(|item| (item.clone(), kind)));
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn feedback(&self, item: &ItemId) -> Result<Option<FeedbackKind>, StoreError> {
        self.position(item)?;
        Ok(self.feedback.get(item).copied())
    }

    fn position(&self, item: &ItemId) -> Result<Position, StoreError> {
        let position = self.positions.get(item);
        position.copied().ok_or(StoreError::ItemNotFound)
    }

    /// Answers how many bytes this frees.
    fn delete(&mut self, position: Position) -> usize {
        let Some(item) = self.items.remove(&position) else {
            return 0;
        };
        self.positions.remove(&item.id);
        self.feedback.remove(&item.id);
        size(&item)
    }
}

/// The keys a scan reads: all of them, or those behind the cursor in the scan's order.
fn behind<K>(order: Order, after: Option<K>) -> (Bound<K>, Bound<K>) {
    match (order, after) {
        (_, None) => (Bound::Unbounded, Bound::Unbounded),
        (Order::Asc, Some(after)) => (Bound::Excluded(after), Bound::Unbounded),
        (Order::Desc, Some(after)) => (Bound::Unbounded, Bound::Excluded(after)),
    }
}

/// One record more than asked for, which tells whether more follows.
fn take<'a, T: Clone + 'a>(
    range: impl DoubleEndedIterator<Item = &'a T>,
    order: Order,
    limit: usize,
) -> Vec<T> {
    match order {
        Order::Asc => range.take(limit + 1).cloned().collect(),
        Order::Desc => range.rev().take(limit + 1).cloned().collect(),
    }
}

fn size(record: &impl Serialize) -> usize {
    serde_json::to_vec(record).map_or(0, |json| json.len())
}
