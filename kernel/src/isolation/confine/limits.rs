//! How much a module process may take: memory and descriptors. Soft and hard limits are one, so that it cannot raise them.
//!
//! Memory is `RLIMIT_DATA`, what is private and writable, and not `RLIMIT_AS`, every address: glibc reserves 64 MiB of
//! addresses for each thread's heap. Measured with one tokio runtime in each of 16 threads: 998 MiB of addresses, 65 MiB of
//! data. Three kinds of memory are not counted by it, and `calls` refuses all of them: shared memory without a file, memory
//! that grows downwards, and files in memory. The threads' stacks are counted whole, 2 MiB for each of Rust's.
//!
//! The number of processes is no limit of the system's that would fit: `RLIMIT_NPROC` counts all threads of all processes of
//! the user. `calls` refuses to start any.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{ConfineError, Report};

pub(super) fn set(memory_bytes: u64, files: u64, report: &mut Report) -> Result<(), ConfineError> {
    if cfg!(target_os = "linux") {
        report.memory_bytes = Some(at_most(
            "limit the memory",
            Resource::RLIMIT_DATA,
            memory_bytes,
        )?);
    } else {
        report
            .missing
            .push("this system does not limit memory".to_owned());
    }
    report.files = Some(at_most(
        "limit the descriptors",
        Resource::RLIMIT_NOFILE,
        files,
    )?);
    Ok(())
}

/// Never raises: what its user is limited to holds, too.
fn at_most(what: &'static str, resource: Resource, limit: u64) -> Result<u64, ConfineError> {
    let refused = |errno: nix::errno::Errno| ConfineError::Refused {
        what,
        source: errno.into(),
    };
    let (_, hard) = getrlimit(resource).map_err(refused)?;
    let limit = limit.min(hard);
    setrlimit(resource, limit, limit).map_err(refused)?;
    Ok(limit)
}
