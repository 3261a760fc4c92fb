//! The part that knows glibc: who has registered what, and the functions that libraries call instead of the C library's.
//!
//! | file | concern |
//! |---|---|
//! | `images`, `ledger` | which libraries are where; what each has left behind; both are safe, and call nothing |
//! | `interpose` | the exported functions |
//! | `libc_own` | the C library's, behind them |
//! | `thread_end` | running a thread's destructors: a library's before it goes, all when the thread ends |
//! | `objects`, `callers`, `maps`, `thread`, `signals` | what is mapped, on the stack, running, and handling signals |

mod callers;
mod images;
mod interpose;
mod ledger;
mod libc_own;
mod load;
mod maps;
mod objects;
mod signals;
mod thread;
mod thread_end;

pub(crate) use interpose::availability;
pub(crate) use load::{Company, Load};
pub(crate) use thread_end::settle_thread;
