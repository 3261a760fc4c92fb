//! Who speaks in a turn.

use std::collections::VecDeque;

use futures_util::stream::StreamExt;

use super::{Failure, Step};
use crate::actions::Performance;
use crate::answer::Answer;
use crate::protocol::item::Item;
use crate::protocol::timestamp::Timestamp;
use crate::provider::{Delta, Deltas, ProviderError};

pub(crate) enum Speaker {
    Model {
        deltas: Deltas,
        answer: Box<Answer>,
    },
    /// Another module, which carries out an action.
    Module(Box<Performance>),
    /// Somebody who could not even begin.
    Failed(Failure),
    Nobody,
}

/// Whether a speaker may say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    More,
    All,
}

impl Speaker {
    /// Waits for what is said next, and appends what follows from it. Cancel-safe.
    pub(super) async fn listen(&mut self, steps: &mut VecDeque<Step>) -> Result<Heard, Failure> {
        match self {
            Speaker::Model { deltas, answer } => {
                let delta = deltas
                    .next()
                    .await
                    .unwrap_or(Err(ProviderError::BrokenOff))?;
                let is_last = matches!(delta, Delta::Done(_));
                answer.take(delta, Timestamp::now(), steps)?;
                Ok(if is_last { Heard::All } else { Heard::More })
            }
            Speaker::Module(performance) => performance.listen(steps).await,
            Speaker::Failed(failure) => Err(failure.clone()),
            Speaker::Nobody => Ok(Heard::All),
        }
    }

    /// What was not said to its end, as far as it was said.
    pub(super) fn unfinished(self) -> Vec<Item> {
        match self {
            // The provider's request ends here.
            Speaker::Model { answer, .. } => answer.unfinished().into_iter().collect(),
            Speaker::Module(performance) => performance.unfinished(),
            Speaker::Failed(_) | Speaker::Nobody => Vec::new(),
        }
    }
}
