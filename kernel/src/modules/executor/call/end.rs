//! What ends a call from outside: its session, or the generation's drain.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio_util::sync::CancellationToken;

use super::{Actor, Call};

/// Why a call ends from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    SessionRevoked,
    SessionExpired,
    Drained,
}

impl Call {
    /// What ends the call from outside.
    pub(in crate::modules::executor) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let end = self.end.get_or_insert_with(|| {
            Box::pin(ended(self.actor.clone(), self.generation.cut.clone()))
        });
        let end = ready!(end.as_mut().poll(cx));
        self.count_end(end);
        Poll::Ready(end)
    }

    /// What ends the call from outside, if it is there already: a body that always has more never waits for it.
    pub(in crate::modules::executor) fn end_now(&self) -> Option<End> {
        let end = match &self.actor {
            Some(actor) if actor.session.is_revoked() => End::SessionRevoked,
            Some(actor) if actor.stream_left().is_zero() => End::SessionExpired,
            _ if self.generation.cut.is_cancelled() => End::Drained,
            _ => return None,
        };
        self.count_end(end);
        Some(end)
    }

    fn count_end(&self, end: End) {
        if end == End::Drained {
            self.generation.stats.cut.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Resolves when the call must end although neither side wants it to.
async fn ended(actor: Option<Actor>, cut: CancellationToken) -> End {
    match actor {
        None => {
            cut.cancelled().await;
            End::Drained
        }
        // Every branch only waits, so that dropping the others loses nothing.
        Some(actor) => tokio::select! {
            () = actor.session.revoked() => End::SessionRevoked,
            () = tokio::time::sleep(actor.stream_left()) => End::SessionExpired,
            () = cut.cancelled() => End::Drained,
        },
    }
}
