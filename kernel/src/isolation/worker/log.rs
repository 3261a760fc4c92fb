//! The module's log lines, on their way to the kernel's log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use midplane_abi::level;
use tracing::Level;

use crate::isolation::lane::Lane;
use crate::isolation::wire::{Line, Notice};
use crate::telemetry::{ModuleLine, ModuleLog};

/// Lines are dropped while more than this waits for the kernel: a log never holds up what it tells of.
const WAITING_LEN_MAX: usize = 256 * 1024;

pub(super) struct LaneLog {
    pub(super) control: Arc<Lane>,
    pub(super) level: AtomicU32,
}

impl ModuleLog for LaneLog {
    fn line(&self, line: ModuleLine<'_>) {
        let level = match line.level {
            Level::TRACE => level::TRACE,
            Level::DEBUG => level::DEBUG,
            Level::INFO => level::INFO,
            Level::WARN => level::WARN,
            Level::ERROR => level::ERROR,
        };
        let line = Notice::Line(Line {
            level,
            request_id: line.request_id,
            session: line.session,
            target: line.target,
            message: line.message,
            fields: line.fields,
        });
        // Dropped lines are nobody's to count here.
        let _ = self.control.send_or_drop(&line, WAITING_LEN_MAX);
    }

    fn max_level(&self, _module: &str) -> u32 {
        self.level.load(Ordering::Relaxed)
    }
}
