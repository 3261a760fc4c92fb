//! The functions by which a module calls others: what [`abi::Host::get_api`] gives for [`abi::CALL_API`].

use std::os::fd::IntoRawFd as _;
use std::sync::Arc;

use midplane_abi::{self as abi, Call, CallApi, CallHead, Request, Slice, Status, call, status};

use super::owner::Owner;
use super::read::{fields, text};
use crate::modules::calls::open::{self, OpenCall, Read, Waiter, Written};
use crate::modules::calls::{self, Caller, MadeIn, Outgoing, Unfinished};
use crate::modules::exchange::InputEnd;
use crate::modules::grants::is_module_name;

/// A module's name is shorter; what is longer is none.
const NAME_LEN_MAX: usize = 64;
/// As much news as a module takes at once.
const NEWS_MAX: usize = 256;

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

unsafe extern "C" fn start(
    owner: u64,
    request: Request,
    head: *const CallHead,
    out: *mut Call,
) -> Status {
    let Some(owner) = Owner::find(owner) else {
        return status::GONE;
    };
    if head.is_null() || out.is_null() {
        return status::INVALID;
    }
    // SAFETY: the struct starts with its size, by the ABI.
    if (unsafe { (*head).size } as usize) < size_of::<CallHead>() {
        return status::INVALID;
    }
    // SAFETY: borrowed for the call, by the ABI, and whole.
    let head = unsafe { &*head };
    // SAFETY: as above.
    let module = unsafe { text(head.module, NAME_LEN_MAX) };
    if !is_module_name(&module) {
        return status::INVALID;
    }
    if !owner.may_call(&module) {
        owner.carrier.denied(&owner.label(), &module);
        return status::DENIED;
    }
    // SAFETY: as above.
    let parts = unsafe {
        fields(head.headers, head.headers_len).and_then(|headers| {
            calls::head(
                head.method.bytes().unwrap_or_default(),
                head.path.bytes().unwrap_or_default(),
                head.query.bytes(),
                headers,
            )
        })
    };
    let Some(parts) = parts else {
        return status::INVALID;
    };
    let for_session = head.flags & call::FOR_SESSION != 0;
    let Some(open) = OpenCall::start(&owner.made, for_session.then_some(request)) else {
        return if owner.made.is_over() {
            status::GONE
        } else {
            status::FULL
        };
    };
    let content_length = u64::try_from(head.content_length).ok();
    if content_length == Some(0) {
        open.end_body(InputEnd::Whole);
    }
    let outgoing = Box::new(Outgoing {
        call: Unfinished(Arc::clone(&open)),
        caller: Caller {
            module: Arc::clone(&owner.name),
            generation: owner.number,
        },
        module,
        parts,
        content_length,
        for_session,
        made_in: MadeIn::default(),
    });
    match calls::hand_to_request(request, outgoing) {
        Ok(()) => {}
        Err(_over) if for_session => {
            open.forget();
            return status::GONE;
        }
        Err(outgoing) => owner.carrier.run(owner.carrier.carry(outgoing)),
    }
    // SAFETY: the caller's place for the handle.
    unsafe { out.write(open.handle()) };
    status::OK
}

unsafe extern "C" fn body_write(call: Call, waiter: Request, bytes: Slice) -> Status {
    let Some(call) = open::find(call) else {
        return status::GONE;
    };
    // SAFETY: borrowed for the call, by the ABI.
    let bytes = unsafe { bytes.bytes() }.unwrap_or_default();
    match call.write(bytes, waiting(waiter)) {
        Written::Taken => status::OK,
        Written::Full => status::PENDING,
        Written::Gone => status::GONE,
    }
}

unsafe extern "C" fn body_end(call: Call) -> Status {
    let Some(call) = open::find(call) else {
        return status::GONE;
    };
    call.end_body(InputEnd::Whole);
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
    let Some(call) = open::find(call) else {
        return status::GONE;
    };
    if code.is_null() || len.is_null() || (dst.is_null() && cap > 0) {
        return status::INVALID;
    }
    let seen = call.look_at_head(waiting(waiter), |head| {
        let lines = open::lines(head);
        // SAFETY: the caller's places for the status and the length, by the ABI.
        unsafe {
            code.write(head.status.as_u16());
            len.write(lines.len());
        }
        if lines.len() > cap {
            return (status::TOO_SMALL, false);
        }
        if !lines.is_empty() {
            // SAFETY: `dst` has room for `cap` bytes by the ABI, and the lines are no longer.
            unsafe { std::ptr::copy_nonoverlapping(lines.as_ptr(), dst, lines.len()) };
        }
        (status::OK, true)
    });
    match seen {
        Ok(Some(answer)) => answer,
        Ok(None) => status::PENDING,
        Err(why) => why,
    }
}

unsafe extern "C" fn body_read(
    call: Call,
    waiter: Request,
    dst: *mut u8,
    cap: usize,
    len: *mut usize,
) -> Status {
    let Some(call) = open::find(call) else {
        return status::GONE;
    };
    if dst.is_null() || len.is_null() || cap == 0 {
        return status::INVALID;
    }
    match call.read(cap, waiting(waiter)) {
        Read::Bytes(bytes) => {
            // SAFETY: `dst` has room for `cap` bytes by the ABI, and no more were taken.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), dst, bytes.len()) };
            // SAFETY: the caller's place for the length, by the ABI.
            unsafe { len.write(bytes.len()) };
            status::OK
        }
        Read::Nothing => status::PENDING,
        Read::End => status::END,
        Read::Cut => status::DISCONNECTED,
    }
}

unsafe extern "C" fn forget(call: Call) -> Status {
    let Some(call) = open::find(call) else {
        return status::GONE;
    };
    call.forget();
    status::OK
}

unsafe extern "C" fn listen(owner: u64, descriptor: *mut i32) -> Status {
    let Some(owner) = Owner::find(owner) else {
        return status::GONE;
    };
    if descriptor.is_null() {
        return status::INVALID;
    }
    match owner.made.listen() {
        Ok(Some(pipe)) => {
            // SAFETY: the caller's place for the descriptor, which is its own from here on.
            unsafe { descriptor.write(pipe.into_raw_fd()) };
            status::OK
        }
        Ok(None) => status::INVALID,
        Err(error) => {
            tracing::warn!(module = %owner.label(), %error, "a module cannot be told of its calls");
            status::FAILED
        }
    }
}

unsafe extern "C" fn news(owner: u64, dst: *mut Call, cap: usize, len: *mut usize) -> Status {
    let Some(owner) = Owner::find(owner) else {
        return status::GONE;
    };
    if dst.is_null() || len.is_null() || cap == 0 {
        return status::INVALID;
    }
    let news: Vec<abi::Call> = owner.made.take_news(cap.min(NEWS_MAX));
    // SAFETY: `dst` has room for `cap` calls by the ABI, and there are no more.
    unsafe { std::ptr::copy_nonoverlapping(news.as_ptr(), dst, news.len()) };
    // SAFETY: the caller's place for their number, by the ABI.
    unsafe { len.write(news.len()) };
    status::OK
}

/// A call that is made for nothing waits for its generation's news.
fn waiting(waiter: Request) -> Waiter {
    match waiter {
        Request(0) => Waiter::News,
        request => Waiter::Request(request),
    }
}
