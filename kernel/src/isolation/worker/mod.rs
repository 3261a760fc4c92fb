//! `midplane worker`: a module process. It opens one library, carries out the kernel's orders, and ends with the kernel.
//!
//! The kernel's own loader and executor run the module here; the socket's part is taken by the lanes. It has no session, no
//! secret and no configuration but what the kernel tells it, and decides nothing.
//!
//! | file | concern |
//! |---|---|
//! | `given` | the sockets it is given |
//! | `orders` | the steps of the module's life |
//! | `lanes` | the threads that requests come to |
//! | `requests`, `stream`, `body`, `socket` | what the kernel says of them |
//! | `calls` | what the module asks of other modules |
//! | `answer` | what the module answers |
//! | `counts` | what it counts |
//! | `log` | its log lines |

mod answer;
mod body;
mod calls;
mod counts;
mod given;
mod lanes;
mod log;
mod orders;
mod requests;
mod socket;
mod stream;

use std::io::Read as _;
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) use body::LaneBody;
use counts::Counts;
use given::Given;
use orders::Orders;

use super::lane::{Lane, ReadError};
use super::wire::{CONTROL_FRAME_LEN_MAX, Open, Order};
use crate::memory;
use crate::modules::loader;

/// The command of `midplane` that is the child.
pub(crate) const COMMAND: &str = "worker";

/// How a module process says that what it was given made no sense: sysexits.h, `EX_SOFTWARE`.
const CONFUSED: u8 = 70;

/// The whole process. Does not return before the kernel is gone.
pub(crate) fn run() -> ExitCode {
    // A crash leaves no dump: secrets may be in it.
    let _ = crate::hardening::harden(false);
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("midplane worker: {error}; it is started by the kernel, not by hand");
            ExitCode::from(CONFUSED)
        }
    }
}

fn start() -> Result<(), ReadError> {
    let Given { mut control, rest } = given::take()?;
    let open = first_order(&mut control)?;
    let path = given::path_to_open(&open, &rest);
    let mut lanes = given::lanes(&open, rest)?;
    memory::share_free_memory(lanes.len());
    // Before there is a second thread, and before any of the module's code.
    let confined = open.confinement.apply();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let lane = Arc::new(Lane::new(
        control,
        CONTROL_FRAME_LEN_MAX + open.state_bytes_max,
    ));
    let socket = lane
        .claim()
        .ok_or(ReadError::Forbidden("a lane served twice"))?;
    // The last is for calls that belong to no request.
    let calls = lanes.pop().ok_or(ReadError::Forbidden("no lane"))?;
    let carrier = lanes::serve_calls(calls)?;
    let counts = Counts::new(&open.name, &lane);
    runtime.spawn(counts.clone().pass_on());
    let orders = Orders::new(open, path, lanes, carrier, counts, Arc::clone(&lane));
    orders.open(confined);
    let served =
        runtime.block_on(lane.serve(socket, |frame| orders.take(postcard::from_bytes(frame)?)));
    if let Err(error) = served {
        eprintln!("midplane worker: {error}");
    }
    // The kernel is gone. Nothing of the library is to run any more.
    loader::end_process(0)
}

/// Read before anything runs beside: what it says decides what this process may do.
fn first_order(control: &mut std::os::unix::net::UnixStream) -> Result<Open, ReadError> {
    let mut length = [0; 4];
    control.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > CONTROL_FRAME_LEN_MAX {
        return Err(ReadError::Forbidden("a first order that is too long"));
    }
    let mut frame = vec![0; length];
    control.read_exact(&mut frame)?;
    match postcard::from_bytes(&frame)? {
        Order::Open(open) => Ok(*open),
        _ => Err(ReadError::Forbidden(
            "another first order than to open a library",
        )),
    }
}
