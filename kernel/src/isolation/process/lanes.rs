//! The lanes that requests go over, and what comes back on them.
//!
//! Each belongs to one of the kernel's workers and is read there, on the thread that has the connections: an answer wakes
//! nobody else. What a module process says of a request is put down in its exchange, where the executor finds it.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use midplane_abi::Request;

use super::calls::LaneCalls;
use super::{Process, next_in_order, plain, socket};
use crate::isolation::lane::{Lane, ReadError};
use crate::isolation::wire::{self, FromModule, REQUEST_FRAME_LEN_MAX};
use crate::modules::exchange::socket::Kind;
use crate::modules::exchange::{self, Exchange, Guard, Head, OUTPUT_WINDOW_LEN, Refresh};
use crate::modules::instance::Outcome;

pub(super) struct RequestLane {
    pub(super) lane: Lane,
    streams: Mutex<Streams>,
    /// Those that the module makes.
    pub(super) calls: LaneCalls,
    /// A ping was answered since this was last looked at.
    pub(super) heard: AtomicBool,
}

#[derive(Default)]
struct Streams {
    /// Requests that the module process has and has not finished with, and where they stand among all.
    open: HashMap<u64, u64>,
    /// Of messages that are not whole.
    partial: HashMap<u64, BytesMut>,
    /// How the process ended.
    ended: Option<String>,
}

impl RequestLane {
    pub(super) fn new(socket: UnixStream) -> RequestLane {
        RequestLane {
            lane: Lane::new(socket, REQUEST_FRAME_LEN_MAX),
            streams: Mutex::default(),
            calls: LaneCalls::default(),
            heard: AtomicBool::new(false),
        }
    }

    /// Notes that the process has the request, unless it has ended: then how.
    pub(super) fn open(&self, request: Request) -> Result<(), String> {
        let mut streams = self.streams();
        match &streams.ended {
            Some(how) => Err(how.clone()),
            None => {
                streams.open.insert(request.0, next_in_order());
                Ok(())
            }
        }
    }

    pub(super) fn forget(&self, request: Request) {
        let mut streams = self.streams();
        streams.open.remove(&request.0);
        streams.partial.remove(&request.0);
    }

    /// Adds a piece to a message: `Some(Some(_))` when it is whole, `None` when it is too large.
    pub(super) fn join(
        &self,
        request: Request,
        bytes: &[u8],
        last: bool,
        len_max: usize,
    ) -> Option<Option<Bytes>> {
        let mut streams = self.streams();
        let before = streams.partial.get(&request.0).map_or(0, BytesMut::len);
        if bytes.len() > len_max.saturating_sub(before) {
            return None;
        }
        if last && before == 0 {
            return Some(Some(Bytes::copy_from_slice(bytes)));
        }
        if !streams.open.contains_key(&request.0) {
            return Some(None);
        }
        let partial = streams.partial.entry(request.0).or_default();
        partial.extend_from_slice(bytes);
        Some(last.then(|| {
            streams
                .partial
                .remove(&request.0)
                .unwrap_or_default()
                .freeze()
        }))
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.streams().open.is_empty()
    }

    /// Ends every request that is open, and all that come.
    fn end(&self, how: &str) {
        let open = {
            let mut streams = self.streams();
            streams.ended = Some(how.to_owned());
            std::mem::take(&mut streams.open)
        };
        self.calls.end();
        for request in open.into_keys() {
            if let Some(mut exchange) = exchange::find(Request(request)) {
                exchange.finished = Some(Outcome::Crashed(how.to_owned()));
                wake(exchange);
            }
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The requests under way, newest first: method and path.
pub(super) fn routes(lanes: &[RequestLane]) -> Vec<String> {
    let mut open: Vec<(u64, u64)> = lanes
        .iter()
        .flat_map(|lane| {
            let streams = lane.streams();
            streams
                .open
                .iter()
                .map(|(request, order)| (*order, *request))
                .collect::<Vec<_>>()
        })
        .collect();
    open.sort_unstable_by(|a, b| b.cmp(a));
    open.into_iter()
        .filter_map(|(_order, request)| exchange::route_of(Request(request)))
        .collect()
}

/// Reads and writes a lane on the current worker until the process is gone.
pub(super) async fn serve(process: Arc<Process>, number: usize, socket: UnixStream) {
    let lane = &process.lanes[number];
    let read = lane.lane.serve(socket, |frame| process.take(number, frame));
    // A copy of the process may hold the other end open.
    let outcome = tokio::select! {
        read = read => read,
        () = process.long_ended() => Ok(()),
    };
    lane.lane.close();
    if let Err(error) = outcome {
        process.kill(format!("a lane of requests failed: {error}"));
    }
    // Nothing comes after what was read.
    let end = process.ended_or_killed("a lane of requests").await;
    lane.end(&end.to_string());
}

impl Process {
    /// How many lanes requests go over: all but the last, which is for calls that belong to none.
    pub(super) fn request_lanes(&self) -> usize {
        self.lanes.len() - 1
    }

    /// Has the lane of calls that belong to no request read by one of the workers.
    pub(super) fn serve_calls(self: &Arc<Process>) {
        let number = self.request_lanes();
        if let Some(socket) = self.lanes[number].lane.claim() {
            let serving = serve(Arc::clone(self), number, socket);
            self.owner.carrier.run(Box::pin(serving));
        }
    }

    fn take(self: &Arc<Process>, number: usize, frame: &[u8]) -> Result<(), ReadError> {
        let lane = &self.lanes[number];
        match postcard::from_bytes(frame)? {
            FromModule::Head {
                request,
                status,
                headers,
                whole,
            } => {
                let fields = headers
                    .iter()
                    .map(|(name, value)| (name.as_bytes(), value.0));
                let head = Head::new(status, fields).ok_or(ReadError::Forbidden(
                    "the head of an answer that is not valid",
                ))?;
                self.put(request, |exchange| {
                    let output = &mut exchange.output;
                    if output.started {
                        return Err(ReadError::Forbidden("a second head"));
                    }
                    output.head = Some(head);
                    output.started = true;
                    if let Some(body) = whole {
                        output.bytes.extend_from_slice(body.0);
                        output.ended = true;
                    }
                    Ok(())
                })
            }
            FromModule::Bytes { request, bytes } => self.put(request, |exchange| {
                let output = &mut exchange.output;
                if !output.started || output.ended {
                    return Err(ReadError::Forbidden("bytes outside a body"));
                }
                // A piece is sent whole while there is any room.
                if output.bytes.len() > OUTPUT_WINDOW_LEN + REQUEST_FRAME_LEN_MAX {
                    return Err(ReadError::Forbidden(
                        "more bytes than the window has room for",
                    ));
                }
                output.bytes.extend_from_slice(bytes);
                output.received += bytes.len();
                // So that the task is polled when they have been taken, and makes room in the other process.
                output.full = true;
                Ok(())
            }),
            FromModule::End { request } => self.put(request, |exchange| {
                if !exchange.output.started {
                    return Err(ReadError::Forbidden("the end of a body that has not begun"));
                }
                exchange.output.ended = true;
                Ok(())
            }),
            FromModule::Accept {
                request,
                protocol,
                headers,
                message_len_max,
            } => self.put(request, |exchange| {
                let protocol = protocol.map(|protocol| protocol.0);
                socket::accept(exchange, protocol, &headers, message_len_max)
            }),
            FromModule::Message {
                request,
                text,
                bytes,
                last,
            } => self.put(request, |exchange| {
                let kind = if text { Kind::Text } else { Kind::Binary };
                socket::send(lane, Request(request), exchange, kind, bytes, last)
            }),
            FromModule::Close {
                request,
                code,
                reason,
            } => self.put(request, |exchange| socket::close(exchange, code, reason)),
            FromModule::Room { request, bytes } => self.put(request, |exchange| {
                exchange.input.granted = exchange.input.granted.saturating_add(bytes);
                Ok(())
            }),
            FromModule::Want { request } => self.put(request, |exchange| {
                exchange.input.wanted = true;
                Ok(())
            }),
            FromModule::Refresh { request } => self.put(request, |exchange| {
                let granted = exchange
                    .context
                    .as_ref()
                    .is_some_and(|context| context.generation.grants.secrets);
                if !granted {
                    return Err(ReadError::Forbidden(
                        "a wish for a secret without the grant",
                    ));
                }
                if matches!(exchange.refresh, Refresh::Idle) {
                    exchange.refresh = Refresh::Wanted;
                }
                Ok(())
            }),
            FromModule::Done {
                request,
                outcome,
                poll_ns,
            } => {
                lane.forget(Request(request));
                if let Some(generation) = self.generation() {
                    let spent = &generation.stats.poll_ns;
                    spent.fetch_add(poll_ns, Ordering::Relaxed);
                }
                self.put(request, |exchange| {
                    exchange.finished = Some(match outcome {
                        wire::Outcome::Ready => Outcome::Ready,
                        wire::Outcome::Failed(reason) => Outcome::Failed(reason.to_owned()),
                        wire::Outcome::Panicked(reason) => Outcome::Panicked(reason.to_owned()),
                    });
                    Ok(())
                })
            }
            FromModule::Call(begin) => self.begin_call(number, &begin),
            FromModule::CallBody { call, bytes } => lane.calls.body(call, bytes),
            FromModule::CallBodyEnd { call, end } => {
                lane.calls.body_end(call, end);
                Ok(())
            }
            FromModule::CallRoom { call, bytes } => {
                lane.calls.room(call, bytes);
                Ok(())
            }
            FromModule::CallDenied { module } => {
                let carrier = &self.owner.carrier;
                carrier.denied(&self.label(), &plain(module));
                Ok(())
            }
            FromModule::CallForget { call } => {
                lane.calls.forget(call);
                Ok(())
            }
            FromModule::Pong => {
                // Other words may be those of a process that does not listen.
                lane.heard.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Puts something down for a request, and wakes its task. One that is over is over.
    fn put(
        &self,
        request: u64,
        put: impl FnOnce(&mut Exchange) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let Some(mut exchange) = exchange::find(Request(request)) else {
            return Ok(());
        };
        let ours = exchange
            .context
            .as_ref()
            .is_some_and(|context| context.generation.owner_id() == self.owner.id);
        if !ours {
            return Err(ReadError::Forbidden(
                "the handle of another module's request",
            ));
        }
        put(&mut exchange)?;
        wake(exchange);
        Ok(())
    }
}

fn wake(mut exchange: Guard<'_>) {
    exchange.woken = true;
    let waker = exchange.waker.clone();
    drop(exchange);
    // Outside the lock: waking runs code of the runtime.
    if let Some(waker) = waker {
        waker.wake();
    }
}
