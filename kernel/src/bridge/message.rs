//! JSON-RPC 2.0 (jsonrpc.org/specification): one message's JSON as what it is, and the JSON of what is said back.
//!
//! Everything here is pure. Batches are refused: nobody who speaks the Language Server Protocol's framing sends them.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::frame::{self, BODY_LEN_MAX, Frame};

/// Ids are numbers or short texts; they are kept for as long as the request is under way.
pub(crate) const ID_LEN_MAX: usize = 256;

/// The specification's own codes, those of the Language Server Protocol, and ours.
pub mod code {
    pub const PARSE_ERROR: i64 = -32700;
    pub const INVALID_REQUEST: i64 = -32600;
    pub const METHOD_NOT_FOUND: i64 = -32601;
    pub const INVALID_PARAMS: i64 = -32602;
    pub const INTERNAL_ERROR: i64 = -32603;
    /// The request was understood and refused; `data` has the problem that HTTP would have answered.
    pub const REFUSED: i64 = -32000;
    /// From a host: it will not give the secret.
    pub const DENIED: i64 = -32001;
    /// From a host: it has no such secret.
    pub const NOT_FOUND: i64 = -32002;
    pub const PROTOCOL_MISMATCH: i64 = -32010;
    pub const REQUEST_CANCELLED: i64 = -32800;
}

/// Which answer belongs to which request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "RequestId"))]
pub enum Id {
    Number(i64),
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(number) => write!(f, "{number}"),
            Id::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// What came.
#[derive(Debug)]
pub enum Message<'a> {
    Request {
        id: Id,
        method: String,
        params: Params<'a>,
    },
    Notification {
        method: String,
        params: Params<'a>,
    },
    Response {
        id: Id,
        outcome: Result<&'a RawValue, ErrorObject>,
    },
    /// The answer to something whose id could not be read; it is nobody's.
    Stray,
}

/// The parameters as they came: an object, or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Params<'a>(Option<&'a RawValue>);

/// `error` of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorObject {
    pub code: i64,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Why a frame is no message, and what to answer.
#[derive(Debug, PartialEq)]
pub struct NotAMessage {
    pub id: Option<Id>,
    pub error: ErrorObject,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    jsonrpc: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    error: Option<ErrorObject>,
}

/// `null` is something that is there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

impl<'a> Message<'a> {
    /// # Errors
    ///
    /// The frame is no message: the answer says why.
    pub fn parse(frame: &'a [u8]) -> Result<Message<'a>, Box<NotAMessage>> {
        let refused = |code, message: String, id| {
            let error = ErrorObject::new(code, message);
            Box::new(NotAMessage { id, error })
        };
        if frame.trim_ascii_start().first() == Some(&b'[') {
            let message = "batches are not taken: send each message by itself".to_owned();
            return Err(refused(code::INVALID_REQUEST, message, None));
        }
        let envelope: Envelope<'a> = serde_json::from_slice(frame).map_err(|error| {
            let is_data = error.is_data();
            let code = if is_data {
                code::INVALID_REQUEST
            } else {
                code::PARSE_ERROR
            };
            refused(code, format!("not a JSON-RPC message: {error}"), None)
        })?;
        let id = match envelope.id.map(Id::parse) {
            None => None,
            Some(Ok(id)) => Some(id),
            // The answer to what could not be understood has no other id.
            Some(Err(())) if envelope.method.is_none() && envelope.error.is_some() => {
                return Ok(Message::Stray);
            }
            Some(Err(())) => {
                let message = format!("`id` is an integer or a text of up to {ID_LEN_MAX} bytes");
                return Err(refused(code::INVALID_REQUEST, message, None));
            }
        };
        // An answer has the id of the kernel's question, under which a request of the peer's own may be under way.
        let is_request = envelope.method.is_some();
        let invalid = |message: &str| {
            let id = id.clone().filter(|_| is_request);
            refused(code::INVALID_REQUEST, message.to_owned(), id)
        };
        if envelope.jsonrpc.as_deref() != Some("2.0") {
            return Err(invalid("`jsonrpc` must be \"2.0\""));
        }
        let params = Params(envelope.params);
        if envelope.method.is_some() && !params.is_object() {
            return Err(refused(
                code::INVALID_PARAMS,
                "`params` is an object, with members by name".to_owned(),
                id,
            ));
        }
        match (envelope.method, &id, envelope.result, envelope.error) {
            (Some(method), Some(id), None, None) => Ok(Message::Request {
                id: id.clone(),
                method,
                params,
            }),
            (Some(method), None, None, None) => Ok(Message::Notification { method, params }),
            (None, Some(id), Some(result), None) => Ok(Message::Response {
                id: id.clone(),
                outcome: Ok(result),
            }),
            (None, Some(id), None, Some(error)) => Ok(Message::Response {
                id: id.clone(),
                outcome: Err(error),
            }),
            _ => Err(invalid(
                "neither a request (`method`) nor an answer (`id` and one of `result` and `error`)",
            )),
        }
    }
}

impl Id {
    fn parse(text: &RawValue) -> Result<Id, ()> {
        match serde_json::from_str(text.get()) {
            Ok(Id::Text(text)) if text.len() > ID_LEN_MAX => Err(()),
            Ok(id) => Ok(id),
            Err(_) => Err(()),
        }
    }
}

impl<'a> Params<'a> {
    fn is_object(self) -> bool {
        self.text().starts_with('{')
    }

    /// The JSON of the object; `{}` where there is none. Clients of the Language Server Protocol send `null` for that.
    pub fn text(self) -> &'a str {
        let text = self.0.map_or("{}", RawValue::get);
        if text == "null" { "{}" } else { text }
    }

    /// # Errors
    ///
    /// Parameters of another form: serde's text names the member.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, ErrorObject> {
        serde_json::from_str(self.text())
            .map_err(|error| ErrorObject::new(code::INVALID_PARAMS, format!("`params`: {error}")))
    }
}

impl ErrorObject {
    pub fn new(code: i64, message: impl Into<String>) -> ErrorObject {
        ErrorObject {
            code,
            message: message.into(),
            data: None,
        }
    }

    pub fn with_data(self, data: Value) -> ErrorObject {
        ErrorObject {
            data: Some(data),
            ..self
        }
    }
}

/// `params` may be any value that serializes to an object.
pub(crate) fn notification(method: &str, params: &impl Serialize) -> Frame {
    #[derive(Serialize)]
    struct Notification<'a, P> {
        jsonrpc: &'static str,
        method: &'a str,
        params: &'a P,
    }
    framed(&Notification {
        jsonrpc: "2.0",
        method,
        params,
    })
}

pub(crate) fn request(id: i64, method: &str, params: &impl Serialize) -> Frame {
    #[derive(Serialize)]
    struct Request<'a, P> {
        jsonrpc: &'static str,
        id: i64,
        method: &'a str,
        params: &'a P,
    }
    framed(&Request {
        jsonrpc: "2.0",
        id,
        method,
        params,
    })
}

/// The answer to `id`; `None` where it could not be read.
pub(crate) fn response(id: Option<&Id>, outcome: &Result<Box<RawValue>, ErrorObject>) -> Frame {
    #[derive(Serialize)]
    struct Response<'a> {
        jsonrpc: &'static str,
        id: Option<&'a Id>,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a ErrorObject>,
    }
    let response = |outcome: &Result<Box<RawValue>, ErrorObject>| {
        json(&Response {
            jsonrpc: "2.0",
            id,
            result: outcome.as_ref().ok().map(|result| &**result),
            error: outcome.as_ref().err(),
        })
    };
    let body = response(outcome);
    if body.len() <= BODY_LEN_MAX {
        return frame::encode(&body);
    }
    let error = ErrorObject::new(
        code::INTERNAL_ERROR,
        format!("the result is longer than a message may be, {BODY_LEN_MAX} bytes"),
    );
    frame::encode(&response(&Err(error)))
}

fn framed(message: &impl Serialize) -> Frame {
    frame::encode(&json(message))
}

fn json(message: &impl Serialize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec(message).expect("the bridge's own values are plain JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a frame is, in short.
    fn shown(frame: &str) -> String {
        match Message::parse(frame.as_bytes()) {
            Ok(Message::Request { id, method, params }) => {
                format!("request {id} {method} {}", params.text())
            }
            Ok(Message::Notification { method, params }) => {
                format!("notification {method} {}", params.text())
            }
            Ok(Message::Response {
                id,
                outcome: Ok(result),
            }) => format!("result {id} {result}"),
            Ok(Message::Response {
                id,
                outcome: Err(error),
            }) => {
                format!("error {id} {}", error.code)
            }
            Ok(Message::Stray) => "stray".to_owned(),
            Err(refused) => format!("{:?} {}", refused.id, refused.error.code),
        }
    }

    #[test]
    fn messages_are_told_apart() {
        for (frame, expect) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#, "request 1 m {}"),
            (
                r#" {"jsonrpc":"2.0","id":"a","method":"m","params":{"x":[1]}}"#,
                r#"request "a" m {"x":[1]}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"m","params":{}}"#,
                "notification m {}",
            ),
            (
                r#"{"jsonrpc":"2.0","id":2,"method":"m","params":null}"#,
                "request 2 m {}",
            ),
            (r#"{"jsonrpc":"2.0","id":2,"result":null}"#, "result 2 null"),
            (
                r#"{"jsonrpc":"2.0","id":2,"result":{"a":1},"later":1}"#,
                r#"result 2 {"a":1}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":2,"error":{"code":-1,"message":"x","data":[]}}"#,
                "error 2 -1",
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"x"}}"#,
                "stray",
            ),
        ] {
            assert_eq!(shown(frame), expect, "{frame}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_a_requests_id() {
        let long = format!(
            r#"{{"jsonrpc":"2.0","id":"{}","method":"m"}}"#,
            "a".repeat(257)
        );
        for (frame, expect) in [
            ("", "None -32700"),
            ("{", "None -32700"),
            ("{}x", "None -32700"),
            ("\u{0}", "None -32700"),
            ("1", "None -32600"),
            ("null", "None -32600"),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"m"}]"#, "None -32600"),
            (
                r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#,
                "Some(Number(1)) -32600",
            ),
            (r#"{"id":1,"method":"m"}"#, "Some(Number(1)) -32600"),
            (
                r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#,
                "None -32600",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"m","method":"n"}"#,
                "None -32600",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "None -32600"),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"m"}"#, "None -32600"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, "None -32600"),
            (r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#, "None -32600"),
            (&long, "None -32600"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"m","params":[]}"#,
                "Some(Number(1)) -32602",
            ),
            (r#"{"jsonrpc":"2.0","id":1}"#, "None -32600"),
            (r#"{"jsonrpc":"2.0","result":1}"#, "None -32600"),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}}"#,
                "None -32600",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"m","result":1}"#,
                "Some(Number(1)) -32600",
            ),
        ] {
            assert_eq!(shown(frame), expect, "{frame}");
        }
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{}{}}}"#,
            r#"{"a":"#.repeat(10_000),
            "}".repeat(10_000)
        );
        assert_eq!(shown(&deep), "None -32700", "deeper than anyone means it");
    }

    #[test]
    fn an_answer_that_is_too_long_becomes_an_error() {
        let long = RawValue::from_string(format!("\"{}\"", "a".repeat(BODY_LEN_MAX))).unwrap();
        let frame = response(Some(&Id::Number(7)), &Ok(long));
        let text = String::from_utf8(frame.to_vec()).unwrap();
        assert!(
            text.len() < 500 && text.contains(r#""id":7,"error":{"code":-32603"#),
            "{text}"
        );
    }
}
