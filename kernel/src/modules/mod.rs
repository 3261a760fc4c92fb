//! Modules: from a file on disk to a generation that answers requests, and back.
//!
//! | file | concern |
//! |---|---|
//! | `descriptor` | what an artifact says of itself, read without running it |
//! | `grants` | what a module may be given beyond its own requests |
//! | `origin` | the author's file: from where it may come, and who may write to it |
//! | `stage`, `private_copy` | the copy that is loaded, hashed, in a file or in memory |
//! | `data_dir` | the directory that a module has to itself |
//! | `state` | what one generation hands over to the next |
//! | `loader/` | all the unsafe: opening the library, its table of functions, the functions it may call |
//! | `exchange` | the state of one request that both sides touch, found by handle |
//! | `calls/` | requests of one module to another |
//! | `executor` | polls a module's task inline, as the HTTP response that it becomes |
//! | `instance` | a module that takes requests, and one of those: here, or in a process of its own |
//! | `generation` | one load of a module: what it was granted, what it has done, who still uses it |
//! | `registry` | which generation a name means now, one operation on a name at a time |
//! | `life` | the phases of a generation as a pure state machine |
//! | `load`, `step` | from a file to an instance, and where that stands when it takes too long: the first half of what comes before the exchange of a route |
//! | `trial` | constructors, run in a child first |
//! | `handover` | from an instance to a generation that may serve: the second half |
//! | `restart`, `crash` | when a module whose process has ended is started again, and what is told of it |
//! | `retire` | everything after the exchange: drain, cut, end |
//! | `trail` | the way to a file: the directories and links that decide which one a path means |
//! | `watch/` | reloads when a file or the configuration changes |
//! | `control` | the threads that module code may hang |
//! | `receipt` | the proof that a swap or unload returns |

pub(crate) mod calls;
pub(crate) mod control;
pub(crate) mod crash;
pub(crate) mod data_dir;
pub mod descriptor;
pub(crate) mod exchange;
pub(crate) mod executor;
pub(crate) mod generation;
pub(crate) mod grants;
mod handover;
pub(crate) mod instance;
pub(crate) mod life;
pub(crate) mod load;
pub(crate) mod loader;
pub(crate) mod metrics;
pub(crate) mod origin;
pub(crate) mod private_copy;
pub(crate) mod receipt;
pub(crate) mod registry;
pub(crate) mod restart;
mod retire;
pub(crate) mod stage;
pub(crate) mod state;
pub(crate) mod step;
pub(crate) mod trail;
pub(crate) mod trial;
pub(crate) mod watch;
