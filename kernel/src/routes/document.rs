//! `GET /openapi.json`: the description of all of this, for programs.

use std::sync::LazyLock;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::response::with_type;
use crate::body::Body;
use crate::problem::Code;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document()));

pub(super) fn get() -> Response<Body> {
    with_type("application/json", DOCUMENT.clone())
}

/// The document, with the parts that the code knows better filled in.
pub(crate) fn document() -> String {
    let mut document: Value =
        serde_json::from_str(include_str!("openapi.json")).expect("the document is JSON");
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] =
        Code::ALL.iter().map(|code| code.as_str()).collect();
    document.to_string()
}
