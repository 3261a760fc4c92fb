//! `/api/{module}/…`: everything that is a module's.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::HeaderValue;
use http::request::Parts;
use http_body::Body as _;
use hyper::body::Incoming;

use super::{X_MIDPLANE_MODULE, websocket};
use crate::auth::Caller;
use crate::body::Body;
use crate::kernel::Kernel;
use crate::modules::executor::{self, Actor, Incipient, RequestBody};
use crate::problem::{Code, Problem};

pub(super) async fn call(
    kernel: &Arc<Kernel>,
    parts: &Parts,
    caller: Caller,
    body: Incoming,
    request_id: &HeaderValue,
    module: &str,
    path: &str,
) -> Result<Response<Body>, Problem> {
    if has_dot_segment(path) {
        return Err(Problem::new(
            Code::InvalidPath,
            "the path has `.` or `..` segments: send it normalised (RFC 3986 section 6.2.2.3)",
        ));
    }
    let is_public = kernel
        .modules
        .get(module)
        .is_some_and(|generation| generation.is_public(path));
    let actor = match caller {
        // A session that is not for this module is worth no less than none.
        Caller::Session(verified) if is_public && !verified.session.allows_module(module) => None,
        Caller::Nobody | Caller::Host if is_public => None,
        caller => Some(actor(kernel, caller.require_session()?, module)?),
    };
    let handshake = websocket::handshake(parts, body.is_end_stream())?;
    let wait = kernel.config.limits.restart_wait;
    let pinned = kernel.modules.pin(module, wait, |generation| {
        if generation.is_internal_to_clients(path) {
            return Err(Problem::new(
                Code::NotFound,
                format!("{module} has no such route for clients"),
            ));
        }
        if actor.is_none() && !generation.is_public(path) {
            return Err(Problem::new(
                Code::CredentialRequired,
                "send a session's client secret as `Authorization: Bearer …`",
            ));
        }
        Ok(())
    });
    let pin = pinned.await?.ok_or_else(|| not_loaded(kernel, module))?;
    let label = pin.generation().label_value.clone();
    let incipient = Incipient {
        pin,
        parts,
        path,
        request_id: request_id.clone(),
        actor,
        caller: None,
        depth: 0,
        content_length: body.size_hint().exact(),
        body: RequestBody::Client(body),
        offer: None,
    };
    let response = executor::call(incipient, handshake, &kernel.surroundings).await?;
    let mut response = response.map(Body::from);
    response.headers_mut().insert(X_MIDPLANE_MODULE, label);
    Ok(response)
}

/// The session that the request acts for, if it may.
fn actor(
    kernel: &Kernel,
    verified: crate::session::Verified,
    module: &str,
) -> Result<Actor, Problem> {
    if !verified.session.allows_module(module) {
        let detail = format!(
            "the session is not for the module {module}: name it in `modules` when the session is created"
        );
        return Err(Problem::new(Code::InsufficientScope, detail));
    }
    if let Err(wait) = verified.session.take_rate(|| kernel.started.elapsed()) {
        return Err(Problem::new(
            Code::RateLimited,
            "the session has used up its requests for now: wait as Retry-After says",
        )
        .retry_after(wait));
    }
    Ok(Actor {
        expires_at: verified.expires_at,
        session: verified.session,
        stream_grace: kernel.config.sessions.stream_grace,
    })
}

fn not_loaded(kernel: &Kernel, module: &str) -> Problem {
    if kernel.is_draining() {
        return Problem::new(Code::Draining, "the kernel is shutting down")
            .retry_after(Duration::from_secs(1));
    }
    Problem::new(
        Code::ModuleNotFound,
        format!("no module {module} is loaded here"),
    )
}

/// Whether a server that normalises paths could read another path out of this one.
fn has_dot_segment(path: &str) -> bool {
    if !path.contains('.') && !path.contains('%') {
        return false;
    }
    path.split('/').any(|segment| {
        let mut rest = segment;
        let mut dots = 0;
        while !rest.is_empty() {
            let after = rest
                .strip_prefix('.')
                .or_else(|| rest.strip_prefix("%2e"))
                .or_else(|| rest.strip_prefix("%2E"));
            match after {
                Some(after) => {
                    rest = after;
                    dots += 1;
                }
                None => return false,
            }
        }
        dots == 1 || dots == 2
    })
}

#[cfg(test)]
mod tests {
    use super::has_dot_segment;

    #[test]
    fn dot_segments_are_found_in_every_spelling() {
        for (path, expect) in [
            ("/a/b", false),
            ("/a/../b", true),
            ("/..", true),
            ("/./a", true),
            ("/%2e%2E/a", true),
            ("/.%2e/a", true),
            ("/%2e", true),
            ("/...", false),
            ("/a..b", false),
            ("/.well-known/x", false),
            ("/a.txt", false),
            ("/%41", false),
        ] {
            assert_eq!(has_dot_segment(path), expect, "{path}");
        }
    }
}
