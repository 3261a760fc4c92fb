//! Polls a task as the kernel does, and carries what comes of it to the test.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use midplane_abi::{self as abi, Request, status, why};
use tokio::sync::{mpsc, oneshot};

use super::exchange::Call;
use super::{Loaded, exchange, host};
use crate::error::{Error, Result};

/// The rest of a response. Dropping it is the client leaving.
pub(in crate::boundary) type Frames = mpsc::Receiver<std::result::Result<Bytes, String>>;
type Head = std::result::Result<(StatusCode, HeaderMap), String>;
type Out = (
    oneshot::Sender<Head>,
    mpsc::Sender<std::result::Result<Bytes, String>>,
);

/// Polls a task to its end, and frees it; also when the reader of the response leaves.
pub(super) async fn drive(
    loaded: Arc<Loaded>,
    request: Request,
    call: Arc<Call>,
    task: abi::Task,
    out: Option<Out>,
) -> Result<()> {
    struct Freed<'a>(&'a Loaded, Request, abi::Task);
    impl Drop for Freed<'_> {
        fn drop(&mut self) {
            exchange::forget(self.1);
            let drop_task = self.0.table.drop_task.expect("the entry filled it");
            // SAFETY: the task lives, and no poll of it runs.
            unsafe { drop_task(self.0.instance, self.2) }
        }
    }
    let freed = Freed(&loaded, request, task);
    let poll = |reason| {
        let poll = loaded.table.poll.expect("the entry filled it");
        // SAFETY: the task lives; this function polls it serially.
        let answer = unsafe { poll(loaded.instance, freed.2, reason) };
        (
            answer,
            if answer < 0 {
                host::take_failure()
            } else {
                String::new()
            },
        )
    };
    let (mut head_here, frames) =
        out.map_or((None, None), |(head, frames)| (Some(head), Some(frames)));
    let mut reason = why::WAKE;
    loop {
        let changed = call.changed.notified();
        let (answer, failure) = poll(reason);
        reason = why::WAKE;
        let (head, output) = {
            let mut state = call.state();
            let state = &mut *state;
            state.output_len = 0;
            if let Some(socket) = &mut state.socket {
                state.head = socket.take_accepted().or(state.head.take());
                if socket.take_writable() {
                    reason = why::WRITABLE;
                }
                match answer {
                    status::PENDING => {}
                    status::OK => socket.end_by_module(1000, ""),
                    _ => socket.end_by_module(1011, "the module failed"),
                }
                call.told.notify_one();
            }
            (state.head.take(), std::mem::take(&mut state.output))
        };
        if let Some(head) = head
            && let Some(here) = head_here.take()
        {
            // The receiver is gone only when the caller is.
            let _ = here.send(Ok(head));
        }
        if let Some(frames) = &frames {
            let full = !output.is_empty();
            for bytes in output {
                if frames.send(Ok(bytes)).await.is_err() {
                    poll(why::CANCEL);
                    return Ok(());
                }
            }
            if full {
                reason = why::WRITABLE;
            }
        }
        match answer {
            status::OK => {
                return Ok(());
            }
            status::PENDING => {}
            _ => {
                if let Some(here) = head_here.take() {
                    // As above.
                    let _ = here.send(Err(failure.clone()));
                } else if let Some(frames) = &frames {
                    // As above.
                    let _ = frames.send(Err(failure.clone())).await;
                }
                return Err(Error::msg(failure));
            }
        }
        if reason == why::WRITABLE {
            continue;
        }
        match &frames {
            Some(frames) => {
                let left = tokio::select! {
                    () = changed => false,
                    () = frames.closed() => true,
                };
                if left {
                    poll(why::CANCEL);
                    return Ok(());
                }
            }
            None => changed.await,
        }
    }
}

/// Hands the body of a request over, piece by piece.
pub(super) async fn feed(call: Arc<Call>, mut body: Body) {
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(bytes) = frame.into_data() {
            call.state().input.push_back(bytes);
            call.changed.notify_one();
        }
    }
    call.state().input_ended = true;
    call.changed.notify_one();
}
