//! What the module and the loopback both touch of one request.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use midplane_abi::{Request, Status, status};
use tokio::sync::Notify;

use super::socket::Socket;
use crate::testing::SessionBuilder;

static CALLS: Mutex<Option<HashMap<u64, Arc<Call>>>> = Mutex::new(None);
static NEXT: AtomicU64 = AtomicU64::new(1);

pub(super) struct Call {
    state: Mutex<State>,
    /// For the task's driver.
    pub(super) changed: Notify,
    /// For the client of a WebSocket.
    pub(super) told: Notify,
}

#[derive(Default)]
pub(super) struct State {
    /// There when the request is a WebSocket's handshake.
    pub(super) socket: Option<Socket>,
    pub(super) input: VecDeque<Bytes>,
    pub(super) input_ended: bool,
    pub(super) head: Option<(StatusCode, HeaderMap)>,
    pub(super) output: VecDeque<Bytes>,
    pub(super) output_len: usize,
    pub(super) secret: Option<String>,
    pub(super) refreshed: Option<std::result::Result<String, String>>,
}

impl Call {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
/// Names requests, instances and their directories; none twice.
pub(super) fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(super) fn register(session: &SessionBuilder) -> (Request, Arc<Call>) {
    let call = Arc::new(Call {
        state: Mutex::new(State {
            secret: session.secret.clone(),
            refreshed: session.refreshed.clone(),
            ..State::default()
        }),
        changed: Notify::new(),
        told: Notify::new(),
    });
    let request = next_number();
    calls(|calls| calls.insert(request, Arc::clone(&call)));
    (Request(request), call)
}

fn calls<T>(act: impl FnOnce(&mut HashMap<u64, Arc<Call>>) -> T) -> T {
    act(CALLS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default())
}

pub(super) fn with_call(request: Request, act: impl FnOnce(&Call, &mut State) -> Status) -> Status {
    match calls(|calls| calls.get(&request.0).cloned()) {
        Some(call) => act(&call, &mut call.state()),
        None => status::GONE,
    }
}

/// From here on the request is gone for the module.
pub(super) fn forget(request: Request) {
    calls(|calls| calls.remove(&request.0));
}
