//! How the provider is reached: address, key, timeouts.

use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use super::bounds::within;
use super::provider::BASE_URL_DEFAULT;
use super::{Config, ConfigError};
use crate::upstream::UpstreamSettings;

/// The longest silence of a provider; models that reason in secret need about a minute.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// A provider that does not accept a connection in this time is not there.
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Systems give up after about two minutes by themselves.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// Less is a typing error: no provider far away answers in it.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);

impl Config {
    pub(super) fn upstream(&self) -> Result<UpstreamSettings, ConfigError> {
        let wait = |name, given, default| within(name, given, default, TIMEOUT_MIN, TIMEOUT_MAX);
        let timeout = wait("timeout", self.timeout, TIMEOUT_DEFAULT)?;
        Ok(UpstreamSettings {
            base_url: base_url(self.base_url.as_deref().unwrap_or(BASE_URL_DEFAULT))?,
            requires_key: self.requires_key.unwrap_or(true),
            connect_timeout: within(
                "connect_timeout",
                self.connect_timeout,
                CONNECT_TIMEOUT_DEFAULT,
                TIMEOUT_MIN,
                CONNECT_TIMEOUT_MAX,
            )?,
            first_byte_timeout: wait("first_byte_timeout", self.first_byte_timeout, timeout)?,
            stall_timeout: wait("stall_timeout", self.stall_timeout, timeout)?,
        })
    }
}

/// The address without a slash at its end.
fn base_url(url: &str) -> Result<Uri, ConfigError> {
    let refuse = |reason| ConfigError::BaseUrl {
        url: url.to_owned(),
        reason,
    };
    let uri: Uri = url
        .trim_end_matches('/')
        .parse()
        .map_err(|_| refuse("which is not a URL"))?;
    let Some(authority) = uri.authority() else {
        return Err(refuse("which names no host"));
    };
    if authority.as_str().contains('@') {
        // not shown either: what stands before the @ is a password
        return Err(ConfigError::BaseUrl {
            url: "…@…".to_owned(),
            reason: "which holds a credential",
        });
    }
    if uri.query().is_some() {
        return Err(refuse("which has a query"));
    }
    let scheme = uri.scheme();
    if scheme != Some(&Scheme::HTTPS) && scheme != Some(&Scheme::HTTP) {
        return Err(refuse("which is neither https nor http"));
    }
    Ok(uri)
}
