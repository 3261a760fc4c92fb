//! `watch = true`: every way in which a file or a configuration comes to be another, and what is no change.
//!
//! What must not happen is tested by a change that comes after it: the generation it leads to is the next one.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{eventually, logged, module};
use crate::harness::{Builder, Kernel, Stream, artifact, private_dir};

/// A kernel that watches one module, a session's token for it, and what it tells.
struct Watching {
    kernel: Kernel,
    token: String,
    events: Events,
    dir: PathBuf,
    /// How often its file was looked into and found to be what runs.
    unchanged: usize,
}

/// Events one by one.
struct Events {
    stream: Stream,
    unread: String,
    /// Types of those that were passed over or returned.
    seen: Vec<String>,
}

impl Events {
    async fn listen(kernel: &Kernel) -> Events {
        let mut stream = kernel.host("GET", "/events").stream().await;
        stream.read_until(": listening\n\n").await;
        Events {
            stream,
            unread: String::new(),
            seen: Vec::new(),
        }
    }

    /// The next event of this type; passes over others.
    async fn next(&mut self, kind: &str) -> Value {
        loop {
            while let Some((event, rest)) = self.unread.split_once("\n\n") {
                let event: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap())
                    .unwrap_or_else(|error| panic!("{event:?}: {error}"));
                self.unread = rest.to_owned();
                let found = event["type"].as_str().unwrap();
                self.seen.push(found.to_owned());
                if found == kind {
                    return event;
                }
            }
            let bytes = self.stream.next().await.expect("events go on").unwrap();
            self.unread.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// How often an event of this type has been seen.
    fn count(&self, kind: &str) -> usize {
        self.seen.iter().filter(|seen| *seen == kind).count()
    }
}

impl Watching {
    /// With the module's file at `file` below the kernel's directory, and lines of its section.
    async fn start(dir: &Arc<TempDir>, file: &str, settings: &str) -> Watching {
        let path = dir.path().canonicalize().unwrap();
        let builder = Kernel::builder().dir(dir).config(&format!(
            "[kernel]\nlog_filter = \"info,kernel=debug\"\nmodule_dirs = {:?}\n[modules.faults]\npath = {file:?}\nwatch = true\n{settings}",
            ["lib", "v1", "v2", "deep/er"].map(|dir| path.join(dir)),
        ));
        let mut watching = Watching::of(builder, path).await;
        // The look at what may have changed since it was loaded.
        watching.found_unchanged().await;
        watching
    }

    async fn of(builder: Builder, dir: PathBuf) -> Watching {
        let kernel = builder.start().await;
        let token = kernel.session(json!({})).await;
        let events = Events::listen(&kernel).await;
        Watching {
            kernel,
            token,
            events,
            dir,
            unchanged: 0,
        }
    }

    /// Waits for the swap that follows a change, which must lead to this generation, and no other.
    async fn swapped_to(&mut self, generation: u64) {
        let event = self.events.next("module.swapped").await;
        assert_eq!(event["to"], generation, "{}", self.kernel.log());
        assert_eq!(event["from"], generation - 1);
        self.serves(generation).await;
    }

    /// Waits until the watched file has been looked into once more, and found to be what runs.
    async fn found_unchanged(&mut self) {
        self.unchanged += 1;
        let told = async || {
            let log = self.kernel.log();
            let times = log.matches("not its content").count();
            (times == self.unchanged).then_some(())
        };
        eventually(&self.kernel, "a look at what runs", told).await;
    }

    async fn serves(&self, generation: u64) {
        let request = self.kernel.get("/api/faults/marker").bearer(&self.token);
        let answer = request.send().await;
        assert_eq!(
            answer.expect_status(200).header("x-midplane-module"),
            format!("faults#{generation}")
        );
    }

    async fn marker(&self) -> String {
        let request = self.kernel.get("/api/faults/marker").bearer(&self.token);
        request.send().await.text().to_owned()
    }

    /// Rewrites the configuration as an editor does.
    fn edit(&self, change: impl FnOnce(String) -> String) {
        let path = self.dir.join("midplane.toml");
        let text = change(fs::read_to_string(&path).unwrap());
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, path).unwrap();
    }
}

/// The module's file, different for each `n`: bytes that no header speaks of change nothing but the hash.
fn build(n: usize) -> Vec<u8> {
    let mut bytes = fs::read(artifact("faults")).unwrap();
    bytes.extend(std::iter::repeat_n(b'.', n));
    bytes
}

fn make_dir(path: &Path) {
    fs::create_dir_all(path).unwrap();
    for dir in path.ancestors().take(2) {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).unwrap();
    }
}

/// Writes the file where it stands, or a new one.
fn write(path: &Path, bytes: &[u8]) {
    make_dir(path.parent().unwrap());
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Writes it beside, and renames it over.
fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    write(&new, bytes);
    fs::rename(new, path).unwrap();
}

/// A directory with a build at `file`.
fn with_build(file: &str) -> (Arc<TempDir>, PathBuf) {
    let dir = private_dir();
    let path = dir.path().canonicalize().unwrap().join(file);
    write(&path, &build(0));
    (dir, path)
}

#[tokio::test]
async fn a_file_that_is_replaced_or_rewritten_is_loaded() {
    let (dir, path) = with_build("lib/m.so");
    let mut watching = Watching::start(&dir, "lib/m.so", "").await;
    replace(&path, &build(1));
    let event = watching.events.next("module.changed").await;
    assert_eq!(
        (&event["module"], &event["cause"]),
        (&json!("faults"), &json!("file"))
    );
    watching.swapped_to(2).await;
    watching.kernel.wait_for_log("module changed, reloading");
    // In place.
    write(&path, &build(2));
    watching.swapped_to(3).await;
    // As cargo puts a build in place: the old name goes first.
    let built = watching.dir.join("lib/built.so");
    write(&built, &build(3));
    fs::remove_file(&path).unwrap();
    fs::hard_link(&built, &path).unwrap();
    watching.swapped_to(4).await;
    // By another of its names.
    write(&built, &build(4));
    watching.swapped_to(5).await;
}

#[tokio::test]
async fn a_file_that_comes_in_pieces_is_waited_for() {
    let (dir, path) = with_build("lib/m.so");
    let mut watching = Watching::start(&dir, "lib/m.so", "").await;
    let whole = build(0);
    let (first, rest) = whole.split_at(whole.len() / 3);
    let (second, last) = rest.split_at(rest.len() - 1);
    let mut file = File::create(&path).unwrap();
    file.write_all(first).unwrap();
    let event = watching.events.next("module.incomplete").await;
    assert!(
        event["reason"].as_str().unwrap().contains("cut short"),
        "{event}"
    );
    watching.serves(1).await;
    file.write_all(second).unwrap();
    // It comes to be what runs already.
    file.write_all(last).unwrap();
    drop(file);
    watching.found_unchanged().await;

    let mut file = File::create(&path).unwrap();
    watching.events.next("module.incomplete").await;
    file.write_all(&build(1)).unwrap();
    drop(file);
    watching.swapped_to(2).await;
    assert_eq!(watching.events.count("module.incomplete"), 2);
    assert_eq!(watching.events.count("module.changed"), 1);
    assert_eq!(watching.events.count("module.refused"), 0);
}

#[tokio::test]
async fn the_same_content_is_no_change() {
    let (dir, path) = with_build("lib/m.so");
    let mut watching = Watching::start(&dir, "lib/m.so", "").await;
    replace(&path, &build(0));
    watching.found_unchanged().await;
    replace(&path, &build(1));
    watching.swapped_to(2).await;
    assert_eq!(watching.events.count("module.changed"), 1);
}

#[tokio::test]
async fn a_link_that_is_pointed_elsewhere_is_a_change() {
    let (dir, path) = with_build("v1/m.so");
    let root = dir.path().canonicalize().unwrap();
    write(&root.join("v2/m.so"), &build(1));
    symlink("v1", root.join("current")).unwrap();
    let point = |target: &str, link: &str| {
        let new = root.join("link.new");
        symlink(target, &new).unwrap();
        fs::rename(new, root.join(link)).unwrap();
    };
    // Nothing says where modules may be loaded from: it is where the link leads at the time.
    let config = "[kernel]\nlog_filter = \"info,kernel=debug\"\n[modules.faults]\npath = \"current/m.so\"\nwatch = true";
    let builder = Kernel::builder().dir(&dir).config(config);
    let mut watching = Watching::of(builder, root.clone()).await;
    point("v2", "current");
    watching.swapped_to(2).await;
    point("v1", "current");
    watching.swapped_to(3).await;
    // The file is a link itself.
    write(&root.join("v1/other.so"), &build(2));
    point("other.so", "v1/m.so");
    watching.swapped_to(4).await;
    // Nowhere, for a while.
    fs::remove_file(&path).unwrap();
    fs::remove_file(root.join("current")).unwrap();
    watching.serves(4).await;
    symlink("v2", root.join("current")).unwrap();
    watching.swapped_to(5).await;
    // Others could point the link elsewhere.
    write(&path, &build(3));
    fs::set_permissions(&root, Permissions::from_mode(0o770)).unwrap();
    point("v1", "current");
    let event = watching.events.next("module.refused").await;
    assert!(
        event["reason"].as_str().unwrap().contains("chmod go-w"),
        "{event}"
    );
    watching.serves(5).await;
}

#[tokio::test]
async fn a_directory_that_is_made_anew_is_a_change() {
    let (dir, path) = with_build("deep/er/m.so");
    let root = dir.path().canonicalize().unwrap();
    let mut watching = Watching::start(&dir, "deep/er/m.so", "").await;
    fs::remove_file(&path).unwrap();
    fs::remove_dir(path.parent().unwrap()).unwrap();
    watching.serves(1).await;
    write(&path, &build(1));
    watching.swapped_to(2).await;
    // While somebody works there: a directory that is in use is told to be gone only when it is left.
    let mut worker = Command::new("sleep")
        .arg("600")
        .current_dir(root.join("deep"))
        .spawn()
        .unwrap();
    fs::remove_dir_all(root.join("deep")).unwrap();
    watching.serves(2).await;
    write(&path, &build(2));
    watching.swapped_to(3).await;
    worker.kill().unwrap();
    worker.wait().unwrap();
    // Moved away and another moved in.
    write(&root.join("next/er/m.so"), &build(3));
    fs::rename(root.join("deep"), root.join("old")).unwrap();
    fs::rename(root.join("next"), root.join("deep")).unwrap();
    watching.swapped_to(4).await;
    // What was moved away does not count any more.
    write(&root.join("old/er/m.so"), &build(4));
    write(&path, &build(5));
    watching.swapped_to(5).await;
}

#[tokio::test]
async fn after_any_mix_of_changes_the_last_one_is_what_runs() {
    let (dir, path) = with_build("deep/er/m.so");
    let root = dir.path().canonicalize().unwrap();
    let watching = Watching::start(&dir, "deep/er/m.so", "").await;
    for round in 1..=6 {
        replace(&path, &build(round));
        write(&path, &build(round)[..1000 * round]);
        fs::rename(root.join("deep"), root.join("aside")).unwrap();
        write(&path, b"no library");
        fs::remove_dir_all(root.join("deep")).unwrap();
        fs::rename(root.join("aside"), root.join("deep")).unwrap();
        fs::remove_file(&path).unwrap();
        write(&path, &build(10 * round));
        symlink(&path, root.join("deep/er/link.so")).unwrap();
        fs::rename(root.join("deep/er/link.so"), root.join("deep/link.so")).unwrap();
        fs::remove_file(root.join("deep/link.so")).unwrap();
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, &fs::read(&path).unwrap());
    let sha256: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    eventually(&watching.kernel, "the last build", async || {
        (module(&watching.kernel).await["sha256"] == *sha256).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_refused_is_refused_once() {
    let (dir, path) = with_build("lib/m.so");
    let mut watching = Watching::start(&dir, "lib/m.so", "").await;
    replace(&path, b"#!/bin/sh\nexit 0\n");
    let event = watching.events.next("module.refused").await;
    assert!(
        event["reason"]
            .as_str()
            .unwrap()
            .contains("not a shared library"),
        "{event}"
    );
    logged(
        &watching.kernel,
        &["what ran goes on until the next change"],
    )
    .await;
    watching.serves(1).await;
    // One that others could write, until they cannot.
    let new = path.with_extension("new");
    write(&new, &build(1));
    fs::set_permissions(&new, Permissions::from_mode(0o775)).unwrap();
    fs::rename(&new, &path).unwrap();
    let event = watching.events.next("module.refused").await;
    assert!(
        event["reason"].as_str().unwrap().contains("chmod go-w"),
        "{event}"
    );
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    // A refused load takes a number, too.
    let event = watching.events.next("module.swapped").await;
    assert_eq!((&event["from"], &event["to"]), (&json!(1), &json!(4)));
    // Its directory.
    let lib = path.parent().unwrap();
    fs::set_permissions(lib, Permissions::from_mode(0o770)).unwrap();
    let other = watching.dir.join("v1/m.so");
    write(&other, &build(2));
    fs::rename(&other, &path).unwrap();
    let event = watching.events.next("module.refused").await;
    assert!(
        event["reason"].as_str().unwrap().contains("chmod go-w"),
        "{event}"
    );
    fs::set_permissions(lib, Permissions::from_mode(0o700)).unwrap();
    let event = watching.events.next("module.swapped").await;
    assert_eq!((&event["from"], &event["to"]), (&json!(4), &json!(6)));
    assert_eq!(watching.events.count("module.refused"), 3);
    // What runs, put back after one that was refused, is no change.
    replace(&path, b"no library");
    watching.events.next("module.refused").await;
    replace(&path, &build(2));
    watching.found_unchanged().await;
    replace(&path, &build(3));
    let event = watching.events.next("module.swapped").await;
    assert_eq!((&event["from"], &event["to"]), (&json!(6), &json!(8)));
}

#[tokio::test]
async fn a_section_that_changes_takes_effect() {
    let (dir, path) = with_build("lib/m.so");
    let root = dir.path().canonicalize().unwrap();
    write(&root.join("v1/m.so"), &build(1));
    let mut watching = Watching::start(&dir, "lib/m.so", "config = { marker = \"one\" }").await;
    assert_eq!(watching.marker().await, "one");
    watching.edit(|text| text.replace("\"one\"", "\"two\""));
    let event = watching.events.next("module.changed").await;
    assert_eq!(event["cause"], "configuration");
    watching.swapped_to(2).await;
    assert_eq!(watching.marker().await, "two");

    // Not valid: told with its line, and nothing changes.
    watching.edit(|text| text.replace("watch = true", "wach = true"));
    let event = watching.events.next("configuration.refused").await;
    let reason = event["reason"].as_str().unwrap();
    assert!(
        reason.contains("midplane.toml:6") && reason.contains("`watch`"),
        "{reason}"
    );
    logged(&watching.kernel, &["nothing changes", "did you mean"]).await;
    watching.serves(2).await;

    // The module says no; the file's next change tries again, with the section as it is then.
    watching.edit(|text| {
        text.replace("wach", "watch")
            .replace("marker = \"two\"", "init = \"error\"")
    });
    let event = watching.events.next("module.refused").await;
    assert!(
        event["reason"]
            .as_str()
            .unwrap()
            .contains("set a better `init`"),
        "{event}"
    );
    assert_eq!(watching.marker().await, "two");
    watching.edit(|text| text.replace("init = \"error\"", "marker = \"three\""));
    let event = watching.events.next("module.swapped").await;
    assert_eq!((&event["from"], &event["to"]), (&json!(2), &json!(4)));
    assert_eq!(watching.marker().await, "three");

    // What only a restart changes is named. The path is watched where it is now.
    watching.edit(|text| {
        let text = text
            .replace("lib/m.so", "v1/m.so")
            .replace("watch = true", "watch = true\npublic = true");
        format!("{text}\n[limits]\nconnections_for_host = 3\n")
    });
    let event = watching.events.next("module.swapped").await;
    assert_eq!(event["to"], 5);
    logged(
        &watching.kernel,
        &["next start only", "[limits], [modules.faults]"],
    )
    .await;
    replace(&path, &build(7));
    watching.edit(|text| text.replace("v1/m.so", "v2/m.so"));
    let event = watching.events.next("module.incomplete").await;
    assert!(
        event["reason"].as_str().unwrap().contains("there is no"),
        "{event}"
    );
    watching.edit(|text| text.replace("v2/m.so", "v1/m.so"));
    watching.found_unchanged().await;
    replace(&root.join("v1/m.so"), &build(2));
    watching.swapped_to(6).await;
    assert_eq!(watching.marker().await, "three");
}

#[tokio::test]
async fn what_a_host_loaded_from_elsewhere_is_left_alone() {
    let (dir, path) = with_build("lib/m.so");
    let root = dir.path().canonicalize().unwrap();
    write(&root.join("v1/m.so"), &build(1));
    let mut watching = Watching::start(&dir, "lib/m.so", "").await;
    let put = watching.kernel.host("PUT", "/modules/faults");
    let put = put.json(&json!({"path": root.join("v1/m.so"), "config": {"marker": "by hand"}}));
    put.send().await.expect_status(200);
    watching.swapped_to(2).await;
    replace(&path, &build(2));
    logged(&watching.kernel, &["was loaded from elsewhere"]).await;
    // Back where it is watched, with the host's configuration.
    let put = watching.kernel.host("PUT", "/modules/faults");
    put.json(&json!({"path": path}))
        .send()
        .await
        .expect_status(200);
    watching.swapped_to(3).await;
    replace(&path, &build(3));
    watching.swapped_to(4).await;
    assert_eq!(watching.marker().await, "by hand");
    // And one that is not loaded stays so. The swap may be told a moment before it lets go of the module.
    eventually(&watching.kernel, "an unload", async || {
        let unload = watching.kernel.host("DELETE", "/modules/faults");
        let answer = unload.send().await;
        (answer.status() != 409).then(|| answer.expect_status(200).json())
    })
    .await;
    replace(&path, &build(4));
    logged(&watching.kernel, &["it is not loaded"]).await;
}

#[tokio::test]
async fn a_change_while_the_module_is_being_loaded_comes_after_that() {
    let dir = private_dir();
    let root = dir.path().canonicalize().unwrap();
    let path = root.join("lib/m.so");
    let mut bytes = fs::read(artifact("slow")).unwrap();
    write(&path, &bytes);
    let fifo = root.join("fifo");
    let name = CString::new(fifo.to_str().unwrap()).unwrap();
    nix::unistd::mkfifo(name.as_c_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let builder = Kernel::builder()
        .dir(&dir)
        .config("[modules.slow]\npath = \"lib/m.so\"\nwatch = true");
    let mut watching = Watching::of(builder, root).await;
    let reload = watching.kernel.host("POST", "/modules/slow/reload");
    let reload = tokio::spawn(reload.json(&json!({"config": {"wait_for": fifo}})).send());
    // Its `init` reads the FIFO now, and holds the module until somebody writes there.
    let open = || {
        let fifo = fifo.clone();
        tokio::task::spawn_blocking(move || File::create(fifo).unwrap())
    };
    let held = open().await.unwrap();
    bytes.push(b'.');
    replace(&path, &bytes);
    watching.events.next("module.changed").await;
    drop(held);
    reload.await.unwrap().expect_status(200);
    let event = watching.events.next("module.swapped").await;
    assert_eq!(event["to"], 2);
    drop(open().await.unwrap());
    let event = watching.events.next("module.swapped").await;
    assert_eq!(event["to"], 3);
}

#[tokio::test]
async fn the_thread_is_there_only_when_something_is_watched() {
    let threads = |kernel: &Kernel| -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", kernel.pid())).unwrap();
        tasks
            .filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok())
            .collect()
    };
    let (dir, _path) = with_build("lib/m.so");
    let watching = Watching::start(&dir, "lib/m.so", "").await;
    assert!(threads(&watching.kernel).contains(&"watch\n".to_owned()));
    let kernel = Kernel::start(&["faults"]).await;
    assert!(!threads(&kernel).contains(&"watch\n".to_owned()));
}

#[test]
fn a_pin_and_a_watch_exclude_each_other() {
    let pinned = format!("watch = true\nsha256 = \"{}\"", "0".repeat(64));
    let (code, told) = Kernel::builder().module("faults", &pinned).refuse();
    assert_eq!(code, Some(64));
    assert!(
        told.contains("watch") && told.contains("`sha256` pin") && told.contains("one of the two"),
        "{told}"
    );
}
