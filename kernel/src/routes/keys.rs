//! `POST /keys/rotate`: a new signing key.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::Call;
use super::response::json;
use crate::body::Body;
use crate::events::Event;
use crate::problem::{Code, Problem};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    /// Ends the tokens of the previous key, too.
    #[serde(default)]
    revoke_previous: bool,
}

#[derive(Serialize)]
struct Rotated {
    kid: String,
}

pub(super) async fn rotate(mut call: Call<'_>) -> Result<Response<Body>, Problem> {
    let Rotate { revoke_previous } = call.json().await?;
    let kid = call.kernel.sessions.rotate(revoke_previous).map_err(|_| {
        Problem::new(
            Code::Internal,
            "the system gives no random bytes now: try again",
        )
    })?;
    tracing::info!(kid, revoke_previous, "signing key rotated");
    call.kernel
        .events
        .publish(Event::KeysRotated { kid: kid.clone() });
    Ok(json(StatusCode::OK, &Rotated { kid }))
}
