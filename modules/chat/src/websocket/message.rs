//! The messages of the socket as data: what a client sends, and what it is sent.

use std::sync::Arc;

use midplane_sdk::Problem;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::protocol::event::Event;

/// A UUID, with some room; every answer repeats it.
pub(super) const ID_BYTES_MAX: usize = 64;

/// Of a request, chosen by the client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Id(Arc<str>);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The message is the request, too.
    Request {
        id: Id,
    },
    Cancel {
        id: Id,
    },
}

#[derive(Debug)]
pub(super) struct Answer {
    /// None where the message had none that could be read.
    pub(super) id: Option<Id>,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Event(Box<Event>),
    Result(Value),
    Problem(Problem),
    End(End),
}

/// How a stream of events ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum End {
    Complete,
    Cancelled,
}

pub(super) fn read(text: &str) -> Result<Incoming, serde_json::Error> {
    #[derive(Deserialize)]
    struct Envelope {
        id: Id,
        r#type: String,
    }
    let Envelope { id, r#type } = serde_json::from_str(text)?;
    Ok(match r#type.as_str() {
        "cancel" => Incoming::Cancel { id },
        _ => Incoming::Request { id },
    })
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.len() > ID_BYTES_MAX {
            return Err(D::Error::custom(format!("`id` has {} bytes", text.len())));
        }
        Ok(Id(text.into()))
    }
}

impl Answer {
    pub(super) fn is_last(&self) -> bool {
        self.content.is_last()
    }

    pub(super) fn to_text(&self) -> String {
        #[derive(Serialize)]
        struct Written<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: &'a Option<Id>,
            #[serde(flatten)]
            content: Member<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "lowercase")]
        enum Member<'a> {
            Event(&'a Event),
            Result(&'a Value),
            Problem(Value),
            End(End),
        }
        let content = match &self.content {
            Content::Event(event) => Member::Event(event),
            Content::Result(result) => Member::Result(result),
            Content::Problem(problem) => Member::Problem(problem.to_json()),
            Content::End(end) => Member::End(*end),
        };
        let written = Written {
            id: &self.id,
            content,
        };
        serde_json::to_string(&written).expect("the protocol's types have string keys only")
    }
}

impl Content {
    /// Whether nothing of this request follows.
    pub(super) fn is_last(&self) -> bool {
        !matches!(self, Content::Event(_))
    }
}
