//! When a file that changed may be looked into. Pure: time comes in as an argument.

use std::time::{Duration, Instant};

use crate::modules::trail::Mark;

/// How long a file must stay as it is. Linkers, compilers and `cp` write without pauses of this length.
pub(super) const QUIET: Duration = Duration::from_millis(100);
/// How often a file that is not whole is looked into again without being told of a change, at doubling intervals: 25 s in
/// all. What is written through a mapping is told of by nobody.
const RELOOKS_MAX: u32 = 8;

/// One watched file, as far as it has been seen and judged.
#[derive(Debug, Default)]
pub(super) struct Settle {
    /// The state that has been dealt with, well or not.
    judged: Option<Mark>,
    /// The newest state, while it is waited for or not whole.
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    mark: Mark,
    /// `None` when only another change brings it on.
    due: Option<Instant>,
    relooks: u32,
}

/// What to do about a file now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until something changes.
    Rest,
    /// Look again at this time.
    Wait(Instant),
    /// It has been quiet: look into it.
    Judge,
}

impl Settle {
    /// What to do about the state that the file is in `now`; `None` while there is no file.
    pub(super) fn step(&mut self, mark: Option<Mark>, now: Instant) -> Step {
        let Some(mark) = mark.filter(|mark| self.judged != Some(*mark)) else {
            self.seen = None;
            return Step::Rest;
        };
        match &self.seen {
            Some(seen) if seen.mark == mark => match seen.due {
                None => Step::Rest,
                Some(due) if due <= now => Step::Judge,
                Some(due) => Step::Wait(due),
            },
            _ => {
                let due = now + QUIET;
                self.seen = Some(Seen {
                    mark,
                    due: Some(due),
                    relooks: 0,
                });
                Step::Wait(due)
            }
        }
    }

    /// This state has been dealt with.
    pub(super) fn judged(&mut self, mark: Mark) {
        self.judged = Some(mark);
        self.seen = None;
    }

    /// The state is not whole; returns when to look into it again.
    pub(super) fn incomplete(&mut self, now: Instant) -> Option<Instant> {
        let seen = self.seen.as_mut()?;
        seen.due = (seen.relooks < RELOOKS_MAX).then(|| now + QUIET * 2_u32.pow(seen.relooks));
        seen.relooks += 1;
        seen.due
    }

    /// Whatever state the file is in, it is to be dealt with.
    pub(super) fn forget(&mut self) {
        *self = Settle::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::trail::Trail;

    /// Marks of as many different files.
    fn marks<const N: usize>() -> [Mark; N] {
        let directory = tempfile::tempdir().unwrap();
        std::array::from_fn(|n| {
            let path = directory.path().join(n.to_string());
            std::fs::write(&path, "x").unwrap();
            Trail::follow(&path.canonicalize().unwrap())
                .end
                .unwrap()
                .mark
        })
    }

    #[test]
    fn only_what_stays_as_it_is_gets_judged() {
        let [a, b, c] = marks();
        let start = Instant::now();
        let at = |quiets: u32| start + QUIET * quiets;
        let mut settle = Settle::default();
        for (mark, now, expect) in [
            (None, 0, Step::Rest),
            (Some(a), 1, Step::Wait(at(2))),
            (Some(a), 1, Step::Wait(at(2))),
            // another change, another wait
            (Some(b), 2, Step::Wait(at(3))),
            (Some(b), 3, Step::Judge),
            // not dealt with yet
            (Some(b), 4, Step::Judge),
            (None, 5, Step::Rest),
            (Some(b), 6, Step::Wait(at(7))),
        ] {
            assert_eq!(settle.step(mark, at(now)), expect, "{now}");
        }
        settle.judged(b);
        assert_eq!(settle.step(Some(b), at(99)), Step::Rest);
        assert_eq!(settle.step(Some(c), at(99)), Step::Wait(at(100)));
        assert_eq!(
            settle.step(Some(b), at(100)),
            Step::Rest,
            "back to what was judged"
        );
        assert_eq!(settle.step(Some(c), at(100)), Step::Wait(at(101)));
        settle.forget();
        assert_eq!(settle.step(Some(b), at(101)), Step::Wait(at(102)));
    }

    #[test]
    fn an_incomplete_file_is_looked_into_less_and_less_often_until_it_changes() {
        let [a, b] = marks();
        let mut now = Instant::now();
        let mut settle = Settle::default();
        settle.step(Some(a), now);
        let mut waits = Vec::new();
        now += QUIET;
        assert_eq!(settle.step(Some(a), now), Step::Judge);
        while let Some(due) = settle.incomplete(now) {
            assert_eq!(settle.step(Some(a), now), Step::Wait(due));
            waits.push(due - now);
            now = due;
            assert_eq!(settle.step(Some(a), now), Step::Judge);
        }
        assert!(
            waits.is_sorted_by(|one, next| *next == *one * 2),
            "{waits:?}"
        );
        assert_eq!(waits.len(), RELOOKS_MAX as usize);
        assert_eq!(settle.step(Some(a), now + QUIET * 1000), Step::Rest);
        assert_eq!(settle.step(Some(b), now), Step::Wait(now + QUIET));
        now += QUIET;
        assert_eq!(settle.step(Some(b), now), Step::Judge);
        assert!(settle.incomplete(now).is_some(), "a change starts anew");
    }
}
