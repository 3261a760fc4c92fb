//! How a call goes wrong: what is logged and counted of it, and what its client is told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Call, Purpose};
use crate::modules::executor::too_large;
use crate::modules::instance::Outcome;
use crate::problem::{Code, Problem};

/// How a call went wrong.
#[derive(Debug)]
pub(crate) enum Fault {
    Failed(String),
    Panicked(String),
    /// Its process ended, and how.
    Crashed(String),
    TooLarge(u64),
    Stalled(Duration),
}

impl Call {
    /// Logs how the module went wrong.
    pub(super) fn fault(&self, outcome: Outcome) -> Fault {
        let (module, request_id) = (
            &self.generation.label,
            self.request_id.to_str().unwrap_or_default(),
        );
        match outcome {
            Outcome::Panicked(reason) => {
                self.generation.stats.panics.fetch_add(1, Ordering::Relaxed);
                self.generation.count_failure();
                tracing::error!(%module, request_id, reason, "a module panicked");
                Fault::Panicked(reason)
            }
            Outcome::Failed(reason) if self.purpose == Purpose::SessionCheck => {
                tracing::info!(%module, request_id, reason, "a module refused a session");
                Fault::Failed(reason)
            }
            Outcome::Failed(reason) => {
                self.generation.count_failure();
                tracing::error!(%module, request_id, reason, "a module failed");
                Fault::Failed(reason)
            }
            Outcome::Crashed(how) => {
                tracing::debug!(%module, request_id, how, "a request ended with the module's process");
                Fault::Crashed(how)
            }
            Outcome::Ready | Outcome::Pending => Fault::Failed(String::new()),
        }
    }
}

impl Fault {
    pub(in crate::modules::executor) fn problem(&self) -> Problem {
        match self {
            Fault::Crashed(how) => Problem::new(
                Code::ModuleCrashed,
                format!(
                    "the module's process ended ({how}) while the request was in it: it is started again; send the request again if that does no harm"
                ),
            ),
            Fault::Failed(_) | Fault::Panicked(_) => Problem::new(
                Code::ModuleFailed,
                "the module failed with this request: the kernel's log says why, under the request id in `instance`",
            ),
            Fault::TooLarge(limit) => too_large(*limit),
            Fault::Stalled(timeout) => Problem::new(
                Code::RequestTimeout,
                format!(
                    "no byte of the body came for {} s: send it without pauses",
                    timeout.as_secs()
                ),
            ),
        }
    }
}
