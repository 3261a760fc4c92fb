//! The store as other modules see it: the same for each way in which it keeps its keys, and for the one that the SDK has for
//! unit tests.

mod garbage;

use std::sync::Arc;

use axum::body::Body;
use axum::{Extension, Router};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use midplane_sdk::storage::{Answering, Batch, Scan, Storage, StorageError, Transport, Version};
use midplane_sdk::{Context, Draining, Result, testing};
use midplane_store_backend::sqlite::{Durability, Settings};
use midplane_store_backend::{Backend, Memory, Sqlite};
use serde_json::json;
use tower::ServiceExt as _;

use crate::routes;

const QUOTA_BYTES: u64 = 8 << 20;

/// What the kernel does for a call of `module`.
struct Calls(Router);

impl Calls {
    fn of(module: &str, backend: Arc<dyn Backend>, draining: Draining) -> Calls {
        let caller = testing::caller(module);
        Calls(routes::router(backend, draining).layer(Extension(caller)))
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.0
            .clone()
            .oneshot(request)
            .await
            .expect("a router answers")
    }
}

impl Transport for Calls {
    fn call(&self, request: Request<Body>) -> Answering<'_> {
        Box::pin(async { Ok(self.send(request).await) })
    }
}

/// One that a test drains, as the kernel would.
async fn drained_with(module: &mut Option<testing::Module>) -> Draining {
    let (give, taken) = std::sync::mpsc::channel();
    let start = |ctx: Context| async move {
        give.send(ctx.draining())
            .map_err(|_| midplane_sdk::Error::msg("nobody takes it"))?;
        Result::Ok(Router::new())
    };
    *module = Some(testing::start(start, json!({})).await.unwrap());
    taken.recv().unwrap()
}

struct Stores {
    _dir: tempfile::TempDir,
    _module: Option<testing::Module>,
    stores: Vec<(&'static str, Storage)>,
}

async fn stores() -> Stores {
    let dir = tempfile::tempdir().unwrap();
    let mut module = None;
    let draining = drained_with(&mut module).await;
    let settings = Settings {
        path: dir.path().join("state.db"),
        quota_bytes: QUOTA_BYTES,
        sync: Durability::Normal,
    };
    let file: Arc<dyn Backend> = Arc::new(Sqlite::open(&settings).unwrap());
    let memory: Arc<dyn Backend> = Arc::new(Memory::new(QUOTA_BYTES));
    let over = |backend| Storage::over(Calls::of("chat", backend, draining.clone()));
    Stores {
        _dir: dir,
        _module: module,
        stores: vec![
            ("file", over(file)),
            ("memory", over(memory)),
            ("the SDK's", testing::storage(QUOTA_BYTES)),
        ],
    }
}

#[tokio::test]
async fn keys_are_kept_ordered_and_paged_alike() {
    for (which, storage) in stores().await.stores {
        let keys: [&[u8]; 5] = [b"a/1", b"a/2", b"a/\xff\0", b"b", b"\0"];
        for (n, key) in keys.iter().enumerate() {
            let version = storage
                .put(key, vec![u8::try_from(n).unwrap(); n])
                .await
                .unwrap();
            assert_eq!(version, Version(n as u64 + 1), "{which}");
        }
        let entry = storage.get("a/2").await.unwrap().unwrap();
        assert_eq!(
            (&*entry.value, entry.version),
            (&[1][..], Version(2)),
            "{which}"
        );
        assert_eq!(storage.get("a").await.unwrap(), None, "{which}");
        let all: [(Scan, &[&[u8]], bool); 8] = [
            (Scan::prefix("a/"), &[b"a/1", b"a/2", b"a/\xff\0"], false),
            (Scan::prefix("a/").limit(2), &[b"a/1", b"a/2"], true),
            (
                Scan::prefix("a/").limit(2).after("a/2"),
                &[b"a/\xff\0"],
                false,
            ),
            (
                Scan::prefix("a/").reverse().after("a/\u{7f}"),
                &[b"a/2", b"a/1"],
                false,
            ),
            (
                Scan::prefix(""),
                &[b"\0", b"a/1", b"a/2", b"a/\xff\0", b"b"],
                false,
            ),
            (Scan::range("a/2", "b"), &[b"a/2", b"a/\xff\0"], false),
            (Scan::range("b", "a"), &[], false),
            (Scan::prefix("zz").keys_only(), &[], false),
        ];
        for (scan, expect, more) in all {
            let page = storage.scan(scan.clone()).await.unwrap();
            let found: Vec<&[u8]> = page.entries.iter().map(|entry| &*entry.key).collect();
            assert_eq!(
                (found.as_slice(), page.more),
                (expect, more),
                "{which}: {scan:?}"
            );
        }
        let keys_only = storage.scan(Scan::prefix("a/").keys_only()).await.unwrap();
        assert!(
            keys_only.entries.iter().all(|entry| entry.value.is_empty()),
            "{which}"
        );
        storage.delete("b").await.unwrap();
        storage.delete("b").await.unwrap();
        let usage = storage.usage().await.unwrap();
        assert_eq!((usage.entries, usage.version.0), (4, 7), "{which}");
        assert_eq!(
            (usage.bytes, usage.quota_bytes),
            (11 + 1 + 2 + 4, QUOTA_BYTES),
            "{which}"
        );
    }
}

#[tokio::test]
async fn a_batch_is_carried_out_whole_or_not_at_all() {
    for (which, storage) in stores().await.stores {
        let made = storage
            .commit(Batch::new().expect_absent("k").put("k", "1").put("l", "1"))
            .await;
        assert_eq!(made, Ok(Version(1)), "{which}");
        let conflict = |key: &'static str, found: Option<u64>| {
            Err(StorageError::Conflict {
                key: key.as_bytes().into(),
                found: found.map(Version),
            })
        };
        for (batch, expect) in [
            (
                Batch::new().expect_absent("k").put("k", "2"),
                conflict("k", Some(1)),
            ),
            (
                Batch::new().expect_present("m").put("k", "2"),
                conflict("m", None),
            ),
            (
                Batch::new().expect_version("k", Version(9)).delete("k"),
                conflict("k", Some(1)),
            ),
            (
                Batch::new().expect_value("k", "2").delete("k"),
                conflict("k", Some(1)),
            ),
            (
                Batch::new()
                    .expect_value("k", "1")
                    .expect_absent("l")
                    .put("k", "2"),
                conflict("l", Some(1)),
            ),
            (
                Batch::new().expect_value("k", "1").expect_present("l"),
                Ok(Version(1)),
            ),
            (
                Batch::new()
                    .expect_version("k", Version(1))
                    .put("k", "2")
                    .delete("l"),
                Ok(Version(2)),
            ),
        ] {
            assert_eq!(
                storage.commit(batch.clone()).await,
                expect,
                "{which}: {batch:?}"
            );
        }
        assert_eq!(
            storage.get("k").await.unwrap().unwrap().value,
            "2",
            "{which}"
        );
        assert_eq!(storage.get("l").await.unwrap(), None, "{which}");
    }
}

#[tokio::test]
async fn limits_refuse_alike_and_say_which() {
    for (which, storage) in stores().await.stores {
        let long =
            |count: usize| (0..count).fold(Batch::new(), |batch, n| batch.delete(n.to_string()));
        let large = || vec![0; 1 << 20];
        let largest = (0..4).fold(Batch::new(), |batch, n| {
            batch.put([n], vec![0; (1 << 20) - 1])
        });
        for (batch, expect) in [
            (
                Batch::new().put("", "v"),
                "a key has 1 to 1024 bytes, and this one has 0",
            ),
            (Batch::new().put([0; 1025], "v"), "and this one has 1025"),
            (
                Batch::new().put("k", vec![0; (1 << 20) + 1]),
                "has 1048577 bytes, and 1048576 are allowed",
            ),
            (long(1_001), "has 1001 operations, and 1000 are allowed"),
            (largest.clone().put("x", large()), "commit it in parts"),
            (Batch::new().put("k", "1").delete("k"), "writes \"k\" twice"),
        ] {
            match storage.commit(batch).await {
                Err(StorageError::Invalid(detail)) => {
                    assert!(detail.contains(expect), "{which}: {detail}")
                }
                other => panic!("{which}: {expect}: {other:?}"),
            }
        }
        let pages = storage.scan(Scan::prefix("").limit(1_001)).await;
        assert!(
            matches!(pages, Err(StorageError::Invalid(_))),
            "{which}: {pages:?}"
        );
        storage
            .commit(largest)
            .await
            .expect("the largest batch there can be");
        storage.commit(long(1_000)).await.expect("the longest");
        storage.put([1; 1024], "v").await.expect("the longest key");
        assert!(storage.get([1; 1024]).await.unwrap().is_some(), "{which}");
        for n in 0..3 {
            storage.put([9, n], large()).await.unwrap();
        }
        let full = storage.put([9, 3], large()).await;
        let Err(StorageError::Quota(detail)) = full else {
            panic!("{which}: {full:?}");
        };
        assert!(detail.contains("its quota is 8388608"), "{which}: {detail}");
    }
}

#[tokio::test]
async fn who_watches_is_told_of_the_next_commit() {
    for (which, storage) in stores().await.stores {
        let (told, committed) = tokio::join!(storage.watch(Version(0)), storage.put("k", "v"));
        assert_eq!(
            (told, committed),
            (Ok(Version(1)), Ok(Version(1))),
            "{which}"
        );
        assert_eq!(storage.watch(Version(0)).await, Ok(Version(1)), "{which}");
    }
}

#[tokio::test]
async fn no_module_sees_what_another_keeps() {
    let mut module = None;
    let draining = drained_with(&mut module).await;
    let memory: Arc<dyn Backend> = Arc::new(Memory::new(QUOTA_BYTES));
    let [chat, notes] = ["chat", "notes"]
        .map(|module| Storage::over(Calls::of(module, Arc::clone(&memory), draining.clone())));
    chat.put("k", "mine").await.unwrap();
    assert_eq!(notes.get("k").await.unwrap(), None);
    assert_eq!(notes.scan(Scan::prefix("")).await.unwrap().entries, []);
    notes.put("k", "ours").await.unwrap();
    assert_eq!(chat.get("k").await.unwrap().unwrap().value, "mine");
}

#[tokio::test]
async fn a_drain_lets_watchers_go_with_what_they_had_seen() {
    let mut module = None;
    let draining = drained_with(&mut module).await;
    let calls = Calls::of("chat", Arc::new(Memory::new(QUOTA_BYTES)), draining);
    let watch = Request::get("/changes?seen=0").body(Body::empty()).unwrap();
    let (response, ()) = tokio::join!(calls.send(watch), async {
        module.as_ref().unwrap().drain()
    });
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.headers()["etag"], "\"0\"");
}

#[tokio::test]
async fn conditions_and_refusals_are_those_of_http() {
    let mut module = None;
    let draining = drained_with(&mut module).await;
    let calls = Calls::of("chat", Arc::new(Memory::new(QUOTA_BYTES)), draining);
    // "k" in base64url is aw.
    for (method, path, condition, status, code) in [
        ("GET", "/kv/aw", "", 404, "key_not_found"),
        ("PUT", "/kv/aw", "if-none-match: *", 204, ""),
        ("PUT", "/kv/aw", "if-none-match: *", 412, "conflict"),
        ("PUT", "/kv/aw", "if-match: \"1\"", 204, ""),
        ("PUT", "/kv/aw", "if-match: \"1\"", 412, "conflict"),
        ("PUT", "/kv/aw", "if-match: 1", 400, "malformed"),
        ("PUT", "/kv/aw", "if-none-match: \"1\"", 400, "malformed"),
        ("GET", "/kv/aw", "", 200, ""),
        ("GET", "/kv/a%3D%3D", "", 400, "malformed"),
        ("GET", "/kv?prefix=aw&from=aw", "", 400, "malformed"),
        ("GET", "/kv?limit=0", "", 400, "page_limit"),
        ("POST", "/commit", "", 400, "malformed"),
        ("DELETE", "/kv/aw", "if-match: *", 204, ""),
        ("DELETE", "/kv/aw", "if-match: *", 412, "conflict"),
        ("DELETE", "/kv/aw", "", 204, ""),
    ] {
        let mut request = Request::builder().method(method).uri(path);
        if let Some((name, value)) = condition.split_once(": ") {
            request = request.header(name, value);
        }
        let body = if method == "POST" {
            Body::from(vec![0xff; 3])
        } else {
            Body::from("v")
        };
        let response = calls.send(request.body(body).unwrap()).await;
        let found = response.status();
        let content = response.into_body().collect().await.unwrap().to_bytes();
        let told = format!("{method} {path} {condition}: {found} {content:?}");
        assert_eq!(found.as_u16(), status, "{told}");
        if !code.is_empty() {
            let problem: serde_json::Value = serde_json::from_slice(&content).unwrap();
            assert_eq!(problem["code"], code, "{told}");
        }
    }
}

#[tokio::test]
async fn clients_find_nothing_and_the_file_is_in_the_modules_directory() {
    let module = testing::start(crate::store, json!({"file": "kept.db"}))
        .await
        .unwrap();
    let request = Request::get("/kv/aw").body(Body::empty()).unwrap();
    let response = module.call(Some(testing::session("ada")), request).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let refused = testing::start(crate::store, json!({"file": "a/b"}))
        .await
        .err();
    let refused = refused.expect("it is refused").to_string();
    assert!(refused.contains("name one without a path"), "{refused}");
}
