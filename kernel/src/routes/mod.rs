//! From a parsed request to the one route that answers it. One file per resource, beside what they share.
//!
//! HTTP is understood here: the path becomes a [`Route`], the caller is identified, and only then does a route's function
//! run. What is refused becomes a problem in one place.

mod api;
mod bridge;
mod document;
mod events;
pub(crate) mod health;
mod keys;
mod log_level;
pub(crate) mod metrics;
pub(crate) mod modules;
mod origin;
mod query;
mod request_body;
mod response;
mod route;
pub(crate) mod sessions;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use route::Route;

use crate::auth::{self, Caller, TokenMemory};
use crate::body::Body;
use crate::clock;
use crate::kernel::Kernel;
use crate::problem::{Code, Problem};
use crate::request_id::{self, X_REQUEST_ID};

pub(crate) const X_MIDPLANE_MODULE: HeaderName = HeaderName::from_static("x-midplane-module");

/// What comes with a request to the kernel's own routes: from a connection, or from a host's bridge.
type Payload = Either<Incoming, Full<Bytes>>;

/// A request to one of the kernel's own routes.
struct Call<'a> {
    kernel: &'a Arc<Kernel>,
    parts: &'a Parts,
    caller: Caller,
    body: Payload,
    request_id: &'a HeaderValue,
    now: u64,
}

/// Answers a request. Never fails: what is wrong is in the response.
pub(crate) async fn serve(
    kernel: &Arc<Kernel>,
    memory: &TokenMemory,
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let request_id = request_id::of(&parts.headers);
    let answer = dispatch(kernel, memory, &parts, body, &request_id).await;
    finish(answer, &parts, request_id)
}

/// Answers what a host asks for over its bridge, as if it had come from it over the socket.
pub(crate) async fn serve_host(
    kernel: &Arc<Kernel>,
    method: Method,
    target: &str,
    body: Bytes,
) -> Response<Body> {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header(CONTENT_TYPE, "application/json")
        .body(());
    let (parts, ()) = request
        .expect("the targets of methods are paths")
        .into_parts();
    let request_id = request_id::of(&parts.headers);
    let answer = match Route::parse(parts.uri.path()) {
        Some(route) => {
            let call = Call {
                kernel,
                parts: &parts,
                caller: Caller::Host,
                body: Either::Right(Full::new(body)),
                request_id: &request_id,
                now: clock::unix_now(),
            };
            answer(call, route).await
        }
        None => Err(no_route()),
    };
    finish(answer, &parts, request_id)
}

fn finish(
    answer: Result<Response<Body>, Problem>,
    parts: &Parts,
    request_id: HeaderValue,
) -> Response<Body> {
    let mut response = match answer {
        Ok(response) => response,
        Err(problem) => {
            let id = request_id.to_str().unwrap_or_default();
            if problem.code.status() >= 500 {
                tracing::warn!(request_id = id, method = %parts.method, path = parts.uri.path(), code = problem.code.as_str(), "request failed");
            }
            problem.response(id).map(Body::from)
        }
    };
    response.headers_mut().insert(X_REQUEST_ID, request_id);
    response
}

async fn dispatch(
    kernel: &Arc<Kernel>,
    memory: &TokenMemory,
    parts: &Parts,
    body: Incoming,
    request_id: &HeaderValue,
) -> Result<Response<Body>, Problem> {
    origin::check(kernel, parts)?;
    let path = parts.uri.path();
    let Some(route) = Route::parse(path) else {
        return Err(no_route());
    };
    let now = clock::unix_now();
    let caller = auth::identify(
        &parts.headers,
        memory,
        &kernel.host_key,
        &kernel.sessions,
        now,
    )?;
    if let Route::Api { module, path } = route {
        return api::call(kernel, parts, caller, body, request_id, module, path).await;
    }
    let call = Call {
        kernel,
        parts,
        caller,
        body: Either::Left(body),
        request_id,
        now,
    };
    answer(call, route).await
}

/// Answers a request to one of the kernel's own routes.
async fn answer(call: Call<'_>, route: Route<'_>) -> Result<Response<Body>, Problem> {
    let (kernel, parts) = (call.kernel, call.parts);
    match &route {
        Route::Health | Route::Document | Route::CurrentSession => {}
        // Before the method, so that without the key nothing is learned.
        _ => call.caller.require_host()?,
    }
    route.check_method(&parts.method)?;
    if kernel.is_draining() && !parts.method.is_safe() {
        return Err(draining());
    }
    match (route, &parts.method) {
        (Route::Health, _) => Ok(health::get(&call)),
        (Route::Document, _) => Ok(document::get()),
        (Route::Metrics, _) => Ok(metrics::get(&call)),
        (Route::Sessions, &Method::POST) => sessions::create(call).await,
        (Route::Sessions, &Method::DELETE) => sessions::revoke_matching(&call),
        (Route::Sessions, _) => sessions::list(&call),
        (Route::CurrentSession, &Method::DELETE) => sessions::sign_out(call),
        (Route::CurrentSession, _) => sessions::current(call),
        (Route::Session(id), &Method::DELETE) => sessions::revoke(&call, id),
        (Route::Session(id), _) => sessions::get(&call, id),
        (Route::RenewSession(id), _) => sessions::renew(call, id).await,
        (Route::Modules, _) => Ok(modules::list(&call)),
        (Route::Module(name), &Method::PUT) => modules::put(call, name).await,
        (Route::Module(name), &Method::DELETE) => modules::unload(&call, name).await,
        (Route::Module(name), _) => modules::get(&call, name),
        (Route::ReloadModule(name), _) => modules::reload(call, name).await,
        (Route::ModuleDocument(name), _) => modules::document(&call, name),
        (Route::RotateKeys, _) => keys::rotate(call).await,
        (Route::LogLevel, &Method::PUT) => log_level::put(call).await,
        (Route::LogLevel, _) => Ok(log_level::get(&call)),
        (Route::Events, _) => Ok(events::get(&call)),
        (Route::Bridge, _) => bridge::open(&call),
        (Route::Api { .. }, _) => unreachable!("answered above"),
    }
}

fn no_route() -> Problem {
    Problem::new(
        Code::NotFound,
        "there is no such route: GET /openapi.json lists them all",
    )
}

/// The answer to what would change something while the kernel goes.
fn draining() -> Problem {
    Problem::new(
        Code::Draining,
        "the kernel is shutting down: start it again first",
    )
    .retry_after(std::time::Duration::from_secs(1))
}
