//! Who may decide what is loaded: whoever can change a file, its directory, a request with the host key, and the file behind
//! the kernel's back. Also what is simply not there.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use super::super::eventually;
use super::served::{Served, compile, compile_as, install};
use crate::harness::{Kernel, private_dir};

const FORBIDDEN: &str = "module_path_forbidden";

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn sha256(path: &Path) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, &std::fs::read(path).unwrap());
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn what_is_not_there_or_no_file_is_refused() {
    let mut served = Served::well(Kernel::builder()).await;
    let modules = served.modules();
    let absent = modules.join("absent.so");
    let dangling = modules.join("dangling.so");
    symlink(&absent, &dangling).unwrap();
    let circle = modules.join("circle.so");
    symlink(&circle, &circle).unwrap();
    let directory = modules.join("directory.so");
    std::fs::create_dir(&directory).unwrap();
    let pipe = modules.join("pipe.so");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, reason) in [
        (
            &absent,
            &[
                "there is no ",
                "absent.so: build the module, or correct its path",
            ][..],
        ),
        (&dangling, &["there is no ", "dangling.so"]),
        (
            &circle,
            &["circle.so cannot be read: Too many levels of symbolic links"],
        ),
        (
            &directory,
            &["directory.so is not a regular file: give the path of the library"],
        ),
        (&pipe, &["pipe.so is not a regular file"]),
        (
            &modules.join("well.so/x"),
            &["cannot be read: Not a directory"],
        ),
    ] {
        let answer = served.put(&json!({"path": path})).await;
        served
            .expect_refused(&answer, 422, "module_refused", reason)
            .await;
    }
    let own = nix::unistd::Uid::effective();
    if !own.is_root() {
        let secret = compile(&modules, "well", &[]);
        mode(&secret, 0o000);
        let answer = served.put(&json!({"path": secret})).await;
        let reason = ["cannot be read: Permission denied"];
        served
            .expect_refused(&answer, 422, "module_refused", &reason)
            .await;
        mode(&secret, 0o755);
    }
    served.stop_and_reload().await;
}

#[tokio::test]
async fn what_others_can_change_is_refused() {
    let elsewhere = private_dir();
    let config = format!(
        "[kernel]\nmodule_dirs = [\"modules\", {:?}]",
        elsewhere.path()
    );
    let mut served = Served::well(Kernel::builder().config(&config)).await;
    let modules = served.modules();
    let (file, link) = (modules.join("well.so"), modules.join("link.so"));
    let target = compile(elsewhere.path(), "well", &[]);
    mode(&target, 0o755);
    symlink(&target, &link).unwrap();
    for bits in [0o775, 0o757, 0o1777] {
        for (path, spoilt, whole) in [
            (&file, file.as_path(), 0o755),
            (&file, &modules, 0o700),
            (&link, &target, 0o755),
            (&link, elsewhere.path(), 0o700),
        ] {
            mode(spoilt, bits);
            let answer = served.put(&json!({"path": path})).await;
            let reason = [
                "can be written by others (mode ",
                "only its owner may be able to change what the kernel loads",
                &format!("run: chmod go-w {}", spoilt.display()),
            ];
            served
                .expect_refused(&answer, 403, FORBIDDEN, &reason)
                .await;
            mode(spoilt, whole);
        }
    }
    // What belongs to someone else can be changed by that one.
    if nix::unistd::Uid::effective().is_root() {
        for theirs in [file.as_path(), &modules] {
            std::os::unix::fs::chown(theirs, Some(4242), None).unwrap();
            let answer = served.reload(&json!({})).await;
            let reason = [
                theirs.to_str().unwrap(),
                "belongs to uid 4242, and the kernel runs as uid 0",
                "copy it to a directory of your own",
            ];
            served
                .expect_refused(&answer, 403, FORBIDDEN, &reason)
                .await;
            std::os::unix::fs::chown(theirs, Some(0), None).unwrap();
        }
    }
    served.stop_and_reload().await;
}

#[tokio::test]
async fn a_request_loads_from_nowhere_but_the_configured_directories() {
    let mut served = Served::well(Kernel::builder()).await;
    let modules = served.modules();
    let outside = private_dir();
    let foreign = compile(outside.path(), "well", &[]);
    mode(&foreign, 0o755);
    let below = modules.join("below");
    std::fs::create_dir(&below).unwrap();
    mode(&below, 0o700);
    install(&below.join("well.so"), &std::fs::read(&foreign).unwrap());
    let link = modules.join("link.so");
    symlink(&foreign, &link).unwrap();
    let directory = modules.join("directory");
    symlink(outside.path(), &directory).unwrap();
    let climbing = modules
        .join("..")
        .join("..")
        .join(outside.path().file_name().unwrap());
    let allowed = format!("may be loaded from ({})", modules.display());
    let mend = format!(
        "add {} to `module_dirs` in [kernel]",
        outside.path().display()
    );
    let leads = format!("link.so leads to {}, which is outside", foreign.display());
    for (path, reason) in [
        (
            foreign.clone(),
            vec![allowed.as_str(), &mend, "load it from there"],
        ),
        (link, vec![&leads, &allowed, &mend]),
        (directory.join("well.so"), vec![" leads to ", &mend]),
        (climbing.join("well.so"), vec![" leads to ", &mend]),
        (
            below.join("well.so"),
            vec!["below/well.so is outside", &allowed],
        ),
        (
            "/etc/passwd".into(),
            vec!["/etc/passwd is outside", &allowed],
        ),
        // Nor is it told what is there and what not.
        (
            "/etc/no-such-file".into(),
            vec!["/etc/no-such-file is outside", &allowed],
        ),
        ("/".into(), vec!["/ is outside", &allowed]),
    ] {
        let answer = served.put(&json!({"path": path})).await;
        served
            .expect_refused(&answer, 403, FORBIDDEN, &reason)
            .await;
    }
    for relative in ["well.so", "./well.so", ""] {
        let answer = served.put(&json!({"path": relative})).await;
        answer.expect_problem(400, "invalid_request");
    }
    served.expect_as_before().await;
    served.stop_and_reload().await;
}

#[tokio::test]
async fn a_request_cannot_give_more_than_the_configuration_does() {
    let settings = "grants = []\nconfig = { marker = \"old\" }";
    let builder = Kernel::builder().module("faults", settings);
    let mut served = Served::start(builder, "faults", "/marker", "old").await;
    let path = served.modules().join("libmidplane_faults.so");
    for (more, reason) in [
        (
            json!({"path": path, "grants": ["secrets"]}),
            "`secrets` is not granted to faults in the configuration: grant it there, under [modules.faults]",
        ),
        (
            json!({"path": path, "public": true}),
            "public routes are not allowed to faults in the configuration: set public = true under [modules.faults]",
        ),
    ] {
        let answer = served.put(&more).await;
        served
            .expect_refused(&answer, 403, "grant_forbidden", &[reason])
            .await;
    }
    let public = served.kernel.get("/api/faults/public").send().await;
    public.expect_problem(401, "credential_required");
    served.stop_and_reload().await;
}

#[tokio::test]
async fn a_pin_holds_for_every_load_of_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let well = compile(dir.path(), "well", &[]);
    let pin = sha256(&well);
    let zeros = "0".repeat(64);
    let builder =
        Kernel::builder().module_at("refused", well.clone(), &format!("sha256 = {zeros:?}"));
    let (code, said) = builder.refuse();
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains(&pin) && said.contains(&zeros), "{said}");

    // Upper case is the same number.
    let settings = format!("sha256 = {:?}", pin.to_ascii_uppercase());
    let builder = Kernel::builder().module_at("refused", well, &settings);
    let mut served = Served::start(builder, "refused", "/", "well").await;
    let configured = served.modules().join("well.so");
    let whole = std::fs::read(&configured).unwrap();
    let other = served.modules().join("other.so");
    // A byte after the end changes the file and not the library.
    let longer = [&whole[..], b"\0"].concat();
    install(&other, &longer);
    let found = sha256(&other);
    let reason = [
        format!("is {found}, and {pin} is pinned"),
        "load the pinned build or change the pin".to_owned(),
    ];
    let reason = reason.each_ref().map(String::as_str);
    for config in [json!({"path": other}), json!({"path": other, "config": {}})] {
        let answer = served.put(&config).await;
        served
            .expect_refused(&answer, 422, "module_refused", &reason)
            .await;
    }
    install(&configured, &longer);
    let answer = served.reload(&json!({})).await;
    served
        .expect_refused(&answer, 422, "module_refused", &reason)
        .await;
    // The pinned bytes may stand under any name; once loaded from there, the pin still holds.
    install(&configured, &whole);
    install(&other, &whole);
    let (kernel, _token) = served.stop().await;
    let put = |path: &PathBuf| {
        kernel
            .host("PUT", "/modules/refused")
            .json(&json!({"path": path}))
            .send()
    };
    put(&other).await.expect_status(200);
    install(&other, &longer);
    let reload = kernel.host("POST", "/modules/refused/reload").send().await;
    reload.expect_problem(422, "module_refused");
    // Nor is it forgotten with the module.
    let unload = kernel
        .host("DELETE", "/modules/refused?drain_ms=0")
        .send()
        .await;
    unload.expect_status(200);
    put(&other).await.expect_problem(422, "module_refused");
    put(&configured).await.expect_status(201);
}

#[tokio::test]
async fn a_file_that_is_replaced_all_the_time_is_loaded_whole_or_not_at_all() {
    let builder = Kernel::builder();
    let dir = private_dir();
    let sources = ["one", "two"].map(|answer| {
        let path = dir.path().join(format!("{answer}.so"));
        let define = format!("-DANSWER=\"{answer}\"");
        let version = format!(
            "-DVERSION=\"{}\"",
            if answer == "one" { "1.0.1" } else { "1.0.2" }
        );
        let path = compile_as(&path, "well", &[&define, &version]);
        (sha256(&path), answer, std::fs::read(path).unwrap())
    });
    let whole: BTreeMap<_, _> = sources
        .iter()
        .map(|(sha256, answer, _)| (sha256.clone(), *answer))
        .collect();
    assert_eq!(whole.len(), 2);
    let kernel = builder.module_at(
        "refused",
        dir.path().join("one.so"),
        "drain_timeout = \"1s\"",
    );
    let kernel = kernel.start().await;
    let token = kernel.session(json!({})).await;
    let path = kernel.dir.path().join("modules/one.so");
    let (done, replaced) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let writer = std::thread::spawn({
        let (done, replaced, path) = (Arc::clone(&done), Arc::clone(&replaced), path.clone());
        move || {
            for turn in 0.. {
                let bytes = &sources[turn % 2].2;
                // Renamed over it, as an installer does; every third time written over it, as a copy does.
                if turn % 3 == 2 {
                    std::fs::write(&path, bytes).unwrap();
                } else {
                    install(&path, bytes);
                }
                replaced.fetch_add(1, Ordering::Relaxed);
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    });
    let mut seen = BTreeMap::new();
    // Until each of the two was loaded a few times while the other one took its place.
    while seen.len() < 2 || seen.values().any(|count| *count < 5) {
        let before = replaced.load(Ordering::Relaxed);
        let reload = kernel.host("POST", "/modules/refused/reload").send().await;
        if reload.status() == 200 {
            let to = reload.json()["to"].clone();
            let answer = whole.get(to["sha256"].as_str().unwrap());
            let answer =
                answer.unwrap_or_else(|| panic!("neither of the two whole files: {reload}"));
            let got = kernel.get("/api/refused/").bearer(&token).send().await;
            assert_eq!(got.expect_status(200).text(), *answer, "{reload}");
            let module = format!("refused#{}", to["generation"]);
            assert_eq!(got.header("x-midplane-module"), module);
            let version = if *answer == "one" { "1.0.1" } else { "1.0.2" };
            assert_eq!(to["version"], version, "{reload}");
            *seen.entry(*answer).or_insert(0) += 1;
        } else {
            // Half a file was there just then.
            reload.expect_problem(422, "module_refused");
        }
        eventually(&kernel, "another file in its place", async || {
            (replaced.load(Ordering::Relaxed) > before).then_some(())
        })
        .await;
    }
    done.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}
