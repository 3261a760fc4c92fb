//! What the tests share: a store in a directory of its own, reproducible chance, and this test program as a second process.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use midplane_store_backend::limits::QUOTA_BYTES;
use midplane_store_backend::sqlite::{Durability, Settings};
use midplane_store_backend::{Backend, Batch, Expectation, Sqlite, Version, Write};

pub(crate) fn settings(path: &Path, sync: Durability) -> Settings {
    Settings {
        path: path.to_owned(),
        quota_bytes: QUOTA_BYTES,
        sync,
    }
}

pub(crate) fn open(path: &Path) -> Sqlite {
    Sqlite::open(&settings(path, Durability::Full)).expect("the store opens")
}

pub(crate) fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

pub(crate) fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Batch {
    Batch::put(bytes(key), bytes(value))
}

/// Adds one to the number under `key`, however many others do so at the same time.
pub(crate) async fn add_one(store: &dyn Backend, module: &str, key: &str) -> Version {
    loop {
        let found = store.get(module, bytes(key)).await.expect("a key is read");
        let (expectation, count) = match &found {
            None => (Expectation::Absent, 0),
            Some(entry) => {
                let text = std::str::from_utf8(&entry.value).expect("a number");
                (
                    Expectation::Version(entry.version),
                    text.parse::<u64>().expect("a number"),
                )
            }
        };
        let batch = Batch {
            expect: vec![(bytes(key), expectation)],
            write: vec![Write::Put {
                key: bytes(key),
                value: bytes((count + 1).to_string()),
            }],
        };
        match store.commit(module, batch).await {
            Ok(version) => return version,
            Err(midplane_store_backend::StoreError::Conflict { .. }) => {}
            Err(error) => panic!("a commit failed: {error}"),
        }
    }
}

/// xorshift64*: the same choices at every run.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.below(of.len() as u64);
        &of[usize::try_from(at).expect("an index")]
    }
}

/// This test program again, running `test` alone; what the parent says is in the environment, so that the test does nothing
/// when it is run as any other.
pub(crate) fn again(test: &str, role: &str, path: &Path) -> Command {
    let program = std::env::current_exe().expect("a test has a program");
    let mut command = Command::new(program);
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(FILE, path);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// A second process, which ends with the test whatever that comes to.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        Running(command.spawn().expect("this program starts again"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, or been ended, before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says a line to the parent. The test runner has begun one of its own.
pub(crate) fn say(line: &str) {
    println!("\n{line}");
}

/// What the parent asks of this process, if there is one.
pub(crate) fn asked() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(FILE)?.into()))
}

const ROLE: &str = "STORE_TEST_ROLE";
const FILE: &str = "STORE_TEST_FILE";
