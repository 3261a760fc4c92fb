//! What a module process keeps of its descriptors: what it was given, and nothing else.
//!
//! The kernel marks all of its own to be closed; this is for what slips through, and for the one that came as standard input.

#![expect(
    unsafe_code,
    reason = "a descriptor that nobody owns is closed by its number"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};

/// The standard ones stay.
const FIRST_STRAY: RawFd = 3;
/// Lists the open descriptors of whoever reads it, on Linux and macOS.
const OPEN: &str = "/dev/fd";
/// Where they cannot be listed: more than anyone leaves open by accident.
const LAST_GUESS: RawFd = 1024;

/// Takes the socket that stands in for standard input, and puts /dev/null in its place: whoever reads standard input then
/// finds its end, and not the kernel's words.
pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    let taken = io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(taken)
}

/// Closes everything but 0, 1, 2 and `kept`; returns what was closed, which should be nothing. Call it first in the process,
/// while nothing in it owns a descriptor but those.
pub(crate) fn close_strays(kept: &[RawFd]) -> Vec<RawFd> {
    let mut strays: Vec<RawFd> = match std::fs::read_dir(OPEN) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect(),
        Err(_) => (0..LAST_GUESS).collect(),
    };
    strays.retain(|number| *number >= FIRST_STRAY && !kept.contains(number));
    // The listing's own descriptor is among them, and closed by now.
    strays.retain(|&number| {
        // SAFETY: by this function's contract nothing in the process owns it.
        unsafe { libc::close(number) == 0 }
    });
    strays
}
