//! The file itself: whose it is, that nobody else reads it, a disk that is full, and what an operator does with it.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs::{self, Permissions};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use midplane_store_backend::sqlite::maintenance::{ExportError, Maintenance};
use midplane_store_backend::sqlite::{Durability, OpenError};
use midplane_store_backend::{Backend, Batch, Memory, Scan, Sqlite, StoreError, Write};
use rusqlite::Connection;
use support::{Running, again, asked, bytes, open, put, say, settings};

#[tokio::test]
async fn nobody_else_can_read_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = open(&path);
    store.commit("m", put("k", "v")).await.unwrap();
    let mut seen = 0;
    for file in fs::read_dir(dir.path()).unwrap().flatten() {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", file.path());
        seen += 1;
    }
    assert_eq!(seen, 4, "the file, its log, the log's index, and the marks");
    drop(store);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    drop(open(&path));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[tokio::test]
async fn a_link_leads_to_the_same_store_also_for_those_who_watch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let store = open(&path);
    let version = store.commit("m", put("k", "v")).await.unwrap();
    let second = Sqlite::open(&settings(&link, Durability::Full));
    assert!(matches!(second, Err(OpenError::OpenInThisProcess { .. })));
    // Another process would do this.
    let (told, ()) = tokio::join!(store.changed("m", version), async {
        let maintenance = Maintenance::open(&link).unwrap();
        assert_eq!(maintenance.file().unwrap().open_in, [std::process::id()]);
        maintenance.commit("m", &put("k", "w")).unwrap();
    });
    assert!(told.unwrap() > version);
    let beside = fs::read_dir(dir.path()).unwrap().flatten();
    let names: Vec<_> = beside.map(|file| file.file_name()).collect();
    let of_link = |name: &&std::ffi::OsString| name.to_string_lossy().starts_with("link");
    assert_eq!(names.iter().filter(of_link).count(), 1, "{names:?}");
}

#[test]
fn what_is_not_ours_or_newer_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, make: &dyn Fn(&Path), expect: &str| {
        let path = dir.path().join(name);
        make(&path);
        let before = fs::read(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        for refused in [
            Sqlite::open(&settings(&path, Durability::Full))
                .err()
                .map(|error| error.to_string()),
            Maintenance::open(&path)
                .err()
                .map(|error| error.to_string()),
            Maintenance::open_or_make(&path)
                .err()
                .map(|error| error.to_string()),
        ] {
            let refused = refused.expect("it is refused");
            assert!(refused.contains(expect), "{name}: {refused}");
        }
        assert!(fs::read(&path).unwrap() == before, "{name} was changed");
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        // Which is no one's business but its owner's.
        let expected = if name == "newer" { 0o600 } else { 0o644 };
        assert_eq!(mode, expected, "{name}");
    };
    let sql = |statements: &'static str| {
        move |path: &Path| {
            Connection::open(path)
                .unwrap()
                .execute_batch(statements)
                .unwrap()
        }
    };
    check(
        "text",
        &|path| fs::write(path, "no database, and longer than a header\n".repeat(50)).unwrap(),
        "is not a store",
    );
    check(
        "tables",
        &sql("CREATE TABLE t (x); INSERT INTO t VALUES (1)"),
        "is not a store",
    );
    check(
        "other",
        &sql("PRAGMA application_id = 7; CREATE TABLE t (x)"),
        "is not a store",
    );
    check(
        "newer",
        &|path| {
            drop(open(path));
            sql("PRAGMA journal_mode = DELETE; PRAGMA user_version = 2")(path);
        },
        "newer version (schema 2, and this one knows 1)",
    );
    let missing = Maintenance::open(&dir.path().join("missing"));
    assert!(matches!(missing, Err(OpenError::Missing { .. })));
    assert!(!dir.path().join("missing").exists());
}

#[tokio::test]
async fn a_damaged_file_is_told_from_a_broken_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = open(&path);
    for n in 0..200 {
        store
            .commit("m", put(format!("{n:04}"), [7; 900]))
            .await
            .unwrap();
    }
    drop(store);
    let mut content = fs::read(&path).unwrap();
    let behind_the_header = 3 * 4_096;
    content[behind_the_header..].fill(0xa5);
    fs::write(&path, content).unwrap();
    let store = open(&path);
    let found = store.scan("m", Scan::prefix(b"")).await;
    assert!(
        matches!(found, Err(StoreError::Damaged { .. })),
        "{found:?}"
    );
    drop(store);
    let faults = Maintenance::open(&path).unwrap().check();
    assert!(
        !matches!(&faults, Ok(faults) if faults.is_empty()),
        "{faults:?}"
    );
}

/// A file system of 2 MiB, where the system lets us have one; else no file may grow beyond 1 MiB.
const SMALL_DISK: &str =
    "mount -t tmpfs -o size=2m,mode=700 store \"$0\" 2>/dev/null && echo mounted";

#[tokio::test]
async fn a_full_disk_is_told_as_such_and_nothing_acknowledged_is_lost() {
    if let Some((role, dir)) = asked() {
        return fill(&dir.join("state.db"), role == "mounted").await;
    }
    let dir = tempfile::tempdir().unwrap();
    let here = "a_full_disk_is_told_as_such_and_nothing_acknowledged_is_lost";
    let mounts = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", SMALL_DISK])
        .arg(dir.path())
        .stderr(Stdio::null())
        .output();
    let mounts = mounts.is_ok_and(|output| output.stdout == b"mounted\n");
    let (role, script) = if mounts {
        ("mounted", format!("{SMALL_DISK} && shift && exec \"$@\""))
    } else {
        (
            "limited",
            "trap '' XFSZ; ulimit -f 1024; shift; exec \"$@\"".to_owned(),
        )
    };
    let test = again(here, role, dir.path());
    let mut command = if mounts {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command
        .arg("-c")
        .arg(script)
        .arg(dir.path())
        .arg("-")
        .arg(test.get_program());
    command.args(test.get_args());
    command.envs(
        test.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{role}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn fill(path: &Path, mounted: bool) {
    let ballast = path.with_file_name("ballast");
    fs::write(&ballast, [1; 512 * 1024]).unwrap();
    let mut store = open(path);
    let mut acknowledged = 0;
    let refused = loop {
        let key = format!("{acknowledged:04}");
        match store.commit("m", put(key, [7; 20_000])).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "the disk is not small");
    };
    if mounted {
        assert!(matches!(refused, StoreError::DiskFull { .. }), "{refused}");
    } else {
        assert!(matches!(refused, StoreError::Database { .. }), "{refused}");
    }
    // What is there can still be read, also by whoever comes later.
    for again in [false, true] {
        if again {
            store.close();
            store = open(path);
        }
        let keys = Scan {
            keys_only: true,
            ..Scan::prefix(b"")
        };
        let page = store.scan("m", keys).await.unwrap();
        assert_eq!(page.entries.len(), acknowledged);
        assert!(acknowledged > 10);
        assert!(store.get("m", bytes("0000")).await.unwrap().is_some());
    }
    if mounted {
        // Room is made, as the error says.
        fs::remove_file(&ballast).unwrap();
        store
            .commit("m", Batch::delete(bytes("0001")))
            .await
            .unwrap();
        store.commit("m", put("again", [8; 20_000])).await.unwrap();
        let usage = store.usage("m").await.unwrap();
        assert_eq!(usage.entries, acknowledged as u64);
    }
    let faults = Maintenance::open(path).unwrap().check().unwrap();
    assert!(faults.is_empty(), "{faults:?}");
}

#[tokio::test]
async fn what_is_exported_and_put_in_elsewhere_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from.db");
    let store = open(&from);
    let memory = Memory::new(u64::MAX);
    for (module, key, value) in [
        ("chat", &b"a"[..], &b"1"[..]),
        ("chat", b"\0\xff", b""),
        ("chat", b"b", &[0xff; 10_000]),
        ("notes", b"a", b"2"),
    ] {
        store.commit(module, put(key, value)).await.unwrap();
        memory.commit(module, put(key, value)).await.unwrap();
    }
    let to = Maintenance::open_or_make(&dir.path().join("to.db")).unwrap();
    let mut exported = Vec::new();
    let source = Maintenance::open(&from).unwrap();
    source
        .export(None, |entry| {
            exported.push(format!("{}/{}", entry.module, entry.key.escape_ascii()));
            to.commit(entry.module, &put(entry.key, entry.value))
                .map(drop)
        })
        .unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(exported, [r"chat/\x00\xff", "chat/a", "chat/b", "notes/a"]);
    drop(to);
    let copy = open(&dir.path().join("to.db"));
    for module in ["chat", "notes", "nobody"] {
        let pages = [
            copy.scan(module, Scan::prefix(b"")).await.unwrap(),
            memory.scan(module, Scan::prefix(b"")).await.unwrap(),
        ];
        let [copied, expected] = pages.map(|page| {
            let entries = page.entries.into_iter();
            entries
                .map(|entry| (entry.key, entry.value))
                .collect::<Vec<_>>()
        });
        assert_eq!(copied, expected, "{module}");
    }
    let mut of_one = 0;
    let counted = source.export(Some("notes"), |_| {
        of_one += 1;
        Err("stop")
    });
    assert!(matches!(counted, Err(ExportError::Visit("stop"))));
    assert_eq!(of_one, 1);
}

#[tokio::test]
async fn a_backup_is_whole_and_of_one_moment_while_others_write() {
    if let Some((_, path)) = asked() {
        // Two keys that always say the same.
        let store = open(&path);
        say("writing");
        for n in 0..u64::MAX {
            let mut batch = put("one", n.to_string());
            batch.write.push(Write::Put {
                key: bytes("two"),
                value: bytes(n.to_string()),
            });
            batch.write.push(Write::Put {
                key: bytes(format!("{:03}", n % 500)),
                value: bytes([7; 3_000]),
            });
            store.commit("m", batch).await.unwrap();
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let here = "a_backup_is_whole_and_of_one_moment_while_others_write";
    let mut writer = Running::start(&mut again(here, "write", &path));
    let mut stdout = std::io::BufReader::new(writer.0.stdout.take().unwrap());
    let mut line = String::new();
    while line != "writing\n" {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut stdout, &mut line).unwrap() > 0);
    }
    let running = open(&path);
    let mut before = 0;
    for n in 0..5 {
        // Something was written since the last.
        let seen = running.usage("m").await.unwrap().version;
        running.changed("m", seen).await.unwrap();
        let target = dir.path().join(format!("backup-{n}"));
        fs::write(&target, "").unwrap();
        let mut pages = 0;
        let copied = Maintenance::open(&path)
            .unwrap()
            .backup(&target, |_, all| {
                pages = all;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(copied.is_continue() && pages > 1);
        assert_eq!(
            Maintenance::open(&target).unwrap().check().unwrap(),
            Vec::<String>::new()
        );
        let copy = open(&target);
        let [one, two] = ["one", "two"].map(bytes).map(|key| copy.get("m", key));
        let (one, two) = (one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
        assert_eq!((one.value, one.version), (two.value, two.version));
        assert!(one.version.0 > before);
        before = one.version.0;
    }
}
