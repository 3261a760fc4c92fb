//! Whose keys they are: the module that calls, which the kernel has named.

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use midplane_sdk::Problem;

/// The module that calls. Nothing that a client sends can stand for it: it is an extension of the request, which crosses no
/// socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) module: String,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Caller, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| {
            Problem::new(
                StatusCode::FORBIDDEN,
                "modules_only",
                "the store answers modules only: call it from one that is granted `call:store`",
            )
        })
    }
}
