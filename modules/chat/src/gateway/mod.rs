//! The OpenAI-compatible gateway, `/v1/…`: an unchanged OpenAI SDK, with a session's client secret as its API key, talks to
//! the provider that chat is configured for.
//!
//! It decides what passes and changes nothing of it. `offered` says which calls, `headers` which fields, `models` which
//! models; `forward` carries a request over, `relay` its answer back, and `mask` sees to it that the key is in neither an
//! answer nor a log; `account` counts what an answer cost. What goes wrong here is an `error` in OpenAI's shape. Where there is no provider, `echo` answers.

mod account;
mod echo;
mod error;
mod failure;
mod forward;
mod headers;
mod mask;
mod models;
mod offered;
mod relay;
mod tally;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::Request;
use midplane_sdk::{Context, Draining, Session};

pub(crate) use self::failure::Failure;
pub(crate) use self::headers::X_UPSTREAM_REQUEST_ID;
pub(crate) use self::mask::{Mask, Remembered};
pub(crate) use self::models::Models;

use self::error::GatewayError;
use self::offered::{NotOffered, Offered};
use crate::config::{Choice, GatewaySettings, Settings};
use crate::provider::Echo;
use crate::upstream::Upstream;
use crate::usage::Meter;

/// What OpenAI takes in one request, with images in it.
const BODY_BYTES_MAX: u64 = 50 << 20;
/// The paths whose bodies may hold images and files, or many texts.
const LARGE_BODIES: [&str; 3] = ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"];

pub(crate) struct Gateway {
    settings: GatewaySettings,
    choice: Choice,
    upstream: Upstream,
    meter: Meter,
    echo: Echo,
    draining: Draining,
}

pub(crate) fn router(gateway: Gateway) -> Router {
    Router::new()
        .route("/v1", any(serve))
        .route("/v1/", any(serve))
        .route("/v1/{*path}", any(serve))
        .with_state(Arc::new(gateway))
}

async fn serve(
    State(gateway): State<Arc<Gateway>>,
    session: Session,
    request: Request<Body>,
) -> Response {
    gateway
        .answer(session, request)
        .await
        .unwrap_or_else(|error| {
            tracing::info!(%error, "the gateway refused a request");
            error.into_response()
        })
}

impl Gateway {
    pub(crate) fn new(
        settings: &Settings,
        upstream: Upstream,
        meter: Meter,
        draining: Draining,
    ) -> Gateway {
        Gateway {
            settings: settings.gateway.clone(),
            choice: settings.choice,
            upstream,
            meter,
            echo: settings.echo,
            draining,
        }
    }

    /// Asks for room for images. Where the operator gives less to all modules, that holds.
    pub(crate) fn allow_bodies<C>(&self, ctx: &mut Context<C>) {
        if !self.settings.enabled {
            return;
        }
        for path in LARGE_BODIES {
            if let Err(error) = ctx.body_limit(path, BODY_BYTES_MAX) {
                tracing::warn!(%error, "requests to the gateway keep the kernel's ordinary limit");
            }
        }
    }

    async fn answer(
        &self,
        session: Session,
        request: Request<Body>,
    ) -> Result<Response, GatewayError> {
        if !self.settings.enabled {
            return Err(GatewayError::SwitchedOff);
        }
        let path = below(request.uri().path());
        let offered = offered::find(request.method(), path).map_err(|not| refuse(not, &request))?;
        if let Some(model) = offered::model_named(path) {
            self.settings.models.check(&model)?;
        }
        match self.echoes(&session) {
            true => echo::answer(self, offered, session, request).await,
            false => forward::answer(self, offered, session, request).await,
        }
    }

    fn echoes(&self, session: &Session) -> bool {
        match self.choice {
            Choice::OpenAi => false,
            Choice::BySecret => !session.has_secret(),
            Choice::Echo => true,
        }
    }
}

fn refuse(not: NotOffered, request: &Request<Body>) -> GatewayError {
    let method = request.method().clone();
    match not {
        NotOffered::Method(allow) => GatewayError::MethodNotSupported { method, allow },
        NotOffered::Path => GatewayError::UnknownUrl {
            method,
            path: GatewayError::quoted(below(request.uri().path())),
        },
    }
}

/// The path below `/v1/`, as it was written.
fn below(path: &str) -> &str {
    path.strip_prefix("/v1/").unwrap_or_default()
}
