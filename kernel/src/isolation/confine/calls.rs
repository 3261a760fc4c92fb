//! Which system calls a module process has not, by seccomp (seccomp(2)): those that reach other processes, other users' worth of
//! memory, or the system. What is refused answers `EPERM`, so that a program can go on without it.
//!
//! A list of what is refused, not of what is allowed: a module is anyone's program and uses what its libraries use. Calls that
//! are younger than this list answer `ENOSYS`, as on a system that has not got them; every C library has to bear that.

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub(super) fn restrict(_processes: bool, report: &mut super::Report) {
    if cfg!(target_os = "linux") {
        let why = "the list of calls is written for x86_64 and aarch64".to_owned();
        report.seccomp = super::report::Seccomp::Unavailable(why);
    }
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub(super) use linux::restrict;

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod linux;
