//! A module process ends with its kernel, also when the kernel is killed.
//!
//! The system's promise is about the *thread* that started the child (prctl(2), `PR_SET_PDEATHSIG`): that thread has to live
//! as long as the kernel.

use super::{ConfineError, Report};

#[cfg(target_os = "linux")]
pub(super) fn tie_to(kernel: i32, report: &mut Report) -> Result<(), ConfineError> {
    use nix::sys::signal::Signal;

    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| ConfineError::Refused {
        what: "ask to be ended with the kernel",
        source: errno.into(),
    })?;
    report.ends_with_kernel = super::report::EndsBy::Signal;
    still_there(kernel)
}

/// The end of the control lane is all there is.
#[cfg(not(target_os = "linux"))]
pub(super) fn tie_to(kernel: i32, _report: &mut Report) -> Result<(), ConfineError> {
    still_there(kernel)
}

/// A kernel that ended before the question was asked sends nothing any more.
fn still_there(kernel: i32) -> Result<(), ConfineError> {
    if nix::unistd::getppid().as_raw() == kernel {
        Ok(())
    } else {
        Err(ConfineError::Orphaned)
    }
}
