//! Modules that the SDK of each release built: they load, and hand their state to their successors and take it back. The tests
//! of hello are run on those among them, too (`harness::hellos`).

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::c::load;
use crate::harness::{Frozen, Kernel, artifact, c_module, frozen_modules};

/// The frozen ones of this machine. Says so past the test's capture when there are none.
fn frozen() -> Vec<Frozen> {
    let modules = frozen_modules();
    if modules.is_empty() {
        let said =
            "tests/fixtures/modules has none for this machine: frozen modules are NOT tested\n";
        std::io::stderr().write_all(said.as_bytes()).unwrap();
    }
    // Where there were some, they have not gone unnoticed.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    assert!(!modules.is_empty(), "scripts/freeze-sdk made some");
    modules
}

/// What is built now of a frozen module.
fn successor(frozen: &Frozen) -> PathBuf {
    match frozen.name.as_str() {
        "hello" => artifact("hello"),
        "keeper" => artifact("keeper-v1"),
        "counter" => c_module("counter"),
        other => panic!("say what `{other}` has become"),
    }
}

async fn start(name: &str, file: &Path) -> (Kernel, String) {
    let kernel = Kernel::builder()
        .module_at(name, file.to_owned(), "")
        .start()
        .await;
    let token = kernel.session(json!({"user": "ada"})).await;
    (kernel, token)
}

#[test]
fn they_are_the_files_that_were_built() {
    for module in frozen() {
        let file = std::fs::read(&module.path).unwrap();
        let found: String = ring::digest::digest(&ring::digest::SHA256, &file)
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(found, module.sha256, "{}", module.path.display());
    }
}

#[tokio::test]
async fn they_load_and_take_turns_with_their_successors() {
    for module in frozen() {
        let successor = successor(&module);
        let (kernel, token) = start(&module.name, &module.path).await;
        let files = [&successor, &module.path, &module.path, &successor];
        for (number, file) in files.iter().enumerate() {
            let receipt = load(&kernel, &module.name, file).await;
            let receipt = receipt.expect_status(200).json();
            assert_eq!(receipt["to"]["generation"], number + 2, "{receipt}");
            let answer = kernel.get(&format!("/api/{}/none", module.name));
            answer.bearer(&token).send().await.expect_status(404);
        }
    }
}

#[tokio::test]
async fn they_take_state_over_from_their_successors_and_hand_it_on() {
    let stateful = frozen().into_iter().filter(|module| module.name != "hello");
    for module in stateful {
        let successor = successor(&module);
        let (kernel, token) = start(&module.name, &module.path).await;
        let mut expected = 0;
        for file in [&successor, &module.path, &module.path, &successor] {
            for _ in 0..3 {
                expected += 1;
                let add = kernel.post(&format!("/api/{}/add", module.name));
                let answer = add.bearer(&token).send().await;
                assert_eq!(answer.expect_status(200).text(), expected.to_string());
            }
            let receipt = load(&kernel, &module.name, file).await;
            let receipt = receipt.expect_status(200).json();
            assert_eq!(receipt["state"]["accepted"], true, "{receipt}");
            let count = kernel.get(&format!("/api/{}/count", module.name));
            let answer = count.bearer(&token).send().await;
            assert_eq!(answer.expect_status(200).text(), expected.to_string());
        }
    }
}
