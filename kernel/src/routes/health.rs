//! `GET /health`: is it there, and is it well?

use http::{Response, StatusCode};
use serde::Serialize;

use super::Call;
use super::modules::isolation;
use super::response::json;
use crate::auth::Caller;
use crate::body::Body;
use crate::kernel::PROTOCOL;
use crate::problem::{Code, Problem};
use crate::watchdog::{StuckWorker, Verdict, verdict};

/// How the kernel is.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(
        description = "How the kernel is, as `GET /health` says it. What may be missing is told to hosts alone."
    )
)]
pub(crate) struct Health {
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["ok", "degraded"])))]
    status: &'static str,
    version: &'static str,
    protocol: u32,
    #[serde(flatten)]
    details: Option<Details>,
}

/// What only the host is told.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Details {
    uptime_s: u64,
    instance: String,
    pid: u32,
    modules: Vec<Module>,
    stuck_workers: Vec<Stuck>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "HealthModule"))]
struct Module {
    name: String,
    version: String,
    generation: u64,
    state: crate::modules::life::Phase,
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["in-process", "process"])))]
    isolation: &'static str,
}

/// A worker that a module holds, and for how long.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "StuckWorker"))]
struct Stuck {
    #[serde(flatten)]
    worker: StuckWorker,
    held_s: u64,
}

pub(super) fn get(call: &Call<'_>) -> Response<Body> {
    let kernel = call.kernel;
    if let Some(code) = kernel.not_ready() {
        let detail = if code == Code::Starting {
            "the kernel is starting"
        } else {
            "the kernel is shutting down"
        };
        let id = call.request_id.to_str().unwrap_or_default();
        return Problem::new(code, detail)
            .retry_after(std::time::Duration::from_secs(1))
            .response(id)
            .map(Body::from);
    }
    let stuck = kernel.findings.stuck();
    let status = match verdict(stuck.len(), kernel.config.kernel.workers) {
        Verdict::Well if !kernel.modules.any_faulted() => "ok",
        _ => "degraded",
    };
    let details = matches!(call.caller, Caller::Host).then(|| Details {
        uptime_s: kernel.started.elapsed().as_secs(),
        instance: kernel.sessions.instance().to_owned(),
        pid: std::process::id(),
        modules: kernel
            .modules
            .serving()
            .iter()
            .map(|generation| Module {
                name: generation.name.to_string(),
                version: generation.descriptor.version.clone(),
                generation: generation.number,
                state: generation.phase(),
                isolation: isolation(generation),
            })
            .collect(),
        stuck_workers: stuck
            .into_iter()
            .map(|worker| Stuck {
                held_s: worker.held_for().as_secs(),
                worker,
            })
            .collect(),
    });
    json(
        StatusCode::OK,
        &Health {
            status,
            version: env!("CARGO_PKG_VERSION"),
            protocol: PROTOCOL,
            details,
        },
    )
}
