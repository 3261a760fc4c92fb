//! Modules: from a file on disk to a generation that answers requests, and back.
//!
//! | file | concern |
//! |---|---|
//! | `descriptor` | what an artifact says of itself, read without running it |
//! | `stage` | the private copy that is loaded, and who may write to what it came from |
//! | `loader/` | all the unsafe: opening the library, its table of functions, the functions it may call |
//! | `exchange` | the state of one request that both sides touch, found by handle |
//! | `executor` | polls a module's task inline, as the HTTP response that it becomes |
//! | `generation` | one load of a module: what it was granted, what it has done, who still uses it |
//! | `registry` | which generation a name means now, one operation on a name at a time |
//! | `load` | everything before the exchange of a route |
//! | `retire` | everything after it: drain, cut, end |
//! | `trail` | the way to a file: the directories and links that decide which one a path means |
//! | `watch/` | reloads when a file or the configuration changes |
//! | `control` | the threads that module code may hang |
//! | `receipt` | the proof that a swap or unload returns |

mod control;
pub mod descriptor;
pub(crate) mod exchange;
pub(crate) mod executor;
pub(crate) mod generation;
pub(crate) mod load;
pub(crate) mod loader;
pub(crate) mod receipt;
pub(crate) mod registry;
mod retire;
pub(crate) mod stage;
mod trail;
pub(crate) mod watch;
