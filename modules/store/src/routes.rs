//! The store over HTTP, for modules only.
//!
//! | | |
//! |---|---|
//! | `GET /kv/{key}` | the value; its version as `etag`; 404 `key_not_found` |
//! | `PUT /kv/{key}` | keeps the body; `if-match: "VERSION"`, `if-none-match: *` |
//! | `DELETE /kv/{key}` | the same conditions; a key that is not there may be deleted |
//! | `GET /kv?prefix=&after=&limit=&reverse=` | a page; or `from=` and `to=`; `keys_only=true` |
//! | `POST /commit` | a batch; 412 `conflict` |
//! | `GET /changes?seen=VERSION` | answers when the version is another, or the store drains |
//! | `GET /usage` | what the module keeps, in JSON |
//!
//! Keys are in base64url without padding. Pages and batches are those of [`wire`](midplane_sdk::storage::wire).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use midplane_sdk::storage::wire as sdk_wire;
use midplane_sdk::{Caller, Draining};
use midplane_store_backend::limits::VALUE_BYTES_MAX;
use midplane_store_backend::{Backend, Batch, Expectation, Version};
use serde::Deserialize;

use crate::problem::{Refusal, etag};
use crate::shares::Shares;
use crate::wire::{self, ScanQuery};

#[derive(Clone)]
struct Store {
    backend: Arc<dyn Backend>,
    draining: Draining,
    shares: Shares,
}

pub(crate) fn router(backend: Arc<dyn Backend>, draining: Draining) -> Router {
    Router::new()
        .route("/kv/{key}", get(read).put(put).delete(delete))
        .route("/kv", get(scan))
        .route("/commit", post(commit))
        .route("/changes", get(changes))
        .route("/usage", get(usage))
        .with_state(Store {
            backend,
            draining,
            shares: Shares::default(),
        })
}

async fn read(
    caller: Caller,
    Path(key): Path<String>,
    State(store): State<Store>,
) -> Result<Response, Refusal> {
    let _share = store.shares.request(&caller)?;
    let entry = store.backend.get(caller.module(), wire::key(&key)?).await?;
    let entry = entry.ok_or_else(Refusal::not_found)?;
    let headers = [
        (ETAG, etag(entry.version)),
        (
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
    ];
    Ok((headers, entry.value).into_response())
}

async fn put(
    caller: Caller,
    Path(key): Path<String>,
    State(store): State<Store>,
    headers: HeaderMap,
    value: Body,
) -> Result<Response, Refusal> {
    let mut share = store.shares.request(&caller)?;
    let key = wire::key(&key)?;
    let expect = conditions(&headers, &key)?;
    let too_large = || Refusal::value_too_large(&key);
    let value = share.content(value, VALUE_BYTES_MAX, too_large).await?;
    let batch = Batch {
        expect,
        ..Batch::put(key, value)
    };
    committed(&store, &caller, batch).await
}

async fn delete(
    caller: Caller,
    Path(key): Path<String>,
    State(store): State<Store>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let _share = store.shares.request(&caller)?;
    let key = wire::key(&key)?;
    let expect = conditions(&headers, &key)?;
    let batch = Batch {
        expect,
        ..Batch::delete(key)
    };
    committed(&store, &caller, batch).await
}

async fn commit(
    caller: Caller,
    State(store): State<Store>,
    body: Body,
) -> Result<Response, Refusal> {
    let mut share = store.shares.request(&caller)?;
    let len_max = wire::COMMIT_BYTES_MAX;
    let body = share
        .content(body, len_max, Refusal::batch_too_large)
        .await?;
    let batch = wire::batch(&body)?;
    committed(&store, &caller, batch).await
}

async fn scan(
    caller: Caller,
    Query(query): Query<ScanQuery>,
    State(store): State<Store>,
) -> Result<Response, Refusal> {
    let _share = store.shares.request(&caller)?;
    let page = store.backend.scan(caller.module(), query.scan()?).await?;
    let content_type = HeaderValue::from_static(sdk_wire::CONTENT_TYPE);
    Ok(([(CONTENT_TYPE, content_type)], wire::page(&page)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangesQuery {
    seen: u64,
}

async fn changes(
    caller: Caller,
    Query(query): Query<ChangesQuery>,
    State(store): State<Store>,
) -> Result<Response, Refusal> {
    let mut share = store.shares.request(&caller)?;
    share.watch()?;
    let seen = Version(query.seen);
    // Cancel-safe: neither has done anything when the other is ready.
    let version = tokio::select! {
        version = store.backend.changed(caller.module(), seen) => version?,
        // The same version: whoever watches asks the next generation.
        () = store.draining.wait() => seen,
    };
    Ok((StatusCode::NO_CONTENT, [(ETAG, etag(version))]).into_response())
}

async fn usage(
    caller: Caller,
    State(store): State<Store>,
) -> Result<Json<sdk_wire::Usage>, Refusal> {
    let _share = store.shares.request(&caller)?;
    let usage = store.backend.usage(caller.module()).await?;
    Ok(Json(sdk_wire::Usage {
        entries: usage.entries,
        bytes: usage.bytes,
        quota_bytes: usage.quota_bytes,
        version: usage.version.0,
    }))
}

async fn committed(store: &Store, caller: &Caller, batch: Batch) -> Result<Response, Refusal> {
    let version = store.backend.commit(caller.module(), batch).await?;
    Ok((StatusCode::NO_CONTENT, [(ETAG, etag(version))]).into_response())
}

/// RFC 9110, sections 13.1.1 and 13.1.2, of which one version, or `*`, is understood.
fn conditions(headers: &HeaderMap, key: &Bytes) -> Result<Vec<(Bytes, Expectation)>, Refusal> {
    let mut expect = Vec::new();
    if let Some(condition) = headers.get(IF_MATCH) {
        expect.push(match condition.as_bytes() {
            b"*" => Expectation::Present,
            tag => Expectation::Version(version(tag).ok_or_else(|| {
                Refusal::malformed(
                    "`if-match` names one version, like \"7\" with its quotes, or is *",
                )
            })?),
        });
    }
    if let Some(condition) = headers.get(IF_NONE_MATCH) {
        if condition.as_bytes() != b"*" {
            return Err(Refusal::malformed(
                "`if-none-match` can be * only: the key is absent",
            ));
        }
        expect.push(Expectation::Absent);
    }
    Ok(expect
        .into_iter()
        .map(|expectation| (key.clone(), expectation))
        .collect())
}

fn version(tag: &[u8]) -> Option<Version> {
    let number = tag.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    std::str::from_utf8(number).ok()?.parse().ok().map(Version)
}
