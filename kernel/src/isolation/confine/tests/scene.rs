//! What stands around a copy of this program: files that are its own and files that are not, sockets, a process to attack.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::Outcome;

pub(super) const MEMORY: u64 = 256 << 20;
pub(super) const FILES: u64 = 128;
/// Stands in a file that only others may read, and in the environment of the process that starts the copy.
const CANARY: &str = "canary-of-the-kernel";
/// Where the copy finds its scene, and which test's it is.
const ROOT: &str = "MIDPLANE_TEST_CONFINED_ROOT";
const TEST: &str = "MIDPLANE_TEST_CONFINED";
const KIND: &str = "MIDPLANE_TEST_CONFINED_KIND";
/// Another user, where the tests run as root.
const OTHER_USER: u32 = 4242;

/// How a copy runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Confined,
    /// Confined, as a user who is not root.
    OtherUser,
    Free,
}

pub(super) struct Scene {
    root: PathBuf,
    pub(super) port: u16,
    /// What only the process that runs the copy holds.
    _kept: Option<Kept>,
}

struct Kept {
    _dir: TempDir,
    _tcp: TcpListener,
    _unix: UnixListener,
    _datagrams: UnixDatagram,
    _abstract: UnixListener,
}

pub(super) struct Run {
    output: Output,
    outcomes: Option<BTreeMap<String, Outcome>>,
}

impl Scene {
    pub(super) fn new() -> Scene {
        let dir = tempfile::Builder::new()
            .prefix("midplane-confine-")
            .tempdir()
            .unwrap();
        let root = dir.path().canonicalize().unwrap();
        let open = |path: &str, mode| {
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        open("", 0o755);
        for path in ["own", "other", "named", "read", "write"] {
            fs::create_dir(root.join(path)).unwrap();
            open(path, 0o777);
        }
        for path in [
            "library",
            "other/key",
            "named/model",
            "read/file",
            "read/removable",
            "write/file",
        ] {
            fs::write(root.join(path), CANARY).unwrap();
            open(path, 0o666);
        }
        // What a generation before may have left.
        for path in ["own/planted", "write/planted"] {
            symlink("../other", root.join(path)).unwrap();
        }
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let abstract_address = SocketAddr::from_abstract_name(abstract_name(&root)).unwrap();
        let kept = Kept {
            _unix: UnixListener::bind(root.join("kernel.sock")).unwrap(),
            _datagrams: UnixDatagram::bind(root.join("datagrams.sock")).unwrap(),
            _abstract: UnixListener::bind_addr(&abstract_address).unwrap(),
            _dir: dir,
            _tcp: tcp,
        };
        let port = kept._tcp.local_addr().unwrap().port();
        open("kernel.sock", 0o777);
        open("datagrams.sock", 0o777);
        fs::write(root.join("named/port"), port.to_string()).unwrap();
        Scene {
            root,
            port,
            _kept: Some(kept),
        }
    }

    /// In the copy: the scene it was started in, if it was started for this test.
    pub(super) fn inherited(test: &str) -> Option<(Scene, Kind)> {
        if std::env::var(TEST).ok()? != test {
            return None;
        }
        let root = PathBuf::from(std::env::var_os(ROOT).unwrap());
        let kind = match std::env::var(KIND).unwrap().as_str() {
            "Confined" => Kind::Confined,
            "OtherUser" => Kind::OtherUser,
            _ => Kind::Free,
        };
        let port = fs::read_to_string(root.join("named/port")).unwrap();
        let scene = Scene {
            port: port.parse().unwrap(),
            root,
            _kept: None,
        };
        Some((scene, kind))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        match name {
            "" => self.root.clone(),
            name => self.root.join(name),
        }
    }

    pub(super) fn abstract_address(&self) -> SocketAddr {
        SocketAddr::from_abstract_name(abstract_name(&self.root)).unwrap()
    }

    pub(super) fn command(&self, test: &str, kind: Kind) -> Command {
        // Where another user can reach it.
        let program = self.root.join("test");
        if !program.exists() {
            crate::test_program::copy_to(&program);
        }
        let mut command = Command::new(program);
        command
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(TEST, test)
            .env(ROOT, &self.root)
            .env(KIND, format!("{kind:?}"))
            .stdin(Stdio::null());
        if kind == Kind::OtherUser {
            for path in ["own", "other", "other/key", "read/file", "write"] {
                chown(self.root.join(path), Some(OTHER_USER), Some(OTHER_USER)).unwrap();
            }
            command.uid(OTHER_USER).gid(OTHER_USER);
        }
        command
    }

    /// Runs a copy for this test, to its end.
    pub(super) fn run(&self, test: &str, kind: Kind) -> Run {
        let output = self.command(test, kind).output().unwrap();
        let outcomes = fs::read(self.root.join("own/outcomes"))
            .ok()
            .map(|json| serde_json::from_slice(&json).unwrap());
        Run { output, outcomes }
    }

    /// In the copy: tells what came of it.
    pub(super) fn report<'a>(&self, outcomes: impl Iterator<Item = (&'a str, Outcome)>) {
        let outcomes: BTreeMap<&str, Outcome> = outcomes.collect();
        let json = serde_json::to_vec(&outcomes).unwrap();
        fs::write(self.root.join("own/outcomes"), json).unwrap();
    }

    /// What is not the copy's is as it was.
    pub(super) fn expect_untouched(&self) {
        for path in ["library", "other/key", "named/model", "read/file"] {
            let text = fs::read_to_string(self.root.join(path)).unwrap();
            assert_eq!(text, CANARY, "{path}");
        }
        let others: Vec<_> = fs::read_dir(self.root.join("other"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(others, ["key"]);
    }
}

impl Run {
    pub(super) fn expect_success(self) -> BTreeMap<String, Outcome> {
        assert!(
            self.output.status.success(),
            "{:?}\n{}",
            self.output.status,
            self.text()
        );
        assert!(self.text().contains("1 passed"), "it ran no test");
        self.outcomes.unwrap_or_default()
    }

    pub(super) fn status(&self) -> std::process::ExitStatus {
        self.output.status
    }

    pub(super) fn text(&self) -> String {
        format!(
            "{}{}",
            String::from_utf8_lossy(&self.output.stdout),
            String::from_utf8_lossy(&self.output.stderr)
        )
    }
}

fn abstract_name(root: &std::path::Path) -> Vec<u8> {
    root.to_string_lossy().into_owned().into_bytes()
}
