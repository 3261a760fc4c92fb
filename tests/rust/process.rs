//! The process: its socket, its signals, and what it tells whoever started it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{DEADLINE, Kernel, Raw, eventually, private_dir};

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn the_socket_is_private_and_its_directory_is_made_so() {
    let dir = private_dir();
    let socket = dir.path().join("run/kernel.sock");
    let kernel = Kernel::builder().arg("--log=human").dir(&dir).start().await;
    assert_eq!(mode(&kernel.socket), 0o600);
    assert_eq!(mode(&dir.path().join("host.key")), 0o600);
    // Where the directory is missing it is made.
    let config = dir.path().join("midplane.toml");
    let binary = Kernel::builder()
        .command(dir.path())
        .get_program()
        .to_owned();
    let mut child = std::process::Command::new(binary)
        .args(["serve".as_ref(), "--config".as_ref(), config.as_os_str()])
        .args(["--socket".as_ref(), socket.as_os_str()])
        .args(["--data-dir".as_ref(), dir.path().join("data2").as_os_str()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("its socket", || async { socket.exists().then_some(()) }).await;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_second_start_names_the_first() {
    let kernel = Kernel::start(&["hello"]).await;
    let output = Kernel::builder()
        .command(kernel.dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(75));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains(&format!("process {}", kernel.pid())),
        "{told}"
    );
    kernel.get("/health").send().await.expect_status(200);
}

#[tokio::test]
async fn what_a_killed_kernel_left_is_replaced() {
    let dir = private_dir();
    let first = Kernel::builder()
        .dir(&dir)
        .module("hello", "")
        .start()
        .await;
    first.signal(Signal::SIGKILL);
    assert_eq!(first.wait().await.signal(), Some(9));
    assert!(first.socket.exists());
    let second = Kernel::builder()
        .dir(&dir)
        .module("hello", "")
        .start()
        .await;
    second.get("/health").send().await.expect_status(200);
    assert_ne!(first.host_key, second.host_key);
}

#[tokio::test]
async fn what_is_not_ours_is_not_touched() {
    let dir = private_dir();
    std::fs::write(dir.path().join("kernel.sock"), "precious").unwrap();
    let (code, told) = Kernel::builder().dir(&dir).refuse();
    assert_eq!(code, Some(73), "{told}");
    assert_eq!(
        std::fs::read(dir.path().join("kernel.sock")).unwrap(),
        b"precious"
    );
}

#[tokio::test]
async fn a_path_that_clients_cannot_dial_is_refused_with_a_hint() {
    let dir = private_dir();
    let binary = Kernel::builder()
        .command(dir.path())
        .get_program()
        .to_owned();
    let long = dir.path().join("a".repeat(100)).join("kernel.sock");
    let output = std::process::Command::new(binary)
        .args([
            "serve".as_ref(),
            "--config".as_ref(),
            dir.path().join("midplane.toml").as_os_str(),
        ])
        .args(["--socket".as_ref(), long.as_os_str()])
        .args(["--data-dir".as_ref(), dir.path().as_os_str()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(73));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains(&format!("{} bytes", long.as_os_str().len())) && told.contains("--socket"),
        "{told}"
    );
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_ends_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let kernel = Kernel::start(&["hello"]).await;
        let idle = Raw::connect(&kernel.socket).await;
        kernel.signal(signal);
        assert_eq!(kernel.wait().await.code(), Some(0), "{signal}");
        assert!(!kernel.socket.exists() && !kernel.dir.path().join("host.key").exists());
        assert_eq!(idle.rest().await, "");
    }
    let kernel = Kernel::start(&["slow"]).await;
    let token = kernel.session(json!({})).await;
    let mut events = kernel.get("/api/slow/events").bearer(&token).stream().await;
    events.read_until("first").await;
    kernel.signal(Signal::SIGTERM);
    kernel.wait_for_log("draining");
    kernel.signal(Signal::SIGTERM);
    assert_eq!(kernel.wait().await.signal(), Some(15));
}

#[tokio::test]
async fn while_it_drains_health_says_so() {
    let kernel = Kernel::start(&["slow"]).await;
    let token = kernel.session(json!({})).await;
    let mut events = kernel.get("/api/slow/events").bearer(&token).stream().await;
    events.read_until("first").await;
    // More of a head than the socket holds: written, it has been read, and the connection waits for the rest of it.
    let mut begun = Raw::connect(&kernel.socket).await;
    nix::sys::socket::setsockopt(&begun.stream, nix::sys::socket::sockopt::SndBuf, &2048).unwrap();
    begun
        .write(format!(
            "GET /health HTTP/1.1\r\nx: {}",
            "y".repeat(12 * 1024)
        ))
        .await;
    kernel.signal(Signal::SIGTERM);
    eventually("the drain", || async {
        (!kernel.socket.exists()).then_some(())
    })
    .await;
    begun.write("\r\n\r\n").await;
    let answer = begun.answer().await.unwrap();
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert!(answer.body.contains("\"draining\""), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn the_service_manager_is_told_and_its_socket_taken() {
    let dir = private_dir();
    let notify = dir.path().join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let socket = dir.path().join("kernel.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).unwrap();
    let kernel = Kernel::builder()
        .dir(&dir)
        .module("hello", "")
        .env("NOTIFY_SOCKET", notify.to_str().unwrap())
        .stdin(listener.into())
        .shell(r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@""#)
        .start()
        .await;
    let told = || {
        let mut text = [0; 64];
        let len = manager.recv(&mut text).unwrap();
        String::from_utf8(text[..len].to_vec()).unwrap()
    };
    assert_eq!(told(), "READY=1");
    kernel.get("/health").send().await.expect_status(200);
    kernel.signal(Signal::SIGTERM);
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(kernel.wait().await.code(), Some(0));
    assert!(socket.exists(), "the service manager's own");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn it_listens_on_nothing_but_its_socket() {
    let kernel = Kernel::builder()
        .config("[kernel]\ndebuggable = true")
        .module("hello", "")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    kernel
        .get("/api/hello/hello")
        .bearer(&token)
        .send()
        .await
        .expect_status(200);
    let own: Vec<_> = std::fs::read_dir(format!("/proc/{}/fd", kernel.pid()))
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    assert!(!own.is_empty());
    for table in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
        let table = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let inode = line.split_whitespace().nth(9).unwrap();
            assert!(!own.iter().any(|own| own == inode), "{line}");
        }
    }
}
