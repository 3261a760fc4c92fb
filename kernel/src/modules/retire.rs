//! How a generation that takes no more requests ends: drain, cut, retire.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::control::on_control_thread;
use super::generation::Generation;
use super::receipt::Requests;

/// How long `quiesce` and `fini` may take each before nobody waits for them any more.
const HOOK_DEADLINE: Duration = Duration::from_secs(10);
/// What a drain may take beyond its deadline, once what still ran was told to end: a poll that does not return holds it up.
const CUT_DEADLINE: Duration = Duration::from_secs(10);
/// Why retired code stays mapped in this version.
const RESIDENT_REASON: &str = "this version keeps retired code mapped until the kernel ends";

/// How a generation ended.
pub(super) struct Ended {
    pub(super) drain_ms: u64,
    pub(super) requests: Requests,
    pub(super) resident_reason: String,
}

/// Drains a generation that takes no more requests, and retires it.
pub(super) async fn end(old: &Arc<Generation>, under_way: u64, drain_timeout: Duration) -> Ended {
    let start = Instant::now();
    let quiescing = Arc::clone(old);
    let quiesced = match on_control_thread(format!("drain-{}", old.name), move || {
        quiescing.quiesce()
    }) {
        Ok(quiesced) => tokio::time::timeout(HOOK_DEADLINE, quiesced).await.is_ok(),
        Err(error) => {
            tracing::error!(module = %old.label, %error, "the module was not told that it drains");
            true
        }
    };
    let left = drain_timeout.saturating_sub(start.elapsed());
    if tokio::time::timeout(left, old.unpinned()).await.is_err() {
        tracing::warn!(module = %old.label, requests = old.in_flight(), "the drain took too long: what still ran was cut");
        old.cut.cancel();
        // What is stuck in a poll stays, and is told in the receipt.
        let _ = tokio::time::timeout(CUT_DEADLINE, old.unpinned()).await;
    }
    let drain_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let cancelled = old.stats.cut.load(Ordering::Relaxed);
    let requests = Requests {
        finished_on_old: under_way.saturating_sub(cancelled),
        cancelled,
    };
    let stuck = old.in_flight();
    let resident_reason = if stuck > 0 {
        format!("requests still in its code: {stuck}")
    } else if old.is_saving() {
        // Its code is on a stack, so that it may not be ended.
        "on_save has not returned".to_owned()
    } else if quiesced {
        let retiring = Arc::clone(old);
        match on_control_thread(format!("end-{}", old.name), move || retiring.retire()) {
            Err(error) => format!("the control thread cannot be started: {error}"),
            Ok(finished) => match tokio::time::timeout(HOOK_DEADLINE, finished).await {
                Ok(_) => RESIDENT_REASON.to_owned(),
                Err(_elapsed) => {
                    format!("fini did not return within {} s", HOOK_DEADLINE.as_secs())
                }
            },
        }
    } else {
        // As above.
        format!(
            "on_drain did not return within {} s",
            HOOK_DEADLINE.as_secs()
        )
    };
    Ended {
        drain_ms,
        requests,
        resident_reason,
    }
}
