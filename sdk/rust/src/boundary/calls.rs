//! The kernel's functions for calls to other modules, safe to call, and how the calls that belong to no request are heard of.

use std::collections::HashMap;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use midplane_abi::{self as abi, CallApi, CallHead, Request, Slice, Status, status};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;

use super::host;

/// Most heads fit; more are asked for again.
const HEAD_LEN: usize = 1024;
/// News are taken in portions of this many.
const NEWS_LEN: usize = 64;

/// The calls of one generation.
pub(crate) struct Switch {
    owner: u64,
    /// The generation's runtime.
    runtime: Handle,
    listening: AtomicBool,
    /// Who waits for which call, where the kernel does not poll them.
    waiting: Mutex<HashMap<u64, Waker>>,
}

/// A call that was started; dropping it cancels what is left of it.
pub(crate) struct Started {
    api: &'static CallApi,
    call: abi::Call,
    switch: Arc<Switch>,
}

impl Switch {
    pub(crate) fn new(owner: u64, runtime: Handle) -> Arc<Switch> {
        Arc::new(Switch {
            owner,
            runtime,
            listening: AtomicBool::new(false),
            waiting: Mutex::default(),
        })
    }

    /// Starts a call, for the session of `bound_to` if that is there. `None`: this kernel has no calls.
    pub(crate) fn start(
        self: &Arc<Switch>,
        bound_to: Option<Request>,
        module: &str,
        head: &Parts,
        content_length: Option<u64>,
    ) -> Option<Result<Started, Status>> {
        let api = api()?;
        let flags = if bound_to.is_some() {
            abi::call::FOR_SESSION
        } else {
            0
        };
        let headers = host::fields(&head.headers);
        let path = match head.uri.path() {
            // As of a target in absolute form.
            "" => "/",
            path => path,
        };
        let query = head.uri.query();
        let given = CallHead {
            size: u32::try_from(size_of::<CallHead>()).expect("a small struct"),
            flags,
            module: Slice::new(module.as_bytes()),
            method: Slice::new(head.method.as_str().as_bytes()),
            path: Slice::new(path.as_bytes()),
            query: query.map_or(Slice::NONE, |query| Slice::new(query.as_bytes())),
            headers: headers.as_ptr(),
            headers_len: headers.len(),
            content_length: content_length
                .and_then(|length| i64::try_from(length).ok())
                .unwrap_or(-1),
        };
        let mut call = abi::Call(0);
        let request = bound_to.unwrap_or_else(host::current);
        // SAFETY: everything borrowed lives through the call.
        let answer = unsafe { (api.start)(self.owner, request, &raw const given, &raw mut call) };
        Some(match answer {
            status::OK => Ok(Started {
                api,
                call,
                switch: Arc::clone(self),
            }),
            refused => Err(refused),
        })
    }

    /// Who is to be told when this call goes on: the request that is being polled, if that is what `cx` wakes; else us, who wake
    /// it. To be called before the question, so that an answer that comes in between is not missed.
    fn waiter(self: &Arc<Switch>, call: abi::Call, cx: &Context<'_>) -> Request {
        let current = host::current();
        if current.0 != 0 && cx.waker().will_wake(&host::waker(current)) {
            return current;
        }
        self.waiting().insert(call.0, cx.waker().clone());
        if !self.listening.swap(true, Ordering::Relaxed) {
            self.listen();
        }
        Request(0)
    }

    fn listen(self: &Arc<Switch>) {
        let Some(api) = api() else { return };
        let mut descriptor = -1;
        // SAFETY: the place for the descriptor is ours.
        if unsafe { (api.listen)(self.owner, &raw mut descriptor) } != status::OK {
            return;
        }
        // SAFETY: the kernel gave it to us, to close.
        let pipe = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let switch = Arc::clone(self);
        self.runtime.spawn(async move {
            let Ok(pipe) = pipe::Receiver::from_owned_fd(pipe) else {
                return;
            };
            let mut bytes = [0; 64];
            // Until the kernel closes its end.
            while pipe.readable().await.is_ok() {
                match pipe.try_read(&mut bytes) {
                    Ok(0) => return,
                    Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                    _ => switch.pass_news_on(api),
                }
            }
        });
    }

    fn pass_news_on(&self, api: &CallApi) {
        let mut calls = [abi::Call(0); NEWS_LEN];
        loop {
            let mut len = 0;
            // SAFETY: the buffer has the length that is told.
            let answer =
                unsafe { (api.news)(self.owner, calls.as_mut_ptr(), calls.len(), &raw mut len) };
            if answer != status::OK || len == 0 {
                return;
            }
            for call in calls.iter().take(len) {
                let waker = self.waiting().remove(&call.0);
                waker.into_iter().for_each(Waker::wake);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Started {
    /// Adds to the body.
    pub(crate) fn write(&self, bytes: &[u8], cx: &Context<'_>) -> Status {
        let waiter = self.switch.waiter(self.call, cx);
        // SAFETY: the slice lives through the call.
        unsafe { (self.api.body_write)(self.call, waiter, Slice::new(bytes)) }
    }

    pub(crate) fn end_body(&self) {
        // One that is over needs no end. SAFETY: no argument borrows.
        unsafe { (self.api.body_end)(self.call) };
    }

    /// The head of the answer, or the status that says why there is none.
    pub(crate) fn response(&self, cx: &Context<'_>) -> Result<(StatusCode, HeaderMap), Status> {
        let waiter = self.switch.waiter(self.call, cx);
        let mut room = BytesMut::zeroed(HEAD_LEN);
        loop {
            let (mut code, mut len) = (0, 0);
            // SAFETY: the buffer has the length that is told, and the other places are ours.
            let answer = unsafe {
                (self.api.response)(
                    self.call,
                    waiter,
                    &raw mut code,
                    room.as_mut_ptr(),
                    room.len(),
                    &raw mut len,
                )
            };
            match answer {
                status::OK if len <= room.len() => {
                    room.truncate(len);
                    let code = StatusCode::from_u16(code).map_err(|_never| status::INVALID)?;
                    return Ok((code, headers(&room.freeze())));
                }
                status::TOO_SMALL => room.resize(len, 0),
                refused => return Err(refused),
            }
        }
    }

    /// Up to `capacity` bytes of the answer's body, or the status that says why there are none.
    pub(crate) fn read(&self, capacity: usize, cx: &Context<'_>) -> Result<Bytes, Status> {
        let waiter = self.switch.waiter(self.call, cx);
        let mut chunk = BytesMut::with_capacity(capacity);
        let mut len = 0;
        // SAFETY: `chunk` has room for `capacity` bytes.
        let answer = unsafe {
            (self.api.body_read)(
                self.call,
                waiter,
                chunk.as_mut_ptr(),
                capacity,
                &raw mut len,
            )
        };
        if answer != status::OK {
            return Err(answer);
        }
        assert!(len <= capacity, "the kernel wrote past the buffer");
        // SAFETY: the kernel wrote `len` bytes, which is no more than the capacity.
        unsafe { chunk.set_len(len) };
        Ok(chunk.freeze())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.switch.waiting().remove(&self.call.0);
        // SAFETY: no argument borrows.
        unsafe { (self.api.forget)(self.call) };
    }
}

/// The kernel's table; `None` when it has none that is as large as ours.
fn api() -> Option<&'static CallApi> {
    let table = NonNull::new(host::api(abi::CALL_API, abi::CALL_API_VERSION).cast_mut())?;
    // SAFETY: by the ABI a table of this name and version is a `CallApi`, of which the size comes first, and it stays valid for
    // as long as this library is loaded.
    let size = unsafe { table.cast::<u32>().read() };
    // SAFETY: as above, and whole.
    (size as usize >= size_of::<CallApi>()).then(|| unsafe { table.cast().as_ref() })
}

/// The fields in lines `name: value` that end with CR LF.
fn headers(lines: &Bytes) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut rest = lines.clone();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let line = rest.split_to(end + 2);
        let Some(colon) = line.windows(2).position(|two| two == b": ") else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_maybe_shared(line.slice(colon + 2..end));
        // The kernel sends no others.
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_are_written() {
        let lines =
            "content-type: text/plain\r\nset-cookie: a=b: c\r\nset-cookie: d\r\nempty: \r\n";
        let headers = headers(&Bytes::from(lines));
        assert_eq!(headers["content-type"], "text/plain");
        let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=b: c", "d"]);
        assert_eq!(headers["empty"], "");
        assert_eq!(headers.len(), 4);
    }
}
