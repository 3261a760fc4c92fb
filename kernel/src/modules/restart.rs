//! When a module whose process has ended is started again: pure, with the time as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// As many crashes within [`WINDOW`] put a module in quarantine: it will not get better by itself. The classic of init
/// systems (systemd's `StartLimitBurst`).
const CRASHES_MAX: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// The pause before the second restart; the first is at once, since most crashes are one request's fault. It doubles with each.
const PAUSE: Duration = Duration::from_millis(100);
/// Requests that wait for a restart wait about as long.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The crashes of one module, as far as they still count.
#[derive(Debug, Default)]
pub(crate) struct Restarts(VecDeque<Instant>);

/// What follows on a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    RestartAfter(Duration),
    /// Until somebody loads it anew.
    Quarantine,
}

impl Restarts {
    /// Counts a crash at `now`, and says what follows.
    pub(crate) fn crashed(&mut self, now: Instant) -> Verdict {
        self.0
            .retain(|crash| now.saturating_duration_since(*crash) < WINDOW);
        self.0.push_back(now);
        match self.0.len() {
            0 | 1 => Verdict::RestartAfter(Duration::ZERO),
            crashes if crashes >= CRASHES_MAX => Verdict::Quarantine,
            crashes => {
                let doublings = u32::try_from(crashes - 2).expect("below the maximum");
                Verdict::RestartAfter((PAUSE * 2_u32.pow(doublings)).min(PAUSE_MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_become_slower_and_end_in_quarantine() {
        use Verdict::{Quarantine, RestartAfter};
        let after = |ms| RestartAfter(Duration::from_millis(ms));
        for (crashes_at_s, expect) in [
            (&[0][..], vec![after(0)]),
            (&[0, 1], vec![after(0), after(100)]),
            (
                &[0, 1, 2, 3, 4],
                vec![after(0), after(100), after(200), after(400), Quarantine],
            ),
            // Calm for a minute: as if nothing had been.
            (&[0, 60], vec![after(0), after(0)]),
            (&[0, 59], vec![after(0), after(100)]),
            // One every 20 s never adds up to five.
            (
                &[0, 20, 40, 60, 80, 100],
                vec![
                    after(0),
                    after(100),
                    after(200),
                    after(200),
                    after(200),
                    after(200),
                ],
            ),
            // In quarantine it stays there, if it should crash again.
            (
                &[0, 0, 0, 0, 0, 0],
                vec![
                    after(0),
                    after(100),
                    after(200),
                    after(400),
                    Quarantine,
                    Quarantine,
                ],
            ),
        ] {
            let start = Instant::now();
            let mut restarts = Restarts::default();
            let verdicts: Vec<_> = crashes_at_s
                .iter()
                .map(|at| restarts.crashed(start + Duration::from_secs(*at)))
                .collect();
            assert_eq!(verdicts, expect, "{crashes_at_s:?}");
        }
    }
}
