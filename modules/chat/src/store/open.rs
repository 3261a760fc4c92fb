//! Chooses the store of this generation.

use std::sync::Arc;

use midplane_sdk::Context;

use super::{Durable, Memory, Store, StoreError};
use crate::config::{Config, StoreName};

/// What is wanted cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "`store = \"durable\"`: {0}; or set `store = \"memory\"`, with which conversations end with this generation"
)]
pub(crate) struct NotDurable(#[source] StoreError);

/// Asks the module store once, unless memory is wanted.
pub(crate) async fn open(
    wanted: Option<StoreName>,
    ctx: &Context<Config>,
) -> Result<Arc<dyn Store>, NotDurable> {
    if wanted == Some(StoreName::Memory) {
        return Ok(Arc::new(Memory::default()));
    }
    let durable = Arc::new(Durable::new(ctx.storage()));
    match (durable.check().await, wanted) {
        (Ok(()), _) => {}
        (Err(error), Some(_)) => return Err(NotDurable(error)),
        (Err(error @ StoreError::Unreachable(_)), None) => {
            tracing::warn!(
                reason = %error,
                "conversations are kept in memory and end with this generation: load the module store and grant `call:store`, \
                 then reload this module; or set `store = \"memory\"` if this is meant"
            );
            return Ok(Arc::new(Memory::default()));
        }
        // It is there, and so are conversations: they must not seem to be gone.
        (Err(error), None) => {
            tracing::warn!(%error, "the module store does not answer: requests are refused until it does");
        }
    }
    let resumed = Arc::clone(&durable);
    ctx.spawn(async move {
        if let Err(error) = resumed.resume_deletes().await {
            tracing::info!(%error, "what deleted threads left is deleted when the module starts again");
        }
    });
    Ok(durable)
}

#[cfg(test)]
mod tests;
