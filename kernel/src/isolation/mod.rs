//! `isolation = "process"`: a module in a process of its own, behind the same door as one in the kernel's.
//!
//! The kernel starts `midplane worker` for each generation. Control messages go over one socket pair, requests over one for
//! each of the kernel's workers, so that a request and its answer stay on the thread that has the connection. In the kernel, a
//! request in another process is a task beside the loader's, and what its two sides put down in the request's exchange crosses
//! the lane; in the module process, the kernel's own loader and executor run the module. So there is one executor, and what a
//! module sees is the same in both isolations.
//!
//! | file | concern |
//! |---|---|
//! | `wire` | the messages, both ways |
//! | `lane` | a socket that carries them: frames, writes that do not wait, reads |
//! | `confine/` | what a module process may do |
//! | `process/` | the kernel's side: start, the instance, its requests, its end |
//! | `worker/` | the module process |

pub(crate) mod confine;
pub(crate) mod lane;
pub(crate) mod process;
pub(crate) mod wire;
pub(crate) mod worker;
