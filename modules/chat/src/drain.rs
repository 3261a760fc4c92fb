//! When this generation is replaced or the kernel ends: how long what streams may go on.

use std::time::{Duration, Instant};

use midplane_sdk::Draining;

/// What streams ends so long before the kernel would cut it, without a word that a client would know: time for what was said to be
/// kept, and for the last event, on a busy machine. Until then nothing is interrupted: a reload leaves answers whole.
const LAST_WORD: Duration = Duration::from_secs(5);
/// The last word has no more than this part of a short drain.
const LAST_WORD_PART: u32 = 4;

/// Resolves when the generation drains and what streams has had its grace.
pub(crate) async fn over(draining: Draining) {
    draining.wait().await;
    tokio::time::sleep(grace(draining.deadline())).await;
}

/// What is left of the drain before the last word; no deadline is none that a stream could reach.
fn grace(deadline: Option<Instant>) -> Duration {
    let left = deadline.map_or(Duration::MAX, |end| {
        end.saturating_duration_since(Instant::now())
    });
    left - LAST_WORD.min(left / LAST_WORD_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_has_its_time_and_no_more() {
        for (left, expect) in [(600, 595), (30, 25), (20, 15), (4, 3), (0, 0)] {
            let deadline = Instant::now() + Duration::from_secs(left);
            let grace = grace(Some(deadline));
            let expect = Duration::from_secs(expect);
            assert!(
                grace <= expect && expect - grace < Duration::from_secs(1),
                "{left} s: {grace:?}"
            );
        }
        assert!(grace(None) > Duration::from_secs(3600));
    }
}
