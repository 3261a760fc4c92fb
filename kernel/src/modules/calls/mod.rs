//! Requests of one module to another: they never leave memory.
//!
//! A module that makes a call touches an [`OpenCall`], by handle, and never waits in it. What it asks is an [`Outgoing`],
//! which a [`Carrier`] carries: in the kernel to the module that is called, in a module process to the kernel.
//!
//! | file | concern |
//! |---|---|
//! | `open` | what both sides of a call share: its body, its answer, and who waits |
//! | `relay` | a call whose sides are in different processes |
//! | `made` | the calls that a generation has under way, and how it hears of them |

pub(crate) mod made;
pub(crate) mod open;
pub(crate) mod relay;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, Uri};
use midplane_abi::{Request, status};

use super::executor::Actor;
use open::OpenCall;

/// As many calls may follow one from another: a cycle ends here. No sound arrangement of modules is so deep, and each of them
/// may have a few frames on one worker's stack.
pub(crate) const CALL_DEPTH_MAX: u8 = 8;
/// Calls that one generation may have under way, as many as the requests it may have (`[limits] requests_per_module`, by
/// default): each holds a few hundred bytes, and up to two windows.
pub(crate) const CALLS_MAX: usize = 1024;

/// The work of carrying one call; dropping it is giving the call up.
pub(crate) type Carrying = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Carries calls to whom they are for, and back what is answered.
pub(crate) trait Carrier: Send + Sync {
    fn carry(&self, outgoing: Box<Outgoing>) -> Carrying;

    /// A module calls another without the grant.
    fn denied(&self, caller: &str, called: &str);

    /// Runs the work on a thread that module code may run on.
    fn run(&self, carrying: Carrying);
}

/// A call on its way.
pub(crate) struct Outgoing {
    pub(crate) call: Unfinished,
    pub(crate) caller: Caller,
    /// The name of the module that is called.
    pub(crate) module: String,
    pub(crate) parts: Parts,
    /// How many bytes the body has, if that is known.
    pub(crate) content_length: Option<u64>,
    /// It acts for the session of the request it is made for.
    pub(crate) for_session: bool,
    pub(crate) made_in: MadeIn,
}

/// Which module makes a call.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) module: Arc<str>,
    pub(crate) generation: u64,
}

/// The request in which a call is made, as far as it counts for the call.
#[derive(Default, Clone)]
pub(crate) struct MadeIn {
    /// `None`: in none.
    pub(crate) request_id: Option<HeaderValue>,
    /// How many calls led to it.
    pub(crate) depth: u8,
    pub(crate) actor: Option<Actor>,
}

/// A call that whoever carries it has to answer: if it is dropped first, that is told.
pub(crate) struct Unfinished(pub(crate) Arc<OpenCall>);

impl std::ops::Deref for Unfinished {
    type Target = Arc<OpenCall>;
    fn deref(&self) -> &Arc<OpenCall> {
        &self.0
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.fail(status::GONE);
    }
}

impl Outgoing {
    /// The path below the prefix of the module that is called.
    pub(crate) fn path(&self) -> &str {
        self.parts.uri.path()
    }
}

/// The parts of a call's head that came as bytes; `None` when they are no request's.
pub(crate) fn head(
    method: &[u8],
    path: &[u8],
    query: Option<&[u8]>,
    headers: http::HeaderMap,
) -> Option<Parts> {
    let mut target = path.to_vec();
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    let uri = Uri::try_from(target).ok()?;
    // What starts otherwise would be another form of a request's target (RFC 9112 section 3.2).
    if !path.starts_with(b"/") || uri.authority().is_some() {
        return None;
    }
    let mut request = http::Request::new(());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Some(request.into_parts().0)
}

/// Puts a call to those that the executor of `request` starts next. `Err(_)`: the request is over, or about to be.
pub(crate) fn hand_to_request(
    request: Request,
    outgoing: Box<Outgoing>,
) -> Result<(), Box<Outgoing>> {
    let Some(mut exchange) = super::exchange::find(request) else {
        return Err(outgoing);
    };
    if exchange.calls.closed {
        drop(exchange);
        return Err(outgoing);
    }
    if outgoing.for_session {
        exchange.calls.bound.push(outgoing.call.handle());
    }
    exchange.calls.wanted.push(outgoing);
    let waker = exchange.waker_outside_poll();
    drop(exchange);
    // Outside the lock: waking runs code of the runtime.
    if let Some(waker) = waker {
        waker.wake();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_request_is_one() {
        for (method, path, query, expect) in [
            ("GET", "/", None, Some("/")),
            ("POST", "/a/b", Some("x=1&y"), Some("/a/b?x=1&y")),
            ("GET", "/a", Some(""), Some("/a?")),
            ("G T", "/", None, None),
            ("GET", "a", None, None),
            ("GET", "", None, None),
            ("GET", "http://host/a", None, None),
            ("GET", "//host/a", None, Some("//host/a")),
            ("GET", "/a b", None, None),
            ("OPTIONS", "*", None, None),
        ] {
            let parts = head(
                method.as_bytes(),
                path.as_bytes(),
                query.map(str::as_bytes),
                http::HeaderMap::new(),
            );
            let target = parts.map(|parts| parts.uri.to_string());
            assert_eq!(target.as_deref(), expect, "{method} {path} {query:?}");
        }
    }
}
