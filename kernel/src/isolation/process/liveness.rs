//! Notices a module process that is held up: by a poll that does not return, or by anything else.
//!
//! Only while requests are under way in it, so that an idle process wakes nobody.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Process;
use crate::isolation::wire::ToModule;

/// How often a lane is asked within the time that it may be silent.
const ASKED_TIMES: u32 = 4;

impl Process {
    /// A request is under way.
    pub(super) fn note_busy(&self) {
        if !self.looked_at.swap(true, Ordering::SeqCst) {
            self.busy.notify_one();
        }
    }
}

/// Until the process ends; ends it when one of its lanes is silent for longer than `stuck_after` while it is busy.
pub(super) async fn watch(process: Arc<Process>, stuck_after: Duration) {
    let looking = async {
        loop {
            process.busy.notified().await;
            look(&process, stuck_after).await;
            process.looked_at.store(false, Ordering::SeqCst);
            // One that came in between did not tell.
            if process.lanes.iter().any(super::lanes::RequestLane::is_busy) {
                process.note_busy();
            }
        }
    };
    tokio::select! {
        () = looking => {}
        _ = process.ended() => {}
    }
}

/// Until no lane is busy.
async fn look(process: &Process, stuck_after: Duration) {
    let mut silent = vec![0; process.lanes.len()];
    loop {
        let mut any_busy = false;
        for (lane, silent) in process.lanes.iter().zip(&mut silent) {
            let heard = lane.heard.swap(false, Ordering::Relaxed);
            if heard || !lane.is_busy() {
                *silent = 0;
            }
            if *silent >= ASKED_TIMES && lane.lane.has_unread() {
                // It is the worker here that is held up, and does not read.
                *silent = 0;
            }
            if *silent >= ASKED_TIMES {
                process.kill(format!(
                    "it did not answer for {} s, and was killed",
                    stuck_after.as_secs_f32()
                ));
                return;
            }
            if lane.is_busy() {
                any_busy = true;
                *silent += 1;
                // One that is gone is noticed by its end.
                let _ = lane.lane.send(&ToModule::Ping);
            }
        }
        if !any_busy {
            return;
        }
        tokio::time::sleep(stuck_after / ASKED_TIMES).await;
    }
}
