//! What waits for a thread: bounded by count and by bytes, so that whoever asks too much is told so.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::StoreError;

/// One end for whoever asks and whoever works.
pub(super) struct Queue<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
    len_max: usize,
    bytes_max: usize,
}

struct Waiting<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(len_max: usize, bytes_max: usize) -> Queue<T> {
        Queue {
            shared: Arc::new(Shared {
                waiting: Mutex::new(Waiting {
                    items: VecDeque::new(),
                    bytes: 0,
                    closed: false,
                }),
                changed: Condvar::new(),
                len_max,
                bytes_max,
            }),
        }
    }

    /// Puts `item` behind what waits.
    pub(super) fn push(&self, item: T, bytes: usize) -> Result<(), StoreError> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(StoreError::Closing);
        }
        let full = waiting.items.len() >= self.shared.len_max
            || waiting.bytes + bytes > self.shared.bytes_max;
        if full && !waiting.items.is_empty() {
            return Err(StoreError::Overloaded);
        }
        waiting.bytes += bytes;
        waiting.items.push_back((item, bytes));
        drop(waiting);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Waits for the next item; `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<T> {
        self.take_group(1, 0).and_then(|mut group| group.pop())
    }

    /// Waits for an item, and takes what waits behind it as well, up to `len_max` items and about `bytes_max` bytes.
    pub(super) fn take_group(&self, len_max: usize, bytes_max: usize) -> Option<Vec<T>> {
        let mut waiting = self.waiting();
        while waiting.items.is_empty() {
            if waiting.closed {
                return None;
            }
            let woken = self.shared.changed.wait(waiting);
            waiting = woken.expect("no code panics under this lock");
        }
        let (mut group, mut taken) = (Vec::new(), 0);
        while let Some((_, bytes)) = waiting.items.front() {
            let full = group.len() >= len_max || taken + bytes > bytes_max;
            if full && !group.is_empty() {
                break;
            }
            let (item, bytes) = waiting.items.pop_front().expect("there is a first");
            taken += bytes;
            waiting.bytes -= bytes;
            group.push(item);
        }
        Some(group)
    }

    /// Refuses what comes from now on; what waits is still taken.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.shared.changed.notify_all();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        let waiting = self.shared.waiting.lock();
        waiting.expect("no code panics under this lock")
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue {
            shared: Arc::clone(&self.shared),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_taken_in_order_and_in_groups() {
        let queue = Queue::new(10, 100);
        for (item, bytes) in [('a', 10), ('b', 20), ('c', 30), ('d', 5)] {
            queue.push(item, bytes).unwrap();
        }
        assert_eq!(queue.take_group(10, 30), Some(vec!['a', 'b']));
        assert_eq!(queue.take_group(1, 100), Some(vec!['c']));
        assert_eq!(queue.take(), Some('d'));
        // One that is larger than a group may be is a group of its own.
        queue.push('e', 90).unwrap();
        queue.push('f', 1).unwrap();
        assert_eq!(queue.take_group(10, 30), Some(vec!['e']));
        assert_eq!(queue.take_group(10, 30), Some(vec!['f']));
    }

    #[test]
    fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
        let queue = Queue::new(2, 100);
        queue.push('a', 60).unwrap();
        assert_eq!(queue.push('b', 41), Err(StoreError::Overloaded));
        queue.push('b', 40).unwrap();
        assert_eq!(queue.push('c', 0), Err(StoreError::Overloaded));
        assert_eq!(queue.take(), Some('a'));
        queue.push('c', 60).unwrap();
        assert_eq!(queue.take_group(10, 200), Some(vec!['b', 'c']));
        // Alone, anything fits.
        queue.push('d', 1_000).unwrap();
    }

    #[test]
    fn a_closed_queue_is_emptied_and_ends() {
        let queue = Queue::new(2, 100);
        queue.push('a', 0).unwrap();
        queue.close();
        assert_eq!(queue.push('b', 0), Err(StoreError::Closing));
        assert_eq!(queue.take(), Some('a'));
        assert_eq!(queue.take(), None);
        let waiting: Queue<char> = Queue::new(2, 100);
        let taker = std::thread::spawn({
            let waiting = waiting.clone();
            move || waiting.take()
        });
        waiting.close();
        assert_eq!(taker.join().unwrap(), None);
    }
}
