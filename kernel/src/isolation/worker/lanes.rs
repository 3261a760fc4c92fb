//! The threads of the lanes: each reads one, and polls the requests that come over it.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::calls::LaneCarrier;
use super::requests::Requests;
use crate::isolation::lane::{Lane, ReadError};
use crate::isolation::wire::REQUEST_FRAME_LEN_MAX;
use crate::modules::generation::Generation;
use crate::modules::loader;

/// A lane that is served by a thread.
pub(super) struct Serving {
    lane: Arc<Lane>,
    thread: JoinHandle<()>,
}

impl Serving {
    /// Ends its thread. Blocks.
    pub(super) fn stop(self) {
        self.lane.close();
        // It ends the process if it fails.
        let _ = self.thread.join();
    }
}

/// Serves each lane on a thread of its own.
pub(super) fn serve(
    lanes: Vec<UnixStream>,
    generation: &Arc<Generation>,
) -> io::Result<Vec<Serving>> {
    let serve = |(number, socket)| {
        let lane = Arc::new(Lane::new(socket, REQUEST_FRAME_LEN_MAX));
        let (served, generation) = (Arc::clone(&lane), Arc::clone(generation));
        let thread = std::thread::Builder::new()
            .name(format!("lane-{number}"))
            .spawn(move || {
                if let Err(error) = serve_lane(&served, generation) {
                    eprintln!("midplane worker: {error}");
                    loader::end_process(super::CONFUSED);
                }
            })?;
        Ok(Serving { lane, thread })
    };
    lanes.into_iter().enumerate().map(serve).collect()
}

/// Serves the lane of the calls that belong to no request, on a thread of its own: from before the module begins, since it may
/// call others while it does.
pub(super) fn serve_calls(socket: UnixStream) -> io::Result<Arc<LaneCarrier>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let lane = Arc::new(Lane::new(socket, REQUEST_FRAME_LEN_MAX));
    let carrier = Arc::new(LaneCarrier {
        lane: Arc::clone(&lane),
        calls: Arc::default(),
        request: None,
        runtime: runtime.handle().clone(),
    });
    let calls = Arc::clone(&carrier.calls);
    std::thread::Builder::new()
        .name("lane-calls".to_owned())
        .spawn(move || {
            let take = |frame: &[u8]| match calls.take(postcard::from_bytes(frame)?)? {
                None => Ok(()),
                Some(_) => Err(ReadError::Forbidden("a request on the lane of calls")),
            };
            let served = lane
                .claim()
                .map(|socket| runtime.block_on(lane.serve(socket, take)));
            if let Some(Err(error)) = served {
                eprintln!("midplane worker: {error}");
                loader::end_process(super::CONFUSED);
            }
        })?;
    Ok(carrier)
}

/// Until the kernel is gone, or the lane is closed.
fn serve_lane(lane: &Arc<Lane>, generation: Arc<Generation>) -> Result<(), ReadError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let socket = lane
        .claim()
        .ok_or(ReadError::Forbidden("a lane served twice"))?;
    let requests = Requests::new(generation, lane);
    runtime.block_on(lane.serve(socket, |frame| requests.take(postcard::from_bytes(frame)?)))
}
