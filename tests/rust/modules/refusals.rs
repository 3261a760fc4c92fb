//! Files that are no module for this kernel: each is refused with its own sentence, and what runs keeps running.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{abi, expect_well, faults};
use crate::harness::{Answer, Kernel, artifact};

/// Where the description starts after the note's name, as the kernel finds it by program header.
fn description(file: &[u8]) -> usize {
    let start = b"Midplane\0\0\0\0MIDPLANE";
    let mut found = file
        .windows(start.len())
        .enumerate()
        .filter(|(_, bytes)| bytes == start);
    let (at, _) = found.next().expect("a descriptor");
    assert!(found.next().is_none(), "one descriptor");
    at + 12
}

/// Offsets in the description.
const MAGIC: usize = 0;
const MAJOR: usize = 12;
const MINOR: usize = 14;
const FLAGS: usize = 20;

fn write(kernel: &Kernel, name: &str, bytes: &[u8]) -> PathBuf {
    let path = kernel.dir.path().join("modules").join(name);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn put(kernel: &Kernel, name: &str, path: &Path) -> Answer {
    let request = kernel.host("PUT", &format!("/modules/{name}"));
    request.json(&json!({"path": path})).send().await
}

async fn expect_refused(kernel: &Kernel, name: &str, path: &Path, reason: &str) {
    let answer = put(kernel, name, path).await;
    answer.expect_problem(422, "module_refused");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(reason), "{detail:?} lacks {reason:?}");
}

#[tokio::test]
async fn a_damaged_or_foreign_artifact() {
    let (kernel, token) = faults("").await;
    let whole = std::fs::read(artifact("faults")).unwrap();
    let at = description(&whole);
    let patched = |offset: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        file
    };
    let cases: [(&str, Vec<u8>, &str); 9] = [
        (
            "text.so",
            b"#!/bin/sh\nexit 0\n".to_vec(),
            "not a shared library of this machine",
        ),
        (
            "empty.so",
            Vec::new(),
            "not a shared library of this machine",
        ),
        (
            "half.so",
            whole[..whole.len() / 8].to_vec(),
            "cut short or damaged",
        ),
        ("head.so", whole[..80].to_vec(), "cut short or damaged"),
        (
            "magic.so",
            patched(at + MAGIC, b"MIDPLANT"),
            "magic is \"MIDPLANT\" instead of \"MIDPLANE\"",
        ),
        (
            "major.so",
            patched(at + MAJOR, &9_u16.to_le_bytes()),
            "built for ABI 9, the kernel has ABI 1.x",
        ),
        (
            "minor.so",
            patched(at + MINOR, &7_u16.to_le_bytes()),
            "needs ABI 1.7, the kernel has 1.0",
        ),
        (
            "flags.so",
            patched(at + FLAGS, &[1]),
            "`flags` is not valid",
        ),
        (
            "machine.so",
            patched(
                18,
                &[if cfg!(target_arch = "aarch64") {
                    62
                } else {
                    183
                }],
            ),
            "build it for this machine",
        ),
    ];
    for (name, bytes, reason) in cases {
        let path = write(&kernel, name, &bytes);
        expect_refused(&kernel, "faults", &path, reason).await;
        let answer = kernel.get("/api/faults/timer").bearer(&token).send().await;
        assert_eq!(
            answer.expect_status(200).header("x-midplane-module"),
            "faults#1"
        );
        std::fs::remove_file(path).unwrap();
    }
    let path = write(&kernel, "other.so", &whole);
    expect_refused(
        &kernel,
        "other",
        &path,
        "the file is the module `faults`, and `other` is configured",
    )
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_had() {
    let (kernel, token) = faults("").await;
    let modules = kernel.dir.path().join("modules");
    expect_refused(
        &kernel,
        "faults",
        &modules.join("absent.so"),
        "absent.so cannot be read",
    )
    .await;
    let directory = modules.join("directory.so");
    std::fs::create_dir(&directory).unwrap();
    expect_refused(&kernel, "faults", &directory, "is not a regular file").await;
    let path = write(
        &kernel,
        "mode.so",
        &std::fs::read(artifact("faults")).unwrap(),
    );
    if !nix::unistd::Uid::effective().is_root() {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        expect_refused(
            &kernel,
            "faults",
            &path,
            "cannot be read: Permission denied",
        )
        .await;
    }
    for mode in [0o775, 0o757] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let answer = put(&kernel, "faults", &path).await;
        answer.expect_problem(403, "module_path_forbidden");
        assert!(answer.text().contains("chmod go-w"), "{answer}");
    }
    let outside = tempfile::tempdir().unwrap();
    let elsewhere = outside.path().join("libmidplane_faults.so");
    std::fs::rename(&path, &elsewhere)
        .or_else(|_| std::fs::copy(&path, &elsewhere).map(drop))
        .unwrap();
    let link = modules.join("link.so");
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    for path in [&elsewhere, &link] {
        put(&kernel, "faults", path)
            .await
            .expect_problem(403, "module_path_forbidden");
    }
    let relative = put(&kernel, "faults", Path::new("modules/faults.so")).await;
    relative.expect_problem(400, "invalid_request");
    expect_well(&kernel, &token).await;
}

#[tokio::test]
async fn a_pin_holds_at_the_start_and_at_every_reload() {
    let file = std::fs::read(artifact("faults")).unwrap();
    let sha256: String = ring::digest::digest(&ring::digest::SHA256, &file)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let wrong = "0".repeat(64);
    let builder = Kernel::builder().module("faults", &format!("sha256 = {wrong:?}"));
    let (code, said) = builder.refuse();
    assert_ne!(code, Some(0));
    assert!(said.contains(&sha256) && said.contains(&wrong), "{said}");

    let (kernel, token) = faults(&format!("sha256 = {sha256:?}")).await;
    let path = kernel.dir.path().join("modules/libmidplane_faults.so");
    put(&kernel, "faults", &path).await.expect_status(200);
    // A byte after the end changes the file and not the library.
    let path = write(&kernel, "longer.so", &[&file[..], b"\0"].concat());
    expect_refused(&kernel, "faults", &path, "is pinned in the configuration").await;
    expect_well(&kernel, &token).await;
}

#[tokio::test]
async fn a_library_that_is_no_module() {
    let (kernel, token) = faults("").await;
    let modules = kernel.dir.path().join("modules");
    for (name, defines, reason) in [
        ("plain.so", &["NO_DESCRIPTOR"][..], "no module descriptor"),
        ("two.so", &["TWO_DESCRIPTORS"], "2 module descriptors"),
        (
            "mute.so",
            &["NO_ENTRY"],
            "exports no `midplane_module_entry`",
        ),
        (
            "refuses.so",
            &["ENTRY_REFUSES"],
            "`midplane_module_entry` refused this kernel (status -3)",
        ),
        ("hollow.so", &["NO_POLL"], "left the function `poll` empty"),
        (
            "symbol.so",
            &["MISSING_SYMBOL"],
            "the library cannot be opened: undefined symbol: nowhere_defined",
        ),
        (
            "init.so",
            &["INIT_STATUS=7"],
            "init answered the unknown status 7",
        ),
        (
            "silent.so",
            &["INIT_STATUS=-4"],
            "init failed: the module gave no reason",
        ),
    ] {
        let path = abi::compile(&modules.join(name), defines);
        expect_refused(&kernel, "raw", &path, reason).await;
    }
    expect_well(&kernel, &token).await;
}
