//! Where the private copy cannot be written, or no code may be run from: file systems of the test's own, in mounts that only
//! the kernel sees and that end with it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use super::served::{Served, compile, compile_as, copies, install, staging};
use crate::harness::{Builder, Kernel, apart, private_dir};
use tempfile::TempDir;

/// How this system lets us have mounts of our own in which `before` can be done, or `None`, told where a test's output is not
/// caught.
fn unshare(test: &str, more: &[&'static str], before: &str) -> Option<Vec<&'static str>> {
    let as_root: &[&str] = &["--mount"];
    let as_user: &[&str] = &["--mount", "--user", "--map-root-user"];
    for kind in [as_root, as_user] {
        let arguments = [kind, more].concat();
        let script = format!("{before} mount -t tmpfs midplane /mnt");
        let mut probe = Command::new("unshare");
        probe.args(&arguments).args(["sh", "-c", &script]);
        if probe.output().is_ok_and(|output| output.status.success()) {
            return Some(arguments);
        }
    }
    // Not `eprintln`, which is shown for tests that fail.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED {test}: this process may not do `{before} mount -t tmpfs …`, neither as root nor in a user namespace"
    );
    None
}

/// A kernel whose data directory is a tmpfs with these options.
fn on_tmpfs(unshare: &[&str], options: &str, before: &str) -> (Builder, Arc<TempDir>) {
    let dir = private_dir();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let script = format!(
        "exec unshare {} sh -c '{before} mount -t tmpfs -o mode=700,{options} midplane {} && exec \"$@\"' sh \"$@\"",
        unshare.join(" "),
        data.display()
    );
    let builder = Kernel::builder()
        .dir(&dir)
        // So that the test may look at its mounts.
        .config("[kernel]\ndebuggable = true")
        .shell(&script);
    (builder, dir)
}

#[tokio::test]
async fn a_full_disk_is_507_with_what_is_needed_and_where() {
    let Some(unshare) = unshare("a_full_disk_is_507_with_what_is_needed_and_where", &[], "") else {
        return;
    };
    let (builder, _dir) = on_tmpfs(&unshare, "size=4m", "");
    let mut served = Served::well(builder).await;
    let modules = served.modules();
    let mut large = std::fs::read(modules.join("well.so")).unwrap();
    large.resize(9 << 20, 0);
    install(&modules.join("large.so"), &large);
    let dir = served.kernel.dir.path().join("data/modules");
    let reason = [
        "no space is left for the module's private copy in ",
        dir.to_str().unwrap(),
        "it needs 9216 KiB",
        "No space left on device",
        "free some, or set `data_dir` in [kernel]",
    ];
    let body = json!({"path": modules.join("large.so")});
    for _ in 0..3 {
        let answer = served.put(&body).await;
        served
            .expect_refused(&answer, 507, "storage_full", &reason)
            .await;
        // Of what was written none is left: all of it is free for the next.
        let free = free_kib(&answer.json());
        assert!((3 * 1024..4 * 1024).contains(&free), "{answer}");
    }
    // Nothing at all is free.
    let filler = staging(&served.kernel).join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let answer = served.reload(&json!({})).await;
    served
        .expect_refused(&answer, 507, "storage_full", &["and 0 KiB are free"])
        .await;
    std::fs::remove_file(filler).unwrap();
    drop(file);
    served.stop_and_reload().await;
}

fn free_kib(problem: &Value) -> u64 {
    let detail = problem["detail"].as_str().unwrap();
    let (_, rest) = detail.split_once(" KiB, and ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn where_no_code_may_be_run_from_the_copy_is_kept_in_memory() {
    let Some(unshare) = unshare(
        "where_no_code_may_be_run_from_the_copy_is_kept_in_memory",
        &[],
        "",
    ) else {
        return;
    };
    let (builder, _dir) = on_tmpfs(&unshare, "size=4m,noexec", "");
    let mut served = Served::well(builder).await;
    let modules = served.modules();
    let descriptors = |kernel: &Kernel| in_memory(kernel, "fd");
    assert_eq!(descriptors(&served.kernel).len(), 1);
    for _ in 0..3 {
        for fault in ["symbol_unresolved", "init_fails"] {
            let path = compile(&modules, fault, &[]);
            let answer = served.put(&json!({"path": path})).await;
            let status = if fault == "init_fails" {
                "init failed"
            } else {
                "nowhere_defined"
            };
            served
                .expect_refused(&answer, 422, "module_refused", &[status])
                .await;
            // Nothing is left open of it.
            assert_eq!(descriptors(&served.kernel).len(), 1);
        }
    }
    // Numbers of descriptors come again; code never does.
    let one = compile_as(&modules.join("one.so"), "well", &["-DANSWER=\"one\""]);
    let two = compile_as(&modules.join("two.so"), "well", &["-DANSWER=\"two\""]);
    let (kernel, token) = served.stop().await;
    for turn in 0..6 {
        let (path, answer) = if turn % 2 == 0 {
            (&one, "one")
        } else {
            (&two, "two")
        };
        let put = kernel.host("PUT", "/modules/refused?wait=drained");
        let put = put.json(&json!({"path": path})).send().await;
        let generation = put.expect_status(200).json()["to"]["generation"].clone();
        let got = kernel.get("/api/refused/").bearer(&token).send().await;
        assert_eq!(got.expect_status(200).text(), answer);
        let copies = copies(&kernel);
        assert!(
            copies
                .iter()
                .any(|copy| copy.starts_with(&format!("refused-{generation}-"))),
            "{copies:?}"
        );
    }
    // Its mapping, and a descriptor that stays as long.
    if !apart() {
        assert!(!in_memory(&kernel, "map_files").is_empty());
    }
    assert!(!descriptors(&kernel).is_empty());
}

/// What of a kernel's `fd` or `map_files` is a module in memory.
fn in_memory(kernel: &Kernel, of: &str) -> BTreeSet<std::path::PathBuf> {
    let dir = Path::new("/proc").join(kernel.pid().to_string()).join(of);
    let links = std::fs::read_dir(dir).unwrap().flatten();
    links
        .filter(|link| {
            // A descriptor may be closed while we look.
            std::fs::read_link(link.path())
                .is_ok_and(|to| to.starts_with("/memfd:midplane-module (deleted)"))
        })
        .map(|link| link.path())
        .collect()
}

#[tokio::test]
async fn where_neither_is_allowed_the_kernel_says_what_to_set() {
    let test = "where_neither_is_allowed_the_kernel_says_what_to_set";
    let own_processes = &["--pid", "--fork", "--mount-proc"];
    // Since Linux 6.3; for the processes of its own namespace only.
    let forbid = "echo 2 > /proc/sys/vm/memfd_noexec &&";
    let Some(unshare) = unshare(test, own_processes, forbid) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let well = compile(dir.path(), "well", &[]);
    let (builder, _dir) = on_tmpfs(&unshare, "noexec", forbid);
    let (code, said) = builder.module_at("refused", well, "").refuse();
    assert_eq!(code, Some(69), "{said}");
    for words in [
        "no code may be run from ",
        "it is mounted noexec",
        "nor can the module's private copy be kept in memory instead (Permission denied",
        "set `data_dir` in [kernel] to a directory from which programs can be run",
    ] {
        assert!(said.contains(words), "{said:?} lacks {words:?}");
    }
}
