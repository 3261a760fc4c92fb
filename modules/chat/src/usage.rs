//! What answers cost: tokens and requests, counted for `GET /metrics` as an answer's deltas pass by.
//!
//! Counts what providers say, and estimates nothing: a server that does not count, or an answer that was left before its end,
//! has no tokens here.

mod route;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::stream::{Stream, StreamExt};
use midplane_sdk::{Counter, Metrics};
use serde::{Deserialize, Serialize};

pub(crate) use self::route::router;
use crate::credential::Credential;
use crate::provider::{Delta, Deltas, Ending, ProviderError, Usage};

/// The module's counters.
#[derive(Clone)]
pub(crate) struct Meter {
    tokens: Counter,
    requests: Counter,
}

/// What an answer cost, noted on the last item that it left in its thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Who answered.
    pub(crate) model: String,
    pub(crate) usage: Usage,
}

impl Meter {
    pub(crate) fn new(metrics: &Metrics) -> Meter {
        Meter {
            tokens: metrics.counter(
                "tokens",
                "Tokens as the provider counts them. Of the kinds, cached_input is part of input, and reasoning of output.",
            ),
            requests: metrics.counter(
                "requests",
                "Answers asked of a model, by how they ended. What is asked again before its first byte counts once.",
            ),
        }
    }

    /// The same deltas; what they say of tokens, and how they end, is counted for the session.
    pub(crate) fn watch(
        &self,
        deltas: Deltas,
        credential: Arc<dyn Credential>,
        model: String,
    ) -> Deltas {
        Watched {
            deltas,
            meter: self.clone(),
            credential,
            model,
            ended: false,
        }
        .boxed()
    }
}

struct Watched {
    deltas: Deltas,
    meter: Meter,
    credential: Arc<dyn Credential>,
    model: String,
    ended: bool,
}

impl Watched {
    fn add_tokens(&self, usage: Usage) {
        for (kind, count) in [
            ("input", usage.input_tokens),
            ("cached_input", usage.cached_input_tokens),
            ("output", usage.output_tokens),
            ("reasoning", usage.reasoning_tokens),
        ] {
            if count > 0 {
                let labels = [("kind", kind), ("model", self.model.as_str())];
                add(&self.meter.tokens, &*self.credential, &labels, count);
            }
        }
    }

    fn end(&mut self, outcome: &str) {
        if !std::mem::replace(&mut self.ended, true) {
            let labels = [("model", self.model.as_str()), ("outcome", outcome)];
            add(&self.meter.requests, &*self.credential, &labels, 1);
        }
    }
}

impl Stream for Watched {
    type Item = Result<Delta, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let delta = ready!(self.deltas.poll_next_unpin(context));
        match &delta {
            Some(Ok(Delta::Usage(usage))) => {
                self.add_tokens(*usage);
            }
            Some(Ok(Delta::Done(ending))) => self.end(match ending {
                Ending::Complete => "complete",
                Ending::LengthLimit => "cut",
                Ending::Filtered => "filtered",
            }),
            Some(Err(error)) => self.end(error.kind()),
            Some(Ok(_)) | None => {}
        }
        Poll::Ready(delta)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end("left");
    }
}

fn add(counter: &Counter, credential: &dyn Credential, labels: &[(&str, &str)], count: u64) {
    match credential.session() {
        Some(session) => counter.add_for(session, labels, count),
        None => counter.add(labels, count),
    }
}
