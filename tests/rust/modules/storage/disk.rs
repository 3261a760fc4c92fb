//! A disk that is full: clients are told so, nothing that was acknowledged is lost, and with room again all goes on.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Notes, data_dir};
use crate::harness::{Kernel, eventually, private_dir};

/// Has the directory `$DISK` be a file system of 3 MiB, of which nobody else sees anything.
const MOUNT: &str = r#"mount -t tmpfs -o size=3m,mode=700 store "$DISK""#;
/// Starts the kernel there, and does what comes through a pipe.
const RUN: &str = r#"
head -c 1048576 /dev/zero >"$DISK/ballast" || exit 1
while read -r line <"$ORDERS"; do eval "$line"; done &
exec "$@"
"#;

/// What a module is told to send to the disk at once.
const NOTE_LEN: usize = 60_000;

/// Whether the system lets this test have a file system of its own; says so if not.
fn can_mount(dir: &Path) -> bool {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", MOUNT]);
    let output = command.env("DISK", dir).output();
    let can = output.is_ok_and(|output| output.status.success());
    if !can {
        let test = std::thread::current();
        // Nobody may be reading.
        let _ = writeln!(
            std::io::stderr(),
            "skipped {}: the system gives it no file system of its own (unshare --mount)",
            test.name().unwrap_or_default()
        );
    }
    can
}

#[tokio::test]
async fn a_full_disk_is_told_and_with_room_again_all_goes_on() {
    for store in ["in-process", "process"] {
        let dir = private_dir();
        // Only what modules keep is there: the copies of their files, in a debug build, would need a larger one.
        let disk = data_dir(&dir).join("state");
        std::fs::create_dir_all(&disk).unwrap();
        if !can_mount(&disk) {
            return;
        }
        let orders = dir.path().join("orders");
        mkfifo(&orders, Mode::S_IRWXU).unwrap();
        let script = format!("{MOUNT} || exit 1; {RUN}");
        let builder = Kernel::builder()
            .shell(&format!(
                r#"exec unshare --mount --map-root-user sh -c '{script}' sh "$@""#
            ))
            .env("DISK", disk.to_str().unwrap())
            .env("ORDERS", orders.to_str().unwrap());
        let notes = Notes::start_as(builder, &dir, ("in-process", store), "").await;
        fill(&Arc::new(notes), &orders).await;
    }
}

async fn fill(notes: &Arc<Notes>, orders: &Path) {
    let note = |n: usize| format!("{n:02}").repeat(NOTE_LEN / 2);
    let mut kept = 0;
    let refusal = loop {
        let path = format!("/notes/{kept:02}");
        match notes.send("PUT", &path, &note(kept)).await {
            (200, _) => kept += 1,
            refused => break refused,
        }
        assert!(kept < 100, "the disk is not small");
    };
    assert!(kept > 5, "{kept}");
    assert_eq!(refusal.0, 507, "{}", refusal.1);
    let told = "state.db is on is full: make room there";
    assert!(refusal.1.contains(told), "{}", refusal.1);
    notes.kernel.wait_for_log("disk_full");

    // All of them, whoever asks, at once and again and again: reading goes on.
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..2 * kept {
        let (notes, expect) = (Arc::clone(notes), note(n % kept));
        asking.spawn(async move {
            let path = format!("/notes/{:02}", n % kept);
            assert_eq!(notes.well("GET", &path, "").await, expect);
            let (status, told) = notes.send("PUT", "/notes/more", &expect).await;
            assert_eq!(status, 507, "{told}");
        });
    }
    asking.join_all().await;

    // The store is reloaded in this state, too: its next generation finds what there is.
    let path = "/modules/store/reload?wait=drained";
    let reload = notes.kernel.host("POST", path).send().await;
    reload.expect_status(200);
    assert_eq!(notes.well("GET", "/notes/00", "").await, note(0));

    let mut orders = OpenOptions::new().write(true).open(orders).unwrap();
    writeln!(orders, r#"rm "$DISK/ballast""#).unwrap();
    drop(orders);
    eventually("room on the disk", async || {
        let (status, _) = notes.send("PUT", "/notes/more", &note(kept)).await;
        (status == 200).then_some(())
    })
    .await;
    notes.well("DELETE", "/notes/00", "").await;
    assert_eq!(notes.well("GET", "/notes/more", "").await, note(kept));
    for n in 1..kept {
        let path = format!("/notes/{n:02}");
        assert_eq!(notes.well("GET", &path, "").await, note(n));
    }
}
