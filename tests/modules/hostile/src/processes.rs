//! Other processes, the kernel's first of all, and programs.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use axum::Router;
use axum::routing::get;

use crate::outcome::{Outcome, ended, number, tried};

pub(crate) fn routes() -> Router {
    let routes = Router::new()
        .route("/fork", get(fork))
        .route("/exec", get(exec))
        .route("/spawn", get(async || ended(spawn())))
        .route("/kill-kernel", get(async || tried(signal(parent()))))
        // Signal 0 only asks whether it could.
        .route("/kill-group", get(async || tried(signal(0))))
        .route("/kill-all", get(async || tried(signal(-1))));
    #[cfg(target_os = "linux")]
    let routes = routes.merge(linux::routes());
    ["environ", "maps", "mem", "cmdline"]
        .into_iter()
        .fold(routes, |routes, name| {
            routes.route(
                &format!("/kernel-{name}"),
                get(async move || ended(fs::File::open(of_kernel(name)).map(drop))),
            )
        })
        .route(
            "/kernel-fd",
            get(async || ended(fs::read_dir(of_kernel("fd")).map(Iterator::count))),
        )
}

/// Who started it: the kernel, of a module in a process of its own.
fn parent() -> libc::pid_t {
    // SAFETY: asks only.
    unsafe { libc::getppid() }
}

fn of_kernel(name: &str) -> PathBuf {
    format!("/proc/{}/{name}", parent()).into()
}

fn signal(pid: libc::pid_t) -> libc::c_int {
    // SAFETY: signal 0 is sent to nobody.
    unsafe { libc::kill(pid, 0) }
}

async fn fork() -> Outcome {
    // SAFETY: the copy ends at once.
    match unsafe { libc::fork() } {
        // SAFETY: as it says.
        0 => unsafe { libc::_exit(0) },
        -1 => tried(-1),
        copy => {
            let mut status = 0;
            // SAFETY: waits for the copy that was made here.
            tried(unsafe { libc::waitpid(copy, &raw mut status, 0) })
        }
    }
}

/// One that is not there, so that the module goes on where it is let: the error tells.
async fn exec() -> Outcome {
    let arguments = [std::ptr::null()];
    // SAFETY: the path ends with a zero, the lists with a null.
    let answer = unsafe {
        libc::execve(
            c"/no/such/program".as_ptr(),
            arguments.as_ptr(),
            arguments.as_ptr(),
        )
    };
    match number(answer) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => ended(Ok("it was looked for")),
        result => ended(result),
    }
}

fn spawn() -> io::Result<bool> {
    Command::new("/bin/true")
        .status()
        .map(|status| status.success())
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;

    pub(super) fn routes() -> Router {
        Router::new()
            .route("/trace-kernel", get(trace_kernel))
            .route("/read-kernel", get(read_kernel))
            .route("/exec-memory", get(async || ended(exec_memory())))
            .route("/outlive-kernel", get(outlive_kernel))
            .route("/be-looked-into", get(be_looked_into))
    }

    /// Asks for something that needs it to be traced already: nothing is stopped.
    async fn trace_kernel() -> Outcome {
        // SAFETY: reads nothing of this process.
        let answer = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, parent(), 0, 0) };
        match number(answer) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => ended(Ok("it was asked")),
            result => ended(result),
        }
    }

    async fn read_kernel() -> Outcome {
        let mut byte = 0u8;
        let local = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        // Where nothing is: allowed, it is a fault.
        let remote = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 1,
        };
        // SAFETY: writes one byte at most, to where it lives.
        let answer = unsafe {
            libc::process_vm_readv(parent(), &raw const local, 1, &raw const remote, 1, 0)
        };
        match number(i64::try_from(answer).unwrap_or(-1)) {
            Err(error) if error.raw_os_error() == Some(libc::EFAULT) => {
                ended(Ok("it was looked for"))
            }
            result => ended(result),
        }
    }

    /// A program in memory, which has no path to judge. Nothing is run where it would be let: the descriptor is one of data.
    fn exec_memory() -> io::Result<i64> {
        // SAFETY: the name ends with a zero.
        let memory = number(unsafe { libc::memfd_create(c"program".as_ptr(), libc::MFD_CLOEXEC) })?;
        // SAFETY: made above and owned by nobody else.
        number(unsafe { libc::close(libc::c_int::try_from(memory).unwrap_or(-1)) })
    }

    async fn outlive_kernel() -> Outcome {
        // SAFETY: reads and writes no memory.
        tried(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0) })
    }

    async fn be_looked_into() -> Outcome {
        // SAFETY: reads and writes no memory.
        tried(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) })
    }
}
