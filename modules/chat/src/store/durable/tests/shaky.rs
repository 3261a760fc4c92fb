//! A module store that is reached as the real one is, and that can be slow, fail, or go away for good.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::{BoxFuture, FutureExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use midplane_sdk::Problem;
use midplane_sdk::storage::{
    Answering, Batch, Scan, Storage, StorageError, Transport, Version, wire,
};

/// Numbers that look random, and are the same for the same seed.
#[derive(Clone)]
pub(super) struct Random(Arc<AtomicU64>);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(Arc::new(AtomicU64::new(seed)))
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    pub(super) fn below(&self, bound: u64) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What happens once, before a request is carried out: to which path, how many of those go before it, and what.
type Interruption = Arc<Mutex<Option<(&'static str, u32, BoxFuture<'static, ()>)>>>;

#[derive(Clone)]
pub(super) struct Shaky {
    behind: Storage,
    random: Random,
    /// Turns of others', at most, before a request is carried out, and behind that.
    pause: u64,
    /// One of so many requests fails, before it is carried out or behind that.
    failing: Option<u64>,
    interruption: Interruption,
    /// The answer to the next commit does not arrive.
    loses_answer: Arc<AtomicBool>,
    /// Of commits, before none is carried out any more.
    left: Arc<AtomicU64>,
    has_ended: Arc<AtomicBool>,
}

impl Shaky {
    /// That only takes its time.
    pub(super) fn slow(behind: &Storage, random: &Random) -> Shaky {
        Shaky {
            behind: behind.clone(),
            random: random.clone(),
            pause: 3,
            failing: None,
            interruption: Arc::default(),
            loses_answer: Arc::default(),
            left: Arc::new(AtomicU64::new(u64::MAX)),
            has_ended: Arc::default(),
        }
    }

    /// So slow that others do much meanwhile.
    pub(super) fn patient(self) -> Shaky {
        Shaky { pause: 60, ..self }
    }

    /// Of whose requests one of so many fails.
    pub(super) fn failing(behind: &Storage, random: &Random, one_of: Option<u64>) -> Shaky {
        Shaky {
            failing: one_of,
            ..Shaky::slow(behind, random)
        }
    }

    /// Before whose `nth` request to `path`, from zero, something else happens.
    pub(super) fn interrupted(
        behind: &Storage,
        path: &'static str,
        nth: u32,
        meanwhile: impl Future<Output = ()> + Send + 'static,
    ) -> Shaky {
        let interruption = Some((path, nth, meanwhile.boxed()));
        Shaky {
            interruption: Arc::new(Mutex::new(interruption)),
            ..Shaky::slow(behind, &Random::new(0))
        }
    }

    /// That carries out the first commit without a word.
    pub(super) fn losing_an_answer(behind: &Storage) -> Shaky {
        Shaky {
            loses_answer: Arc::new(AtomicBool::new(true)),
            ..Shaky::slow(behind, &Random::new(0))
        }
    }

    /// That carries out so many commits, and no more.
    pub(super) fn ending(behind: &Storage, commits: u64) -> Shaky {
        Shaky {
            left: Arc::new(AtomicU64::new(commits)),
            ..Shaky::slow(behind, &Random::new(commits))
        }
    }

    /// Whether it was asked for one commit more.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    pub(super) fn storage(&self) -> Storage {
        Storage::over(self.clone())
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        self.pause().await;
        if self.fails() {
            return unavailable();
        }
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        if let Some(meanwhile) = self.due(&path) {
            meanwhile.await;
        }
        let answer = match path.strip_prefix("/kv/") {
            Some(key) => self.get(key).await,
            None => match &*path {
                "/kv" => self.scan(parts.uri.query().unwrap()).await,
                "/commit" => {
                    let body = body.collect().await.unwrap().to_bytes();
                    self.commit(&body).await
                }
                "/usage" => self.usage().await,
                "/changes" => {
                    let seen = parts.uri.query().unwrap().strip_prefix("seen=");
                    let seen = Version(seen.unwrap().parse().unwrap());
                    self.behind.watch(seen).await.map(of_version)
                }
                other => panic!("{other} is no path of the store's"),
            },
        };
        let answer = answer.unwrap_or_else(|error| refused(&error));
        self.pause().await;
        let is_lost = path == "/commit" && self.loses_answer.swap(false, Ordering::Relaxed);
        match is_lost || self.fails() {
            true => unavailable(),
            false => answer,
        }
    }

    fn due(&self, path: &str) -> Option<BoxFuture<'static, ()>> {
        let mut interruption = self.interruption.lock().unwrap();
        let (_, before, _) = interruption.as_mut().filter(|(of, ..)| *of == path)?;
        match before.checked_sub(1) {
            Some(left) => {
                *before = left;
                None
            }
            None => interruption.take().map(|(.., meanwhile)| meanwhile),
        }
    }

    async fn pause(&self) {
        for _ in 0..self.random.below(self.pause + 1) {
            tokio::task::yield_now().await;
        }
    }

    fn fails(&self) -> bool {
        self.failing
            .is_some_and(|one_of| self.random.below(one_of) == 0)
    }

    async fn get(&self, key: &str) -> Result<Response<Body>, StorageError> {
        let Some(entry) = self.behind.get(decoded(key)).await? else {
            return Ok(problem(StatusCode::NOT_FOUND, "key_not_found"));
        };
        let mut response = of_version(entry.version);
        *response.body_mut() = Body::from(entry.value);
        Ok(response)
    }

    async fn scan(&self, query: &str) -> Result<Response<Body>, StorageError> {
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let from = decoded(value("from").unwrap());
        let mut scan = match value("to") {
            Some(to) => Scan::range(from, decoded(to)),
            None => Scan::prefix(from),
        };
        if let Some(after) = value("after") {
            scan = scan.after(decoded(after));
        }
        if value("reverse").is_some() {
            scan = scan.reverse();
        }
        if value("keys_only").is_some() {
            scan = scan.keys_only();
        }
        let limit = value("limit").unwrap().parse().unwrap();
        let page = self.behind.scan(scan.limit(limit)).await?;
        let entries = page.entries.iter().map(|entry| wire::Entry {
            key: serde_bytes::Bytes::new(&entry.key),
            version: entry.version.0,
            value: serde_bytes::Bytes::new(&entry.value),
        });
        let page = wire::Page {
            entries: entries.collect(),
            more: page.more,
        };
        Ok(Response::new(Body::from(
            postcard::to_stdvec(&page).unwrap(),
        )))
    }

    async fn commit(&self, body: &[u8]) -> Result<Response<Body>, StorageError> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 0 {
            self.has_ended.store(true, Ordering::Relaxed);
            return Err(StorageError::Failed("the process has ended".to_owned()));
        }
        let wire::Batch { expect, write } = postcard::from_bytes(body).unwrap();
        let mut batch = Batch::new();
        for (key, expectation) in expect {
            batch = match expectation {
                wire::Expectation::Absent => batch.expect_absent(key),
                wire::Expectation::Present => batch.expect_present(key),
                wire::Expectation::Version(version) => batch.expect_version(key, Version(version)),
                wire::Expectation::Value(value) => batch.expect_value(key, value.to_vec()),
            };
        }
        for write in write {
            batch = match write {
                wire::Write::Put(key, value) => batch.put(key, value.to_vec()),
                wire::Write::Delete(key) => batch.delete(key),
            };
        }
        self.behind.commit(batch).await.map(of_version)
    }

    async fn usage(&self) -> Result<Response<Body>, StorageError> {
        let usage = self.behind.usage().await?;
        let usage = wire::Usage {
            entries: usage.entries,
            bytes: usage.bytes,
            quota_bytes: usage.quota_bytes,
            version: usage.version.0,
        };
        Ok(Response::new(Body::from(
            serde_json::to_vec(&usage).unwrap(),
        )))
    }
}

impl Transport for Shaky {
    fn call(&self, request: Request<Body>) -> Answering<'_> {
        let shaky = self.clone();
        Box::pin(async move { Ok(shaky.answer(request).await) })
    }
}

fn decoded(key: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(key).unwrap()
}

fn of_version(version: Version) -> Response<Body> {
    Response::builder()
        .header("etag", format!("\"{}\"", version.0))
        .body(Body::empty())
        .unwrap()
}

fn unavailable() -> Response<Body> {
    problem(StatusCode::SERVICE_UNAVAILABLE, "store_closing")
}

fn refused(error: &StorageError) -> Response<Body> {
    match error {
        StorageError::Conflict { key, found } => {
            let mut response = found.map_or_else(Response::default, of_version);
            *response.status_mut() = StatusCode::PRECONDITION_FAILED;
            let key = BASE64_URL_SAFE_NO_PAD.encode(key);
            response
                .headers_mut()
                .insert(wire::CONFLICT_KEY, key.parse().unwrap());
            response
        }
        StorageError::Quota(_) => problem(StatusCode::INSUFFICIENT_STORAGE, "quota_exceeded"),
        StorageError::Invalid(_) => problem(StatusCode::BAD_REQUEST, "value_too_large"),
        _ => problem(StatusCode::INTERNAL_SERVER_ERROR, "store_failed"),
    }
}

fn problem(status: StatusCode, code: &str) -> Response<Body> {
    use axum::response::IntoResponse as _;
    Problem::new(status, code, code).into_response()
}
