//! `/modules`: loading, swapping, unloading, and what may not be loaded.

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;

use serde_json::json;

use crate::harness::{Hello, Kernel, artifact, eventually, hellos};

impl Kernel {
    /// Where the harness put the file of a module that the configuration names.
    fn module_file(&self, name: &str) -> PathBuf {
        self.dir
            .path()
            .join("modules")
            .join(artifact(name).file_name().unwrap())
    }
}

fn mode(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn modules_are_listed_and_shown() {
    for hello in hellos() {
        expect_listed(hello.builder().module("slow", "").start().await).await;
    }
}

async fn expect_listed(kernel: Kernel) {
    let token = kernel.session(json!({})).await;
    kernel.get("/api/hello/hello").bearer(&token).send().await;
    let list = kernel.host("GET", "/modules").send().await.json();
    let names: Vec<_> = list["modules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|module| &module["name"])
        .collect();
    assert_eq!(names, ["hello", "slow"]);
    let hello = kernel.host("GET", "/modules/hello").send().await.json();
    assert_eq!(hello["generation"], 1);
    assert_eq!(hello["state"], "serving");
    assert_eq!(hello["requests"]["2xx"], 1);
    assert_eq!(hello["in_flight_requests"], 0);
    assert_eq!(hello["resident_generations"], 1);
    assert!(hello["poll_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(hello["sha256"].as_str().unwrap().len(), 64);
    let document = kernel
        .host("GET", "/modules/slow/openapi.json")
        .send()
        .await;
    assert_eq!(document.expect_status(200).json()["info"]["title"], "slow");
}

#[tokio::test]
async fn a_module_is_loaded_swapped_and_unloaded_with_receipts() {
    let kernel = Kernel::start(&["slow"]).await;
    let token = kernel.session(json!({})).await;
    let mut events = kernel.get("/api/slow/events").bearer(&token).stream().await;
    events.read_until("first").await;
    let swapped = kernel.host("POST", "/modules/slow/reload").send().await;
    let receipt = swapped.expect_status(200).json();
    assert_eq!(
        (&receipt["from"]["generation"], &receipt["to"]["generation"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(receipt["unloaded"], json!(null), "the stream goes on");
    let whoami = kernel.get("/api/slow/whoami").bearer(&token).send().await;
    assert_eq!(whoami.header("x-midplane-module"), "slow#2");
    drop(events);
    // A second stream, on the new one, is cut by a drain without patience.
    let mut events = kernel.get("/api/slow/events").bearer(&token).stream().await;
    events.read_until("first").await;
    let unloaded = kernel
        .host("DELETE", "/modules/slow?drain_ms=0")
        .send()
        .await;
    let receipt = unloaded.expect_status(200).json();
    assert_eq!(
        (&receipt["from"]["generation"], &receipt["to"]),
        (&json!(2), &json!(null))
    );
    assert_eq!(receipt["requests"]["cancelled"], 1);
    assert!(
        receipt["drain_ms"].is_u64() && receipt["unloaded"].is_boolean(),
        "{receipt}"
    );
    assert!(events.rest().await.0.contains("\"draining\""));
    let gone = kernel.get("/api/slow/whoami").bearer(&token).send().await;
    gone.expect_problem(404, "module_not_found");
    kernel
        .host("DELETE", "/modules/slow")
        .send()
        .await
        .expect_problem(404, "module_not_found");
    let path = kernel.module_file("slow");
    let loaded = kernel
        .host("PUT", "/modules/slow")
        .json(&json!({"path": path}))
        .send()
        .await;
    assert_eq!(loaded.expect_status(201).json()["to"]["generation"], 3);
    let again = kernel
        .host("PUT", "/modules/slow?wait=drained")
        .json(&json!({"path": path}))
        .send()
        .await;
    assert!(again.expect_status(200).json()["drain_ms"].is_u64());
    for query in ["/modules/slow/reload?wait=now", "/modules/slow/reload?x=1"] {
        kernel
            .host("POST", query)
            .send()
            .await
            .expect_problem(400, "invalid_request");
    }
    for query in [
        "drain_ms=x",
        "drain_ms=-1",
        "drain_ms=600001",
        "wait=drained",
    ] {
        let request = kernel.host("DELETE", &format!("/modules/slow?{query}"));
        request.send().await.expect_problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_put_cannot_take_more_than_the_configuration_gives() {
    let kernel = Kernel::builder()
        .module("slow", "grants = []")
        .module("hello", "")
        .start()
        .await;
    let put = |name: &str, body: serde_json::Value| {
        kernel
            .host("PUT", &format!("/modules/{name}"))
            .json(&body)
            .send()
    };
    let path = kernel.module_file("slow");
    for body in [
        json!({"path": path, "grants": ["secrets"]}),
        json!({"path": path, "public": true}),
    ] {
        put("slow", body)
            .await
            .expect_problem(403, "grant_forbidden");
    }
    put("slow", json!({"path": path, "grants": ["everything"]}))
        .await
        .expect_problem(400, "invalid_request");
    put("slow", json!({"path": path, "grants": [], "public": false}))
        .await
        .expect_status(200);
    put("slow", json!({"path": "relative.so"}))
        .await
        .expect_problem(400, "invalid_request");
    for name in ["Slow", "9", "a%2fb", &"a".repeat(33)] {
        put(name, json!({"path": path}))
            .await
            .expect_problem(400, "invalid_request");
    }
    // Another name, a file that is no module, and none at all.
    let text = kernel.dir.path().join("modules/text.so");
    std::fs::write(&text, "no module").unwrap();
    for (name, path) in [
        ("other", &path),
        ("slow", &text),
        ("slow", &text.with_extension("none")),
    ] {
        put(name, json!({"path": path}))
            .await
            .expect_problem(422, "module_refused");
    }
    put("slow", json!({"path": path, "config": {"unknown": 1}}))
        .await
        .expect_problem(422, "module_refused");
    // Outside of where modules may come from, also by a link.
    let link = kernel.dir.path().join("modules/link.so");
    std::os::unix::fs::symlink("/usr/lib/os-release", &link).unwrap();
    for path in ["/usr/lib/os-release", link.to_str().unwrap()] {
        put("slow", json!({"path": path}))
            .await
            .expect_problem(403, "module_path_forbidden");
    }
    let shown = kernel.host("GET", "/modules/slow").send().await.json();
    assert_eq!(
        (&shown["grants"], &shown["state"]),
        (&json!([]), &json!("serving"))
    );
}

#[tokio::test]
async fn what_others_can_write_is_not_loaded() {
    for hello in hellos() {
        expect_refused_if_writable(&hello).await;
    }
}

async fn expect_refused_if_writable(hello: &Hello) {
    let kernel = hello.start().await;
    let file = hello.file(&kernel);
    let dir = file.parent().unwrap();
    let reload = || kernel.host("POST", "/modules/hello/reload").send();
    for bits in [0o775, 0o757, 0o777] {
        mode(&file, bits);
        reload().await.expect_problem(403, "module_path_forbidden");
        mode(&file, 0o755);
        mode(dir, bits);
        reload().await.expect_problem(403, "module_path_forbidden");
        mode(dir, 0o700);
    }
    reload().await.expect_status(200);
}

#[tokio::test]
async fn a_pinned_module_is_that_file_and_no_other() {
    let pin = "0".repeat(64);
    let (code, log) = Kernel::builder()
        .module("hello", &format!("sha256 = \"{pin}\""))
        .refuse();
    assert_eq!(code, Some(69), "{log}");
    assert!(log.contains(&pin), "{log}");
}

#[tokio::test]
async fn one_operation_at_a_time_for_each_module() {
    let kernel = Kernel::start(&["slow"]).await;
    let gate = kernel.dir.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let request = kernel
        .host("POST", "/modules/slow/reload")
        .json(&json!({"config": {"wait_for": gate}}));
    let loading = tokio::spawn(request.send());
    // It can be opened without waiting once init reads there.
    let writer = eventually("init runs", || async {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        options.open(&gate).ok()
    })
    .await;
    let put = kernel
        .host("PUT", "/modules/slow")
        .json(&json!({"path": "/nonexistent"}));
    put.send().await.expect_problem(409, "module_busy");
    let unload = kernel.host("DELETE", "/modules/slow").send().await;
    unload.expect_problem(409, "module_busy");
    // What runs keeps running meanwhile.
    let token = kernel.session(json!({})).await;
    kernel
        .get("/api/slow/whoami")
        .bearer(&token)
        .send()
        .await
        .expect_status(200);
    drop(writer);
    loading.await.unwrap().expect_status(200);
}
