//! From a parsed request to the one route that answers it. One file per resource.
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
mod request_body;
pub(crate) mod sessions;
mod websocket;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use serde::Serialize;

use crate::auth::{self, Caller, TokenMemory};
use crate::body::Body;
use crate::clock;
use crate::kernel::Kernel;
use crate::problem::{Code, Problem};
use crate::request_id::{self, X_REQUEST_ID};

pub(crate) const X_MIDPLANE_MODULE: HeaderName = HeaderName::from_static("x-midplane-module");

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Route<'a> {
    Api { module: &'a str, path: &'a str },
    Health,
    Document,
    Metrics,
    Sessions,
    CurrentSession,
    Session(&'a str),
    RenewSession(&'a str),
    Modules,
    Module(&'a str),
    ReloadModule(&'a str),
    ModuleDocument(&'a str),
    RotateKeys,
    LogLevel,
    Events,
    Bridge,
}

/// What comes with a request to the kernel's own routes: from a connection, or from a host's bridge.
type Payload = Either<Incoming, Full<Bytes>>;

impl Route<'_> {
    fn parse(path: &str) -> Option<Route<'_>> {
        if let Some(rest) = path.strip_prefix("/api/") {
            let (module, path) = rest
                .find('/')
                .map_or((rest, "/"), |slash| rest.split_at(slash));
            return (!module.is_empty()).then_some(Route::Api { module, path });
        }
        let mut segments = path.strip_prefix('/')?.split('/');
        let route = match (segments.next()?, segments.next(), segments.next()) {
            ("health", None, None) => Route::Health,
            ("openapi.json", None, None) => Route::Document,
            ("metrics", None, None) => Route::Metrics,
            ("sessions", None, None) => Route::Sessions,
            ("sessions", Some("current"), None) => Route::CurrentSession,
            ("sessions", Some(id), None) if !id.is_empty() => Route::Session(id),
            ("sessions", Some(id), Some("renew")) if !id.is_empty() => Route::RenewSession(id),
            ("modules", None, None) => Route::Modules,
            ("modules", Some(name), None) if !name.is_empty() => Route::Module(name),
            ("modules", Some(name), Some("reload")) if !name.is_empty() => {
                Route::ReloadModule(name)
            }
            ("modules", Some(name), Some("openapi.json")) if !name.is_empty() => {
                Route::ModuleDocument(name)
            }
            ("keys", Some("rotate"), None) => Route::RotateKeys,
            ("log-level", None, None) => Route::LogLevel,
            ("events", None, None) => Route::Events,
            ("bridge", None, None) => Route::Bridge,
            _ => return None,
        };
        segments.next().is_none().then_some(route)
    }

    /// The methods of a route, for `Allow`. HEAD comes with GET (RFC 9110 section 9.3.2).
    fn methods(&self) -> &'static [Method] {
        match self {
            Route::Api { .. } => &[],
            Route::Health
            | Route::Document
            | Route::Metrics
            | Route::Modules
            | Route::ModuleDocument(_)
            | Route::Events
            | Route::Bridge => &[Method::GET],
            Route::Sessions => &[Method::GET, Method::POST, Method::DELETE],
            Route::CurrentSession | Route::Session(_) => &[Method::GET, Method::DELETE],
            Route::RenewSession(_) | Route::ReloadModule(_) | Route::RotateKeys => &[Method::POST],
            Route::Module(_) => &[Method::GET, Method::PUT, Method::DELETE],
            Route::LogLevel => &[Method::GET, Method::PUT],
        }
    }

    fn check_method(&self, method: &Method) -> Result<(), Problem> {
        let methods = self.methods();
        let meant = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        if methods.is_empty() || methods.contains(meant) {
            return Ok(());
        }
        let allow = match methods {
            [Method::GET] => "GET, HEAD",
            [Method::POST] => "POST",
            [Method::GET, Method::DELETE] => "GET, HEAD, DELETE",
            [Method::GET, Method::PUT] => "GET, HEAD, PUT",
            [Method::GET, Method::PUT, Method::DELETE] => "GET, HEAD, PUT, DELETE",
            _ => "GET, HEAD, POST, DELETE",
        };
        Err(Problem::new(Code::MethodNotAllowed, format!("this route takes {allow}")).allow(allow))
    }
}

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
    check_origin(kernel, parts)?;
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

/// No web page may reach this socket through some forwarder: a page's requests carry `Origin`, or the page's host.
fn check_origin(kernel: &Kernel, parts: &Parts) -> Result<(), Problem> {
    for origin in parts.headers.get_all(ORIGIN) {
        let allowed = &kernel.config.kernel.allowed_origins;
        if !allowed
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
        {
            let detail = "requests with an Origin header come from web pages: add it to `allowed_origins` in [kernel] if it should be served";
            return Err(Problem::new(Code::OriginNotAllowed, detail));
        }
    }
    // An absolute-form target names the host itself (RFC 9112 section 3.2.2).
    let hosts = parts
        .headers
        .get_all(HOST)
        .iter()
        .map(HeaderValue::as_bytes)
        .chain(
            parts
                .uri
                .authority()
                .map(|authority| authority.as_str().as_bytes()),
        );
    for host in hosts {
        let host = std::str::from_utf8(host).unwrap_or(".");
        if !is_local_host(host)
            && !kernel
                .config
                .kernel
                .allowed_hosts
                .iter()
                .any(|allowed| allowed == host)
        {
            let detail = "the Host must be absent, `localhost`, an IP address or one label without a dot: add it to `allowed_hosts` in [kernel] if it should be served";
            return Err(Problem::new(Code::HostNotAllowed, detail));
        }
    }
    Ok(())
}

/// Absent, `localhost`, an IP literal, or one label without a dot, each with or without a port.
fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(literal) => {
            let Some((address, port)) = literal.split_once(']') else {
                return false;
            };
            return address.parse::<std::net::Ipv6Addr>().is_ok()
                && (port.is_empty() || is_port(port));
        }
        None => host.find(':').map_or(host, |colon| {
            if is_port(&host[colon..]) {
                &host[..colon]
            } else {
                "."
            }
        }),
    };
    name.parse::<std::net::Ipv4Addr>().is_ok()
        || name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|port| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()))
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(value).expect("the API's own values are plain JSON");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// JSON that carries a credential.
fn secret_json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut response = json(status, value);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn with_type(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

impl Call<'_> {
    /// The query's members, each known and given once. The names are short and plain: no value needs more than
    /// percent-decoding.
    fn query(&self, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
        let mut members: Vec<(String, String)> = Vec::new();
        for pair in self
            .parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) || members.iter().any(|(other, _)| other == name) {
                let detail = format!(
                    "the query member `{name}` is unknown here or given twice; known are: {}",
                    known.join(", ")
                );
                return Err(Problem::new(Code::InvalidRequest, detail));
            }
            members.push((name.to_owned(), percent_decode(value)?.into_owned()));
        }
        Ok(members)
    }
}

fn percent_decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map_err(|_not_utf8| Problem::new(Code::InvalidRequest, "the query is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_routes() {
        for (path, expect) in [
            ("/health", Some(Route::Health)),
            ("/health/", None),
            ("/sessions", Some(Route::Sessions)),
            ("/sessions/", None),
            ("/sessions/current", Some(Route::CurrentSession)),
            ("/sessions/ses_1", Some(Route::Session("ses_1"))),
            ("/sessions/ses_1/renew", Some(Route::RenewSession("ses_1"))),
            ("/sessions/ses_1/renew/x", None),
            ("/modules/hello/reload", Some(Route::ReloadModule("hello"))),
            (
                "/modules/hello/openapi.json",
                Some(Route::ModuleDocument("hello")),
            ),
            (
                "/api/hello",
                Some(Route::Api {
                    module: "hello",
                    path: "/",
                }),
            ),
            (
                "/api/hello/",
                Some(Route::Api {
                    module: "hello",
                    path: "/",
                }),
            ),
            (
                "/api/hello/a//b",
                Some(Route::Api {
                    module: "hello",
                    path: "/a//b",
                }),
            ),
            ("/api/", None),
            ("/api", None),
            ("/", None),
            ("*", None),
        ] {
            assert_eq!(Route::parse(path), expect, "{path}");
        }
    }

    #[test]
    fn hosts_that_no_page_can_have_are_local() {
        for (host, expect) in [
            ("", true),
            ("localhost", true),
            ("localhost:8080", true),
            ("midplane", true),
            ("2f746d702f6b65726e656c2e736f636b", true),
            ("127.0.0.1", true),
            ("127.0.0.1:80", true),
            ("[::1]", true),
            ("[::1]:80", true),
            ("example.com", false),
            ("localhost.", false),
            ("evil.localhost", false),
            ("localhost:80:80", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[evil]", false),
            ("a@b", false),
        ] {
            assert_eq!(is_local_host(host), expect, "{host}");
        }
    }
}
