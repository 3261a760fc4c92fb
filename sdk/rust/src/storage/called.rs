//! Storage that another module keeps: each operation is a request to it.

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;

use super::operations::Expectation;
use super::{Batch, Entry, Page, Scan, StorageError, Transport, Usage, Version, wire};

/// Above what a page, or an entry that is one, can have with what goes around it.
const ANSWER_BYTES_MAX: usize = 4 << 20;

pub(super) async fn get(
    transport: &dyn Transport,
    key: &[u8],
) -> Result<Option<Entry>, StorageError> {
    let request = request(Method::GET, format!("/kv/{}", encoded(key)), Body::empty());
    let response = transport.call(request).await?;
    if response.status() == StatusCode::NOT_FOUND {
        let problem = problem(response).await;
        return match problem.code.as_str() {
            "key_not_found" => Ok(None),
            code => Err(StorageError::of_problem(code, problem.detail)),
        };
    }
    let response = successful(response).await?;
    let version = version(&response)?;
    Ok(Some(Entry {
        key: Bytes::copy_from_slice(key),
        version,
        value: content(response).await?,
    }))
}

pub(super) async fn scan(transport: &dyn Transport, scan: &Scan) -> Result<Page, StorageError> {
    let mut path = format!("/kv?limit={}&from={}", scan.limit, encoded(&scan.from));
    for (name, bound) in [("to", &scan.to), ("after", &scan.after)] {
        if let Some(key) = bound {
            path.extend(["&", name, "=", &encoded(key)]);
        }
    }
    for (name, set) in [("reverse", scan.reverse), ("keys_only", scan.keys_only)] {
        if set {
            path.extend(["&", name, "=true"]);
        }
    }
    let response = transport
        .call(request(Method::GET, path, Body::empty()))
        .await?;
    let content = content(successful(response).await?).await?;
    let page: wire::Page<'_> = postcard::from_bytes(&content).map_err(malformed)?;
    let entries = page.entries.iter().map(|entry| Entry {
        // Parts of what came, not copies.
        key: content.slice_ref(entry.key),
        version: Version(entry.version),
        value: content.slice_ref(entry.value),
    });
    Ok(Page {
        entries: entries.collect(),
        more: page.more,
    })
}

pub(super) async fn commit(
    transport: &dyn Transport,
    batch: &Batch,
) -> Result<Version, StorageError> {
    let expect = batch.expect.iter().map(|(key, expectation)| {
        let expectation = match expectation {
            Expectation::Absent => wire::Expectation::Absent,
            Expectation::Present => wire::Expectation::Present,
            Expectation::Version(version) => wire::Expectation::Version(version.0),
            Expectation::Value(value) => wire::Expectation::Value(raw(value)),
        };
        (raw(key), expectation)
    });
    let write = batch.write.iter().map(|(key, value)| match value {
        Some(value) => wire::Write::Put(raw(key), raw(value)),
        None => wire::Write::Delete(raw(key)),
    });
    let body = wire::Batch {
        expect: expect.collect(),
        write: write.collect(),
    };
    let body = postcard::to_stdvec(&body).map_err(malformed)?;
    let mut request = request(Method::POST, "/commit".to_owned(), Body::from(body));
    let content_type = http::HeaderValue::from_static(wire::CONTENT_TYPE);
    request.headers_mut().insert(CONTENT_TYPE, content_type);
    version(&successful(transport.call(request).await?).await?)
}

pub(super) async fn watch(
    transport: &dyn Transport,
    seen: Version,
) -> Result<Version, StorageError> {
    loop {
        let path = format!("/changes?seen={}", seen.0);
        let response = transport
            .call(request(Method::GET, path, Body::empty()))
            .await?;
        let version = version(&successful(response).await?)?;
        // The same: the store is being reloaded, and its next generation is asked.
        if version != seen {
            return Ok(version);
        }
    }
}

pub(super) async fn usage(transport: &dyn Transport) -> Result<Usage, StorageError> {
    let request = request(Method::GET, "/usage".to_owned(), Body::empty());
    let response = successful(transport.call(request).await?).await?;
    let usage: wire::Usage =
        serde_json::from_slice(&content(response).await?).map_err(malformed)?;
    Ok(Usage {
        entries: usage.entries,
        bytes: usage.bytes,
        quota_bytes: usage.quota_bytes,
        version: Version(usage.version),
    })
}

fn request(method: Method, path: String, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("base64url and digits make a path");
    request
}

fn encoded(key: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key)
}

fn raw(bytes: &Bytes) -> &serde_bytes::Bytes {
    serde_bytes::Bytes::new(bytes)
}

async fn successful(response: Response<Body>) -> Result<Response<Body>, StorageError> {
    if response.status().is_success() {
        return Ok(response);
    }
    if response.status() == StatusCode::PRECONDITION_FAILED {
        let key = response.headers().get(wire::CONFLICT_KEY);
        let key = key.and_then(|key| BASE64_URL_SAFE_NO_PAD.decode(key).ok());
        return Err(StorageError::Conflict {
            key: key.unwrap_or_default().into(),
            found: version(&response).ok(),
        });
    }
    let problem = problem(response).await;
    Err(StorageError::of_problem(&problem.code, problem.detail))
}

#[derive(Deserialize)]
struct Told {
    code: String,
    detail: String,
}

async fn problem(response: Response<Body>) -> Told {
    let status = response.status();
    let told = match content(response).await {
        Ok(content) => serde_json::from_slice(&content).ok(),
        Err(_) => None,
    };
    told.unwrap_or_else(|| Told {
        code: String::new(),
        detail: format!("the store answered {status}, and not why"),
    })
}

async fn content(response: Response<Body>) -> Result<Bytes, StorageError> {
    let collected = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    // It broke off, as it does when the store's process ends.
    let collected = collected.map_err(|error| {
        StorageError::Unavailable(format!("the store's answer broke off: {error}; try again"))
    })?;
    Ok(collected.to_bytes())
}

fn version(response: &Response<Body>) -> Result<Version, StorageError> {
    let etag = response
        .headers()
        .get(ETAG)
        .and_then(|etag| etag.to_str().ok());
    let number = etag.and_then(|etag| etag.trim_matches('"').parse().ok());
    number.map(Version).ok_or_else(|| {
        StorageError::Failed(
            "the store's answer has no version: it is no store of this kind".into(),
        )
    })
}

fn malformed(error: impl std::fmt::Display) -> StorageError {
    StorageError::Failed(format!("the store's answer cannot be read: {error}"))
}
