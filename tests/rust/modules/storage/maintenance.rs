//! `midplane store`, found as git finds its commands, while a kernel runs and its clients write.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Notes, assert_sound, data_dir, store};
use crate::harness::{private_dir, target_dir};

const CLIENTS: usize = 3;
const ROUNDS: usize = 4;

#[tokio::test]
async fn it_works_beside_a_kernel_that_writes() {
    for isolation in ["in-process", "process"] {
        let dir = private_dir();
        let notes = Arc::new(Notes::start(&dir, (isolation, isolation), "").await);
        let over = Arc::<AtomicBool>::default();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (notes, over) = (Arc::clone(&notes), Arc::clone(&over));
                tokio::spawn(async move {
                    let mut count = 0_u64;
                    while count == 0 || !over.load(Ordering::SeqCst) {
                        count += 1;
                        let path = format!("/add/{client}");
                        assert_eq!(notes.well("POST", &path, "").await, count.to_string());
                    }
                    count
                })
            })
            .collect();
        for round in 0..ROUNDS {
            beside(&notes, round).await;
        }
        over.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.unwrap();
        }
        let stats = done(store(&data_dir(&dir), &["stats"]));
        assert!(stats.contains("notes "), "{stats}");
        assert_sound(&data_dir(&dir));
    }
}

/// Each of the commands, once.
async fn beside(notes: &Notes, round: usize) {
    let data = data_dir(&notes.dir);
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(target_dir().join("midplane"));
        command
            .arg("store")
            .args(arguments)
            .arg("--data-dir")
            .arg(&data);
        let running = tokio::task::spawn_blocking(move || command.output().unwrap());
        done(running.await.unwrap())
    };
    let kernel = notes
        .kernel
        .host("GET", "/modules/store")
        .send()
        .await
        .json();
    let pid = match kernel["process"]["pid"].as_i64() {
        Some(pid) => pid,
        None => i64::from(notes.kernel.pid().as_raw()),
    };
    let stats: Value = serde_json::from_str(&run(&["stats", "--json"]).await).unwrap();
    assert_eq!(stats["open_in"], json!([pid]), "{stats}");
    assert!(run(&["check"]).await.ends_with(" is sound\n"));

    // What was acknowledged before is in it, and a count is nowhere half.
    notes.well("PUT", "/notes/marker", &round.to_string()).await;
    let exported = run(&["export", "--module", "notes"]).await;
    let value = |key: &str| {
        let key = format!("\"key\":\"{}\"", BASE64_STANDARD.encode(key));
        let line = exported.lines().find(|line| line.contains(&key))?;
        let line: Value = serde_json::from_str(line).unwrap();
        Some(line["value"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        value("marker"),
        Some(BASE64_STANDARD.encode(round.to_string()))
    );
    for client in 0..CLIENTS {
        assert_eq!(
            value(&client.to_string()),
            value(&format!("mirror-{client}"))
        );
    }

    let backup = notes.dir.path().join(format!("backup-{round}"));
    run(&["backup", backup.to_str().unwrap()]).await;
    let file = ["check", "--file", backup.to_str().unwrap()];
    let mut check = Command::new(target_dir().join("midplane-store"));
    done(check.args(file).output().unwrap());

    // What is put in, the kernel sees at once.
    let input = notes.dir.path().join("input");
    let (key, text) = (format!("imported-{round}"), format!("in round {round}"));
    let line = json!({
        "module": "notes",
        "key": BASE64_STANDARD.encode(&key),
        "value": BASE64_STANDARD.encode(&text),
    });
    std::fs::write(&input, format!("{line}\n")).unwrap();
    let from = input.to_str().unwrap();
    let refused = store(&data, &["import", from]);
    assert_eq!(refused.status.code(), Some(1));
    run(&["import", "--merge", from]).await;
    let path = format!("/notes/{key}");
    assert_eq!(notes.well("GET", &path, "").await, text);
}

fn done(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}
