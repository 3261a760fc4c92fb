//! What a receipt says, for people; and what a swap or an unload waits for meanwhile.

use midplane_client::{DrainingGeneration, Identity, Receipt, ReceiptState};

/// From here on milliseconds are easier to read.
const MILLISECONDS_FROM_US: u64 = 10_000;

/// A line for what happened, one for the state that was handed over, and one for the old generation. `draining` is asked for
/// when the receipt cannot tell how that one ended.
pub(super) fn summary(receipt: &Receipt, draining: &[DrainingGeneration]) -> String {
    let one = |id: &Identity| format!("{}#{} ({})", receipt.module, id.generation, id.version);
    let what = match (&receipt.from, &receipt.to) {
        (None, Some(to)) => format!("loaded {}", one(to)),
        (Some(from), Some(to)) => format!("swapped {} for {}", one(from), one(to)),
        (Some(from), None) => format!("retired {}", one(from)),
        (None, None) => format!("{}: nothing to do", receipt.module),
    };
    let mut lines = vec![what];
    if let (Some(us), Some(_), Some(_)) = (receipt.swap_us, &receipt.from, &receipt.to) {
        lines[0] += &format!("; new requests waited {}", duration(us));
    }
    lines.extend(receipt.state.map(state));
    if let Some(from) = &receipt.from {
        let label = format!("{}#{}", receipt.module, from.generation);
        lines.push(match receipt.unloaded {
            None => leaving(&label, left(receipt, from, draining)),
            Some(unloaded) => fate(&label, receipt, unloaded),
        });
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What is waited for: the requests that the generations of `name` finish, or else `otherwise`.
pub(super) fn waits_for(name: &str, draining: &[DrainingGeneration], otherwise: &str) -> String {
    let finishes = |one: &DrainingGeneration| {
        let left = requests(one.in_flight_requests);
        format!("{name}#{} finishes {left}", one.generation)
    };
    let mine = draining.iter().filter(|one| one.name == name);
    let mine: Vec<_> = mine.map(finishes).collect();
    if mine.is_empty() {
        otherwise.to_owned()
    } else {
        mine.join(", ")
    }
}

fn state(state: ReceiptState) -> String {
    let ReceiptState {
        bytes,
        schema,
        accepted,
    } = state;
    let fate = if accepted {
        "taken over"
    } else {
        "left behind: the new version takes none"
    };
    format!("state: {bytes} bytes of schema {schema}, {fate}")
}

/// How many requests the old one finishes; `None` when it has none, or has ended.
fn left(receipt: &Receipt, from: &Identity, draining: &[DrainingGeneration]) -> Option<u64> {
    let is_old =
        |one: &&DrainingGeneration| one.name == receipt.module && one.generation == from.generation;
    let left = draining.iter().find(is_old)?.in_flight_requests;
    (left > 0).then_some(left)
}

fn leaving(label: &str, left: Option<u64>) -> String {
    match left {
        Some(left) => format!(
            "{label}: finishes {}, then ends; `midplane module list` shows it, --wait waits for it",
            requests(left)
        ),
        None => format!("{label}: has no request left, and ends (--wait waits for it)"),
    }
}

fn fate(label: &str, receipt: &Receipt, unloaded: bool) -> String {
    let drained = receipt
        .drain_ms
        .map_or(String::new(), |ms| format!(" in {ms} ms"));
    let counts = receipt.requests;
    let end = match (unloaded, &receipt.resident_reason) {
        (true, _) => "its code has left the process".to_owned(),
        (false, Some(reason)) => format!("its code is still in memory: {reason}"),
        (false, None) => "its code is still in memory".to_owned(),
    };
    format!(
        "{label}: finished {}, cancelled {}{drained}; {end}",
        requests(counts.finished_on_old),
        counts.cancelled
    )
}

fn requests(count: u64) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} request{s}")
}

fn duration(us: u64) -> String {
    if us < MILLISECONDS_FROM_US {
        format!("{us} µs")
    } else {
        format!("{} ms", us / 1000)
    }
}
