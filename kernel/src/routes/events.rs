//! `GET /events`: what happens, as it happens.

use http::Response;
use http::header::{CACHE_CONTROL, HeaderValue};

use super::Call;
use super::response::with_type;
use crate::body::Body;

pub(super) fn get(call: &Call<'_>) -> Response<Body> {
    let mut response = with_type("text/event-stream", "");
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *response.body_mut() = Body::events(call.kernel.events.stream());
    response
}
