//! The reasons for which an open socket ends, and what each means for the client and for the module.

use std::time::Duration;

use super::super::call::End;
use super::link::{Broken, LinkEnd, vanished};
use crate::modules::exchange::socket::Close;

/// How long a handler may go on once the kernel has closed its socket: it holds the generation.
const FINISH_GRACE: Duration = Duration::from_secs(1);
/// The same once the client has: nobody waits for it.
const FINISH_GRACE_CLIENT: Duration = Duration::from_secs(5);

/// How an open socket ends.
pub(super) struct Farewell {
    /// What the module is told.
    pub(super) told: Close,
    /// What the client is.
    pub(super) link: LinkEnd,
    /// Whether what the module sent before still goes out.
    pub(super) flush: bool,
    /// How long the module may go on.
    pub(super) grace: Duration,
}

impl Farewell {
    /// The client has closed it, or is gone.
    pub(super) fn of_client(told: Close, link: LinkEnd) -> Farewell {
        Farewell {
            told,
            link,
            flush: false,
            grace: FINISH_GRACE_CLIENT,
        }
    }

    /// The client breaks the protocol or a limit.
    pub(super) fn of_violation(close: Close) -> Farewell {
        Farewell {
            told: close.clone(),
            link: LinkEnd::Fail(close),
            flush: false,
            grace: FINISH_GRACE,
        }
    }

    /// The module, or the kernel on its behalf.
    pub(super) fn of_module(close: Close) -> Farewell {
        Farewell {
            told: close.clone(),
            link: LinkEnd::Close(close),
            flush: true,
            grace: FINISH_GRACE,
        }
    }

    pub(super) fn of_end(end: End) -> Farewell {
        let close = match end {
            End::SessionRevoked => Close::new(1008, "the session was revoked"),
            End::SessionExpired => Close::new(1008, "the session has expired"),
            End::Drained => return Farewell::of_module(restart()),
        };
        Farewell {
            told: close.clone(),
            link: LinkEnd::Close(close),
            flush: false,
            // Nothing is done any more for a session that has ended.
            grace: Duration::ZERO,
        }
    }
}

/// RFC 6455 section 7.4.1 has no word for it; the registry of section 11.7 does.
pub(super) fn restart() -> Close {
    Close::new(
        1012,
        "the module was replaced or the kernel is shutting down",
    )
}

/// A link that breaks is a client that vanished.
impl From<Broken> for Farewell {
    fn from(_broken: Broken) -> Farewell {
        Farewell::of_client(vanished(), LinkEnd::Gone)
    }
}
