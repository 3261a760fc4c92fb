//! What looks at the beacons add up to: how long each worker has been inside one call, and what follows from it.
//!
//! Pure: time comes in as an argument.

use std::time::Duration;

use midplane_abi::Request;

use super::beacon::Reading;

/// One worker, as it was at the last look.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    crossings: u64,
    inside: Option<Request>,
    held: Duration,
    slow: bool,
    told: bool,
}

/// How long a worker may be inside one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) quarantine_after: Duration,
    pub(crate) stuck_after: Duration,
}

/// What a look has found of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is idle, or gets on with its work.
    Moving,
    /// It is where it was.
    Still,
    /// It has been inside one call for as long as `[limits] quarantine_after`.
    Slow(Request),
    /// It has been inside one call for too long now.
    Stuck(Request),
    /// It came back after all.
    Freed,
}

/// What follows for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Well,
    /// Half of the workers or more are stuck.
    Degraded,
    /// One is left at most, and it is a matter of time.
    Lost,
}

impl Sight {
    /// Takes a look, `elapsed` after the last one.
    pub(super) fn look(&mut self, reading: Reading, elapsed: Duration, limits: Limits) -> Change {
        if reading.crossings != self.crossings || reading.inside.is_none() {
            let moved = reading.crossings != self.crossings;
            let told = self.told;
            *self = Sight {
                crossings: reading.crossings,
                inside: reading.inside,
                held: Duration::ZERO,
                slow: false,
                told: false,
            };
            return match (told, moved) {
                (true, _) => Change::Freed,
                (false, true) => Change::Moving,
                (false, false) => Change::Still,
            };
        }
        self.held += elapsed;
        match self.inside {
            Some(request) if self.held >= limits.stuck_after && !self.told => {
                self.told = true;
                Change::Stuck(request)
            }
            Some(request) if self.held >= limits.quarantine_after && !self.slow => {
                self.slow = true;
                Change::Slow(request)
            }
            _ => Change::Still,
        }
    }

    pub(super) fn is_inside(&self) -> bool {
        self.inside.is_some()
    }
}

/// What so many stuck workers of so many mean.
pub(crate) fn verdict(stuck: usize, workers: usize) -> Verdict {
    // A sole worker is all but none of them.
    if stuck >= workers.saturating_sub(1).max(1) {
        Verdict::Lost
    } else if 2 * stuck >= workers {
        Verdict::Degraded
    } else {
        Verdict::Well
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(2);
    const LIMITS: Limits = Limits {
        quarantine_after: Duration::from_secs(1),
        stuck_after: Duration::from_secs(6),
    };

    fn reading(crossings: u64) -> Reading {
        Reading {
            crossings,
            inside: (crossings % 2 == 1).then_some(Request(crossings)),
        }
    }

    #[test]
    fn a_count_that_does_not_move_is_a_worker_that_is_slow_and_then_stuck() {
        use Change::{Freed, Moving, Still};
        let slow = |crossings| Change::Slow(Request(crossings));
        let stuck = |crossings| Change::Stuck(Request(crossings));
        for (readings, expect) in [
            (&[0, 0, 0, 0][..], vec![Still, Still, Still, Still]),
            (&[2, 2, 2, 2], vec![Moving, Still, Still, Still]),
            (
                &[1, 1, 1, 1, 1],
                vec![Moving, slow(1), Still, stuck(1), Still],
            ),
            (
                &[1, 1, 1, 3, 3, 3, 3],
                vec![Moving, slow(1), Still, Moving, slow(3), Still, stuck(3)],
            ),
            (
                &[1, 1, 1, 2, 2],
                vec![Moving, slow(1), Still, Moving, Still],
            ),
            (
                &[1, 1, 1, 1, 2, 2],
                vec![Moving, slow(1), Still, stuck(1), Freed, Still],
            ),
            (
                &[1, 1, 1, 1, 3, 3, 3, 3],
                vec![
                    Moving,
                    slow(1),
                    Still,
                    stuck(1),
                    Freed,
                    slow(3),
                    Still,
                    stuck(3),
                ],
            ),
        ] {
            let mut sight = Sight::default();
            let found: Vec<_> = readings
                .iter()
                .map(|&crossings| sight.look(reading(crossings), TICK, LIMITS))
                .collect();
            assert_eq!(found, expect, "{readings:?}");
        }
    }

    #[test]
    fn half_is_degraded_and_all_but_one_is_lost() {
        use Verdict::{Degraded, Lost, Well};
        for (workers, expect) in [
            (1, &[Well, Lost][..]),
            (2, &[Well, Lost, Lost]),
            (3, &[Well, Well, Lost, Lost]),
            (4, &[Well, Well, Degraded, Lost, Lost]),
            (5, &[Well, Well, Well, Degraded, Lost, Lost]),
            (6, &[Well, Well, Well, Degraded, Degraded, Lost, Lost]),
        ] {
            let found: Vec<_> = (0..=workers).map(|stuck| verdict(stuck, workers)).collect();
            assert_eq!(found, expect, "{workers}");
        }
    }
}
