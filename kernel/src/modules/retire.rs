//! How a generation that takes no more requests ends: drain, cut, retire, unload.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::control::on_control_thread;
use super::generation::Generation;
use super::instance::Retired;
use super::loader::{RetiredCode, StillMapped};
use super::receipt::Requests;
use crate::controls::Controls;

/// How long `quiesce`, `fini` and the library's own destructors may take each before nobody waits for them any more.
const HOOK_DEADLINE: Duration = Duration::from_secs(10);
/// What a drain may take beyond its deadline, once what still ran was told to end: a poll that does not return holds it up.
const CUT_DEADLINE: Duration = Duration::from_secs(10);
/// How long the workers may take to run what a module left on them: as long as a request that has the worker may.
const SETTLE_DEADLINE: Duration = Duration::from_secs(2);
/// How long threads may take to end that have been told to.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// How a generation ended.
pub(super) struct Ended {
    pub(super) drain_ms: u64,
    pub(super) requests: Requests,
    /// Its code has left the process, or why not.
    pub(super) unloaded: Result<(), String>,
}

/// How a generation's requests ended, and what is left of it to unload.
pub(super) struct Stopped {
    drain_ms: u64,
    requests: Requests,
    retired: Result<Retired, String>,
}

/// Drains a generation that takes no more requests, and ends it.
pub(super) async fn stop(
    old: &Arc<Generation>,
    under_way: u64,
    drain_timeout: Duration,
    unloading: &Arc<Unloading>,
) -> Stopped {
    let start = Instant::now();
    let drained = drain(old, drain_timeout).await;
    let drain_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let cancelled = old.stats.cut.load(Ordering::Relaxed);
    let stuck = if drained.unpinned {
        0
    } else {
        old.in_flight() as u64
    };
    let requests = Requests {
        finished_on_old: under_way.saturating_sub(cancelled + stuck),
        cancelled,
    };
    if !drained.unpinned {
        let (old, unloading) = (Arc::clone(old), Arc::clone(unloading));
        tokio::spawn(async move { end_late(&old, &unloading).await });
    }
    Stopped {
        drain_ms,
        requests,
        retired: retire(old, drained).await,
    }
}

/// Takes the code of one that was stopped out of the process.
pub(super) async fn unload(old: &Generation, stopped: Stopped, unloading: &Unloading) -> Ended {
    let unloaded = match stopped.retired {
        Ok(code) => unloading.unload(code).await,
        Err(reason) => Err(reason),
    };
    old.set_unloaded(unloaded.is_ok());
    Ended {
        drain_ms: stopped.drain_ms,
        requests: stopped.requests,
        unloaded,
    }
}

/// Ends a generation whose requests have outlasted the drain, once they are gone: on control threads, and not on the worker
/// that had the last of them.
async fn end_late(old: &Arc<Generation>, unloading: &Unloading) {
    old.unpinned().await;
    let drained = Drained {
        quiesced: true,
        unpinned: true,
    };
    if let Ok(code) = retire(old, drained).await
        && unloading.unload(code).await.is_ok()
    {
        old.set_unloaded(true);
        old.tell_gone();
    }
}

/// How a drain ended.
struct Drained {
    /// `quiesce` has returned.
    quiesced: bool,
    /// No request was under way any more at one moment. None can come after that; only its counter may still be touched, by a
    /// request that looked the generation up before it was replaced.
    unpinned: bool,
}

/// Lets what is under way finish, and cuts what does not.
async fn drain(old: &Arc<Generation>, drain_timeout: Duration) -> Drained {
    let start = Instant::now();
    let quiescing = Arc::clone(old);
    let quiesced = match on_control_thread(format!("drain-{}", old.name), move || {
        quiescing.quiesce(drain_timeout)
    }) {
        Ok(quiesced) => tokio::time::timeout(HOOK_DEADLINE, quiesced).await.is_ok(),
        Err(error) => {
            tracing::error!(module = %old.label, %error, "the module was not told that it drains");
            true
        }
    };
    old.quiesced.cancel();
    let left = drain_timeout.saturating_sub(start.elapsed());
    let mut unpinned = tokio::time::timeout(left, old.unpinned()).await.is_ok();
    if !unpinned {
        tracing::warn!(module = %old.label, requests = old.in_flight(), "the drain took too long: what still ran was cut");
        old.cut.cancel();
        // What is stuck in a poll stays, and is told in the receipt.
        unpinned = tokio::time::timeout(CUT_DEADLINE, old.unpinned())
            .await
            .is_ok();
    }
    Drained { quiesced, unpinned }
}

/// Ends the instance, unless its code is on a stack.
async fn retire(old: &Arc<Generation>, drained: Drained) -> Result<Retired, String> {
    let retired = retire_in_order(old, drained).await;
    match (retired, old.process()) {
        // It is gone with its process, whatever held it.
        (Err(reason), Some(process)) => {
            process.set_ending();
            process.kill(format!("{reason}: it was killed"));
            let _ = tokio::time::timeout(HOOK_DEADLINE, process.ended()).await;
            Ok(Retired::Process)
        }
        (retired, _) => retired,
    }
}

async fn retire_in_order(old: &Arc<Generation>, drained: Drained) -> Result<Retired, String> {
    let limit_s = HOOK_DEADLINE.as_secs();
    if !drained.unpinned {
        return Err(format!("requests still in its code: {}", old.in_flight()));
    }
    if old.is_saving() {
        return Err("on_save has not returned".to_owned());
    }
    if !drained.quiesced {
        return Err(format!("on_drain did not return within {limit_s} s"));
    }
    let retiring = Arc::clone(old);
    let retired = on_control_thread(format!("end-{}", old.name), move || retiring.retire())
        .map_err(|error| format!("the control thread cannot be started: {error}"))?;
    match tokio::time::timeout(HOOK_DEADLINE, retired).await {
        Ok(Ok(Some(retired))) => Ok(retired),
        Ok(_) => Err("its end failed: the kernel's log says why".to_owned()),
        Err(_elapsed) => Err(format!("on_shutdown did not return within {limit_s} s")),
    }
}

/// What is needed to take code out of the process.
pub(crate) struct Unloading {
    /// The threads that have called it; empty before they have started.
    pub(super) workers: OnceLock<Controls>,
    /// `[kernel] unload = "never"`
    pub(super) never: bool,
}

impl Unloading {
    /// Has every worker run what the code left on it, and unmaps it.
    async fn unload(&self, retired: Retired) -> Result<(), String> {
        let code = match retired {
            Retired::Code(code) => code,
            Retired::Process => return Ok(()),
        };
        if self.never {
            code.keep();
            return Err("`unload = \"never\"` in [kernel]".to_owned());
        }
        self.settle_and_close(code, CLOSE_PATIENCE).await
    }

    async fn settle_and_close(&self, code: RetiredCode, patience: Duration) -> Result<(), String> {
        if let Err(reason) = self.settle(code.settle()).await {
            code.keep();
            return Err(reason);
        }
        self.close(code, patience).await
    }

    async fn settle(&self, settle: impl Fn() + Send + Sync + 'static) -> Result<(), String> {
        let Some(workers) = self.workers.get() else {
            return Ok(());
        };
        match workers.on_all(Arc::new(settle), SETTLE_DEADLINE).await {
            0 => Ok(()),
            held => Err(format!("workers that a module holds: {held}")),
        }
    }

    async fn close(&self, code: RetiredCode, patience: Duration) -> Result<(), String> {
        let name = format!("unload-{}", code.name());
        let closed = on_control_thread(name, move || code.close(patience))
            .map_err(|error| format!("the control thread cannot be started: {error}"))?;
        match tokio::time::timeout(HOOK_DEADLINE, closed).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(StillMapped { code, reason }))) => {
                code.keep();
                Err(reason)
            }
            Ok(Err(_gone)) => Err("its end failed: the kernel's log says why".to_owned()),
            Err(_elapsed) => Err(format!(
                "its destructors did not return within {} s, or another library's constructors have not",
                HOOK_DEADLINE.as_secs()
            )),
        }
    }

    /// Tries again what was kept before; what has gone now.
    pub(super) async fn retry(&self) -> Vec<(String, u64)> {
        let mut gone = Vec::new();
        if self.never {
            return gone;
        }
        for code in RetiredCode::take_kept() {
            let (name, generation) = (code.name().to_owned(), code.generation());
            if code.is_held_for_good() {
                code.keep();
            } else if self.settle_and_close(code, Duration::ZERO).await.is_ok() {
                gone.push((name, generation));
            }
        }
        gone
    }
}
