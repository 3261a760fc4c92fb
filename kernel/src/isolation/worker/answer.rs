//! What a module answers, on its way to the kernel.

use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;

use super::socket;
use super::stream::Stream;
use crate::isolation::lane::Lane;
use crate::isolation::wire::{Field, FromModule, PIECE_LEN_MAX, REQUEST_FRAME_LEN_MAX};
use crate::modules::exchange::{Head, OUTPUT_WINDOW_LEN};
use crate::modules::executor::{Call, Fault, Turn};

/// Passes on what the module answers; `None` when the kernel has cancelled it.
pub(super) async fn drive(
    mut call: Call,
    request: u64,
    stream: &Stream,
    lane: &Lane,
) -> Option<Result<(), Fault>> {
    let mut body = false;
    loop {
        let turn = std::future::poll_fn(|cx| match stream.poll_cancelled(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => call.poll_turn(cx).map(Some),
        });
        match turn.await? {
            Turn::Head(head, Some(whole)) if whole.len() <= OUTPUT_WINDOW_LEN => {
                if !put_head(lane, request, &head, Some(&whole)) {
                    return Some(Err(too_long()));
                }
            }
            Turn::Head(mut head, whole) => {
                if let Some(whole) = &whole {
                    head.headers
                        .insert(http::header::CONTENT_LENGTH, whole.len().into());
                }
                if !put_head(lane, request, &head, None) {
                    return Some(Err(too_long()));
                }
                body = true;
                put_bytes(lane, request, stream, whole.unwrap_or_default()).await?;
            }
            Turn::Accepted(accepted) => {
                let accept = FromModule::Accept {
                    request,
                    protocol: accepted
                        .protocol
                        .as_ref()
                        .map(|protocol| Field(protocol.as_bytes())),
                    headers: fields(&accepted.headers),
                    message_len_max: accepted.message_len_max,
                };
                if lane.queue(&accept, false).is_err() {
                    return Some(Err(too_long()));
                }
                lane.flush();
                return socket::drive(&mut call, request, stream, lane).await;
            }
            Turn::Bytes(bytes) => put_bytes(lane, request, stream, bytes).await?,
            Turn::Finished => {
                if body {
                    // It goes with what comes next.
                    let _ = lane.queue(&FromModule::End { request }, false);
                }
                return Some(Ok(()));
            }
            Turn::Fault(fault) => return Some(Err(fault)),
            Turn::End(_) => return Some(Err(Fault::Failed("it was cut here".to_owned()))),
        }
    }
}

/// Queues a head, to be sent with what comes next; whether it fits.
fn put_head(lane: &Lane, request: u64, head: &Head, whole: Option<&Bytes>) -> bool {
    let head = FromModule::Head {
        request,
        status: head.status.as_u16(),
        headers: fields(&head.headers),
        whole: whole.map(|body| Field(body)),
    };
    lane.queue(&head, false).is_ok()
}

fn fields(headers: &HeaderMap) -> Vec<(&str, Field<'_>)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), Field(value.as_bytes())))
        .collect()
}

/// Sends the bytes as the kernel has room for them: in one piece, as the module wrote them, so that a stream that is ended
/// from outside ends between two of its events.
async fn put_bytes(lane: &Lane, request: u64, stream: &Stream, mut bytes: Bytes) -> Option<()> {
    lane.flush();
    while !bytes.is_empty() {
        let part = bytes.split_to(bytes.len().min(PIECE_LEN_MAX));
        stream.take_room(part.len()).await?;
        // A lane that is closed ends the process.
        let _ = lane.send(&FromModule::Bytes {
            request,
            bytes: &part,
        });
    }
    Some(())
}

fn too_long() -> Fault {
    Fault::Failed(format!(
        "the head of its answer does not fit into {REQUEST_FRAME_LEN_MAX} bytes"
    ))
}
