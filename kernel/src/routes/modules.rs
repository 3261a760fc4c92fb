//! `/modules`: what is loaded, and loading, swapping and unloading it.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Call;
use super::response::{json, with_type};
use crate::body::Body;
use crate::config::Isolation;
use crate::modules::crash::Crash;
use crate::modules::generation::Generation;
use crate::modules::grants::Grants;
use crate::modules::life::Phase;
use crate::modules::registry::{Change, Swapped};
use crate::problem::{Code, Problem};

/// A drain may be given this long by a request; longer ones would outlive the patience of any caller.
const DRAIN_MS_MAX: u64 = 10 * 60 * 1000;

/// A loaded module.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Module"))]
pub(crate) struct View<'a> {
    name: &'a str,
    version: &'a str,
    generation: u64,
    state: Phase,
    sha256: &'a str,
    path: String,
    grants: Vec<String>,
    public: bool,
    in_flight_requests: usize,
    open_websockets: u64,
    /// The time its code ran, on all workers.
    poll_seconds: f64,
    /// How often its code took longer than it should.
    slow_polls: u64,
    requests: Requests,
    /// Generations whose code is in memory, this one included.
    resident_generations: u64,
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["in-process", "process"])))]
    isolation: &'static str,
    /// `None` in the kernel's process.
    process: Option<ProcessView>,
    /// The version of the SDK that it was built with.
    sdk: &'a str,
    compiler: &'a str,
}

/// The process that a module has to itself.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ModuleProcess"))]
pub(crate) struct ProcessView {
    /// Of the generation that serves; `None` once it has ended.
    pid: Option<u32>,
    /// Of the processes of this name, since the kernel started.
    crashes: u64,
    last_crash: Option<Crash>,
    /// What is in force of its confinement.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<crate::isolation::confine::Report>")
    )]
    confined: Option<Value>,
}

/// One that was replaced or taken away, and finishes what is under way on it.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "DrainingGeneration"))]
pub(crate) struct DrainingView<'a> {
    name: &'a str,
    version: &'a str,
    generation: u64,
    state: Phase,
    in_flight_requests: usize,
    open_websockets: u64,
}

/// Answers by status class.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "RequestCounts"))]
pub(crate) struct Requests {
    #[serde(rename = "1xx")]
    informational: u64,
    #[serde(rename = "2xx")]
    successful: u64,
    #[serde(rename = "3xx")]
    redirection: u64,
    #[serde(rename = "4xx")]
    client_error: u64,
    #[serde(rename = "5xx")]
    server_error: u64,
    cancelled: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Put {
    /// Absolute, and in one of the kernel's module directories.
    path: PathBuf,
    /// The module's own configuration; what is configured when left out.
    config: Option<Map<String, Value>>,
    /// No more than what is configured; that when left out.
    grants: Option<Vec<String>>,
    /// Whether its public routes are public; only where that is configured.
    public: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Reload {
    /// The module's own configuration; what it has when left out.
    config: Option<Map<String, Value>>,
}

/// All modules.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ModuleListResult"))]
pub(crate) struct List<'a> {
    /// Those that take requests, by name.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<View<'a>>"))]
    modules: Vec<Value>,
    /// Those that were replaced or taken away and have requests to finish, oldest first.
    draining: Vec<DrainingView<'a>>,
}

pub(super) fn list(call: &Call<'_>) -> Response<Body> {
    let registry = &call.kernel.modules;
    let (serving, draining) = (registry.serving(), registry.draining());
    let list = List {
        modules: serving.iter().map(|one| view(call, one)).collect(),
        draining: draining.iter().map(|one| draining_view(one)).collect(),
    };
    json(StatusCode::OK, &list)
}

pub(super) fn get(call: &Call<'_>, name: &str) -> Result<Response<Body>, Problem> {
    Ok(json(StatusCode::OK, &view(call, &*loaded(call, name)?)))
}

pub(super) fn document(call: &Call<'_>, name: &str) -> Result<Response<Body>, Problem> {
    let generation = loaded(call, name)?;
    let document = generation.openapi.clone();
    let document = document.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            format!("the module {name} has no OpenAPI document"),
        )
    })?;
    Ok(with_type("application/json", document))
}

pub(super) async fn put(mut call: Call<'_>, name: &str) -> Result<Response<Body>, Problem> {
    let wait = wait_drained(&call)?;
    let Put {
        path,
        config,
        grants,
        public,
    } = call.json().await?;
    if !path.is_absolute() {
        return Err(Problem::new(
            Code::InvalidRequest,
            "`path` must be absolute",
        ));
    }
    let grants = grants
        .map(|names| Grants::parse(&names).map_err(|why| Problem::new(Code::InvalidRequest, why)))
        .transpose()?;
    let swapped = call
        .kernel
        .modules
        .put(
            name,
            Change {
                only_swap: false,
                path: Some(path),
                config,
                grants,
                public,
            },
        )
        .await?;
    answer(swapped, wait).await
}

pub(super) async fn reload(mut call: Call<'_>, name: &str) -> Result<Response<Body>, Problem> {
    let wait = wait_drained(&call)?;
    let Reload { config } = call.json().await?;
    let swapped = call
        .kernel
        .modules
        .put(
            name,
            Change {
                config,
                only_swap: true,
                ..Change::default()
            },
        )
        .await?;
    answer(swapped, wait).await
}

pub(super) async fn unload(call: &Call<'_>, name: &str) -> Result<Response<Body>, Problem> {
    let (mut drain, mut force) = (None, false);
    for (key, text) in call.query(&["drain_ms", "force"])? {
        match (&*key, text.parse()) {
            ("force", _) if matches!(&*text, "true" | "false") => force = text == "true",
            ("force", _) => {
                return Err(Problem::new(Code::InvalidRequest, "force is true or false"));
            }
            (_, Ok(ms)) if ms <= DRAIN_MS_MAX => drain = Some(Duration::from_millis(ms)),
            _ => {
                return Err(Problem::new(
                    Code::InvalidRequest,
                    format!("drain_ms is a number of milliseconds up to {DRAIN_MS_MAX}"),
                ));
            }
        }
    }
    answer(call.kernel.modules.remove(name, drain, force)?, true).await
}

async fn answer(swapped: Swapped, wait: bool) -> Result<Response<Body>, Problem> {
    let status = if swapped.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let receipt = if wait {
        swapped.drained().await
    } else {
        swapped.receipt
    };
    Ok(json(status, &receipt))
}

fn wait_drained(call: &Call<'_>) -> Result<bool, Problem> {
    match call
        .query(&["wait"])?
        .first()
        .map(|(_, value)| value.as_str())
    {
        None => Ok(false),
        Some("drained") => Ok(true),
        Some(_) => Err(Problem::new(
            Code::InvalidRequest,
            "`wait` can be `drained`",
        )),
    }
}

fn loaded(call: &Call<'_>, name: &str) -> Result<std::sync::Arc<Generation>, Problem> {
    let not_found = || {
        Problem::new(
            Code::ModuleNotFound,
            format!("no module {name} is loaded: GET /modules lists those that are"),
        )
    };
    call.kernel.modules.get(name).ok_or_else(not_found)
}

fn draining_view(generation: &Generation) -> DrainingView<'_> {
    DrainingView {
        name: &generation.name,
        version: &generation.descriptor.version,
        generation: generation.number,
        state: Phase::Draining,
        in_flight_requests: generation.in_flight(),
        open_websockets: generation.stats.sockets.load(Relaxed),
    }
}

fn view(call: &Call<'_>, generation: &Generation) -> Value {
    let [
        informational,
        successful,
        redirection,
        client_error,
        server_error,
    ] = generation.stats.by_class();
    let view = View {
        name: &generation.name,
        version: &generation.descriptor.version,
        generation: generation.number,
        state: generation.phase(),
        sha256: &generation.sha256,
        path: generation.path.display().to_string(),
        grants: generation.grants.names(),
        public: generation.public,
        in_flight_requests: generation.in_flight(),
        open_websockets: generation.stats.sockets.load(Relaxed),
        poll_seconds: Duration::from_nanos(generation.stats.poll_ns.load(Relaxed)).as_secs_f64(),
        slow_polls: generation.stats.slow_polls.load(Relaxed),
        requests: Requests {
            informational,
            successful,
            redirection,
            client_error,
            server_error,
            cancelled: generation.stats.cancelled.load(Relaxed),
        },
        resident_generations: call.kernel.modules.resident(&generation.name),
        isolation: isolation(generation),
        process: process_view(call, generation),
        sdk: &generation.descriptor.sdk,
        compiler: &generation.descriptor.compiler,
    };
    serde_json::to_value(view).expect("plain strings and numbers")
}

/// As the configuration calls it.
pub(super) fn isolation(generation: &Generation) -> &'static str {
    let isolation = match generation.process() {
        None => Isolation::InProcess,
        Some(_) => Isolation::Process,
    };
    isolation.as_str()
}

fn process_view(call: &Call<'_>, generation: &Generation) -> Option<ProcessView> {
    let process = generation.process()?;
    let (crashes, last_crash) = call.kernel.modules.crashes(&generation.name);
    Some(ProcessView {
        pid: (!process.has_ended()).then(|| process.pid()),
        crashes,
        last_crash,
        confined: process
            .confined()
            .and_then(|report| serde_json::to_value(report).ok()),
    })
}
