//! The part of the loopback that is calls to other modules: a function of the test's answers them.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io::{PipeWriter, Write as _};
use std::os::fd::IntoRawFd as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use midplane_abi::{Call, CallApi, CallHead, Request, Slice, Status, status};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::exchange::with_call;
use super::host::header_map;
use super::stream_of;

/// Each way, as the kernel's.
const WINDOW_LEN: usize = 64 * 1024;

/// Answers the calls of a module under test: the name of the module that is called, and the request.
pub(crate) type Answerer =
    Arc<dyn Fn(String, http::Request<Body>) -> Answering + Send + Sync + 'static>;
pub(crate) type Answering = Pin<Box<dyn Future<Output = http::Response<Body>> + Send>>;

static OWNERS: Mutex<Option<HashMap<u64, Owner>>> = Mutex::new(None);
static CALLS: Mutex<Option<HashMap<u64, Arc<Open>>>> = Mutex::new(None);
static NEXT: AtomicU64 = AtomicU64::new(1);

/// An instance under test.
struct Owner {
    answerer: Answerer,
    /// Where the test runs.
    runtime: Handle,
    pipe: Option<PipeWriter>,
    news: Vec<u64>,
}

struct Open {
    owner: u64,
    state: Mutex<State>,
    /// For whoever answers: there is room.
    room: Notify,
    answering: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct State {
    body: VecDeque<Bytes>,
    body_len: usize,
    body_ended: bool,
    /// Of the body.
    reader: Option<Waker>,
    head: Option<(StatusCode, HeaderMap)>,
    answer: VecDeque<Bytes>,
    answer_len: usize,
    end: Option<Status>,
    waiter: Option<u64>,
}

pub(super) static TABLE: CallApi = CallApi {
    size: size_of::<CallApi>() as u32,
    flags: 0,
    start,
    body_write,
    body_end,
    response,
    body_read,
    forget,
    listen,
    news,
};

/// Has the calls of the instance `owner` answered by `answerer`, on the current runtime.
pub(super) fn register(owner: u64, answerer: Answerer) {
    let runtime = Handle::current();
    with_owners(|owners| {
        owners.insert(
            owner,
            Owner {
                answerer,
                runtime,
                pipe: None,
                news: Vec::new(),
            },
        )
    });
}

pub(super) fn unregister(owner: u64) {
    // Outside the lock: whatever the test's function holds goes with it.
    drop(with_owners(|owners| owners.remove(&owner)));
}

fn with_owners<T>(act: impl FnOnce(&mut HashMap<u64, Owner>) -> T) -> T {
    act(OWNERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default())
}

fn with_calls<T>(act: impl FnOnce(&mut HashMap<u64, Arc<Open>>) -> T) -> T {
    act(CALLS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default())
}

fn find(call: Call) -> Option<Arc<Open>> {
    with_calls(|calls| calls.get(&call.0).cloned())
}

impl Open {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, call: u64) {
        match self.state().waiter.take() {
            None => {}
            Some(0) => with_owners(|owners| {
                if let Some(owner) = owners.get_mut(&self.owner) {
                    owner.news.push(call);
                    if let Some(pipe) = &mut owner.pipe {
                        // The module may have ended.
                        let _ = pipe.write(&[1]);
                    }
                }
            }),
            Some(request) => {
                with_call(Request(request), |call, _state| {
                    call.changed.notify_one();
                    status::OK
                });
            }
        }
    }

    fn body(self: &Arc<Open>, call: u64) -> Body {
        let open = Arc::clone(self);
        Body::from_stream(stream_of(move |cx| {
            let mut state = open.state();
            if let Some(bytes) = state.body.pop_front() {
                state.body_len -= bytes.len();
                drop(state);
                open.tell(call);
                return Poll::Ready(Some(Ok::<_, std::convert::Infallible>(bytes)));
            }
            if state.body_ended {
                return Poll::Ready(None);
            }
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        }))
    }

    async fn answer(self: Arc<Open>, call: u64, response: http::Response<Body>) {
        let (head, mut body) = response.into_parts();
        self.state().head = Some((head.status, head.headers));
        self.tell(call);
        let end = loop {
            match body.frame().await {
                None => break status::END,
                Some(Err(_cut)) => break status::DISCONNECTED,
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else {
                        continue;
                    };
                    loop {
                        let changed = self.room.notified();
                        if self.state().answer_len < WINDOW_LEN {
                            break;
                        }
                        changed.await;
                    }
                    {
                        let mut state = self.state();
                        state.answer_len += bytes.len();
                        if !bytes.is_empty() {
                            state.answer.push_back(bytes);
                        }
                    }
                    self.tell(call);
                }
            }
        };
        self.state().end = Some(end);
        self.tell(call);
    }
}

unsafe extern "C" fn start(
    owner: u64,
    _request: Request,
    head: *const CallHead,
    out: *mut Call,
) -> Status {
    // SAFETY: borrowed for the call.
    let head = unsafe { &*head };
    // SAFETY: as above.
    let (module, method, path, query, headers) = unsafe {
        (
            head.module.bytes().unwrap_or_default(),
            head.method.bytes().unwrap_or_default(),
            head.path.bytes().unwrap_or_default(),
            head.query.bytes(),
            header_map(head.headers, head.headers_len),
        )
    };
    let module = String::from_utf8_lossy(module).into_owned();
    let mut target = path.to_vec();
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    let request = http::Request::builder().method(method).uri(target);
    let (Ok(mut request), Some(headers)) = (request.body(Body::empty()), headers) else {
        return status::INVALID;
    };
    *request.headers_mut() = headers;
    let found = with_owners(|owners| {
        let owner = owners.get(&owner)?;
        Some((Arc::clone(&owner.answerer), owner.runtime.clone()))
    });
    let Some((answerer, runtime)) = found else {
        return status::NOT_LOADED;
    };
    let call = NEXT.fetch_add(1, Ordering::Relaxed);
    let open = Arc::new(Open {
        owner,
        state: Mutex::default(),
        room: Notify::new(),
        answering: Mutex::default(),
    });
    if head.content_length != 0 {
        *request.body_mut() = open.body(call);
    }
    with_calls(|calls| calls.insert(call, Arc::clone(&open)));
    let answering = runtime.spawn({
        let open = Arc::clone(&open);
        async move {
            let response = answerer(module, request).await;
            open.answer(call, response).await;
        }
    });
    let mut slot = open
        .answering
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    *slot = Some(answering.abort_handle());
    // SAFETY: the caller's place for the handle.
    unsafe { out.write(Call(call)) };
    status::OK
}

unsafe extern "C" fn body_write(call: Call, waiter: Request, bytes: Slice) -> Status {
    let Some(open) = find(call) else {
        return status::GONE;
    };
    // SAFETY: borrowed for the call.
    let bytes = Bytes::copy_from_slice(unsafe { bytes.bytes() }.unwrap_or_default());
    let mut state = open.state();
    if state.body_len >= WINDOW_LEN {
        state.waiter = Some(waiter.0);
        return status::PENDING;
    }
    state.body_len += bytes.len();
    if !bytes.is_empty() {
        state.body.push_back(bytes);
    }
    let reader = state.reader.take();
    drop(state);
    reader.into_iter().for_each(Waker::wake);
    status::OK
}

unsafe extern "C" fn body_end(call: Call) -> Status {
    let Some(open) = find(call) else {
        return status::GONE;
    };
    let mut state = open.state();
    state.body_ended = true;
    let reader = state.reader.take();
    drop(state);
    reader.into_iter().for_each(Waker::wake);
    status::OK
}

unsafe extern "C" fn response(
    call: Call,
    waiter: Request,
    code: *mut u16,
    dst: *mut u8,
    cap: usize,
    len: *mut usize,
) -> Status {
    let Some(open) = find(call) else {
        return status::GONE;
    };
    let mut state = open.state();
    let Some((status_code, headers)) = state.head.take() else {
        state.waiter = Some(waiter.0);
        return status::PENDING;
    };
    let mut lines = Vec::new();
    for (name, value) in &headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            lines.extend_from_slice(part);
        }
    }
    // SAFETY: the caller's places for the status and the length.
    unsafe {
        code.write(status_code.as_u16());
        len.write(lines.len());
    }
    if lines.len() > cap {
        state.head = Some((status_code, headers));
        return status::TOO_SMALL;
    }
    // SAFETY: `dst` has room for `cap` bytes, and the lines are no longer.
    unsafe { std::ptr::copy_nonoverlapping(lines.as_ptr(), dst, lines.len()) };
    status::OK
}

unsafe extern "C" fn body_read(
    call: Call,
    waiter: Request,
    dst: *mut u8,
    cap: usize,
    len: *mut usize,
) -> Status {
    let Some(open) = find(call) else {
        return status::GONE;
    };
    let mut state = open.state();
    let Some(chunk) = state.answer.front_mut() else {
        return state.end.unwrap_or_else(|| {
            state.waiter = Some(waiter.0);
            status::PENDING
        });
    };
    let taken = chunk.split_to(cap.min(chunk.len()));
    if chunk.is_empty() {
        state.answer.pop_front();
    }
    state.answer_len -= taken.len();
    open.room.notify_one();
    // SAFETY: `dst` has room for `cap` bytes, and `taken` is no longer.
    unsafe { std::ptr::copy_nonoverlapping(taken.as_ptr(), dst, taken.len()) };
    // SAFETY: the caller's place for the length.
    unsafe { len.write(taken.len()) };
    status::OK
}

unsafe extern "C" fn forget(call: Call) -> Status {
    let Some(open) = with_calls(|calls| calls.remove(&call.0)) else {
        return status::GONE;
    };
    let answering = open
        .answering
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(answering) = &*answering {
        answering.abort();
    }
    status::OK
}

unsafe extern "C" fn listen(owner: u64, descriptor: *mut i32) -> Status {
    with_owners(|owners| {
        let Some(owner) = owners.get_mut(&owner) else {
            return status::GONE;
        };
        let Ok((reader, writer)) = std::io::pipe() else {
            return status::FAILED;
        };
        owner.pipe = Some(writer);
        // SAFETY: the caller's place for the descriptor, which is its own from here on.
        unsafe { descriptor.write(reader.into_raw_fd()) };
        status::OK
    })
}

unsafe extern "C" fn news(owner: u64, dst: *mut Call, cap: usize, len: *mut usize) -> Status {
    with_owners(|owners| {
        let Some(owner) = owners.get_mut(&owner) else {
            return status::GONE;
        };
        let count = cap.min(owner.news.len());
        let news: Vec<Call> = owner.news.drain(..count).map(Call).collect();
        // SAFETY: `dst` has room for `cap` calls, and there are no more.
        unsafe { std::ptr::copy_nonoverlapping(news.as_ptr(), dst, news.len()) };
        // SAFETY: the caller's place for their number.
        unsafe { len.write(news.len()) };
        status::OK
    })
}
