//! Each planted kind, each race that the design names.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;

use super::*;

fn place() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("midplane/kernel.sock");
    (root, socket)
}

fn own_directory(socket: &Path) {
    fs::create_dir(socket.parent().unwrap()).unwrap();
    fs::set_permissions(socket.parent().unwrap(), Permissions::from_mode(0o700)).unwrap();
}

fn refused(socket: &Path, code: u8) -> SocketError {
    let error = BoundSocket::bind(socket).expect_err("must be refused");
    assert_eq!(error.exit_code(), code, "{error}");
    error
}

#[test]
fn makes_directory_and_socket_private_and_removes_the_socket() {
    let (_root, path) = place();
    let socket = BoundSocket::bind(&path).unwrap();
    assert_eq!(
        fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777,
        0o700
    );
    let file = fs::symlink_metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.mode() & 0o7777, 0o600);
    let client = UnixStream::connect(&path).unwrap();
    let peer = peer(&client).unwrap();
    assert_eq!(peer.pid, Some(i32::try_from(std::process::id()).unwrap()));
    assert!(peer.may_connect(getuid().as_raw()));
    assert!(!peer.may_connect(getuid().as_raw() + 1));
    drop(socket);
    assert!(!path.exists());
    assert!(
        path.with_file_name("kernel.sock.lock").exists(),
        "the lock file stays"
    );
}

#[test]
fn missing_parents_are_not_made() {
    let root = tempfile::tempdir().unwrap();
    refused(&root.path().join("a/b/kernel.sock"), 73);
    assert!(!root.path().join("a").exists());
}

#[test]
fn refuses_a_directory_others_may_enter_and_leaves_its_mode() {
    for mode in [0o750, 0o705, 0o755, 0o777, 0o701] {
        let (_root, path) = place();
        own_directory(&path);
        let directory = path.parent().unwrap();
        fs::set_permissions(directory, Permissions::from_mode(mode)).unwrap();
        let error = refused(&path, 73);
        assert!(error.to_string().contains("chmod 700"), "{error}");
        assert_eq!(fs::metadata(directory).unwrap().mode() & 0o7777, mode);
        assert_eq!(
            fs::read_dir(directory).unwrap().count(),
            0,
            "nothing touched"
        );
    }
}

#[test]
fn refuses_an_ancestor_that_everyone_may_write_to() {
    let (root, path) = place();
    fs::set_permissions(root.path(), Permissions::from_mode(0o777)).unwrap();
    refused(&path, 73);
    assert!(!path.parent().unwrap().exists());
    fs::set_permissions(root.path(), Permissions::from_mode(0o1777)).unwrap();
    BoundSocket::bind(&path).unwrap();
}

#[test]
fn refuses_a_symlink_in_place_of_the_directory() {
    let (root, path) = place();
    let target = root.path().join("elsewhere");
    fs::create_dir(&target).unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o700)).unwrap();
    symlink(&target, path.parent().unwrap()).unwrap();
    refused(&path, 73);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
}

#[test]
fn refuses_what_is_not_a_socket_and_leaves_it() {
    let (_root, path) = place();
    own_directory(&path);
    fs::write(&path, "precious").unwrap();
    refused(&path, 73);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    symlink("/nonexistent", &path).unwrap();
    refused(&path, 73);
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
}

#[test]
fn refuses_a_planted_lock_file() {
    let (root, path) = place();
    own_directory(&path);
    let lock = path.with_file_name("kernel.sock.lock");
    let target = root.path().join("target");
    fs::write(&target, "precious").unwrap();
    symlink(&target, &lock).unwrap();
    refused(&path, 73);
    fs::remove_file(&lock).unwrap();
    fs::hard_link(&target, &lock).unwrap();
    refused(&path, 73);
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[test]
fn refuses_a_directory_and_a_socket_of_another_user() {
    if !getuid().is_root() {
        return;
    }
    let (_root, path) = place();
    own_directory(&path);
    std::os::unix::fs::chown(path.parent().unwrap(), Some(4242), None).unwrap();
    refused(&path, 73);
    std::os::unix::fs::chown(path.parent().unwrap(), Some(0), None).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
    refused(&path, 73);
    assert!(path.exists());
}

#[test]
fn the_second_start_names_the_first() {
    let (_root, path) = place();
    let _first = BoundSocket::bind(&path).unwrap();
    let error = refused(&path, 75);
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    UnixStream::connect(&path).expect("the first still serves");
}

#[test]
fn of_a_hundred_starts_at_once_one_lives() {
    let (_root, path) = place();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| BoundSocket::bind(&path)))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let own = i32::try_from(std::process::id()).unwrap();
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(
            matches!(error, SocketError::AlreadyRunning { pid: Some(pid), .. } if *pid == own),
            "{error:?}"
        );
    }
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let (_root, path) = place();
    own_directory(&path);
    let live = UnixListener::bind(&path).unwrap();
    refused(&path, 75);
    drop(live);
    let _socket = BoundSocket::bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn removes_only_the_socket_it_made() {
    let (_root, path) = place();
    let socket = BoundSocket::bind(&path).unwrap();
    assert!(socket.made.as_ref().unwrap().in_place());
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    assert!(!socket.made.as_ref().unwrap().in_place());
    assert!(!socket.unlink_if_ours());
    drop(socket);
    UnixStream::connect(&path).expect("the other's socket is still there");
}

#[test]
fn every_length_is_bound_or_refused_whole() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("d");
    for bytes in [
        1,
        50,
        PATH_BYTES_MAX - 1,
        PATH_BYTES_MAX,
        PATH_BYTES_MAX + 1,
        300,
        4000,
    ] {
        let prefix = directory.as_os_str().len() + 1;
        let path = directory.join("s".repeat(bytes.saturating_sub(prefix).max(1)));
        let length = path.as_os_str().len();
        match BoundSocket::bind(&path) {
            Ok(_socket) => {
                assert!(length <= PATH_BYTES_MAX);
                UnixStream::connect(&path).unwrap();
            }
            Err(error) => {
                assert!(length > PATH_BYTES_MAX, "{error}");
                assert!(error.to_string().contains(&length.to_string()), "{error}");
            }
        }
    }
    refused(Path::new(OsStr::from_bytes(b"/tmp/a\0b")), 73);
    refused(Path::new("/"), 73);
}

#[test]
fn host_key_is_private_and_removed_only_by_its_writer() {
    let (_root, path) = place();
    let mut first = BoundSocket::bind(&path).unwrap();
    let key = first.write_host_key("mph_first").unwrap();
    assert_eq!(fs::read_to_string(&key).unwrap(), "mph_first\n");
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o7777, 0o600);
    let mut second = BoundSocket::bind(&path.with_file_name("other.sock")).unwrap();
    second.write_host_key("mph_second").unwrap();
    drop(first);
    assert_eq!(fs::read_to_string(&key).unwrap(), "mph_second\n");
    drop(second);
    assert!(!key.exists());
}

#[test]
fn activation_takes_a_listening_unix_socket_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("s");
    let listening = || {
        let _ = fs::remove_file(&path);
        OwnedFd::from(UnixListener::bind(&path).unwrap())
    };
    let own = std::process::id().to_string();
    let start = |pid: &str, count: &str, fd: OwnedFd| {
        let (pid, count) = (pid.to_owned(), count.to_owned());
        BoundSocket::from_activation(
            move |name| match name {
                "LISTEN_PID" => Some(pid.clone().into()),
                "LISTEN_FDS" => Some(count.clone().into()),
                _ => None,
            },
            move |number| {
                assert_eq!(number, ACTIVATION_FD_FIRST);
                Ok(fd)
            },
        )
    };
    for (pid, count) in [
        ("1", "1"),
        ("", "1"),
        (own.as_str(), "0"),
        (own.as_str(), "-1"),
        (own.as_str(), "999999"),
    ] {
        assert!(
            start(pid, count, listening()).unwrap().is_none(),
            "{pid} {count}"
        );
    }
    let socket = start(&own, "1", listening()).unwrap().unwrap();
    assert_eq!(socket.path(), path);
    drop(socket);
    assert!(
        path.exists(),
        "the service manager's socket is not ours to remove"
    );
    for fd in [
        OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap()),
        OwnedFd::from(UnixStream::pair().unwrap().0),
        OwnedFd::from(std::os::unix::net::UnixDatagram::unbound().unwrap()),
        OwnedFd::from(fs::File::open("/dev/null").unwrap()),
    ] {
        assert_eq!(start(&own, "1", fd).unwrap_err().exit_code(), 73);
    }
}

/// In a process of its own, because the umask belongs to the whole process.
#[test]
fn no_umask_ever_shows_a_looser_mode() {
    const CHILD: &str = "MIDPLANE_TEST_UMASK_SOCKET";
    if let Some(path) = std::env::var_os(CHILD) {
        nix::sys::stat::umask(Mode::empty());
        let path = PathBuf::from(path);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    if let Ok(file) = fs::symlink_metadata(&path) {
                        assert_eq!(file.mode() & 0o7777, 0o600);
                    }
                }
            });
            for _ in 0..300 {
                drop(BoundSocket::bind(&path).unwrap());
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        return;
    }
    let (_root, path) = place();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "socket::tests::no_umask_ever_shows_a_looser_mode",
        ])
        .env(CHILD, &path)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// With the modes as they are, another user cannot connect; with the modes loosened, the peer check still refuses.
#[test]
fn another_user_is_kept_out_twice() {
    use std::os::unix::process::CommandExt;
    const CHILD: &str = "MIDPLANE_TEST_FOREIGN_SOCKET";
    if let Some(path) = std::env::var_os(CHILD) {
        UnixStream::connect(path).unwrap();
        return;
    }
    if !getuid().is_root() {
        return;
    }
    let (root, path) = place();
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    let program = root.path().join("test");
    crate::test_program::copy_to(&program);
    let socket = BoundSocket::bind(&path).unwrap();
    let connect = || {
        std::process::Command::new(&program)
            .args(["--exact", "socket::tests::another_user_is_kept_out_twice"])
            .env(CHILD, &path)
            .uid(4242)
            .gid(4242)
            .output()
            .unwrap()
    };
    let refused = connect();
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stdout).contains("PermissionDenied")
            || String::from_utf8_lossy(&refused.stderr).contains("PermissionDenied")
    );
    fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    assert!(connect().status.success());
    let (stream, _) = socket.listener().unwrap().accept().unwrap();
    let peer = peer(&stream).unwrap();
    assert_eq!(peer.uid, 4242);
    assert!(!peer.may_connect(0));
}
