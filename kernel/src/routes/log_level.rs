//! `/log-level`: what is logged.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::Call;
use super::response::json;
use crate::body::Body;
use crate::problem::{Code, Problem};
use crate::telemetry::Filter;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogLevel {
    /// For example `info,hello=debug`.
    filter: String,
}

pub(super) fn get(call: &Call<'_>) -> Response<Body> {
    json(
        StatusCode::OK,
        &LogLevel {
            filter: call.kernel.log.filter().to_string(),
        },
    )
}

pub(super) async fn put(mut call: Call<'_>) -> Result<Response<Body>, Problem> {
    let LogLevel { filter } = call.json().await?;
    let filter: Filter = filter
        .parse()
        .map_err(|error| Problem::new(Code::InvalidRequest, format!("filter: {error}")))?;
    call.kernel.log.set_filter(filter);
    call.kernel.modules.tell_log_level();
    Ok(get(&call))
}
