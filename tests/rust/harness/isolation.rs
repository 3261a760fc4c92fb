//! Where the modules of the tests run: one suite for both isolations.

use std::io::Write as _;

/// `process`: modules of which a test does not say where they run have processes of their own.
const ISOLATION: &str = "MIDPLANE_TEST_ISOLATION";

/// Where a module runs of which a test says nothing; `None`: where the kernel has it by default.
pub(crate) fn isolation() -> Option<String> {
    std::env::var(ISOLATION).ok()
}

/// Whether such a module has a process of its own.
pub(crate) fn apart() -> bool {
    isolation().as_deref() == Some("process")
}

/// What is so of modules in the kernel's process only. `tests/rust/modules/isolation` has what is so instead.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OnlyHere {
    /// Their code is in the kernel's process, and must leave it.
    Code,
    /// A poll that takes long holds up others, and puts them in quarantine.
    Quarantine,
    /// A poll that does not return costs one of the kernel's workers.
    Workers,
    /// A constructor may hang in the kernel's process.
    Constructors,
}

impl OnlyHere {
    fn reason(self) -> &'static str {
        match self {
            OnlyHere::Code => "its code is not in the kernel's process",
            OnlyHere::Quarantine => "its polls hold up nobody else",
            OnlyHere::Workers => "its polls hold none of the kernel's workers",
            OnlyHere::Constructors => "its constructors do not run in the kernel's process",
        }
    }

    /// Whether the test that asks is to end here; says so, also where the output of tests is kept back.
    #[must_use]
    pub(crate) fn skip(self) -> bool {
        if apart() {
            let test = std::thread::current();
            let test = test.name().unwrap_or_default();
            // Nobody may be reading.
            let _ = writeln!(
                std::io::stderr(),
                "skipped {test}: of a module in a process of its own, {}",
                self.reason()
            );
        }
        apart()
    }
}
