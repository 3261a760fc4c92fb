//! Conversations in memory: they live as long as this generation of the module.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::{self, FutureExt};
use serde::Serialize;

use super::{Answer, Store, StoreError};
use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::Item;
use crate::protocol::page::{Order, Page, Scan};
use crate::protocol::request::FeedbackKind;
use crate::protocol::thread::ThreadMetadata;

/// More than a person starts between two restarts of an editor.
const THREADS_PER_USER_MAX: usize = 1_000;
/// Far over what a model reads of one conversation.
const ITEMS_PER_THREAD_MAX: usize = 10_000;
/// Of all threads and items as JSON, since the kernel and every other module share the process's memory.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// When something was written, in this store's count.
type Position = u64;
type ThreadKey = (Arc<str>, Position);
type ItemKey = (Position, Position);

#[derive(Default)]
pub(crate) struct Memory(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    threads: BTreeMap<ThreadKey, ThreadMetadata>,
    thread_positions: HashMap<ThreadId, ThreadKey>,
    items: BTreeMap<ItemKey, Item>,
    item_positions: HashMap<(Position, ItemId), Position>,
    feedback: BTreeMap<ItemKey, FeedbackKind>,
    written: Position,
    bytes: usize,
}

impl Memory {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("no code panics under this lock")
    }

    fn answer<'a, T: Send + 'a>(
        &'a self,
        act: impl FnOnce(&mut Tables) -> Result<T, StoreError>,
    ) -> Answer<'a, T> {
        let answer = act(&mut self.tables());
        future::ready(answer).boxed()
    }
}

impl Store for Memory {
    fn add_thread<'a>(&'a self, user: &'a str, thread: ThreadMetadata) -> Answer<'a, ()> {
        self.answer(|tables| tables.add_thread(user, thread))
    }

    fn thread<'a>(&'a self, user: &'a str, thread: &'a ThreadId) -> Answer<'a, ThreadMetadata> {
        self.answer(|tables| Ok(tables.thread(user, thread)?.1.clone()))
    }

    fn threads<'a>(
        &'a self,
        user: &'a str,
        scan: Scan<ThreadId>,
    ) -> Answer<'a, Page<ThreadMetadata>> {
        self.answer(|tables| tables.threads(user, scan))
    }

    fn set_title<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        title: String,
    ) -> Answer<'a, ThreadMetadata> {
        self.answer(|tables| tables.set_title(user, thread, title))
    }

    fn delete_thread<'a>(&'a self, user: &'a str, thread: &'a ThreadId) -> Answer<'a, ()> {
        self.answer(|tables| tables.delete_thread(user, thread))
    }

    fn add_item<'a>(&'a self, user: &'a str, item: Item) -> Answer<'a, ()> {
        self.answer(|tables| tables.add_item(user, item))
    }

    fn item<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, Item> {
        self.answer(|tables| {
            let key = tables.item_key(user, thread, item)?;
            Ok(tables.items[&key].clone())
        })
    }

    fn items<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        scan: Scan<ItemId>,
    ) -> Answer<'a, Page<Item>> {
        self.answer(|tables| tables.items(user, thread, scan))
    }

    fn delete_items_after<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, ()> {
        self.answer(|tables| {
            let (thread, position) = tables.item_key(user, thread, item)?;
            tables.delete_items((
                Bound::Excluded((thread, position)),
                Bound::Included((thread, Position::MAX)),
            ));
            Ok(())
        })
    }

    fn add_feedback<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        items: &'a [ItemId],
        kind: FeedbackKind,
    ) -> Answer<'a, ()> {
        self.answer(|tables| {
            let keys: Vec<ItemKey> = items
                .iter()
                .map(|item| tables.item_key(user, thread, item))
                .collect::<Result<_, _>>()?;
            tables
                .feedback
                .extend(keys.into_iter().map(|key| (key, kind)));
            Ok(())
        })
    }
}

impl Tables {
    fn add_thread(&mut self, user: &str, thread: ThreadMetadata) -> Result<(), StoreError> {
        let user: Arc<str> = user.into();
        let of_user = (user.clone(), Position::MIN)..=(user.clone(), Position::MAX);
        if self.threads.range(of_user).count() >= THREADS_PER_USER_MAX {
            return Err(StoreError::Full {
                what: "threads of this user",
                max: THREADS_PER_USER_MAX,
            });
        }
        self.reserve(size(&thread))?;
        let key = (user, self.next_position());
        self.thread_positions.insert(thread.id.clone(), key.clone());
        self.threads.insert(key, thread);
        Ok(())
    }

    fn thread(
        &self,
        user: &str,
        thread: &ThreadId,
    ) -> Result<(&ThreadKey, &ThreadMetadata), StoreError> {
        let key = self
            .thread_positions
            .get(thread)
            .filter(|(owner, _)| **owner == *user);
        let key = key.ok_or(StoreError::ThreadNotFound)?;
        Ok((key, &self.threads[key]))
    }

    fn threads(
        &self,
        user: &str,
        scan: Scan<ThreadId>,
    ) -> Result<Page<ThreadMetadata>, StoreError> {
        let after = match &scan.after {
            Some(id) => Some(
                self.thread(user, id)
                    .map_err(|_| StoreError::UnknownCursor)?
                    .0
                    .1,
            ),
            None => None,
        };
        let user: Arc<str> = user.into();
        let (from, to) = bounds(scan.order, after);
        let range = self.threads.range((
            from.map(|at| (user.clone(), at)),
            to.map(|at| (user.clone(), at)),
        ));
        let found = take(range.map(|(_, thread)| thread), scan.order, scan.limit);
        Ok(Page::of_scan(found, scan.limit, |thread| {
            thread.id.to_string()
        }))
    }

    fn set_title(
        &mut self,
        user: &str,
        thread: &ThreadId,
        title: String,
    ) -> Result<ThreadMetadata, StoreError> {
        let (key, before) = self.thread(user, thread)?;
        let (key, mut changed) = (key.clone(), before.clone());
        self.bytes -= size(&changed);
        let before = changed.title.replace(title);
        if let Err(full) = self.reserve(size(&changed)) {
            changed.title = before;
            self.bytes += size(&changed);
            return Err(full);
        }
        self.threads.insert(key, changed.clone());
        Ok(changed)
    }

    fn delete_thread(&mut self, user: &str, thread: &ThreadId) -> Result<(), StoreError> {
        let key = self.thread(user, thread)?.0.clone();
        self.delete_items((
            Bound::Included((key.1, Position::MIN)),
            Bound::Included((key.1, Position::MAX)),
        ));
        self.thread_positions.remove(thread);
        if let Some(metadata) = self.threads.remove(&key) {
            self.bytes -= size(&metadata);
        }
        Ok(())
    }

    fn add_item(&mut self, user: &str, item: Item) -> Result<(), StoreError> {
        let (_, thread) = *self.thread(user, &item.thread_id)?.0;
        if self.item_positions.contains_key(&(thread, item.id.clone())) {
            return Ok(());
        }
        if self
            .items
            .range((thread, Position::MIN)..=(thread, Position::MAX))
            .count()
            >= ITEMS_PER_THREAD_MAX
        {
            return Err(StoreError::Full {
                what: "items of this thread",
                max: ITEMS_PER_THREAD_MAX,
            });
        }
        self.reserve(size(&item))?;
        let position = self.next_position();
        self.item_positions
            .insert((thread, item.id.clone()), position);
        self.items.insert((thread, position), item);
        Ok(())
    }

    fn item_key(
        &self,
        user: &str,
        thread: &ThreadId,
        item: &ItemId,
    ) -> Result<ItemKey, StoreError> {
        let (_, thread) = *self.thread(user, thread)?.0;
        let position = self
            .item_positions
            .get(&(thread, item.clone()))
            .ok_or(StoreError::ItemNotFound)?;
        Ok((thread, *position))
    }

    fn items(
        &self,
        user: &str,
        thread: &ThreadId,
        scan: Scan<ItemId>,
    ) -> Result<Page<Item>, StoreError> {
        let (_, position) = *self.thread(user, thread)?.0;
        let after = match &scan.after {
            Some(id) => Some(
                self.item_key(user, thread, id)
                    .map_err(|_| StoreError::UnknownCursor)?
                    .1,
            ),
            None => None,
        };
        let (from, to) = bounds(scan.order, after);
        let range = self
            .items
            .range((from.map(|at| (position, at)), to.map(|at| (position, at))));
        let found = take(range.map(|(_, item)| item), scan.order, scan.limit);
        Ok(Page::of_scan(found, scan.limit, |item| item.id.to_string()))
    }

    fn delete_items(&mut self, range: (Bound<ItemKey>, Bound<ItemKey>)) {
        let keys: Vec<ItemKey> = self.items.range(range).map(|(key, _)| *key).collect();
        for key in keys {
            self.feedback.remove(&key);
            if let Some(item) = self.items.remove(&key) {
                self.bytes -= size(&item);
                self.item_positions.remove(&(key.0, item.id));
            }
        }
    }

    fn next_position(&mut self) -> Position {
        self.written += 1;
        self.written
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), StoreError> {
        if self.bytes + bytes > BYTES_MAX {
            return Err(StoreError::Full {
                what: "bytes",
                max: BYTES_MAX,
            });
        }
        self.bytes += bytes;
        Ok(())
    }
}

/// The positions a scan reads: all of them, or those behind the cursor in the scan's order.
fn bounds(order: Order, after: Option<Position>) -> (Bound<Position>, Bound<Position>) {
    match (order, after) {
        (_, None) => (
            Bound::Included(Position::MIN),
            Bound::Included(Position::MAX),
        ),
        (Order::Asc, Some(at)) => (Bound::Excluded(at), Bound::Included(Position::MAX)),
        (Order::Desc, Some(at)) => (Bound::Included(Position::MIN), Bound::Excluded(at)),
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

#[cfg(test)]
mod tests;
