//! Asks the provider whether it takes a session's key, before the session is issued: who mistyped a key learns it then, and not
//! from the first answer.

use http::{Request, StatusCode};
use midplane_sdk::{Result, Session};

use crate::upstream::{Upstream, UpstreamBody, UpstreamError};

/// What every API of this kind answers without cost.
const PATH: &str = "/models";

#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyCheckError {
    #[error(
        "the provider refuses the session's API key (status 401): store a valid key, and ask for the session again"
    )]
    Refused,
    #[error(transparent)]
    Unknown(UpstreamError),
}

/// Refuses a session only for what is wrong with its key. A provider that is down, or lists no models, or not for this key,
/// says nothing about that, and must not keep an editor from starting.
pub(crate) async fn check(upstream: Upstream, session: Session) -> Result<()> {
    if !session.has_secret() {
        return Ok(());
    }
    let request = Request::get(PATH)
        .body(UpstreamBody::empty())
        .expect("the path is valid");
    match upstream.send(request, &session).await {
        Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => {
            Err(KeyCheckError::Refused.into())
        }
        Ok(_) => Ok(()),
        Err(error @ UpstreamError::Key(_)) => Err(KeyCheckError::Unknown(error).into()),
        Err(error) => {
            tracing::warn!(%error, "a session's key is taken unchecked");
            Ok(())
        }
    }
}
