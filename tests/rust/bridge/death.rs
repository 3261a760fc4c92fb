//! The death of the host, at every point of a kernel's life: neither a process nor a socket is left.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt as _;
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use super::hosted::{Hosted, processes};
use crate::harness::{Bridge, Builder, Kernel, Raw, framed, private_dir, repository};

/// Where the host is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Point {
    /// So long after the start.
    Millis(u64),
    SocketThere,
    Ready,
    HalfAFrame,
    Initialized,
    /// A key was asked for.
    Asked,
    /// A command gives it.
    Command,
    /// Clients hear events, hold requests and WebSockets, and take no more of a flood.
    InUse,
    Flooding,
    Reloading,
    Unloading,
    Draining,
    InitHangs,
    /// In the kernel's own process, before it serves.
    ConstructorHangs,
    /// In the child that tries a library.
    TrialHangs,
    /// Every worker is in a module's code and does not come back.
    WorkersStuck,
}

/// How much of the host is gone: the process alone, its end of the bridge alone, or both.
#[derive(Debug, Clone, Copy)]
enum End {
    Process,
    Bridge,
    Both,
}

const POINTS: [Point; 15] = [
    Point::SocketThere,
    Point::Ready,
    Point::HalfAFrame,
    Point::Initialized,
    Point::Asked,
    Point::Command,
    Point::InUse,
    Point::Flooding,
    Point::Reloading,
    Point::Unloading,
    Point::Draining,
    Point::InitHangs,
    Point::ConstructorHangs,
    Point::TrialHangs,
    Point::WorkersStuck,
];

/// As many kernels at once as two cores bear.
const AT_ONCE: usize = 8;

#[tokio::test]
async fn nothing_is_left_wherever_the_host_dies() {
    let ends = [End::Process, End::Both, End::Bridge];
    let mut cases = Vec::new();
    for (number, point) in POINTS.into_iter().enumerate() {
        // How much is gone goes round with the point.
        cases.push((point, ends[number % 3], "in-process"));
        cases.push((point, ends[(number + 1) % 3], "process"));
    }
    // While it starts, however far it has come: from before the program runs to after it is ready. A host that dies before the
    // kernel has looked for its parent is known by its end of the bridge only.
    for number in 0..20_u64 {
        let isolation = ["in-process", "process"][usize::from(number % 2 == 0)];
        cases.push((Point::Millis(number * number), End::Both, isolation));
    }
    assert!(cases.len() >= 50);
    let mut all = futures_util::stream::iter(cases)
        .map(|(point, end, isolation)| die(point, end, isolation))
        .buffer_unordered(AT_ONCE);
    let mut longest = Duration::ZERO;
    while let Some(took) = all.next().await {
        longest = longest.max(took);
    }
    println!("the longest that a kernel outlived its host was {longest:?}");
}

async fn die(point: Point, end: End, isolation: &str) -> Duration {
    let case = format!("{point:?} {end:?} {isolation}");
    let dir = private_dir();
    let isolated = format!("isolation = {isolation:?}\n");
    let mut hosted = Hosted::spawn_in(&dir, builder(point, dir.path(), &isolated));
    let mut kept = Kept::default();
    bring_to(point, &mut hosted, &mut kept).await;
    match end {
        End::Process => hosted.kill_host(),
        End::Bridge => drop(hosted.bridge.take()),
        End::Both => {
            hosted.kill_host();
            drop(hosted.bridge.take());
        }
    }
    hosted.gone(&case).await
}

fn builder(point: Point, dir: &Path, isolated: &str) -> Builder {
    let wait = dir.join("wait");
    std::fs::copy("/bin/sleep", &wait).unwrap();
    std::fs::set_permissions(&wait, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Two processes, the second not of the kernel's making.
    let script = format!("{0} 1000 & {0} 1001", wait.display());
    let builder = Kernel::builder()
        .arg("--write-host-key")
        .config(&format!(
            "[limits]\nquarantine_after = \"10m\"\nstuck_after = \"10m\"\n[kernel]\nworkers = 2\nmodule_dirs = [{:?}, {:?}]\n[secrets]\nby-command = {{ cmd = [\"sh\", \"-c\", {script:?}], timeout = \"60s\" }}",
            dir.join("modules"),
            modules_dir(dir)
        ))
        .module("faults", isolated)
        .module("sockets", isolated);
    let refused = |source: &str| {
        let release = format!("-DRELEASE={:?}", dir.join("release").to_str().unwrap());
        let modules = modules_dir(dir);
        std::fs::create_dir_all(&modules).unwrap();
        let to = modules.join(format!("{source}.so"));
        refused(source, &to, &release);
        to
    };
    match point {
        Point::InitHangs => builder.module_at("refused", refused("init_never_returns"), isolated),
        Point::ConstructorHangs => {
            builder.module_at("refused", refused("constructor_hangs"), isolated)
        }
        Point::TrialHangs => {
            refused("constructor_hangs");
            builder
        }
        _ => builder.module("slow", isolated),
    }
}

/// Beside that in which the harness puts modules.
fn modules_dir(dir: &Path) -> PathBuf {
    dir.join("loadable")
}

fn refused(source: &str, to: &Path, release: &str) {
    let source = repository().join(format!("tests/modules/refused/{source}.c"));
    let output = Command::new("cc")
        .args(["-std=c11", "-O1", "-fPIC", "-shared", release, "-o"])
        .args([to, &source])
        .output()
        .expect("a C compiler");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// What clients have open.
#[derive(Default)]
struct Kept {
    connections: Vec<Raw>,
    hosts: Vec<Bridge>,
}

impl Kept {
    /// Sends a request, whose answer is not waited for.
    async fn request(&mut self, hosted: &Hosted, path: &str, token: &str, more: &str) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
        );
        let raw = Raw::send(&hosted.socket(), request).await;
        self.connections.push(raw);
    }
}

async fn bring_to(point: Point, hosted: &mut Hosted, kept: &mut Kept) {
    match point {
        // No event tells where a start is.
        Point::Millis(millis) => return tokio::time::sleep(Duration::from_millis(millis)).await,
        Point::SocketThere => {
            let run = hosted.run_dir();
            let is_there = || std::fs::read_dir(&run).is_ok_and(|files| files.count() > 1);
            return hosted.until("a socket", is_there).await;
        }
        Point::Ready => return hosted.ready().await,
        Point::InitHangs => return hosted.logged("init waits in process").await,
        Point::ConstructorHangs => return hosted.logged("the constructor waits in process").await,
        _ => hosted.initialized().await,
    }
    match point {
        Point::HalfAFrame => {
            let half = &framed(&json!({"jsonrpc": "2.0"}).to_string())[..20];
            hosted.bridge().write(half.as_bytes()).await;
        }
        Point::Asked => {
            let create = json!({"secret_key_id": "k"});
            hosted.bridge().request("session/create", create).await;
            hosted.bridge().question().await;
        }
        Point::Command => {
            let create = json!({"secret_key_id": "by-command"});
            hosted.bridge().request("session/create", create).await;
            let wait = hosted.dir.path().join("wait");
            let both = || processes(&wait, 0).len() >= 3;
            hosted.until("the command", both).await;
        }
        Point::InUse => {
            let token = hosted.token().await;
            let host_key = hosted.host_key().to_owned();
            let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
            kept.request(hosted, "/events", &host_key, "").await;
            kept.request(hosted, "/api/slow/flood", &token, "").await;
            kept.request(hosted, "/api/slow/hold", &token, "").await;
            kept.request(hosted, "/api/slow/events", &token, "").await;
            kept.request(hosted, "/api/sockets/flood", &token, handshake)
                .await;
            let other = Bridge::dial_at(&hosted.socket(), &host_key).await;
            kept.hosts.push(other);
            for raw in &mut kept.connections[3..] {
                assert!(raw.answer().await.is_some());
            }
        }
        Point::Flooding => {
            let list = json!({"jsonrpc": "2.0", "id": 1, "method": "module/list"}).to_string();
            let many = framed(&list).repeat(200);
            let flood = hosted.bridge().write(many.as_bytes());
            // The kernel takes no more when its answers are not read.
            let _ = tokio::time::timeout(Duration::from_millis(50), flood).await;
        }
        Point::Reloading => {
            for name in ["slow", "faults", "sockets"] {
                let reload = json!({"name": name, "wait": "drained"});
                hosted.bridge().request("module/reload", reload).await;
            }
        }
        Point::Unloading => {
            let token = hosted.token().await;
            kept.request(hosted, "/api/slow/events", &token, "").await;
            kept.connections[0].answer().await.expect("a head");
            let unload = json!({"name": "slow", "drain_ms": 60_000});
            hosted.bridge().request("module/unload", unload).await;
            let mut is_draining = async || {
                let listed = hosted
                    .bridge()
                    .call("module/list", json!({}))
                    .await
                    .unwrap();
                listed["draining"] != json!([])
            };
            while !is_draining().await {}
        }
        Point::Draining => {
            let token = hosted.token().await;
            kept.request(hosted, "/api/slow/events", &token, "").await;
            kept.connections[0].answer().await.expect("a head");
            hosted.bridge().call("shutdown", json!({})).await.unwrap();
            hosted.logged("draining").await;
        }
        Point::TrialHangs => {
            let path = modules_dir(hosted.dir.path()).join("constructor_hangs.so");
            let load = json!({"name": "refused", "path": path});
            hosted.bridge().request("module/load", load).await;
            hosted.logged("the constructor waits in process").await;
        }
        Point::WorkersStuck => {
            let token = hosted.token().await;
            for number in 0..6 {
                let path = format!("/api/faults/spin/{number}");
                kept.request(hosted, &path, &token, "").await;
            }
            hosted.logged("spins as").await;
        }
        _ => {}
    }
}

/// A killed kernel cannot take anything away: the next one that starts in the directory does.
#[tokio::test]
async fn what_a_killed_kernel_leaves_is_taken_away_by_the_next() {
    let dir = private_dir();
    let files = |hosted: &Hosted| {
        let mut names: Vec<_> = std::fs::read_dir(hosted.run_dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let start = || Hosted::spawn_in(&dir, Kernel::builder().module("hello", ""));
    let mut killed = start();
    killed.ready().await;
    let mut alive = start();
    alive.ready().await;
    kill(killed.kernel_pid(), Signal::SIGKILL).unwrap();
    assert!(killed.bridge().rest().await.is_empty());
    assert_eq!(files(&killed).len(), 4, "a socket and a lock each");
    // Names of others', and what only looks like one that is left, stay.
    for name in ["other.sock", "other.sock.lock", "midplane-dev.sock"] {
        std::fs::write(alive.run_dir().join(name), "").unwrap();
    }
    std::fs::create_dir(alive.run_dir().join("midplane-directory.lock")).unwrap();
    let mut next = start();
    next.ready().await;
    let names = files(&next);
    let of_killed = killed.socket();
    let of_killed = of_killed.file_name().unwrap().to_str().unwrap();
    assert!(
        !names.iter().any(|name| name.starts_with(of_killed)),
        "{names:?}"
    );
    assert_eq!(names.len(), 8, "{names:?}");
    for hosted in [&alive, &next] {
        hosted
            .request("GET", "/health")
            .send()
            .await
            .expect_status(200);
    }
}

/// Each start sweeps while others make their sockets and take theirs away.
#[tokio::test]
async fn starts_in_one_directory_do_not_take_away_each_others_sockets() {
    let dir = private_dir();
    let round = async |_: usize| {
        let mut hosted = Hosted::spawn_in(&dir, Kernel::builder());
        hosted.initialized().await;
        hosted
            .request("GET", "/health")
            .send()
            .await
            .expect_status(200);
        hosted.bridge().call("shutdown", json!({})).await.unwrap();
        hosted.bridge().rest().await;
        hosted
    };
    let mut rounds = futures_util::stream::iter(0..24)
        .map(round)
        .buffer_unordered(AT_ONCE);
    let mut all = Vec::new();
    while let Some(hosted) = rounds.next().await {
        all.push(hosted);
    }
    drop(rounds);
    for hosted in &all {
        hosted.gone("after a shutdown").await;
    }
}
