//! Calls between modules: finds the module that is called and asks it as a client's request would, but for the socket.
//!
//! It knows no module by name: who may call whom was decided before a call comes here.

pub(crate) mod tally;

use std::future::poll_fn;
use std::sync::{Arc, OnceLock, Weak};

use http::Response;
use midplane_abi::status;

use crate::kernel::Kernel;
use crate::modules::calls::open::OpenCall;
use crate::modules::calls::{CALL_DEPTH_MAX, Carrier, Carrying, Outgoing};
use crate::modules::exchange::Head;
use crate::modules::executor::{self, Answer, Incipient, ModuleBody, RequestBody};
use crate::problem::{Code, Problem};
use crate::routes::X_MIDPLANE_MODULE;
use crate::{request_id, workers};
use tally::{Outcome, Tally};

#[derive(Default)]
pub(crate) struct Switchboard {
    kernel: OnceLock<Weak<Kernel>>,
    tally: Tally,
}

/// Why a module was not asked.
enum Unasked {
    NotLoaded,
    Refused(Problem),
}

impl From<Problem> for Unasked {
    fn from(problem: Problem) -> Unasked {
        Unasked::Refused(problem)
    }
}

impl Switchboard {
    /// Once.
    pub(crate) fn connect(&self, kernel: &Arc<Kernel>) {
        let _ = self.kernel.set(Arc::downgrade(kernel));
    }

    /// What it has carried.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    fn kernel(&self) -> Option<Arc<Kernel>> {
        self.kernel.get().and_then(Weak::upgrade)
    }
}

impl Carrier for Switchboard {
    fn carry(&self, outgoing: Box<Outgoing>) -> Carrying {
        let kernel = self.kernel();
        Box::pin(async move {
            // The kernel has ended, and the process is about to.
            let Some(kernel) = kernel else { return };
            let call = Arc::clone(&outgoing.call);
            // Both only wait for what the call keeps: dropping one loses nothing but the other's work, which is meant.
            tokio::select! {
                biased;
                () = poll_fn(|cx| call.poll_forgotten(cx)) => {}
                () = connect_and_answer(&kernel, outgoing) => {}
            }
        })
    }

    fn denied(&self, caller: &str, called: &str) {
        tracing::warn!(
            module = caller,
            called,
            "a module called another without the grant"
        );
    }

    fn run(&self, carrying: Carrying) {
        if workers::own_number().is_some() {
            tokio::spawn(carrying);
        } else if let Some(kernel) = self.kernel() {
            kernel.spawn_on_any_worker(carrying);
        }
        // Where no worker takes it, the call ends with what carries it.
    }
}

async fn connect_and_answer(kernel: &Arc<Kernel>, outgoing: Box<Outgoing>) {
    let tally = kernel.switchboard.tally();
    let begun = tally.begin(&outgoing.caller.module, &outgoing.module);
    if outgoing.made_in.depth > CALL_DEPTH_MAX {
        tracing::warn!(
            module = %outgoing.caller.module,
            called = outgoing.module,
            depth = outgoing.made_in.depth,
            "a call between modules was refused: it is in too deep a row of calls"
        );
        begun.end(Outcome::TooDeep);
        return outgoing.call.fail(status::TOO_DEEP);
    }
    let call = &outgoing.call;
    let request_id = outgoing
        .made_in
        .request_id
        .clone()
        .unwrap_or_else(request_id::next);
    let answer = ask(kernel, &outgoing, request_id.clone()).await;
    begun.end(match &answer {
        Ok(response) => Outcome::of(response.status().as_u16()),
        Err(Unasked::NotLoaded) => Outcome::NotLoaded,
        Err(Unasked::Refused(problem)) => Outcome::of(problem.code.status()),
    });
    match answer {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            let head = Head {
                status: parts.status,
                headers: parts.headers,
            };
            match body {
                Answer::Whole(bytes) => call.put_head(head, Some(bytes)),
                Answer::Streaming(body) => {
                    call.put_head(head, None);
                    pass_on(call, body).await;
                }
                Answer::Socket(_) => call.fail(status::INVALID),
            }
        }
        Err(Unasked::NotLoaded) => call.fail(status::NOT_LOADED),
        Err(Unasked::Refused(problem)) => {
            let response = problem.response(request_id.to_str().unwrap_or_default());
            let (parts, body) = response.into_parts();
            let head = Head {
                status: parts.status,
                headers: parts.headers,
            };
            call.put_head(head, Some(body));
        }
    }
    call.leave_body();
}

/// Hands the request over, and waits for the answer's head.
async fn ask(
    kernel: &Arc<Kernel>,
    outgoing: &Outgoing,
    request_id: http::HeaderValue,
) -> Result<Response<Answer>, Unasked> {
    let (module, path) = (&outgoing.module, outgoing.path());
    let limits = &kernel.config.limits;
    let pin = kernel.modules.pin(module, limits.restart_wait, |callee| {
        if callee.is_internal(path) {
            return Ok(());
        }
        let detail = format!(
            "{path} of {module} is not open to modules: its author names routes that are in `internal`"
        );
        Err(Problem::new(Code::NotFound, detail))
    });
    let pin = pin.await?.ok_or(Unasked::NotLoaded)?;
    let label = pin.generation().label_value.clone();
    let incipient = Incipient {
        pin,
        parts: &outgoing.parts,
        path,
        request_id,
        actor: outgoing.made_in.actor.clone(),
        caller: Some(outgoing.caller.clone()),
        depth: outgoing.made_in.depth,
        content_length: outgoing.content_length,
        body: RequestBody::Module(Arc::clone(&outgoing.call)),
        offer: None,
    };
    let mut response = executor::call(incipient, None, &kernel.surroundings).await?;
    response.headers_mut().insert(X_MIDPLANE_MODULE, label);
    Ok(response)
}

/// Passes the rest of an answer on, as the caller has room for it.
async fn pass_on(call: &OpenCall, mut body: Box<ModuleBody>) {
    loop {
        poll_fn(|cx| call.poll_room(cx)).await;
        match poll_fn(|cx| body.poll_frame(cx)).await {
            None => return call.end(),
            // What is there of it is cut by that.
            Some(Err(_cut)) => return call.fail(status::DISCONNECTED),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    call.put_bytes(bytes);
                }
            }
        }
    }
}
