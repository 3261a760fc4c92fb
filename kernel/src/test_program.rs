//! For tests that run a copy of themselves where another user can reach it.

use std::path::Path;
use std::process::Command;

/// Copies this test program to `to`. By another process: a descriptor of ours that writes the file would be inherited by
/// whatever other tests start meanwhile, and a file that someone has open for writing cannot be run (execve(2), ETXTBSY).
pub(crate) fn copy_to(to: &Path) {
    let copied = Command::new("cp")
        .arg(std::env::current_exe().expect("the system knows what it runs"))
        .arg(to)
        .status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "cp to {}",
        to.display()
    );
}
