//! What a host hears without asking: events, and lines of the log.

use super::frame::Frame;
use super::message;
use super::methods::{Capabilities, EVENT, LOG, LogLevel};
use crate::events::Listener;
use crate::kernel::Kernel;
use crate::telemetry::LogListener;

/// Nothing, until the host has said what it wants.
#[derive(Default)]
pub(super) struct Listening {
    events: Option<Listener>,
    log: Option<(LogListener, LogLevel)>,
}

impl Listening {
    pub(super) fn to(kernel: &Kernel, wanted: &Capabilities) -> Listening {
        Listening {
            events: wanted.events.then(|| kernel.events.listen()),
            log: wanted.log.map(|level| (kernel.log.listen(), level)),
        }
    }

    /// The next of either; never, where nothing is wanted. Cancel-safe. What a slow host misses of events it is told; lines
    /// of the log are on standard error, too.
    pub(super) async fn next(&mut self) -> Frame {
        let Listening { events, log } = self;
        tokio::select! {
            frame = next_event(events) => frame,
            frame = next_line(log) => frame,
        }
    }
}

async fn next_event(events: &mut Option<Listener>) -> Frame {
    if let Some(listener) = events {
        if let Some(event) = listener.next().await {
            return message::notification(EVENT, &event);
        }
        *events = None;
    }
    std::future::pending().await
}

async fn next_line(log: &mut Option<(LogListener, LogLevel)>) -> Frame {
    if let Some((listener, wanted)) = log {
        while let Some(line) = listener.next().await {
            if wanted.takes(line.level) {
                return message::notification(LOG, &line.json);
            }
        }
        *log = None;
    }
    std::future::pending().await
}
