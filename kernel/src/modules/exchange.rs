//! The state of one request that kernel and module both touch, found by handle.
//!
//! A handle is a slot's index and its incarnation. The module may call with any number, from any thread, at any time: a
//! handle whose incarnation is over finds nothing. Host calls only put down what they ask for here; the executor carries it
//! out after the module's `poll` has returned.

pub(crate) mod socket;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use midplane_abi::Request;

use crate::secrets::SecretError;
use crate::session::Session;
use crate::watchdog::held_by::HeldBy;

use self::socket::Socket;
use super::calls::{self, Outgoing};
use super::generation::Generation;
use super::instance::Outcome;

/// How much of a request body waits for the module: what it reads at once. More is left in the socket.
pub(crate) const INPUT_WINDOW_LEN: usize = 64 * 1024;
/// How much of a response body waits for the client before the module is told to stop. One poll's worth.
pub(crate) const OUTPUT_WINDOW_LEN: usize = 64 * 1024;
/// How much of a request's path is kept to tell it by.
const ROUTE_LEN_MAX: usize = 128;
/// As many as a request may have (`[limits] header_fields`).
pub(crate) const RESPONSE_HEADERS_MAX: usize = 100;
/// A buffer that grew over this is not kept for a slot's next request.
const KEPT_LEN: usize = OUTPUT_WINDOW_LEN / 2;
/// Slots are allocated this many at a time and never given back: the pages are reused.
const CHUNK_LEN: usize = 256;
/// 64 chunks are 16,384 requests at once, over the sum of what the connection limit lets in.
const CHUNKS_MAX: usize = 64;

static TABLE: Table = Table {
    chunks: [const { OnceLock::new() }; CHUNKS_MAX],
    free: Mutex::new(Free {
        slots: Vec::new(),
        chunks: 0,
    }),
};

struct Table {
    chunks: [OnceLock<Box<[Slot]>>; CHUNKS_MAX],
    free: Mutex<Free>,
}

struct Free {
    slots: Vec<u32>,
    chunks: usize,
}

struct Slot(Mutex<Entry>);

struct Entry {
    /// Grows with every use; 0 is never used, so that no handle is 0.
    incarnation: u32,
    live: bool,
    exchange: Exchange,
}

/// What both sides touch. Reused by the slot's next incarnation, so that its buffers are.
#[derive(Default)]
pub(crate) struct Exchange {
    /// Of the task that serves the request.
    pub(crate) waker: Option<Waker>,
    /// The module asked to be polled.
    pub(crate) woken: bool,
    /// The module's `poll` is on a stack: what it asks for is looked at when it returns. What one of its own threads asks
    /// for at another time has to wake the task.
    pub(crate) polling: bool,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) context: Option<Context>,
    pub(crate) refresh: Refresh,
    /// How a task in another process has ended, until it is looked at.
    pub(crate) finished: Option<Outcome>,
    /// What it asks of other modules.
    pub(crate) calls: Calls,
    /// There when the request is a WebSocket's handshake.
    pub(crate) socket: Option<Box<Socket>>,
    /// For people: method and path without the query, cut to [`ROUTE_LEN_MAX`].
    route: String,
}

/// For whom the request acts, and in which module.
pub(crate) struct Context {
    pub(crate) generation: Arc<Generation>,
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) request_id: HeaderValue,
}

/// Calls to other modules that are made in a request.
#[derive(Default)]
pub(crate) struct Calls {
    /// Not started yet.
    #[expect(clippy::vec_box, reason = "each is handed on as it is, and is large")]
    pub(crate) wanted: Vec<Box<Outgoing>>,
    /// Those that end with the request.
    pub(crate) bound: Vec<midplane_abi::Call>,
    /// No more are started.
    pub(crate) closed: bool,
}

impl Calls {
    /// Gives up what has not started. What is returned has to be dropped outside the lock.
    #[expect(clippy::vec_box, reason = "as in `wanted`")]
    #[must_use]
    pub(crate) fn close(&mut self) -> Vec<Box<Outgoing>> {
        self.closed = true;
        std::mem::take(&mut self.wanted)
    }
}

/// The request body on its way in.
#[derive(Default)]
pub(crate) struct Input {
    pub(crate) chunks: VecDeque<Bytes>,
    pub(crate) len: usize,
    pub(crate) end: InputEnd,
    /// The module found nothing and waits.
    pub(crate) wanted: bool,
    /// A first window may be read before the module asks, since asking takes a while.
    pub(crate) ahead: bool,
    /// What another process has taken of a socket's messages, in the window's measure.
    pub(crate) granted: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InputEnd {
    #[default]
    Open,
    Whole,
    TooLarge,
    Disconnected,
}

/// The response on its way out.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) head: Option<Head>,
    /// The head was put down, whether or not it has been taken.
    pub(crate) started: bool,
    pub(crate) bytes: BytesMut,
    pub(crate) ended: bool,
    /// The module was told to stop until there is room.
    pub(crate) full: bool,
    /// How many bytes another process has sent of it.
    pub(crate) received: usize,
}

pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

impl Head {
    /// `None` when the status or a field is not valid HTTP, or there are too many. Fields that belong to the connection or to
    /// the kernel are left out (RFC 9110 section 7.6.1).
    pub(crate) fn new<'a>(
        code: u16,
        fields: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Option<Head> {
        // An interim status would end the exchange before the answer.
        let status = StatusCode::from_u16(code)
            .ok()
            .filter(|status| !status.is_informational())?;
        let mut headers = header_map(fields)?;
        // The one upgrade that a module can take, which this status owes (RFC 9110 section 15.5.22).
        if status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        Some(Head { status, headers })
    }
}

/// Header fields of a module's; `None` when one is not valid HTTP, or there are too many. Those that belong to the connection
/// or to the kernel are left out.
pub(crate) fn header_map<'a>(
    fields: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
) -> Option<HeaderMap> {
    if fields.len() > RESPONSE_HEADERS_MAX {
        return None;
    }
    // Room for the two that the kernel adds.
    let mut headers = HeaderMap::with_capacity(fields.len() + 2);
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name).ok()?;
        if !is_connections_own(&name) {
            headers.append(name, HeaderValue::from_bytes(value).ok()?);
        }
    }
    Some(headers)
}

fn is_connections_own(name: &HeaderName) -> bool {
    use http::header::{PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING};
    [
        CONNECTION,
        PROXY_AUTHENTICATE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(name)
        || matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "x-request-id" | "x-midplane-module"
        )
}

/// How far asking the secret's source again has come.
#[derive(Default)]
pub(crate) enum Refresh {
    #[default]
    Idle,
    /// The module asks; the executor has not started yet.
    Wanted,
    Running,
    Done(Result<(), SecretError>),
}

/// The kernel's hold on a live exchange; dropping it ends the incarnation.
pub(crate) struct Lease {
    index: u32,
    incarnation: u32,
}

impl Lease {
    /// A lease on nothing, to leave behind where a lease moves on.
    pub(crate) const fn nothing() -> Lease {
        Lease {
            index: u32::MAX,
            incarnation: 0,
        }
    }

    /// `None` when every slot is taken. `method` and `path` are for people.
    pub(crate) fn new(context: Context, method: &str, path: &str) -> Option<Lease> {
        let index = TABLE.take()?;
        let mut entry = TABLE.slot(index)?.lock();
        entry.incarnation += 1;
        entry.live = true;
        entry.exchange.context = Some(context);
        let route = &mut entry.exchange.route;
        route.clear();
        route.push_str(method);
        route.push(' ');
        route.push_str(&path[..path.floor_char_boundary(ROUTE_LEN_MAX)]);
        Some(Lease {
            index,
            incarnation: entry.incarnation,
        })
    }

    /// Method and path, for people.
    pub(crate) fn route(&self) -> String {
        self.lock().route.clone()
    }

    pub(crate) fn handle(&self) -> Request {
        Request(u64::from(self.incarnation) << 32 | u64::from(self.index))
    }

    pub(crate) fn lock(&self) -> Guard<'static> {
        Guard(TABLE.slot(self.index).expect("a lease is on a slot").lock())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.incarnation == 0 {
            return;
        }
        let (ending, bound) = {
            let mut guard = self.lock();
            let entry = &mut *guard.0;
            entry.live = false;
            let exchange = &mut entry.exchange;
            exchange.waker = None;
            exchange.woken = false;
            exchange.polling = false;
            exchange.input.chunks.clear();
            exchange.input.len = 0;
            exchange.input.end = InputEnd::Open;
            exchange.input.wanted = false;
            exchange.input.ahead = false;
            exchange.input.granted = 0;
            exchange.output.head = None;
            exchange.output.started = false;
            if exchange.output.bytes.capacity() > KEPT_LEN {
                exchange.output.bytes = BytesMut::new();
            } else {
                exchange.output.bytes.clear();
            }
            exchange.output.ended = false;
            exchange.output.full = false;
            exchange.output.received = 0;
            exchange.refresh = Refresh::Idle;
            exchange.finished = None;
            let wanted = exchange.calls.close();
            exchange.calls.closed = false;
            let bound = std::mem::take(&mut exchange.calls.bound);
            let ending = (exchange.context.take(), exchange.socket.take(), wanted);
            (ending, bound)
        };
        // Outside the lock: it may be the generation's last.
        drop(ending);
        for call in bound {
            if let Some(call) = calls::open::find(call) {
                call.end_with_request();
            }
        }
        // A slot whose incarnations are used up is not used again, so that no old handle ever fits a new request.
        if self.incarnation != u32::MAX {
            TABLE
                .free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .slots
                .push(self.index);
        }
    }
}

/// Looks a handle up; `None` when it is dead or was never one.
pub(crate) fn find(handle: Request) -> Option<Guard<'static>> {
    let index = (handle.0 & u64::from(u32::MAX)) as u32;
    let incarnation = (handle.0 >> 32) as u32;
    let entry = TABLE.slot(index)?.lock();
    (entry.live && entry.incarnation == incarnation).then(|| Guard(entry))
}

/// Method and path of a live request, for people.
pub(crate) fn route_of(handle: Request) -> Option<String> {
    find(handle).map(|exchange| exchange.route.clone())
}

/// Whose a request is, and what, for people; `None` when its handle is dead, or somebody else looks at it just now.
pub(crate) fn try_describe(handle: Request) -> Option<(Arc<Generation>, HeldBy)> {
    let index = (handle.0 & u64::from(u32::MAX)) as u32;
    let incarnation = (handle.0 >> 32) as u32;
    let entry = match TABLE.slot(index)?.0.try_lock() {
        Ok(entry) => entry,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return None,
    };
    if !entry.live || entry.incarnation != incarnation {
        return None;
    }
    let context = entry.exchange.context.as_ref()?;
    let held_by = HeldBy {
        module: context.generation.name.to_string(),
        generation: context.generation.number,
        route: entry.exchange.route.clone(),
        request_id: context.request_id.to_str().unwrap_or_default().to_owned(),
    };
    Some((Arc::clone(&context.generation), held_by))
}

impl Exchange {
    /// Whom to wake for what the module asks for now: nobody while it is being polled.
    pub(crate) fn waker_outside_poll(&self) -> Option<Waker> {
        if self.polling {
            None
        } else {
            self.waker.clone()
        }
    }
}

/// A locked live exchange. Never held across a call into a module.
pub(crate) struct Guard<'a>(MutexGuard<'a, Entry>);

impl std::ops::Deref for Guard<'_> {
    type Target = Exchange;
    fn deref(&self) -> &Exchange {
        &self.0.exchange
    }
}

impl std::ops::DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Exchange {
        &mut self.0.exchange
    }
}

impl Table {
    fn slot(&self, index: u32) -> Option<&Slot> {
        let index = index as usize;
        self.chunks
            .get(index / CHUNK_LEN)?
            .get()?
            .get(index % CHUNK_LEN)
    }

    fn take(&self) -> Option<u32> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = free.slots.pop() {
            return Some(index);
        }
        let chunk = self.chunks.get(free.chunks)?;
        let first = u32::try_from(free.chunks * CHUNK_LEN).expect("a small number");
        let last = first + u32::try_from(CHUNK_LEN).expect("a small number");
        chunk.get_or_init(|| {
            let empty = || {
                Slot(Mutex::new(Entry {
                    incarnation: 0,
                    live: false,
                    exchange: Exchange::default(),
                }))
            };
            std::iter::repeat_with(empty).take(CHUNK_LEN).collect()
        });
        free.chunks += 1;
        free.slots.extend((first + 1..last).rev());
        Some(first)
    }
}

impl Slot {
    /// A panic of ours under the lock leaves at worst one request's state half written, and that request fails.
    fn lock(&self) -> MutexGuard<'_, Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
