//! What a module asked for while it was polled: calls to other modules, and its session's secret anew.

use std::sync::Arc;
use std::task::{Context, Waker};

use super::Call;
use crate::modules::calls::MadeIn;
use crate::modules::exchange::{self, Refresh};

impl Call {
    /// Starts the calls to other modules that the module has asked for. Each is carried here as far as it goes without waiting,
    /// so that a short one is answered before anybody else has a turn.
    pub(super) fn start_calls(&self) {
        let (wanted, waker) = {
            let mut exchange = self.lease.lock();
            if exchange.calls.wanted.is_empty() {
                return;
            }
            // What comes of them is looked at when they have been started: nobody has to be woken for it.
            exchange.polling = true;
            let wanted = std::mem::take(&mut exchange.calls.wanted);
            (
                wanted,
                exchange.waker.clone().unwrap_or(Waker::noop().clone()),
            )
        };
        for mut outgoing in wanted {
            outgoing.made_in = MadeIn {
                request_id: Some(self.request_id.clone()),
                depth: self.depth.saturating_add(1),
                actor: self.actor.clone().filter(|_| outgoing.for_session),
            };
            let calls = &self.surroundings.calls;
            let mut carrying = calls.carry(outgoing);
            let mut cx = Context::from_waker(&waker);
            if carrying.as_mut().poll(&mut cx).is_pending() {
                calls.run(carrying);
            }
        }
    }

    /// Starts what the module asked for while it was polled: calls to other modules, and that the source of the secret is asked
    /// again.
    pub(super) fn start_wanted(&self) {
        let mut exchange = self.lease.lock();
        if !exchange.calls.wanted.is_empty() {
            drop(exchange);
            self.start_calls();
            exchange = self.lease.lock();
        }
        exchange.polling = false;
        if !matches!(exchange.refresh, Refresh::Wanted) {
            return;
        }
        let Some(actor) = &self.actor else { return };
        exchange.refresh = Refresh::Running;
        let refreshed =
            (self.surroundings.refresh)(Arc::clone(&actor.session), &self.generation.name);
        let handle = self.lease.handle();
        // It ends by the broker's deadline; the request may be over by then, and its handle finds nothing.
        tokio::spawn(async move {
            let outcome = refreshed.await;
            let waker = exchange::find(handle).and_then(|mut exchange| {
                exchange.refresh = Refresh::Done(outcome);
                exchange.woken = true;
                exchange.waker.clone()
            });
            if let Some(waker) = waker {
                waker.wake();
            }
        });
    }
}
