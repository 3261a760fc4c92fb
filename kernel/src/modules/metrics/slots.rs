//! Handles that modules have of series: a slot, and a number that is never used again. Finding one takes no lock, and what was
//! found lives as long as it is held: what comes too late counts for nobody, and never for another.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;

use super::series::Series;

/// Bits of a handle that say which slot; the others say when.
const SLOT_BITS: u32 = 16;
/// For all modules together: eight hundred bytes each with labels of a usual length.
const SLOTS_MAX: usize = 1 << SLOT_BITS;
const PAGE_LEN: usize = 1024;

type Page = Box<[ArcSwapOption<Held>]>;

struct Held {
    handle: u64,
    series: Arc<Series>,
}

static PAGES: [OnceLock<Page>; SLOTS_MAX / PAGE_LEN] = [const { OnceLock::new() }; _];
static FREE: Mutex<Free> = Mutex::new(Free {
    slots: Vec::new(),
    fresh: 0,
    next: 1,
});

struct Free {
    /// Used before.
    slots: Vec<usize>,
    /// The first that was not.
    fresh: usize,
    next: u64,
}

/// A series' handle, as long as this is there.
pub(super) struct Handle(u64);

impl Handle {
    /// `None`: there is no slot left.
    pub(super) fn new(series: &Arc<Series>) -> Option<Handle> {
        let handle = {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = match free.slots.pop() {
                Some(slot) => slot,
                None if free.fresh < SLOTS_MAX => {
                    free.fresh += 1;
                    free.fresh - 1
                }
                None => return None,
            };
            free.next += 1;
            (free.next << SLOT_BITS) | slot as u64
        };
        let held = Held {
            handle,
            series: Arc::clone(series),
        };
        slot(handle).store(Some(Arc::new(held)));
        Some(Handle(handle))
    }

    pub(super) fn number(&self) -> u64 {
        self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        slot(self.0).store(None);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.slots.push(slot_number(self.0));
    }
}

/// The series of this handle, if it is there: `act` is done with it.
pub(crate) fn find<T>(handle: u64, act: impl FnOnce(&Series) -> T) -> Option<T> {
    let number = slot_number(handle);
    let page = PAGES[number / PAGE_LEN].get()?;
    let held = page[number % PAGE_LEN].load();
    let held = held.as_ref().filter(|held| held.handle == handle)?;
    Some(act(&held.series))
}

fn slot(handle: u64) -> &'static ArcSwapOption<Held> {
    let number = slot_number(handle);
    let page = PAGES[number / PAGE_LEN]
        .get_or_init(|| (0..PAGE_LEN).map(|_| ArcSwapOption::empty()).collect());
    &page[number % PAGE_LEN]
}

fn slot_number(handle: u64) -> usize {
    handle as usize & (SLOTS_MAX - 1)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::super::series::Value;
    use super::*;

    fn counter() -> Arc<Series> {
        Arc::new(Series::new(Value::Count(AtomicU64::new(0)), None))
    }

    #[test]
    fn a_handle_finds_its_series_until_it_is_dropped() {
        let (one, other) = (counter(), counter());
        let handle = Handle::new(&one).unwrap();
        let number = handle.number();
        assert_eq!(
            find(number, |series| std::ptr::eq(series, &*one)),
            Some(true)
        );
        drop(handle);
        assert_eq!(find(number, |_| ()), None);
        // Whoever has the slot next has another number.
        let next = Handle::new(&other).unwrap();
        assert_ne!(next.number(), number);
        assert_eq!(find(number, |_| ()), None);
    }

    #[test]
    fn what_was_never_given_is_nothing() {
        for handle in [0, 1, u64::MAX, SLOTS_MAX as u64, 1 << 40] {
            assert_eq!(find(handle, |_| ()), None);
        }
    }
}
