//! Calls to other modules that a module process makes: the kernel's side of them, where the loader's host functions are for
//! modules here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use midplane_abi::{Request, status};

use super::Process;
use super::lanes::RequestLane;
use crate::isolation::lane::ReadError;
use crate::isolation::wire::{BodyEnd, CallBegin, Field, ToModule};
use crate::modules::calls::open::OpenCall;
use crate::modules::calls::relay::{Progress, ToCaller};
use crate::modules::calls::{self, Caller, MadeIn, Outgoing, Unfinished};
use crate::modules::exchange::{self, InputEnd};

/// The calls that came over one lane, by the module process's number.
#[derive(Default)]
pub(super) struct LaneCalls(Mutex<HashMap<u64, Arc<OpenCall>>>);

impl LaneCalls {
    pub(super) fn body(&self, call: u64, bytes: &[u8]) -> Result<(), ReadError> {
        let put = |call: Arc<OpenCall>| call.put_body(Bytes::copy_from_slice(bytes));
        if self.find(call).is_none_or(put) {
            return Ok(());
        }
        Err(ReadError::Forbidden(
            "more of a call's body than there is room for",
        ))
    }

    pub(super) fn body_end(&self, call: u64, end: BodyEnd) {
        let end = match end {
            BodyEnd::Whole => InputEnd::Whole,
            BodyEnd::TooLarge => InputEnd::TooLarge,
            BodyEnd::Disconnected => InputEnd::Disconnected,
        };
        if let Some(call) = self.find(call) {
            call.end_body(end);
        }
    }

    pub(super) fn room(&self, call: u64, bytes: usize) {
        if let Some(call) = self.find(call) {
            call.give_room(bytes);
        }
    }

    pub(super) fn forget(&self, call: u64) {
        let call = self.lock().remove(&call);
        if let Some(call) = call {
            call.forget();
        }
    }

    /// The process is gone.
    pub(super) fn end(&self) {
        let calls = std::mem::take(&mut *self.lock());
        calls.into_values().for_each(|call| call.forget());
    }

    fn find(&self, call: u64) -> Option<Arc<OpenCall>> {
        self.lock().get(&call).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<OpenCall>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// The module calls another.
    pub(super) fn begin_call(
        self: &Arc<Process>,
        number: usize,
        begin: &CallBegin<'_>,
    ) -> Result<(), ReadError> {
        let lane = &self.lanes[number];
        if !self.owner.may_call(begin.module) {
            return Err(ReadError::Forbidden("a call without the grant"));
        }
        let request = begin.request.map_or(Request(0), Request);
        if !self.is_own(request) {
            return Err(ReadError::Forbidden("a call in another module's request"));
        }
        let fields = begin
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.0));
        let head = exchange::header_map(fields).and_then(|headers: HeaderMap| {
            let query = begin.query.map(str::as_bytes);
            calls::head(
                begin.method.as_bytes(),
                begin.path.as_bytes(),
                query,
                headers,
            )
        });
        let parts = head.ok_or(ReadError::Forbidden("the head of a call that is not valid"))?;
        let bound_to = begin.for_session.then_some(request);
        let Some(open) = OpenCall::start(&self.owner.made, bound_to) else {
            // Some that it has forgotten may not be known to be over yet.
            let failed = ToModule::CallFailed {
                call: begin.call,
                why: status::FULL,
            };
            let _ = lane.lane.send(&failed);
            return Ok(());
        };
        match lane.calls.lock().entry(begin.call) {
            Entry::Vacant(place) => place.insert(Arc::clone(&open)),
            Entry::Occupied(_) => {
                open.forget();
                return Err(ReadError::Forbidden("a second call of one number"));
            }
        };
        if begin.content_length == Some(0) {
            open.end_body(InputEnd::Whole);
        }
        tokio::spawn(relay(
            Arc::clone(self),
            number,
            begin.call,
            Arc::clone(&open),
        ));
        let outgoing = Box::new(Outgoing {
            call: Unfinished(open),
            caller: Caller {
                module: Arc::clone(&self.owner.name),
                generation: self.owner.number,
            },
            module: begin.module.to_owned(),
            parts,
            content_length: begin.content_length,
            for_session: begin.for_session,
            made_in: MadeIn::default(),
        });
        match calls::hand_to_request(request, outgoing) {
            // Dropping it tells the module.
            Ok(()) => {}
            Err(over) if over.for_session => drop(over),
            Err(outgoing) => {
                let carrier = &self.owner.carrier;
                carrier.run(carrier.carry(outgoing));
            }
        }
        Ok(())
    }

    /// Whether a request is this generation's, or over.
    fn is_own(&self, request: Request) -> bool {
        exchange::find(request).is_none_or(|exchange| {
            let context = exchange.context.as_ref();
            context.is_some_and(|context| context.generation.owner_id() == self.owner.id)
        })
    }
}

/// Tells the module process what becomes of a call, until there is nothing more to tell.
async fn relay(process: Arc<Process>, number: usize, call: u64, open: Arc<OpenCall>) {
    let lane: &RequestLane = &process.lanes[number];
    let mut progress = Progress::default();
    loop {
        let next = poll_fn(|cx| {
            let next = open.poll_to_caller(&mut progress, cx);
            if next.is_pending() {
                // All that was there goes at once.
                lane.lane.flush();
            }
            next
        });
        let message = match next.await {
            ToCaller::Head(head) => {
                let headers = head
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), Field(value.as_bytes())))
                    .collect();
                let head = ToModule::CallHead {
                    call,
                    status: head.status.as_u16(),
                    headers,
                };
                // One that does not fit is no answer; a lane that is closed ends the call, too.
                if lane.lane.queue(&head, false).is_err() {
                    open.fail(status::INVALID);
                }
                continue;
            }
            ToCaller::Bytes(bytes) => {
                let bytes = &bytes;
                // As above.
                let _ = lane.lane.queue(&ToModule::CallBytes { call, bytes }, false);
                continue;
            }
            ToCaller::Room(bytes) => ToModule::CallRoom { call, bytes },
            ToCaller::BodyUnread => ToModule::CallBodyUnread { call },
            ToCaller::End => {
                let _ = lane.lane.queue(&ToModule::CallEnd { call }, false);
                break;
            }
            ToCaller::Failed(why) => {
                let _ = lane.lane.queue(&ToModule::CallFailed { call, why }, false);
                break;
            }
            ToCaller::Nothing => {
                // Also when the request is over that it is bound to; else the module knows.
                let why = status::GONE;
                let _ = lane.lane.queue(&ToModule::CallFailed { call, why }, false);
                break;
            }
        };
        let _ = lane.lane.queue(&message, false);
    }
    lane.lane.flush();
    lane.calls.forget(call);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_calls_that_are_over_are_no_offence() {
        let calls = LaneCalls::default();
        assert!(calls.body(7, b"late").is_ok());
        calls.body_end(7, BodyEnd::Whole);
        calls.room(7, 1);
        calls.forget(7);
        calls.end();
    }

    #[test]
    fn more_of_a_body_than_there_is_room_for_is_an_offence() {
        let calls = LaneCalls::default();
        let made = Arc::default();
        let open = OpenCall::start(&made, None).unwrap();
        calls.lock().insert(1, Arc::clone(&open));
        let piece = vec![0; 64 * 1024];
        assert!(calls.body(1, &piece).is_ok());
        assert!(calls.body(1, &piece).is_ok());
        assert!(calls.body(1, &piece).is_err());
        calls.end();
        assert!(calls.body(1, &piece).is_ok());
    }
}
