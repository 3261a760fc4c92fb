//! Methods that are HTTP routes: each becomes the request that a host with the host key would send, is answered by the route
//! itself on a worker, and its response becomes the result. So both say the same, refusals included.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::message::{ErrorObject, Params, code};
use crate::body::Body;
use crate::kernel::Kernel;
use crate::problem::Problem;
use crate::routes;

/// A method, and the route that it is.
struct Call {
    name: &'static str,
    method: Method,
    path: &'static str,
    /// The member of the parameters that stands in the path.
    in_path: Option<InPath>,
    /// Members that stand in the query.
    in_query: &'static [&'static str],
    /// The other members are the body; where there is none they are unknown.
    has_body: bool,
}

struct InPath {
    member: &'static str,
    /// What of the path follows it.
    then: &'static str,
}

const CALLS: [Call; 7] = [
    Call {
        name: "session/create",
        method: Method::POST,
        path: "/sessions",
        in_path: None,
        in_query: &[],
        has_body: true,
    },
    Call {
        name: "session/renew",
        method: Method::POST,
        path: "/sessions/",
        in_path: Some(InPath {
            member: "id",
            then: "/renew",
        }),
        in_query: &[],
        has_body: true,
    },
    Call {
        name: "session/revoke",
        method: Method::DELETE,
        path: "/sessions/",
        in_path: Some(InPath {
            member: "id",
            then: "",
        }),
        in_query: &[],
        has_body: false,
    },
    Call {
        name: "module/list",
        method: Method::GET,
        path: "/modules",
        in_path: None,
        in_query: &[],
        has_body: false,
    },
    Call {
        name: "module/load",
        method: Method::PUT,
        path: "/modules/",
        in_path: Some(InPath {
            member: "name",
            then: "",
        }),
        in_query: &["wait"],
        has_body: true,
    },
    Call {
        name: "module/reload",
        method: Method::POST,
        path: "/modules/",
        in_path: Some(InPath {
            member: "name",
            then: "/reload",
        }),
        in_query: &["wait"],
        has_body: true,
    },
    Call {
        name: "module/unload",
        method: Method::DELETE,
        path: "/modules/",
        in_path: Some(InPath {
            member: "name",
            then: "",
        }),
        in_query: &["drain_ms", "force"],
        has_body: false,
    },
];

/// A method's request over HTTP.
#[derive(Debug)]
pub(super) struct HttpRequest {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) body: Bytes,
}

/// The methods, with the members that do not stand in the body.
#[cfg(all(test, feature = "schema"))]
pub(crate) fn routed() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    CALLS.iter().map(|call| {
        let in_path = call.in_path.iter().map(|in_path| in_path.member);
        (
            call.name,
            in_path.chain(call.in_query.iter().copied()).collect(),
        )
    })
}

/// The request that `name` with these parameters is; `None`: there is no such method.
pub(super) fn request(name: &str, params: Params<'_>) -> Option<Result<HttpRequest, ErrorObject>> {
    let call = CALLS.iter().find(|call| call.name == name)?;
    Some(call.request(params))
}

/// Answers it, on whichever worker is free. Dropping the future is the client's leaving.
pub(super) async fn answer(
    kernel: &Arc<Kernel>,
    request: HttpRequest,
) -> Result<Box<RawValue>, ErrorObject> {
    let served = {
        let kernel = Arc::clone(kernel);
        async move {
            let HttpRequest {
                method,
                target,
                body,
            } = request;
            let response = routes::serve_host(&kernel, method, &target, body).await;
            outcome(response).await
        }
    };
    match kernel.run_on_any_worker(served).await {
        Some(outcome) => outcome,
        None => Err(ErrorObject::new(
            code::REFUSED,
            "no worker is free to answer: modules hold them all, or the kernel ends",
        )),
    }
}

impl Call {
    fn request(&self, params: Params<'_>) -> Result<HttpRequest, ErrorObject> {
        let mut members: Map<String, Value> = params.read()?;
        let mut target = self.path.to_owned();
        if let Some(InPath { member, then }) = &self.in_path {
            let value = match members.remove(*member) {
                Some(Value::String(value)) if !value.is_empty() => value,
                _ => return Err(invalid(format!("`{member}` is missing, or no text"))),
            };
            target.push_str(&encoded(&value));
            target.push_str(then);
        }
        let mut separator = '?';
        for member in self.in_query {
            let value = match members.remove(*member) {
                None | Some(Value::Null) => continue,
                Some(Value::String(value)) => value,
                Some(Value::Number(value)) => value.to_string(),
                Some(Value::Bool(value)) => value.to_string(),
                Some(_) => {
                    let wrong = format!("`{member}` is a text, a number or a truth value");
                    return Err(invalid(wrong));
                }
            };
            // Infallible.
            let _ = write!(target, "{separator}{member}={}", encoded(&value));
            separator = '&';
        }
        if let Some(unknown) = members.keys().next().filter(|_| !self.has_body) {
            return Err(invalid(format!("`{unknown}` is unknown to {}", self.name)));
        }
        let body = if self.has_body {
            Value::Object(members).to_string().into()
        } else {
            Bytes::new()
        };
        Ok(HttpRequest {
            method: self.method.clone(),
            target,
            body,
        })
    }
}

/// Names of sessions and modules have nothing that needs it; what has is no name, and so is not found.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// All but what RFC 3986 section 2.3 leaves as it is.
const UNRESERVED: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

async fn outcome(response: Response<Body>) -> Result<Box<RawValue>, ErrorObject> {
    let (parts, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_cut) => return Err(internal("the answer was cut off")),
    };
    if parts.status.is_success() {
        let text = if bytes.is_empty() {
            b"null".as_slice()
        } else {
            &bytes
        };
        return serde_json::from_slice(text).map_err(|_| internal("the answer is no JSON"));
    }
    let problem: Value =
        serde_json::from_slice(&bytes).map_err(|_| internal("the refusal is no JSON"))?;
    Err(refused(parts.status, problem))
}

/// A problem of HTTP as an error of JSON-RPC.
fn refused(status: StatusCode, problem: Value) -> ErrorObject {
    let code = match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => code::INVALID_PARAMS,
        status if status == StatusCode::INTERNAL_SERVER_ERROR => code::INTERNAL_ERROR,
        _ => code::REFUSED,
    };
    let detail = problem.get("detail").and_then(Value::as_str);
    ErrorObject::new(code, detail.unwrap_or("refused")).with_data(problem)
}

/// A refusal of the bridge's own, in the form of those of the routes.
pub(super) fn problem(problem: Problem) -> ErrorObject {
    let status = problem.code.status();
    let body = problem.response("").into_body();
    match serde_json::from_slice(body.as_ref()) {
        Ok(problem) => refused(
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            problem,
        ),
        Err(_) => internal("the refusal is no JSON"),
    }
}

fn invalid(message: String) -> ErrorObject {
    ErrorObject::new(code::INVALID_PARAMS, message)
}

fn internal(message: &str) -> ErrorObject {
    ErrorObject::new(code::INTERNAL_ERROR, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::message::Message;

    #[test]
    fn methods_become_requests() {
        let check = |name: &str, params: &str, expect: &str| {
            let frame = format!(r#"{{"jsonrpc":"2.0","method":"{name}","params":{params}}}"#);
            let Ok(Message::Notification {
                method,
                params: given,
            }) = Message::parse(frame.as_bytes())
            else {
                panic!("{frame}");
            };
            let shown = match request(&method, given) {
                None => "unknown".to_owned(),
                Some(Ok(request)) => format!(
                    "{} {} {}",
                    request.method,
                    request.target,
                    String::from_utf8_lossy(&request.body)
                ),
                Some(Err(error)) => format!("{} {}", error.code, error.message),
            };
            assert_eq!(shown.trim_end(), expect, "{name} {params}");
        };
        check(
            "session/create",
            r#"{"user":"me"}"#,
            r#"POST /sessions {"user":"me"}"#,
        );
        check(
            "session/renew",
            r#"{"id":"ses_1","expires_in":5}"#,
            r#"POST /sessions/ses_1/renew {"expires_in":5}"#,
        );
        check("session/renew", "{}", "-32602 `id` is missing, or no text");
        check(
            "session/revoke",
            r#"{"id":"a/../b?c"}"#,
            "DELETE /sessions/a%2F..%2Fb%3Fc",
        );
        check(
            "session/revoke",
            r#"{"id":7}"#,
            "-32602 `id` is missing, or no text",
        );
        check(
            "session/revoke",
            r#"{"id":"a","x":1}"#,
            "-32602 `x` is unknown to session/revoke",
        );
        check("module/list", "{}", "GET /modules");
        check(
            "module/load",
            r#"{"name":"m","path":"/p"}"#,
            r#"PUT /modules/m {"path":"/p"}"#,
        );
        check(
            "module/reload",
            r#"{"name":"m","wait":"drained"}"#,
            "POST /modules/m/reload?wait=drained {}",
        );
        check(
            "module/unload",
            r#"{"name":"m","drain_ms":5}"#,
            "DELETE /modules/m?drain_ms=5",
        );
        check(
            "module/unload",
            r#"{"name":"m","drain_ms":[]}"#,
            "-32602 `drain_ms` is a text, a number or a truth value",
        );
        check(
            "module/unload",
            r#"{"name":"m","force":true}"#,
            "DELETE /modules/m?force=true",
        );
        check("module/destroy", "{}", "unknown");
        check("ready", "{}", "unknown");
    }
}
