//! The messages between the kernel and a module process.
//!
//! Both sides are the same program, so that there is one version of each message, and none is kept. What comes from a module
//! process is a claim all the same: the kernel checks every handle, length and order.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::confine::{Confinement, Report};
use crate::modules::grants::Grants;
use crate::modules::metrics::Changes;

/// A request lane's frame at most: the longest head that `[limits] header_bytes` allows, with the session that goes with it.
pub(crate) const REQUEST_FRAME_LEN_MAX: usize = 2 * 1024 * 1024;
/// Beside the state that is handed over: the module's OpenAPI document and its configuration.
pub(crate) const CONTROL_FRAME_LEN_MAX: usize = 8 * 1024 * 1024;

/// What the kernel tells a module process on its control lane. Each is answered once, but [`Order::LogLevel`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Open(Box<Open>),
    Init,
    Restore(Option<State>),
    Probe,
    /// What is under way may go on for this long.
    Quiesce(Duration),
    Save,
    End,
    LogLevel(u32),
}

/// Everything that a module process has to know before it opens the library.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) name: String,
    pub(crate) generation: u64,
    /// Its `library` is the private copy; `None`: the last of the descriptors that were sent is.
    pub(crate) confinement: Confinement,
    /// A JSON object.
    pub(crate) config: String,
    /// For files of the module's own.
    pub(crate) grants: Grants,
    pub(crate) lanes: usize,
    pub(crate) body_bytes_max: u64,
    pub(crate) state_bytes_max: usize,
    pub(crate) log_level: u32,
}

/// State that one generation hands over to the next.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) schema: u32,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
}

/// What a module process says on its control lane.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Notice<'a> {
    /// To the order of this number, counted from 0.
    Answer {
        order: u64,
        answer: Result<Answer, String>,
    },
    /// What is in force of its confinement: said before any of the module's code has run.
    Confined(Report),
    Line(Line<'a>),
    /// What the module has counted since the last of these.
    Counted(Changes),
    SlowPoll {
        route: &'a str,
        request_id: &'a str,
        poll_ns: u64,
    },
    /// The module asked for a secret without the grant.
    Denied {
        request_id: &'a str,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Instance(Facts),
    Ready(Ready),
    Saved(Option<State>),
}

/// What an instance says of itself.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) needs_secret: bool,
    pub(crate) checks_sessions: bool,
    pub(crate) saves: bool,
}

/// What an instance that can serve has declared.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) openapi: Option<String>,
    /// Pattern and bytes.
    pub(crate) body_limits: Vec<(String, u64)>,
}

/// A log line of the module's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line<'a> {
    /// Of `midplane_abi::level`.
    pub(crate) level: u32,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) target: &'a str,
    pub(crate) message: &'a str,
    /// A JSON object.
    pub(crate) fields: Option<&'a str>,
}

/// What the kernel tells a module process on a request lane. `request` is the handle of the request in the kernel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToModule<'a> {
    #[serde(borrow)]
    Begin(Begin<'a>),
    Check {
        request: u64,
        request_id: &'a str,
        session: SessionView<'a>,
    },
    Body {
        request: u64,
        #[serde(with = "serde_bytes")]
        bytes: &'a [u8],
    },
    BodyEnd {
        request: u64,
        end: BodyEnd,
    },
    /// The client has taken so many bytes of the answer.
    Credit {
        request: u64,
        bytes: usize,
    },
    Refreshed {
        request: u64,
        /// The new secret, or why there is none.
        outcome: Result<&'a str, &'a str>,
    },
    /// The secret has changed: the requests that have it ask for it at its next use.
    Forget {
        secret_key_id: &'a str,
    },
    /// A message of the client's, or a piece of one.
    Message {
        request: u64,
        text: bool,
        #[serde(with = "serde_bytes")]
        bytes: &'a [u8],
        last: bool,
    },
    /// The socket is closed.
    SocketEnd {
        request: u64,
        code: u16,
        reason: &'a str,
    },
    /// Nobody waits for the answer any more.
    Cancel {
        request: u64,
    },
    /// The head of an answer to a call.
    CallHead {
        call: u64,
        status: u16,
        #[serde(borrow)]
        headers: Vec<(&'a str, Field<'a>)>,
    },
    CallBytes {
        call: u64,
        #[serde(with = "serde_bytes")]
        bytes: &'a [u8],
    },
    /// The answer is whole.
    CallEnd {
        call: u64,
    },
    /// There is no answer, or no more of it, and why: of `midplane_abi::status`.
    CallFailed {
        call: u64,
        why: i32,
    },
    /// So much of the call's body was taken.
    CallRoom {
        call: u64,
        bytes: usize,
    },
    /// Nobody reads the call's body any more.
    CallBodyUnread {
        call: u64,
    },
    /// Answered at once by a lane that is not held up.
    Ping,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum BodyEnd {
    Whole,
    TooLarge,
    Disconnected,
}

/// A request's head.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begin<'a> {
    pub(crate) request: u64,
    pub(crate) method: &'a str,
    /// Below the module's prefix.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) headers: Vec<(&'a str, Field<'a>)>,
    pub(crate) request_id: &'a str,
    pub(crate) session: Option<SessionView<'a>>,
    /// 0: there is no body.
    pub(crate) content_length: Option<u64>,
    #[serde(borrow)]
    pub(crate) offer: Option<Offer<'a>>,
    /// The module that makes it, and its generation.
    pub(crate) caller: Option<(&'a str, u64)>,
}

/// What a WebSocket's handshake offers the module.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Offer<'a> {
    /// Values of `Sec-WebSocket-Protocol`.
    #[serde(borrow)]
    pub(crate) protocols: Vec<Field<'a>>,
    pub(crate) message_len_max: usize,
}

/// The value of a header field.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Field<'a>(#[serde(with = "serde_bytes")] pub(crate) &'a [u8]);

/// The session that a request acts for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionView<'a> {
    pub(crate) id: &'a str,
    pub(crate) user: &'a str,
    pub(crate) scope: &'a str,
    /// A JSON object.
    pub(crate) metadata: &'a str,
    pub(crate) environment: &'a str,
    pub(crate) secret_key_id: Option<&'a str>,
    /// Only for a module that was granted it.
    pub(crate) secret: Option<&'a str>,
    /// Unix seconds.
    pub(crate) expires_at: u64,
}

/// What a module process says on a request lane.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromModule<'a> {
    /// The head of an answer, and its body if that is whole.
    Head {
        request: u64,
        status: u16,
        #[serde(borrow)]
        headers: Vec<(&'a str, Field<'a>)>,
        #[serde(borrow)]
        whole: Option<Field<'a>>,
    },
    Bytes {
        request: u64,
        #[serde(with = "serde_bytes")]
        bytes: &'a [u8],
    },
    /// The answer is whole.
    End {
        request: u64,
    },
    /// The module takes a WebSocket's handshake.
    Accept {
        request: u64,
        #[serde(borrow)]
        protocol: Option<Field<'a>>,
        #[serde(borrow)]
        headers: Vec<(&'a str, Field<'a>)>,
        message_len_max: usize,
    },
    /// A message of the module's, or a piece of one.
    Message {
        request: u64,
        text: bool,
        #[serde(with = "serde_bytes")]
        bytes: &'a [u8],
        last: bool,
    },
    /// The module closes the socket.
    Close {
        request: u64,
        code: u16,
        reason: &'a str,
    },
    /// The module has taken messages of this cost.
    Room {
        request: u64,
        bytes: usize,
    },
    /// The module waits for more of the body.
    Want {
        request: u64,
    },
    /// The module asks for the session's secret anew.
    Refresh {
        request: u64,
    },
    /// The module calls another.
    #[serde(borrow)]
    Call(CallBegin<'a>),
    CallBody {
        call: u64,
        #[serde(with = "serde_bytes")]
        bytes: &'a [u8],
    },
    CallBodyEnd {
        call: u64,
        end: BodyEnd,
    },
    /// So much of the answer to a call was taken.
    CallRoom {
        call: u64,
        bytes: usize,
    },
    /// The module called another without the grant.
    CallDenied {
        module: &'a str,
    },
    /// The module wants nothing of a call any more.
    CallForget {
        call: u64,
    },
    /// The module has finished with the request.
    Done {
        request: u64,
        outcome: Outcome<'a>,
        /// Spent in the module's code.
        poll_ns: u64,
    },
    Pong,
}

/// The head of a call to another module.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CallBegin<'a> {
    /// Of the module process's own.
    pub(crate) call: u64,
    /// The request in which it is made, by the kernel's handle.
    pub(crate) request: Option<u64>,
    pub(crate) for_session: bool,
    pub(crate) module: &'a str,
    pub(crate) method: &'a str,
    /// Below that module's prefix.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) headers: Vec<(&'a str, Field<'a>)>,
    /// 0: there is no body.
    pub(crate) content_length: Option<u64>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Outcome<'a> {
    Ready,
    Failed(&'a str),
    Panicked(&'a str),
}

/// A frame has room for it.
pub(crate) const PIECE_LEN_MAX: usize = 512 * 1024;
/// What the smallest message takes of a window: empty ones are not free.
const MESSAGE_COST_MIN: usize = 4 * 1024;

/// What a message of this length takes of a window.
pub(crate) fn socket_cost(len: usize) -> usize {
    len.max(MESSAGE_COST_MIN)
}

/// A message in pieces that fit into a frame each, and whether each is the last.
pub(crate) fn pieces(bytes: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let count = bytes.len().div_ceil(PIECE_LEN_MAX).max(1);
    (0..count).map(move |number| {
        let start = number * PIECE_LEN_MAX;
        let end = bytes.len().min(start + PIECE_LEN_MAX);
        (&bytes[start..end], number + 1 == count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_into_pieces_and_only_one_is_the_last() {
        for (len, expect) in [
            (0, vec![0]),
            (1, vec![1]),
            (PIECE_LEN_MAX, vec![PIECE_LEN_MAX]),
            (PIECE_LEN_MAX + 1, vec![PIECE_LEN_MAX, 1]),
            (2 * PIECE_LEN_MAX, vec![PIECE_LEN_MAX; 2]),
        ] {
            let message = vec![7; len];
            let cut: Vec<_> = pieces(&message).collect();
            let lens: Vec<_> = cut.iter().map(|(bytes, _)| bytes.len()).collect();
            assert_eq!(lens, expect, "{len}");
            let lasts = cut.iter().filter(|(_, last)| *last).count();
            assert!(lasts == 1 && cut.last().is_some_and(|(_, last)| *last));
        }
    }
}
