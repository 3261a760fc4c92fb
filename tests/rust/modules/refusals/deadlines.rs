//! Loads that do not come to an end: given up after `init_timeout`, holding up nobody, and used by nobody when they end after
//! all.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::{eventually, logged};
use super::served::{Served, compile, copies, expect_detail};
use crate::harness::{Answer, Builder, Kernel, OnlyHere, apart};

/// Enough for a good load on a busy machine; every test here waits this long a few times.
const LIMIT: &str = "2s";

/// A kernel with a second module, and a file that lets hang what hangs until it is there.
struct Hanging {
    _dir: tempfile::TempDir,
    release: PathBuf,
    tried: PathBuf,
}

impl Hanging {
    fn new() -> (Hanging, Builder) {
        let dir = tempfile::tempdir().unwrap();
        let (release, tried) = (dir.path().join("release"), dir.path().join("tried"));
        let builder = Kernel::builder()
            .config(&format!("[limits]\ninit_timeout = {LIMIT:?}"))
            .module("hello", "");
        let hanging = Hanging {
            _dir: dir,
            release,
            tried,
        };
        (hanging, builder)
    }

    fn compile(&self, kernel: &Kernel, source: &str) -> PathBuf {
        let release = format!("-DRELEASE={:?}", self.release.to_str().unwrap());
        let tried = format!("-DTRIED={:?}", self.tried.to_str().unwrap());
        let modules = kernel.dir.path().join("modules");
        compile(&modules, source, &[&release, &tried])
    }

    fn release(&self) {
        std::fs::write(&self.release, "").unwrap();
    }
}

/// Loads `name` from `path`, or anew from where it is.
async fn load(kernel: &Kernel, name: &str, path: Option<&PathBuf>) -> Answer {
    let request = match path {
        Some(path) => kernel
            .host("PUT", &format!("/modules/{name}"))
            .json(&json!({"path": path})),
        None => kernel.host("POST", &format!("/modules/{name}/reload")),
    };
    request.send().await
}

async fn expect_others_load_and_serve(served: &Served) {
    load(&served.kernel, "hello", None).await.expect_status(200);
    let hello = served.kernel.get("/api/hello/hello").bearer(&served.token);
    hello.send().await.expect_status(200);
    served.expect_answers().await;
}

fn generation(receipt: &Answer) -> Value {
    receipt.expect_status(200).json()["to"]["generation"].clone()
}

#[tokio::test]
async fn an_init_that_never_returns_is_given_up_and_holds_up_nobody() {
    let (hanging, builder) = Hanging::new();
    let served = Served::well(builder).await;
    let path = hanging.compile(&served.kernel, "init_never_returns");
    let first = tokio::spawn(served.put(&json!({"path": path})));
    logged(&served.kernel, &["init waits"]).await;
    expect_others_load_and_serve(&served).await;
    let answer = load(&served.kernel, "refused", Some(&path)).await;
    answer.expect_problem(409, "module_busy");
    assert!(!first.is_finished(), "the others did not wait for it");
    let reason = [
        "the module's function (`init`) did not return within 2s",
        "the `init_timeout` of [limits]",
        "in a task (`ctx.spawn`), or give it more time",
    ];
    expect_detail(&first.await.unwrap(), 422, "module_refused", &reason);
    logged(&served.kernel, &["a module was refused", reason[0]]).await;
    // It hangs still; the same again hangs on a thread of its own.
    let again = load(&served.kernel, "refused", Some(&path)).await;
    expect_detail(&again, 422, "module_refused", &reason);
    expect_others_load_and_serve(&served).await;
    let (kernel, token) = served.stop().await;
    let receipt = load(&kernel, "refused", None).await;
    assert_eq!(generation(&receipt), 4);
    // Let go, both end unused, and their copies go with them.
    hanging.release();
    // In processes of their own they were killed.
    if !apart() {
        eventually(&kernel, "the end of both late instances", async || {
            let log = kernel.log();
            (log.matches("the late instance was ended").count() == 2).then_some(())
        })
        .await;
    }
    eventually(&kernel, "the end of the copies", async || {
        let copies = copies(&kernel);
        (copies.len() == 2 && copies[1].starts_with("refused-4-")).then_some(())
    })
    .await;
    let got = kernel.get("/api/refused/").bearer(&token).send().await;
    assert_eq!(
        (
            got.expect_status(200).text(),
            got.header("x-midplane-module")
        ),
        ("well", "refused#4")
    );
}

#[tokio::test]
async fn a_constructor_that_hangs_is_given_up_and_holds_up_nobody() {
    let (hanging, builder) = Hanging::new();
    let served = Served::well(builder).await;
    let path = hanging.compile(&served.kernel, "constructor_hangs");
    let first = tokio::spawn(served.put(&json!({"path": path})));
    let line = logged(&served.kernel, &["the constructor waits in process "]).await;
    let tried_in: u32 = line
        .trim_end_matches('"')
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_ne!(i64::from(tried_in), i64::from(served.kernel.pid().as_raw()));
    expect_others_load_and_serve(&served).await;
    assert!(!first.is_finished(), "the others did not wait for it");
    let reason = [
        "the library's constructors did not return within 2s",
        "the `init_timeout` of [limits]",
        "run nothing there that may block, but in the module's function",
    ];
    expect_detail(&first.await.unwrap(), 422, "module_refused", &reason);
    logged(&served.kernel, &["a module was refused", reason[0]]).await;
    let again = load(&served.kernel, "refused", Some(&path)).await;
    expect_detail(&again, 422, "module_refused", &reason);
    expect_others_load_and_serve(&served).await;
    // Nothing is left of it: no copy, and not the process.
    eventually(&served.kernel, "the end of the copies", async || {
        (copies(&served.kernel).len() == 2).then_some(())
    })
    .await;
    let tried_in = nix::unistd::Pid::from_raw(i32::try_from(tried_in).unwrap());
    assert!(nix::sys::signal::kill(tried_in, None).is_err());
    let (kernel, token) = served.stop().await;
    let receipt = load(&kernel, "refused", None).await;
    assert_eq!(generation(&receipt), 4);
    let got = kernel.get("/api/refused/").bearer(&token).send().await;
    assert_eq!(got.expect_status(200).text(), "well");
    assert!(!kernel.log().contains("the constructor goes on"));
}

/// Then it holds up what needs the system's loader, in the whole process. That is told, and is over when it returns.
#[tokio::test]
async fn a_constructor_that_hangs_in_the_kernel_is_given_up_and_runs_nothing_more() {
    if OnlyHere::Constructors.skip() {
        return;
    }
    let (hanging, builder) = Hanging::new();
    let served = Served::well(builder).await;
    let path = hanging.compile(&served.kernel, "constructor_hangs_next_time");
    let (kernel, token) = served.stop().await;
    let answer = load(&kernel, "refused", Some(&path)).await;
    let reason = [
        "the library's constructors did not return within 2s",
        "and hold up the kernel's process: restart it",
    ];
    expect_detail(&answer, 422, "module_refused", &reason);
    let line = logged(&kernel, &["the constructor waits in process "]).await;
    assert!(line.ends_with(&format!(" {}", kernel.pid())), "{line}");
    hanging.release();
    logged(&kernel, &["the constructor goes on"]).await;
    for name in ["hello", "refused"] {
        load(&kernel, name, None).await.expect_status(200);
    }
    let got = kernel.get("/api/refused/").bearer(&token).send().await;
    assert_eq!(
        (
            got.expect_status(200).text(),
            got.header("x-midplane-module")
        ),
        ("well", "refused#3")
    );
    eventually(&kernel, "the end of the copies", async || {
        (copies(&kernel).len() == 2).then_some(())
    })
    .await;
    assert!(!kernel.log().contains("init ran after all"));
}

#[tokio::test]
async fn a_kernel_ends_although_a_load_hangs() {
    let (hanging, builder) = Hanging::new();
    let served = Served::well(builder).await;
    let path = hanging.compile(&served.kernel, "init_never_returns");
    let (kernel, _token) = served.stop().await;
    let answer = load(&kernel, "refused", Some(&path)).await;
    answer.expect_problem(422, "module_refused");
    kernel.signal(nix::sys::signal::Signal::SIGTERM);
    let status = kernel.wait().await;
    assert!(status.success(), "{status}");
    // Nor does one hang that cannot start for it.
    let (hanging, builder) = Hanging::new();
    let dir = tempfile::tempdir().unwrap();
    let release = format!("-DRELEASE={:?}", hanging.release.to_str().unwrap());
    let path = compile(dir.path(), "constructor_hangs", &[&release]);
    let (code, said) = builder.module_at("refused", path, "").refuse();
    assert_eq!(code, Some(69), "{said}");
    assert!(
        said.contains("constructors did not return within 2s"),
        "{said}"
    );
}
