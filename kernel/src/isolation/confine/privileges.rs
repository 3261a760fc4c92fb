//! What a process gives up of itself: rights that it has, rights that it could get, and being looked into.

#![cfg_attr(
    target_os = "linux",
    expect(
        unsafe_code,
        reason = "the call that drops capabilities has no wrapper"
    )
)]

use super::{ConfineError, Report};

/// How many threads there are; `None` where the system does not tell.
pub(super) fn threads() -> Option<usize> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    Some(tasks.count())
}

pub(super) fn give_up(report: &mut Report) -> Result<(), ConfineError> {
    crate::hardening::harden(false).map_err(|source| ConfineError::Refused {
        what: "forbid core dumps",
        source,
    })?;
    #[cfg(target_os = "linux")]
    {
        report.closed_to_others = true;
        nix::sys::prctl::set_no_new_privs().map_err(|errno| ConfineError::Refused {
            what: "give up new privileges",
            source: errno.into(),
        })?;
        report.no_new_privs = true;
        drop_capabilities().map_err(|source| ConfineError::Refused {
            what: "give up capabilities",
            source,
        })?;
        report.no_capabilities = true;
    }
    #[cfg(not(target_os = "linux"))]
    report
        .missing
        .push("another process of the user's can look into it".to_owned());
    Ok(())
}

/// All of them: only a kernel that runs as root has any, and a module needs none. capset(2), version 3.
#[cfg(target_os = "linux")]
fn drop_capabilities() -> std::io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;

    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }

    /// Low and high half, as bits.
    #[repr(C)]
    #[derive(Default)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }

    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let none = [Sets::default(), Sets::default()];
    // SAFETY: both point to what capset(2) reads for this version, and it writes to neither.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    if done == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}
