//! The directory that a module has for its own files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::json;

use crate::harness::Kernel;

/// Where `crash` of the kernel has its files.
fn data_dir(kernel: &Kernel) -> PathBuf {
    let dir = kernel.dir.path().canonicalize().unwrap();
    dir.join("data/state/crash")
}

fn chmod(path: &PathBuf, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn every_generation_has_the_same_and_nobody_else_can_enter_it() {
    let kernel = Kernel::start(&["crash"]).await;
    let token = kernel.session(json!({})).await;
    let dir = data_dir(&kernel);
    let mode = dir.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    let note = kernel.request("PUT", "/api/crash/note").bearer(&token);
    note.body("kept").send().await.expect_status(200);
    for _ in 0..2 {
        let told = kernel
            .get("/api/crash/data-dir")
            .bearer(&token)
            .send()
            .await;
        let told = PathBuf::from(told.expect_status(200).text());
        assert!(told.is_absolute());
        assert_eq!(told.canonicalize().unwrap(), dir);
        let note = kernel.get("/api/crash/note").bearer(&token).send().await;
        assert_eq!(note.expect_status(200).text(), "kept");
        let reload = kernel.host("POST", "/modules/crash/reload");
        reload.json(&json!({})).send().await.expect_status(200);
    }
    // It outlives the module.
    let unload = kernel.host("DELETE", "/modules/crash").send().await;
    unload.expect_status(200);
    assert_eq!(std::fs::read_to_string(dir.join("note")).unwrap(), "kept");
}

#[tokio::test]
async fn one_that_others_can_enter_is_refused_and_left_as_it_is() {
    let kernel = Kernel::start(&["crash"]).await;
    let token = kernel.session(json!({})).await;
    let dir = data_dir(&kernel);
    let reload = || {
        let reload = kernel.host("POST", "/modules/crash/reload");
        reload.json(&json!({})).send()
    };
    for (path, mode, expect) in [
        (dir.clone(), 0o750, "is open to others (mode 750)"),
        (
            dir.parent().unwrap().to_owned(),
            0o720,
            "can be written by others (mode 720)",
        ),
    ] {
        chmod(&path, mode);
        let answer = reload().await;
        answer.expect_problem(422, "module_refused");
        let told = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(told.contains(expect) && told.contains("chmod"), "{told}");
        let kept = path.metadata().unwrap().permissions().mode();
        assert_eq!(kept & 0o7777, mode);
        // The old goes on.
        let marker = kernel.get("/api/crash/marker").bearer(&token).send().await;
        assert_eq!(marker.header("x-midplane-module"), "crash#1");
        chmod(&path, 0o700);
    }
    reload().await.expect_status(200);
}
