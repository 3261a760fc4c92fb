//! What waits for a thread: bounded by count and by bytes, for each module and in all, so that whoever asks too much is told so.
//!
//! Modules take turns. One that asks a thousand things at once waits for them itself, and the next that asks one waits for one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::StoreError;

/// One end for whoever asks and whoever works.
pub(super) struct Queue<T> {
    shared: Arc<Shared<T>>,
}

/// What may wait, of all modules together. Of one, half of it: however much that asks, there is room for others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) len: usize,
    pub(super) bytes: usize,
}

/// What is taken at once, at most; a larger item is taken alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupSize {
    pub(super) len: usize,
    pub(super) bytes: usize,
    pub(super) operations: usize,
}

/// What an item comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) bytes: usize,
    pub(super) operations: usize,
}

struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
    room: Room,
}

struct Waiting<T> {
    /// Of each module that has something waiting.
    of_modules: HashMap<String, Lane<T>>,
    /// The same modules; the first has the next turn.
    turns: VecDeque<String>,
    len: usize,
    bytes: usize,
    closed: bool,
}

struct Lane<T> {
    items: VecDeque<(T, Load)>,
    bytes: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(room: Room) -> Queue<T> {
        Queue {
            shared: Arc::new(Shared {
                waiting: Mutex::new(Waiting {
                    of_modules: HashMap::new(),
                    turns: VecDeque::new(),
                    len: 0,
                    bytes: 0,
                    closed: false,
                }),
                changed: Condvar::new(),
                room,
            }),
        }
    }

    /// Puts `item` behind what waits of the module.
    pub(super) fn push(&self, module: &str, item: T, load: Load) -> Result<(), StoreError> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(StoreError::Closing);
        }
        waiting.check_room(module, load, self.shared.room)?;
        waiting.push(module, item, load);
        drop(waiting);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Waits for the next item; `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<T> {
        let one = GroupSize {
            len: 1,
            bytes: 0,
            operations: 0,
        };
        self.take_group(one).and_then(|mut group| group.pop())
    }

    /// Waits for an item, and takes what waits besides as well, a module's after another's.
    pub(super) fn take_group(&self, size: GroupSize) -> Option<Vec<T>> {
        let mut waiting = self.waiting();
        while waiting.len == 0 {
            if waiting.closed {
                return None;
            }
            let woken = self.shared.changed.wait(waiting);
            waiting = woken.expect("no code panics under this lock");
        }
        let (mut group, mut taken) = (Vec::new(), Load::default());
        while let Some(next) = waiting.next_load() {
            let full = group.len() >= size.len
                || taken.bytes + next.bytes > size.bytes
                || taken.operations + next.operations > size.operations;
            if full && !group.is_empty() {
                break;
            }
            taken.bytes += next.bytes;
            taken.operations += next.operations;
            group.extend(waiting.pop());
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

impl<T> Waiting<T> {
    fn check_room(&self, module: &str, load: Load, room: Room) -> Result<(), StoreError> {
        let lane = self.of_modules.get(module);
        let (len, bytes) = lane.map_or((0, 0), |lane| (lane.items.len(), lane.bytes));
        // Alone, anything fits.
        let of_module = len > 0 && (len >= room.len / 2 || bytes + load.bytes > room.bytes / 2);
        let of_all = self.len > 0 && (self.len >= room.len || self.bytes + load.bytes > room.bytes);
        match of_module || of_all {
            true => Err(StoreError::Overloaded),
            false => Ok(()),
        }
    }

    fn push(&mut self, module: &str, item: T, load: Load) {
        self.len += 1;
        self.bytes += load.bytes;
        if let Some(lane) = self.of_modules.get_mut(module) {
            lane.bytes += load.bytes;
            lane.items.push_back((item, load));
            return;
        }
        let lane = Lane {
            items: VecDeque::from([(item, load)]),
            bytes: load.bytes,
        };
        self.of_modules.insert(module.to_owned(), lane);
        self.turns.push_back(module.to_owned());
    }

    /// What the item comes to that is taken next.
    fn next_load(&self) -> Option<Load> {
        let lane = self.of_modules.get(self.turns.front()?)?;
        lane.items.front().map(|(_, load)| *load)
    }

    fn pop(&mut self) -> Option<T> {
        let module = self.turns.pop_front()?;
        let lane = self.of_modules.get_mut(&module)?;
        let (item, load) = lane.items.pop_front()?;
        self.len -= 1;
        self.bytes -= load.bytes;
        lane.bytes -= load.bytes;
        if lane.items.is_empty() {
            self.of_modules.remove(&module);
        } else {
            self.turns.push_back(module);
        }
        Some(item)
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

    fn queue<T>(len: usize, bytes: usize) -> Queue<T> {
        Queue::new(Room { len, bytes })
    }

    fn bytes(bytes: usize) -> Load {
        Load {
            bytes,
            operations: 1,
        }
    }

    fn group(len: usize, bytes: usize, operations: usize) -> GroupSize {
        GroupSize {
            len,
            bytes,
            operations,
        }
    }

    #[test]
    fn what_waits_is_taken_in_order_and_in_groups() {
        let queue = queue(20, 200);
        for (item, len) in [('a', 10), ('b', 20), ('c', 30), ('d', 5)] {
            queue.push("m", item, bytes(len)).unwrap();
        }
        assert_eq!(queue.take_group(group(10, 30, 9)), Some(vec!['a', 'b']));
        assert_eq!(queue.take_group(group(1, 100, 9)), Some(vec!['c']));
        assert_eq!(queue.take(), Some('d'));
        // One that is larger than a group may be is a group of its own.
        queue.push("m", 'e', bytes(90)).unwrap();
        queue.push("m", 'f', bytes(1)).unwrap();
        assert_eq!(queue.take_group(group(10, 30, 9)), Some(vec!['e']));
        assert_eq!(queue.take_group(group(10, 30, 9)), Some(vec!['f']));
        // What takes long is a group of its own, too.
        let long = Load {
            bytes: 1,
            operations: 9,
        };
        for (item, load) in [('g', bytes(1)), ('h', long), ('i', bytes(1))] {
            queue.push("m", item, load).unwrap();
        }
        for alone in ['g', 'h', 'i'] {
            assert_eq!(queue.take_group(group(10, 30, 9)), Some(vec![alone]));
        }
    }

    #[test]
    fn modules_take_turns_however_much_one_of_them_asks() {
        let queue = queue(20, 200);
        for item in ["a1", "a2", "a3", "a4"] {
            queue.push("a", item, bytes(1)).unwrap();
        }
        queue.push("b", "b1", bytes(1)).unwrap();
        queue.push("c", "c1", bytes(1)).unwrap();
        assert_eq!(queue.take(), Some("a1"));
        queue.push("b", "b2", bytes(1)).unwrap();
        let group = queue.take_group(group(20, 200, 20));
        assert_eq!(group, Some(vec!["b1", "c1", "a2", "b2", "a3", "a4"]));
        // Who has nothing waiting is not remembered.
        let waiting = queue.waiting();
        assert!(waiting.of_modules.is_empty() && waiting.turns.is_empty());
        assert_eq!((waiting.len, waiting.bytes), (0, 0));
    }

    #[test]
    fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
        let queue = queue(4, 200);
        queue.push("m", 'a', bytes(60)).unwrap();
        assert_eq!(queue.push("m", 'b', bytes(41)), Err(StoreError::Overloaded));
        queue.push("m", 'b', bytes(40)).unwrap();
        assert_eq!(queue.push("m", 'c', bytes(0)), Err(StoreError::Overloaded));
        // Half of it is there for others, and no more than all.
        queue.push("n", 'x', bytes(50)).unwrap();
        assert_eq!(queue.push("o", 'y', bytes(51)), Err(StoreError::Overloaded));
        queue.push("o", 'y', bytes(50)).unwrap();
        assert_eq!(queue.push("p", 'z', bytes(0)), Err(StoreError::Overloaded));
        assert_eq!(queue.take(), Some('a'));
        queue.push("m", 'c', bytes(60)).unwrap();
        let rest = queue.take_group(group(10, 300, 10));
        assert_eq!(rest, Some(vec!['x', 'y', 'b', 'c']));
        // Alone, anything fits.
        queue.push("m", 'd', bytes(1_000)).unwrap();
    }

    #[test]
    fn a_closed_queue_is_emptied_and_ends() {
        let closed = queue(2, 100);
        closed.push("m", 'a', bytes(0)).unwrap();
        closed.close();
        assert_eq!(closed.push("m", 'b', bytes(0)), Err(StoreError::Closing));
        assert_eq!(closed.take(), Some('a'));
        assert_eq!(closed.take(), None);
        let waiting: Queue<char> = queue(2, 100);
        let taker = std::thread::spawn({
            let waiting = waiting.clone();
            move || waiting.take()
        });
        waiting.close();
        assert_eq!(taker.join().unwrap(), None);
    }
}
