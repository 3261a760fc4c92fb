//! Reloading, unloading and ending a module in a process of its own: nothing is lost, and no process is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::super::eventually;
use super::{APART, Apart, HERE, Process};
use crate::harness::{Kernel, connect, private_dir};

/// Of the module while it is called all the time.
const RELOADS: u64 = 8;
const CLIENTS: u64 = 4;

#[tokio::test]
async fn a_reload_under_load_loses_nothing_and_leaves_no_process() {
    let apart = Apart::start("", "").await;
    let (over, added) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let client = |_| {
        let (kernel, token) = (Arc::clone(&apart.kernel), apart.token.clone());
        let (over, added) = (Arc::clone(&over), Arc::clone(&added));
        tokio::spawn(async move {
            let (mut sender, _connection) = connect(&kernel.socket).await;
            while !over.load(Ordering::SeqCst) {
                let add = kernel.post("/api/crash/add").bearer(&token);
                add.send_on(&mut sender).await.expect_status(200);
                added.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let mut generation = json!(1);
    for _ in 0..RELOADS {
        let (old, before) = (apart.process().await, added.load(Ordering::SeqCst));
        let receipt = apart.reload(&json!({})).await;
        assert_eq!(receipt["from"]["generation"], generation, "{receipt}");
        generation = receipt["to"]["generation"].clone();
        assert_eq!(
            (&receipt["unloaded"], &receipt["resident_reason"]),
            (&json!(true), &Value::Null),
            "{receipt}"
        );
        assert_eq!(receipt["state"]["accepted"], true, "{receipt}");
        assert!(!old.lives(), "{old:?}");
        assert_ne!(apart.process().await, old);
        assert_eq!(apart.module().await["resident_generations"], 1);
        eventually(&apart.kernel, "requests in between", async || {
            (added.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
    }
    over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    // Each was counted once, and every count was handed over.
    assert_eq!(
        apart.text("count").await,
        added.load(Ordering::SeqCst).to_string()
    );
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn a_stream_finishes_in_the_process_where_it_began() {
    let apart = Apart::start("", "").await;
    let old = apart.process().await;
    let mut stream = apart.get("events").stream().await;
    stream.read_until("data: 1\n\n").await;
    apart.swap().await;
    assert_ne!(apart.process().await, old);
    stream.read_until("data: 3\n\n").await;
    assert!(old.lives());
    drop(stream);
    eventually(&apart.kernel, "the end of the old process", async || {
        (!old.lives()).then_some(())
    })
    .await;
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn unloading_ends_the_process() {
    let apart = Apart::start("", "").await;
    let process = apart.process().await;
    let unload = apart.kernel.host("DELETE", "/modules/crash").send().await;
    let receipt = unload.expect_status(200).json();
    assert_eq!(receipt["unloaded"], true, "{receipt}");
    assert!(!process.lives());
    let gone = apart.get("marker").send().await;
    gone.expect_problem(404, "module_not_found");
    assert_eq!(Process::children(&apart.kernel), []);
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn no_process_outlives_its_kernel() {
    for (signal, requests) in [
        (Signal::SIGTERM, true),
        (Signal::SIGTERM, false),
        (Signal::SIGKILL, true),
        (Signal::SIGKILL, false),
    ] {
        let kernel = Kernel::builder()
            .config("[kernel]\nshutdown_timeout = \"1s\"")
            .module("crash", APART)
            .module("hello", APART)
            .start()
            .await;
        let children = Process::children(&kernel);
        assert_eq!(children.len(), 2, "{children:?}");
        let token = kernel.session(json!({})).await;
        let stream = if requests {
            let stream = kernel.get("/api/crash/lines").bearer(&token).stream();
            let mut stream = stream.await;
            stream.read_until("a line\n").await;
            Some(stream)
        } else {
            None
        };
        kernel.signal(signal);
        let status = kernel.wait().await;
        assert_eq!(status.success(), signal == Signal::SIGTERM, "{status}");
        eventually(&kernel, "the end of its modules' processes", async || {
            (!children.iter().any(Process::lives)).then_some(())
        })
        .await;
        drop(stream);
    }
}

#[tokio::test]
async fn the_configuration_decides_where_it_runs_and_its_files_are_the_same() {
    let dir = private_dir();
    let mut told = Vec::new();
    for (settings, isolation) in [(HERE, "in-process"), (APART, "process"), ("", "in-process")] {
        // The last says nothing of it.
        if settings.is_empty() && std::env::var_os("MIDPLANE_TEST_ISOLATION").is_some() {
            continue;
        }
        let builder = Kernel::builder().dir(&dir).module("crash", settings);
        let kernel = builder.start().await;
        let token = kernel.session(json!({})).await;
        let get = |path: &str| {
            kernel
                .get(&format!("/api/crash/{path}"))
                .bearer(&token)
                .send()
        };
        let module = kernel.host("GET", "/modules/crash").send().await.json();
        assert_eq!(module["isolation"], isolation, "{module}");
        let health = kernel.host("GET", "/health").send().await.json();
        assert_eq!(health["modules"][0]["isolation"], isolation, "{health}");
        let pid = get("pid").await.expect_status(200).text().to_owned();
        let is_kernels = pid == kernel.pid().to_string();
        assert_eq!(is_kernels, isolation == "in-process");
        assert_eq!(module["process"].is_null(), is_kernels, "{module}");
        let note = get("note").await;
        if !told.is_empty() {
            assert_eq!(note.expect_status(200).text(), "written by the first");
        }
        let write = kernel.request("PUT", "/api/crash/note").bearer(&token);
        let write = write.body("written by the first").send().await;
        write.expect_status(200);
        told.push(get("data-dir").await.expect_status(200).text().to_owned());
        // By a request it cannot be changed.
        let body = json!({"path": module["path"], "isolation": "process"});
        let put = kernel
            .host("PUT", "/modules/crash")
            .json(&body)
            .send()
            .await;
        put.expect_problem(400, "invalid_request");
        kernel.signal(Signal::SIGTERM);
        assert!(kernel.wait().await.success());
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}
