//! What the process asks of the system at its start: what is in memory stays there (no core dumps, no reading by other
//! processes of the same user), and descriptors for every connection.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of descriptors to the hard one: every connection is one, and a module's are on top. What asks for
/// more than it gets is told by the accept loop.
pub(crate) fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // macOS refuses RLIM_INFINITY here; then the limit stays as it is.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Called once, before any secret is read; `debuggable` leaves core dumps and debuggers possible.
///
/// Not dumpable, the process's entries under /proc belong to root (proc(5)); its own threads can still follow
/// /proc/self/fd, which the socket's bind needs.
pub(crate) fn harden(debuggable: bool) -> io::Result<()> {
    if debuggable {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::socket::BoundSocket;

    /// Set for the copy of this test program that is to harden itself.
    const CHILD: &str = "MIDPLANE_TEST_HARDENED_SOCKET";

    #[test]
    fn a_hardened_process_that_is_not_root_can_still_bind() {
        if let Some(path) = std::env::var_os(CHILD) {
            harden(false).unwrap();
            assert!(!nix::sys::prctl::get_dumpable().unwrap());
            BoundSocket::bind(Path::new(&path)).unwrap();
            return;
        }
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
        // A copy where another user can reach it.
        let program = root.path().join("test");
        crate::test_program::copy_to(&program);
        let mut command = Command::new(&program);
        command
            .args([
                "--exact",
                "hardening::tests::a_hardened_process_that_is_not_root_can_still_bind",
            ])
            .env(CHILD, root.path().join("midplane/kernel.sock"));
        if nix::unistd::getuid().is_root() {
            command.uid(4242).gid(4242);
        }
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}
