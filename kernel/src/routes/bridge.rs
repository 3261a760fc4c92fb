//! `GET /bridge`: a host attaches to a running kernel.

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;

use super::Call;
use super::websocket::has_token;
use crate::body::Body;
use crate::bridge::upgrade::{OpenBridge, PROTOCOL_NAME};
use crate::problem::{Code, Problem};

pub(super) fn open(call: &Call<'_>) -> Result<Response<Body>, Problem> {
    let headers = &call.parts.headers;
    let asks =
        has_token(headers, UPGRADE, PROTOCOL_NAME) && has_token(headers, CONNECTION, "upgrade");
    let on_upgrade = call.parts.extensions.get::<OnUpgrade>();
    let Some(on_upgrade) = on_upgrade.filter(|_| asks && call.parts.version == Version::HTTP_11)
    else {
        let detail = "a bridge is opened with HTTP/1.1 and the headers `Connection: Upgrade` and `Upgrade: jsonrpc`; JSON-RPC follows";
        return Err(Problem::new(Code::UpgradeRequired, detail).upgrade(PROTOCOL_NAME));
    };
    let mut response = Response::new(Body::bridge(OpenBridge {
        kernel: call.kernel.clone(),
        on_upgrade: on_upgrade.clone(),
    }));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL_NAME));
    Ok(response)
}
