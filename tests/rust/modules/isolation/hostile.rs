//! A module that tries what it must not, in a process of its own and in the kernel's: what each isolation is claimed to hold, and
//! what it is not.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::eventually;
use crate::harness::{Kernel, compile, private_dir, repository};

const PROCESS: &str = "isolation = \"process\"";
const CANARY: &str = "canary-that-no-module-may-see";
/// What a module process finds in its environment, if the kernel has it; see `confine` in the README for each.
const PASSED_ON: [&str; 12] = [
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "LC_ALL",
    "TZ",
    "TZDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_BACKTRACE",
];

/// A kernel with the module `hostile` and one that behaves, and what is around them.
struct Scene {
    kernel: Kernel,
    token: String,
    /// Canonical, as the system names it.
    root: PathBuf,
}

impl Scene {
    /// `ROOT` in the settings stands for the directory of the test.
    async fn start(settings: &str) -> Scene {
        let dir = private_dir();
        let root = dir.path().canonicalize().unwrap();
        for (path, mode) in [
            ("home/.ssh", 0o700),
            ("named", 0o755),
            ("data/state/other", 0o700),
            ("open", 0o777),
        ] {
            std::fs::create_dir_all(root.join(path)).unwrap();
            std::fs::set_permissions(root.join(path), PermissionsExt::from_mode(mode)).unwrap();
        }
        // The kernel's own are private, however the test's user makes directories.
        for path in ["data", "data/state"] {
            std::fs::set_permissions(root.join(path), PermissionsExt::from_mode(0o700)).unwrap();
        }
        for path in ["home/.ssh/id_ed25519", "named/file", "data/state/other/key"] {
            std::fs::write(root.join(path), CANARY).unwrap();
        }
        let settings = settings.replace("ROOT", root.to_str().unwrap());
        let settings = format!(
            "{settings}\nconfig = {{ socket = {:?}, named = {:?} }}",
            root.join("kernel.sock"),
            root.join("named/file")
        );
        let kernel = start(&dir, &settings).await;
        let token = kernel.session(json!({"user": "ada"})).await;
        Scene {
            kernel,
            token,
            root,
        }
    }

    fn path(&self, path: &str) -> String {
        self.root.join(path).to_str().unwrap().to_owned()
    }

    /// What came of it.
    async fn try_it(&self, route: &str) -> Value {
        let answer = self
            .kernel
            .get(&format!("/api/hostile/{route}"))
            .bearer(&self.token)
            .send()
            .await;
        answer.expect_status(200).json()
    }

    async fn expect(&self, allowed: bool, route: &str) {
        let outcome = self.try_it(route).await;
        assert_eq!(outcome["allowed"], allowed, "{route}: {outcome}");
        assert!(!outcome.to_string().contains(CANARY) || allowed, "{route}");
    }

    /// The kernel, and the module that behaves, as ever.
    async fn expect_well(&self) {
        self.kernel.get("/health").send().await.expect_status(200);
        self.kernel
            .get("/api/hello/hello")
            .bearer(&self.token)
            .send()
            .await
            .expect_status(200);
    }

    /// Waits until the module answers again.
    async fn expect_back(&self) {
        eventually(&self.kernel, "the module's return", async || {
            let answer = self
                .kernel
                .get("/api/hostile/environment")
                .bearer(&self.token)
                .send()
                .await;
            (answer.status() == 200).then_some(())
        })
        .await;
    }
}

async fn start(dir: &Arc<TempDir>, settings: &str) -> Kernel {
    Kernel::builder()
        .dir(dir)
        .env("HOME", dir.path().join("home").to_str().unwrap())
        .env("MIDPLANE_TEST_CANARY", CANARY)
        .env("MIDPLANE_TEST_GIVEN", "given")
        .module("hello", "")
        .module("hostile", settings)
        .start()
        .await
}

/// The processes that a kernel has started, and that have not ended.
fn children(kernel: &Kernel) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|&pid| {
            // It may have ended meanwhile.
            state_of(pid)
                .is_some_and(|(state, parent)| state != 'Z' && parent == kernel.pid().as_raw())
        })
        .collect()
}

/// How a process is, and whose child.
fn state_of(pid: i32) -> Option<(char, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Both stand behind the name, which is in brackets and may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

/// Gone, or dead and not yet buried by whoever it fell to.
fn has_ended(pid: i32) -> bool {
    state_of(pid).is_none_or(|(state, _)| state == 'Z')
}

#[tokio::test]
async fn a_module_in_the_kernels_process_is_not_kept_from_anything() {
    let scene = Scene::start("grants = []").await;
    let key = scene.path("host.key");
    for route in [
        format!("read?path={key}"),
        format!("list?path={}", scene.path("data")),
        format!("append?path={key}"),
        format!("write?path={}", scene.path("open/file")),
        "connect".to_owned(),
        "pair".to_owned(),
        "spawn".to_owned(),
        "kill-kernel".to_owned(),
        "named".to_owned(),
        "fork".to_owned(),
        "exec".to_owned(),
        "exec-memory".to_owned(),
        "netlink".to_owned(),
        "map-shared?mib=1".to_owned(),
        "allocate?mib=1".to_owned(),
    ] {
        scene.expect(true, &route).await;
    }
    let descriptors = scene.try_it("descriptors").await["found"].to_string();
    assert!(descriptors.contains("eventpoll"), "{descriptors}");
    let environment = scene.try_it("environment").await;
    assert_eq!(environment["found"]["MIDPLANE_TEST_CANARY"], CANARY);
    // What the kernel keeps is kept all the same.
    scene.expect(false, "secret").await;
    scene.expect_well().await;
}

#[tokio::test]
async fn confinement_of_what_is_not_a_process_is_refused_at_start() {
    for confine in ["{}", "{ require = true }"] {
        let (code, told) = Kernel::builder()
            .module("hello", &format!("confine = {confine}"))
            .refuse();
        assert_eq!(code, Some(64), "{told}");
        assert!(told.contains("isolation = \"process\""), "{told}");
    }
}

#[tokio::test]
async fn files_that_are_not_its_own_are_closed_to_it() {
    let scene = Scene::start(PROCESS).await;
    let own = scene.path("data/state/hostile");
    for path in [
        "host.key",
        "midplane.toml",
        "home/.ssh/id_ed25519",
        "data/state/other/key",
        "kernel.sock",
    ] {
        let path = scene.path(path);
        for what in ["read", "append", "truncate", "chmod", "remove"] {
            scene.expect(false, &format!("{what}?path={path}")).await;
        }
        for (what, to) in [("link", "linked"), ("read-by-link", "link")] {
            let route = format!("{what}?path={path}&to={own}/{to}");
            scene.expect(false, &route).await;
            let _ = std::fs::remove_file(format!("{own}/{to}"));
        }
    }
    for path in [
        "",
        "home/.ssh",
        "data",
        "data/state",
        "data/state/other",
        "data/modules",
    ] {
        let route = format!("list?path={}", scene.path(path));
        scene.expect(false, &route).await;
    }
    for path in [
        "/", "/etc", "/proc", "/root", "/home", "/run", "/tmp", "/dev",
    ] {
        scene.expect(false, &format!("list?path={path}")).await;
    }
    for path in ["/etc/passwd", "/proc/1/environ", "/proc/self/environ"] {
        scene.expect(false, &format!("read?path={path}")).await;
    }
    for path in ["/tmp/midplane-hostile", "/dev/shm/midplane-hostile"] {
        scene.expect(false, &format!("write?path={path}")).await;
    }
    let route = format!("write?path={}", scene.path("open/file"));
    scene.expect(false, &route).await;
    // And what it may.
    scene.expect(true, &format!("write?path={own}/file")).await;
    scene.expect(true, &format!("append?path={own}/file")).await;
    scene.expect(true, &format!("list?path={own}")).await;
    scene.expect(true, &format!("remove?path={own}/file")).await;
    scene.expect(true, "named").await;
    scene.expect(true, "read?path=/etc/hosts").await;
    let text = std::fs::read_to_string(scene.root.join("data/state/other/key")).unwrap();
    assert_eq!(text, CANARY);
}

#[tokio::test]
async fn the_kernel_and_other_processes_are_closed_to_it() {
    let scene = Scene::start(PROCESS).await;
    for route in [
        "kernel-environ",
        "kernel-maps",
        "kernel-mem",
        "kernel-cmdline",
        "kernel-fd",
        "trace-kernel",
        "read-kernel",
        "kill-kernel",
        "kill-group",
        "kill-all",
        "outlive-kernel",
        "be-looked-into",
        "fork",
        "exec",
        "spawn",
        "exec-memory",
        "raise-memory",
        "raise-files",
        "raise-core",
        "open-many",
        "map-shared?mib=64",
    ] {
        scene.expect(false, route).await;
    }
    scene.expect_well().await;
    // It is the process that it was.
    assert_eq!(children(&scene.kernel).len(), 1);
}

#[tokio::test]
async fn services_of_the_user_are_closed_to_it_and_the_internet_is_not() {
    let scene = Scene::start(PROCESS).await;
    let name = scene.path("abstract");
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _service = UnixListener::bind_addr(&address).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    for route in [
        "connect".to_owned(),
        format!("connect-pair?name={}", scene.path("kernel.sock")),
        format!("connect-abstract?name={name}"),
        "see-packets".to_owned(),
        "forge-packets".to_owned(),
        "netlink".to_owned(),
    ] {
        scene.expect(false, &route).await;
    }
    scene.expect(true, "pair").await;
    scene
        .expect(true, &format!("connect-tcp?port={port}"))
        .await;
}

#[tokio::test]
async fn it_has_no_descriptor_of_the_kernels_and_no_variable() {
    let scene = Scene::start(&format!(
        "{PROCESS}\nconfine = {{ env = [\"MIDPLANE_TEST_GIVEN\"] }}"
    ))
    .await;
    let found = scene.try_it("descriptors").await["found"].clone();
    let descriptors: BTreeMap<String, String> = serde_json::from_value(found).unwrap();
    assert_eq!(descriptors["0"], "/dev/null");
    for (number, target) in &descriptors {
        assert!(
            target == "/dev/null"
                || ["socket:", "pipe:", "anon_inode:"]
                    .iter()
                    .any(|kind| target.starts_with(kind)),
            "{number} leads to {target}"
        );
    }
    let found = scene.try_it("environment").await["found"].clone();
    let environment: BTreeMap<String, String> = serde_json::from_value(found).unwrap();
    for name in environment.keys() {
        assert!(
            PASSED_ON.contains(&name.as_str()) || name == "MIDPLANE_TEST_GIVEN",
            "{name}"
        );
    }
    assert_eq!(environment["MIDPLANE_TEST_GIVEN"], "given");
    assert_eq!(environment["TMPDIR"], scene.path("data/state/hostile"));
}

#[tokio::test]
async fn what_the_operator_opens_is_open_and_nothing_else() {
    let scene = Scene::start(&format!(
        "{PROCESS}\nconfine = {{ read = [\"ROOT/home\"], write = [\"ROOT/open\"], processes = true, require = true }}"
    ))
    .await;
    let key = scene.path("home/.ssh/id_ed25519");
    scene.expect(true, &format!("read?path={key}")).await;
    scene.expect(false, &format!("append?path={key}")).await;
    let written = scene.path("open/file");
    scene.expect(true, &format!("write?path={written}")).await;
    scene.expect(true, &format!("remove?path={written}")).await;
    scene.expect(true, "spawn").await;
    let other = scene.path("data/state/other/key");
    scene.expect(false, &format!("read?path={other}")).await;
    scene.expect(false, "connect").await;
    scene.expect(false, "trace-kernel").await;
    scene.expect_well().await;
}

#[tokio::test]
async fn taking_too_much_memory_ends_it_alone() {
    let scene = Scene::start(&format!("{PROCESS}\nconfine = {{ memory = \"256MiB\" }}")).await;
    scene.expect(true, "allocate?mib=32").await;
    for route in ["allocate?mib=1024", "crash"] {
        let answer = scene
            .kernel
            .get(&format!("/api/hostile/{route}"))
            .bearer(&scene.token)
            .send()
            .await;
        answer.expect_problem(502, "module_crashed");
        scene.expect_well().await;
        scene.expect_back().await;
    }
}

#[tokio::test]
async fn what_it_was_not_granted_it_does_not_get() {
    let scene = Scene::start(&format!("{PROCESS}\ngrants = []")).await;
    let outcome = scene.try_it("secret").await;
    assert_eq!(outcome, json!({"allowed": false, "why": "denied"}));
}

/// Whatever it says on the lanes it holds: the kernel ends it, and goes on.
#[tokio::test]
async fn garbage_on_its_lanes_ends_it_alone() {
    let scene = Scene::start(PROCESS).await;
    let before = children(&scene.kernel);
    // Answered, if the answer was quicker than the end.
    let _ = scene
        .kernel
        .get("/api/hostile/flood")
        .bearer(&scene.token)
        .send()
        .await;
    eventually(&scene.kernel, "its end", async || {
        before.iter().all(|&pid| has_ended(pid)).then_some(())
    })
    .await;
    scene.expect_well().await;
    scene.expect_back().await;
}

#[tokio::test]
async fn forged_handles_are_gone_in_its_process_as_in_the_kernels() {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libraw.so");
    let source = repository().join("tests/modules/raw/raw.c");
    // It marks nothing as visible, and leaves functions unused.
    let flags = ["-shared", "-pthread", "-Wno-unused", "-fvisibility=default"];
    compile(&[&source], &flags, &library);
    let kernel = Kernel::builder()
        .module_at("raw", library, PROCESS)
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    for (path, expect) in [
        ("remember", None),
        ("garbage", Some("wrong answers: 0")),
        ("garbage-thread", Some("wrong answers: 0")),
    ] {
        let answer = kernel
            .get(&format!("/api/raw/{path}"))
            .bearer(&token)
            .send()
            .await;
        answer.expect_status(200);
        if let Some(expect) = expect {
            assert_eq!(answer.text(), expect, "{path}");
        }
    }
}

#[tokio::test]
async fn it_ends_with_a_kernel_that_is_killed() {
    let scene = Scene::start(PROCESS).await;
    scene.expect(true, "pair").await;
    let children = children(&scene.kernel);
    assert_eq!(children.len(), 1);
    scene.kernel.signal(Signal::SIGKILL);
    scene.kernel.wait().await;
    eventually(&scene.kernel, "the end of the module process", async || {
        has_ended(children[0]).then_some(())
    })
    .await;
}
