//! What can hold a library in the process, as a person reads it. Finds nothing out.

use std::fmt::{self, Display, Formatter};

/// Names beyond this many are counted only.
const NAMES_SHOWN_MAX: usize = 4;

/// Why no library can be unloaded in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("unloading needs Linux with glibc, linked dynamically, on x86-64 or arm64")]
    Platform,
    #[error(
        "this program was linked without exporting `{symbol}`, so that libraries call the C library's"
    )]
    NotExported { symbol: &'static str },
    #[error("the C library has no `{symbol}`")]
    NotInLibc { symbol: &'static str },
}

/// Something that holds a library in the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    Unavailable(Unavailable),
    /// The file could not be examined, so that nothing is known of what is in it.
    Unreadable(String),
    /// Symbols that the dynamic linker makes unique in the process, and never forgets (STB_GNU_UNIQUE).
    UniqueSymbols(Vec<String>),
    /// Functions it may call whose consequences are not followed.
    Unfollowed(Vec<String>),
    /// Threads that it started, by name.
    OwnThreads(Vec<String>),
    /// Other threads that have destructors of it, and have neither settled nor ended.
    UnsettledThreads(Vec<String>),
    /// Signals whose handler is in its code.
    SignalHandlers(Vec<String>),
    /// Another library's constructors are running, for which the dynamic linker makes everybody wait.
    LinkerBusy(String),
    /// It was closed, and nothing that is followed holds it; the dynamic linker did not unmap it all the same.
    Mapped,
}

impl Pin {
    /// Whether it may go away by itself.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Pin::OwnThreads(_) | Pin::UnsettledThreads(_) | Pin::LinkerBusy(_) => true,
            Pin::Unavailable(_)
            | Pin::Unreadable(_)
            | Pin::UniqueSymbols(_)
            | Pin::Unfollowed(_)
            | Pin::SignalHandlers(_)
            | Pin::Mapped => false,
        }
    }
}

impl Display for Pin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Pin::Unavailable(why) => why.fmt(f),
            Pin::Unreadable(why) => write!(f, "its file cannot be examined: {why}"),
            Pin::UniqueSymbols(names) => {
                write!(
                    f,
                    "symbols that the dynamic linker never forgets: {}",
                    Names(names)
                )
            }
            Pin::Unfollowed(names) => {
                write!(
                    f,
                    "it may call functions that are not followed: {}",
                    Names(names)
                )
            }
            Pin::OwnThreads(names) => write!(f, "module threads still running: {}", Names(names)),
            Pin::UnsettledThreads(names) => write!(
                f,
                "threads that have not run its destructors: {}",
                Names(names)
            ),
            Pin::SignalHandlers(names) => {
                write!(f, "signal handlers left in its code: {}", Names(names))
            }
            Pin::LinkerBusy(path) => write!(
                f,
                "the dynamic linker waits for the constructors of another library: {path}"
            ),
            Pin::Mapped => f.write_str(
                "the dynamic linker keeps it: something else has opened it, or uses its symbols",
            ),
        }
    }
}

/// `3 (a, b, c)`
struct Names<'a>(&'a [String]);

impl Display for Names<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(NAMES_SHOWN_MAX)];
        let more = if self.0.len() > shown.len() {
            ", ..."
        } else {
            ""
        };
        write!(f, "{} ({}{more})", self.0.len(), shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pin_names_what_holds() {
        for (pin, text) in [
            (
                Pin::OwnThreads(names(&["poller"])),
                "module threads still running: 1 (poller)",
            ),
            (
                Pin::UnsettledThreads(names(&["a", "b", "c", "d", "e"])),
                "threads that have not run its destructors: 5 (a, b, c, d, ...)",
            ),
            (
                Pin::Unavailable(Unavailable::NotExported {
                    symbol: "pthread_create",
                }),
                "this program was linked without exporting `pthread_create`, so that libraries call the C library's",
            ),
        ] {
            assert_eq!(pin.to_string(), text);
        }
    }
}
