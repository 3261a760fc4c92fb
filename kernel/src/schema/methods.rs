//! The methods: who calls them, with what, what comes back, and what may go wrong.

use serde_json::{Value, json};

use super::Schemas;
use super::params::{
    LogLine, ModuleLoadParams, ModuleReloadParams, ModuleUnloadParams, SessionRenewParams,
    SessionRevokeParams,
};
use crate::bridge::limits;
use crate::bridge::message::{Id, code};
use crate::bridge::methods::{
    CANCEL_REQUEST, Cancel, EVENT, INITIALIZE, Initialize, Initialized, LOG, READY, Ready,
    SECRET_CHANGED, SECRET_GET, SHUTDOWN, SecretChanged, SecretGet, SecretResult, SecretsForgotten,
};
use crate::events::Timed;
use crate::modules::receipt::Receipt;
use crate::routes::modules::List;
use crate::routes::sessions::{Create, Issued};

pub(super) const INTRODUCTION: &str = "\
JSON-RPC 2.0 with the framing of the Language Server Protocol (`Content-Length: N`, an empty line, and N bytes of JSON), over the \
descriptor that `midplane serve --bridge-fd N` was given, or over the kernel's socket after `GET /bridge` with the host key and \
`Upgrade: jsonrpc`. Parameters are by name; batches are refused. The kernel speaks first, with `ready`; a host's first request is \
`initialize`. Members that a host does not know it passes over; members that the kernel does not know it refuses.";

#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    ToHost,
    ToKernel,
    Both,
}

pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) direction: Direction,
    pub(super) kind: &'static str,
    pub(super) summary: &'static str,
    /// A reference.
    pub(super) params: Option<Value>,
    /// `None`: nothing is answered.
    pub(super) result: Option<Value>,
    /// Besides those of JSON-RPC itself.
    pub(super) errors: &'static [&'static str],
}

const REQUEST: &str = "request";
const NOTIFICATION: &str = "notification";
const EITHER: &str = "request or notification";
/// Of methods that are routes.
const OF_ROUTES: &[&str] = &[
    "InvalidParams",
    "Refused",
    "InternalError",
    "RequestCancelled",
];

/// In the order in which a host meets them.
pub(super) fn all(schemas: &mut Schemas) -> Vec<Method> {
    use Direction::{Both, ToHost, ToKernel};
    let null = || Some(json!({ "type": "null" }));
    let method = |name, direction, kind, summary, params, result, errors| Method {
        name,
        direction,
        kind,
        summary,
        params,
        result,
        errors,
    };
    vec![
        method(
            READY,
            ToHost,
            NOTIFICATION,
            "The first message: the modules are loaded, and the socket serves.",
            Some(schemas.said::<Ready<'static>>()),
            None,
            &[],
        ),
        method(
            INITIALIZE,
            ToKernel,
            REQUEST,
            "The first request: who the host is, and what it does and wants. Before it every other is refused; one with another protocol number ends the bridge.",
            Some(schemas.read::<Initialize>()),
            Some(schemas.said::<Initialized<'static>>()),
            &[
                "InvalidRequest",
                "InvalidParams",
                "ProtocolMismatch",
                "Refused",
            ],
        ),
        method(
            SECRET_GET,
            ToHost,
            REQUEST,
            "The kernel asks for a key at the moment it is needed, of a host that said it gives secrets. Of several, the one that attached last is asked first; the next one when it has not got it or does not answer in time. What it denies is denied.",
            Some(schemas.said::<SecretGet<'static>>()),
            Some(schemas.read::<SecretResult>()),
            &["SecretDenied", "SecretNotFound"],
        ),
        method(
            SECRET_CHANGED,
            ToKernel,
            EITHER,
            "A key is another one now: the next use asks for it again. The sessions on it go on.",
            Some(schemas.read::<SecretChanged>()),
            Some(schemas.said::<SecretsForgotten>()),
            &["InvalidParams"],
        ),
        method(
            "session/create",
            ToKernel,
            REQUEST,
            "Issues a session, as `POST /sessions`. The kernel asks for its key meanwhile.",
            Some(schemas.read::<Create>()),
            Some(schemas.said::<Issued<'static>>()),
            OF_ROUTES,
        ),
        method(
            "session/renew",
            ToKernel,
            REQUEST,
            "Makes a new client secret for a session, as `POST /sessions/{id}/renew`. Those before it hold until they expire.",
            Some(schemas.read::<SessionRenewParams>()),
            Some(schemas.said::<Issued<'static>>()),
            OF_ROUTES,
        ),
        method(
            "session/revoke",
            ToKernel,
            REQUEST,
            "Ends a session at once, as `DELETE /sessions/{id}`; its streams end within a second.",
            Some(schemas.read::<SessionRevokeParams>()),
            null(),
            OF_ROUTES,
        ),
        method(
            "module/list",
            ToKernel,
            REQUEST,
            "What is loaded, as `GET /modules`.",
            None,
            Some(schemas.said::<List<'static>>()),
            OF_ROUTES,
        ),
        method(
            "module/load",
            ToKernel,
            REQUEST,
            "Loads a module, or swaps it for what is at the path now, as `PUT /modules/{name}`. What ran keeps running when it fails.",
            Some(schemas.read::<ModuleLoadParams>()),
            Some(schemas.said::<Receipt>()),
            OF_ROUTES,
        ),
        method(
            "module/reload",
            ToKernel,
            REQUEST,
            "Swaps a module for what is at its path now, as `POST /modules/{name}/reload`.",
            Some(schemas.read::<ModuleReloadParams>()),
            Some(schemas.said::<Receipt>()),
            OF_ROUTES,
        ),
        method(
            "module/unload",
            ToKernel,
            REQUEST,
            "Takes no new requests for a module, lets those under way finish, and unloads it, as `DELETE /modules/{name}`.",
            Some(schemas.read::<ModuleUnloadParams>()),
            Some(schemas.said::<Receipt>()),
            OF_ROUTES,
        ),
        method(
            EVENT,
            ToHost,
            NOTIFICATION,
            "Something happened; for hosts that said they want events. The same as `GET /events`.",
            Some(schemas.said::<Timed>()),
            None,
            &[],
        ),
        method(
            LOG,
            ToHost,
            NOTIFICATION,
            "A line of the kernel's log, of the level that the host asked for or a more important one, if the kernel's own filter lets it pass.",
            Some(schemas.said::<LogLine>()),
            None,
            &[],
        ),
        method(
            CANCEL_REQUEST,
            Both,
            NOTIFICATION,
            "The answer to a request is not wanted any more. The kernel answers what it was asked with RequestCancelled then, and needs no answer to what it asked.",
            Some(schemas.read::<Cancel<Id>>()),
            None,
            &[],
        ),
        method(
            SHUTDOWN,
            ToKernel,
            REQUEST,
            "The kernel answers, drains and exits with 0.",
            None,
            null(),
            &[],
        ),
    ]
}

/// Every error, by name.
pub(super) fn errors() -> Value {
    let problem = json!({ "$ref": format!("{}Problem", super::SCHEMAS) });
    json!({
        "ParseError": { "code": code::PARSE_ERROR, "message": "The message is not JSON." },
        "InvalidRequest": { "code": code::INVALID_REQUEST, "message": "The message is no request, its id is in use, or `initialize` comes first." },
        "MethodNotFound": { "code": code::METHOD_NOT_FOUND, "message": "There is no such method." },
        "InvalidParams": { "code": code::INVALID_PARAMS, "message": "The parameters are not what the method takes; from a route, `data` is its problem.", "data": problem },
        "InternalError": { "code": code::INTERNAL_ERROR, "message": "It failed; the kernel's log says more under the request id in `data`.", "data": problem },
        "Refused": { "code": code::REFUSED, "message": "The request was understood and refused; `data` is the problem that HTTP would have answered.", "data": problem },
        "SecretDenied": { "code": code::DENIED, "message": "The host does not give this secret. The message is for a person." },
        "SecretNotFound": { "code": code::NOT_FOUND, "message": "The host has no such secret, and another one may be asked. The message is for a person." },
        "ProtocolMismatch": { "code": code::PROTOCOL_MISMATCH, "message": "The two speak different protocols; the message and `data` name both numbers. The bridge ends." },
        "RequestCancelled": { "code": code::REQUEST_CANCELLED, "message": "The request was taken back." },
    })
}

/// What a host can rely on and must keep.
pub(super) fn limits() -> Value {
    let limit = |name: &str, value: u64, unit: &str, means: &str| json!({ "name": name, "value": value, "unit": unit, "description": means });
    let count = |value: usize| u64::try_from(value).expect("limits are small");
    json!([
        limit(
            "header",
            count(limits::HEADER_LEN_MAX),
            "bytes",
            "The header block of a message. A longer one ends the bridge."
        ),
        limit(
            "body",
            count(limits::BODY_LEN_MAX),
            "bytes",
            "The JSON of a message. A longer one ends the bridge."
        ),
        limit(
            "id",
            count(limits::ID_LEN_MAX),
            "bytes",
            "The id of a request, where it is a text."
        ),
        limit(
            "requests",
            count(limits::REQUESTS_MAX),
            "requests",
            "Of one host, under way at a time. One more is refused with `too_many_requests`."
        ),
        limit(
            "questions",
            count(limits::QUESTIONS_MAX),
            "requests",
            "`secret/get` of one host, under way at a time."
        ),
        limit(
            "answer",
            limits::SECRET_TIMEOUT.as_secs(),
            "s",
            "For the answer to `secret/get`; then the next host is asked."
        ),
        limit(
            "initialize",
            limits::INITIALIZE_TIMEOUT.as_secs(),
            "s",
            "From the opening of a bridge over the socket to `initialize`."
        ),
        limit(
            "hosts",
            count(limits::HOSTS_MAX),
            "hosts",
            "Attached at a time. One more is refused with `host_limit`."
        ),
        limit(
            "return",
            crate::config::HOST_GRACE.as_secs(),
            "s",
            "For a host that has gone to attach again, with the same `client.instance`, before the sessions end whose keys it gave; `[sessions] host_grace`."
        ),
    ])
}
