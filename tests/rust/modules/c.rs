//! Modules in C, written from `midplane.h` alone: hello is what hello is in Rust, and takes turns with it; the counter hands its
//! state over and streams.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::wire::{Exchange, Upload, settled};
use super::{eventually, logged};
use crate::harness::{Answer, Kernel, c_module, compile, hellos, repository};

/// More than every buffer between module and client.
const LARGE: u64 = 4 << 20;

/// Has the linker leave out what nothing refers to.
const DROP_UNUSED: &str = if cfg!(target_os = "macos") {
    "-Wl,-dead_strip"
} else {
    "-Wl,--gc-sections"
};

/// Loads `file` as the module `name`, over what runs.
pub(super) async fn load(kernel: &Kernel, name: &str, file: &Path) -> Answer {
    // Every file has a place of its own: one that is mapped is not written to.
    let number = std::fs::read_dir(kernel.dir.path().join("modules"))
        .unwrap()
        .count();
    let path = kernel
        .dir
        .path()
        .join("modules")
        .join(format!("{number}.so"));
    std::fs::copy(file, &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let put = kernel.host("PUT", &format!("/modules/{name}?wait=drained"));
    put.json(&json!({"path": path})).send().await
}

/// An answer but for what differs from one to the next, and for the length of what HEAD does not send (RFC 9110 section 8.6:
/// a server may leave it out).
fn told(method: &str, answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let leave_out = match method {
        "HEAD" => &["date", "x-request-id", "content-length"][..],
        _ => &["date", "x-request-id"],
    };
    let headers = answer.parts.headers.iter();
    let mut headers: Vec<_> = headers
        .filter(|(name, _)| !leave_out.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status(), headers, answer.text().to_owned())
}

#[tokio::test]
async fn every_hello_answers_alike() {
    let users = ["ada", "", "Zo\u{eb} \u{1f642}", &"long".repeat(60)];
    let mut first = None;
    for hello in hellos() {
        let kernel = hello.start().await;
        let mut answers = Vec::new();
        for user in users {
            let token = match user {
                "" => kernel.session(json!({})).await,
                user => kernel.session(json!({"user": user})).await,
            };
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
                for path in ["/hello", "/hello?a=1", "/hell%6f", "/hello/", "/", "", "/x"] {
                    let path = format!("/api/hello{path}");
                    let request = kernel.request(method, &path).bearer(&token);
                    let answer = request.body("x").send().await;
                    answers.push((method, path, told(method, &answer)));
                }
            }
        }
        let reference = first.get_or_insert_with(|| answers.clone());
        for (answer, reference) in answers.iter().zip(reference) {
            assert_eq!(answer, reference, "{}", hello.path.display());
        }
    }
}

#[tokio::test]
async fn hello_in_c_and_hello_in_rust_take_turns_and_no_request_fails() {
    let hellos = hellos();
    let kernel = Arc::new(hellos[0].start().await);
    let token = kernel.session(json!({"user": "ada"})).await;
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (kernel, token, done) = (Arc::clone(&kernel), token.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut answered = 0;
                while !done.load(Ordering::Relaxed) {
                    let answer = kernel.get("/api/hello/hello").bearer(&token).send().await;
                    assert_eq!(answer.expect_status(200).text(), "hello ada");
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    for (number, hello) in hellos[1..].iter().chain(&hellos).chain(&hellos).enumerate() {
        let receipt = load(&kernel, "hello", &hello.path).await;
        let receipt = receipt.expect_status(200).json();
        assert_eq!(receipt["to"]["generation"], number + 2, "{receipt}");
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_descriptor_survives_the_linker() {
    let source = repository().join("modules/hello-c/hello.c");
    for (name, arguments) in [
        ("optimised.so", &["-shared", "-O3", "-flto", "-s"][..]),
        (
            "sections.so",
            &[
                "-shared",
                "-ffunction-sections",
                "-fdata-sections",
                DROP_UNUSED,
            ],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        compile(&[&source], arguments, &file);
        let kernel = Kernel::builder().module_at("hello", file, "").start().await;
        let token = kernel.session(json!({"user": "ada"})).await;
        let answer = kernel.get("/api/hello/hello").bearer(&token).send().await;
        assert_eq!(answer.expect_status(200).text(), "hello ada");
    }
}

async fn counter() -> (Kernel, String) {
    let kernel = Kernel::builder()
        .config(&format!("[limits]\nbody_bytes = {LARGE}"))
        .module_at("counter", c_module("counter"), "")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    (kernel, token)
}

async fn count(kernel: &Kernel, token: &str) -> String {
    let answer = kernel.get("/api/counter/count").bearer(token).send().await;
    answer.expect_status(200).text().to_owned()
}

async fn add(kernel: &Kernel, token: &str) -> String {
    let answer = kernel.post("/api/counter/add").bearer(token).send().await;
    answer.expect_status(200).text().to_owned()
}

async fn in_flight(kernel: &Kernel) -> Value {
    let answer = kernel.host("GET", "/modules/counter").send().await;
    answer.expect_status(200).json()["in_flight_requests"].clone()
}

#[tokio::test]
async fn a_count_is_kept_over_reloads() {
    let (kernel, token) = counter().await;
    for number in 1..=300 {
        assert_eq!(add(&kernel, &token).await, number.to_string());
    }
    for number in 301..=303 {
        let receipt = load(&kernel, "counter", &c_module("counter")).await;
        let receipt = receipt.expect_status(200).json();
        assert_eq!(
            receipt["state"],
            json!({"bytes": 8, "schema": 1, "accepted": true}),
            "{receipt}"
        );
        assert_eq!(count(&kernel, &token).await, (number - 1).to_string());
        assert_eq!(add(&kernel, &token).await, number.to_string());
    }
}

#[tokio::test]
async fn a_body_goes_through_as_it_comes() {
    let (kernel, token) = counter().await;
    for upload in [
        Upload::new(LARGE),
        Upload::new(LARGE).chunked(),
        Upload::new(1),
        Upload::new(0),
    ] {
        let total = usize::try_from(upload.left()).unwrap();
        let exchange = Exchange::start(&kernel, "/api/counter/echo", &token, upload).await;
        let (status, body) = exchange.finish().await;
        assert_eq!((status, body.len()), (200, total));
        assert!(body.bytes().all(|byte| byte == b'u'));
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_module_and_one_that_leaves_ends_it() {
    let (kernel, token) = counter().await;
    let upload = Upload::new(LARGE).hanging();
    let taken = upload.taken();
    let exchange = Exchange::start(&kernel, "/api/counter/echo", &token, upload).await;
    let held = settled(&kernel, || taken.load(Ordering::Relaxed)).await;
    assert!(held < LARGE, "{held} bytes went where nobody reads");
    assert_eq!(in_flight(&kernel).await, 1);
    assert_eq!(add(&kernel, &token).await, "1");
    drop(exchange);
    eventually(&kernel, "the end of the request", async || {
        (in_flight(&kernel).await == 0).then_some(())
    })
    .await;
    assert_eq!(add(&kernel, &token).await, "2");
}

#[tokio::test]
async fn a_body_that_does_not_come_whole_fails_that_request_only() {
    let (kernel, token) = counter().await;
    // Its length shows only when the answer is under way.
    let upload = Upload::new(LARGE + 1).chunked();
    let mut exchange = Exchange::start(&kernel, "/api/counter/echo", &token, upload).await;
    let response = (&mut exchange.response).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err());
    let texts = [
        "a module failed",
        "counter#1",
        "the body did not come whole",
    ];
    logged(&kernel, &texts).await;
    let upload = Upload::new(10);
    let exchange = Exchange::start(&kernel, "/api/counter/echo", &token, upload).await;
    assert_eq!(exchange.finish().await, (200, "u".repeat(10)));
}

#[test]
fn many_threads_leave_nothing_behind_and_memory_may_run_out() {
    let dir = tempfile::tempdir().unwrap();
    let driver = repository().join("tests/modules/drive/drive.c");
    for name in ["hello", "counter"] {
        let source = repository().join(format!("modules/hello-c/{name}.c"));
        let program = dir.path().join(name);
        let drive = format!("-DDRIVE={name}");
        let arguments = [
            "-pthread",
            "-Dmalloc=counted_malloc",
            "-Dcalloc=counted_calloc",
            "-Dfree=counted_free",
            &drive,
        ];
        compile(&[&driver, &source], &arguments, &program);
        let output = Command::new(program).output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
    }
}

#[tokio::test]
async fn the_page_beside_the_header_holds_a_whole_module() {
    let page = std::fs::read_to_string(repository().join("sdk/include/README.md")).unwrap();
    let (_, rest) = page.split_once("```c\n").unwrap();
    let (source, _) = rest.split_once("```").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (file, library) = (dir.path().join("tiny.c"), dir.path().join("libtiny.so"));
    std::fs::write(&file, source).unwrap();
    compile(&[&file], &["-shared"], &library);
    let kernel = Kernel::builder()
        .module_at("tiny", library, "")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    let answer = kernel.get("/api/tiny/").bearer(&token).send().await;
    assert_eq!(answer.expect_status(200).text(), "it works");
}
