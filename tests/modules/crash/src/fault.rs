//! The ways in which code can end its process, or hang it.

use std::hint::{black_box, spin_loop};

use serde::Deserialize;

/// What is allocated before it is given up: far more than a module process may have.
const ALLOCATED_MAX: usize = 4 << 30;
const ALLOCATED_AT_ONCE: usize = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fault {
    /// A write where nothing is mapped.
    Segfault,
    Abort,
    /// With status 3, as a library may that knows of no host.
    Exit,
    /// A recursion without end.
    Overflow,
    /// Allocations without end.
    Allocate,
    /// A loop without end.
    Spin,
}

impl Fault {
    /// Does it. Returns from nothing but allocations that nothing limits.
    pub(crate) fn commit(self) {
        tracing::info!("{self:?} now");
        match self {
            Fault::Segfault => segfault(),
            Fault::Abort => std::process::abort(),
            Fault::Exit => std::process::exit(3),
            Fault::Overflow => {
                black_box(overflow(1));
            }
            Fault::Allocate => allocate(),
            Fault::Spin => loop {
                spin_loop();
            },
        }
    }
}

#[expect(unsafe_code, reason = "it is what this module is for")]
fn segfault() {
    // The first page is never mapped.
    let nowhere = std::ptr::without_provenance_mut::<u8>(16);
    // SAFETY: none; the system ends the process here.
    unsafe { nowhere.write_volatile(1) }
}

#[expect(unconditional_recursion, reason = "it is what this is for")]
fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    overflow(depth + 1) + frame[0]
}

fn allocate() {
    let mut kept = Vec::new();
    while kept.len() * ALLOCATED_AT_ONCE < ALLOCATED_MAX {
        kept.push(black_box(vec![1_u8; ALLOCATED_AT_ONCE]));
    }
}
