//! Calls to other modules, on their way to the kernel, and what comes back.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use midplane_abi::status;
use tokio::runtime::Handle;

use crate::isolation::lane::{Lane, ReadError};
use crate::isolation::wire::{BodyEnd, CallBegin, Field, FromModule, ToModule};
use crate::modules::calls::open::OpenCall;
use crate::modules::calls::relay::{Progress, ToCallee};
use crate::modules::calls::{Carrier, Carrying, Outgoing};
use crate::modules::exchange::{Head, InputEnd};

/// The calls that are under way over one lane.
#[derive(Default)]
pub(super) struct LaneCalls(Mutex<HashMap<u64, Arc<OpenCall>>>);

/// Carries calls over a lane.
pub(super) struct LaneCarrier {
    pub(super) lane: Arc<Lane>,
    pub(super) calls: Arc<LaneCalls>,
    /// The request in which they are made, by the kernel's handle.
    pub(super) request: Option<u64>,
    /// Of the lane's thread.
    pub(super) runtime: Handle,
}

impl Carrier for LaneCarrier {
    fn carry(&self, outgoing: Box<Outgoing>) -> Carrying {
        let (lane, calls) = (Arc::clone(&self.lane), Arc::clone(&self.calls));
        let request = self.request;
        Box::pin(async move {
            let (call, open) = (outgoing.call.handle().0, Arc::clone(&outgoing.call));
            calls.lock().insert(call, open);
            if put_head(&lane, request, &outgoing) {
                pass_on(&lane, &outgoing.call).await;
            } else {
                outgoing.call.fail(status::INVALID);
            }
            calls.lock().remove(&call);
        })
    }

    fn denied(&self, _caller: &str, called: &str) {
        // A lane that is closed ends the process.
        let _ = self.lane.send(&FromModule::CallDenied { module: called });
    }

    fn run(&self, carrying: Carrying) {
        self.runtime.spawn(carrying);
    }
}

impl LaneCalls {
    /// What the kernel says of a call; gives other messages back.
    pub(super) fn take<'a>(
        &self,
        message: ToModule<'a>,
    ) -> Result<Option<ToModule<'a>>, ReadError> {
        match message {
            ToModule::CallHead {
                call,
                status,
                headers,
            } => {
                let fields = headers
                    .iter()
                    .map(|(name, value)| (name.as_bytes(), value.0));
                let head = Head::new(status, fields).ok_or(ReadError::Forbidden(
                    "the head of an answer that is not valid",
                ))?;
                self.with(call, |open| open.put_head(head, None));
            }
            ToModule::CallBytes { call, bytes } => {
                self.with(call, |open| open.put_bytes(Bytes::copy_from_slice(bytes)));
            }
            ToModule::CallEnd { call } => self.with(call, OpenCall::end),
            ToModule::CallFailed { call, why } => self.with(call, |open| open.fail(why)),
            ToModule::CallRoom { call, bytes } => self.with(call, |open| open.give_room(bytes)),
            ToModule::CallBodyUnread { call } => self.with(call, OpenCall::leave_body),
            other => return Ok(Some(other)),
        }
        Ok(None)
    }

    /// One that is over is over.
    fn with(&self, call: u64, act: impl FnOnce(&OpenCall)) {
        let open = self.lock().get(&call).cloned();
        if let Some(open) = open {
            act(&open);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<OpenCall>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queues the head of a call; whether it fits.
fn put_head(lane: &Lane, request: Option<u64>, outgoing: &Outgoing) -> bool {
    let parts = &outgoing.parts;
    let begin = FromModule::Call(CallBegin {
        call: outgoing.call.handle().0,
        request,
        for_session: outgoing.for_session,
        module: &outgoing.module,
        method: parts.method.as_str(),
        path: outgoing.path(),
        query: parts.uri.query(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), Field(value.as_bytes())))
            .collect(),
        content_length: outgoing.content_length,
    });
    lane.queue(&begin, false).is_ok()
}

/// Tells the kernel what becomes of a call here, until its answer is there or nobody wants it. A lane that is closed ends the
/// process.
async fn pass_on(lane: &Lane, open: &OpenCall) {
    let call = open.handle().0;
    let mut progress = Progress::default();
    loop {
        let next = poll_fn(|cx| {
            let next = open.poll_to_callee(&mut progress, cx);
            if next.is_pending() {
                // All that was there goes at once.
                lane.flush();
            }
            next
        });
        let _ = match next.await {
            ToCallee::Body(bytes) => {
                let bytes = &bytes;
                lane.queue(&FromModule::CallBody { call, bytes }, false)
            }
            ToCallee::BodyEnd(end) => {
                let end = match end {
                    InputEnd::TooLarge => BodyEnd::TooLarge,
                    InputEnd::Disconnected => BodyEnd::Disconnected,
                    InputEnd::Whole | InputEnd::Open => BodyEnd::Whole,
                };
                lane.queue(&FromModule::CallBodyEnd { call, end }, false)
            }
            ToCallee::Room(bytes) => lane.queue(&FromModule::CallRoom { call, bytes }, false),
            ToCallee::Forgotten => {
                let _ = lane.queue(&FromModule::CallForget { call }, false);
                break;
            }
            ToCallee::Nothing => break,
        };
    }
    lane.flush();
}
