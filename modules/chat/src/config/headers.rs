//! What goes along with every request to the provider: headers, a query, and the name under which the key goes.

use std::collections::BTreeMap;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Config, ConfigError, Hidden};
use crate::upstream::KeyHeader;

/// A provider that wants more is not configured but programmed against.
const HEADERS_MAX: usize = 32;
/// As much as servers take of one header.
const VALUE_BYTES_MAX: usize = 4 * 1024;

/// Those that belong to a request's framing, or to its connection (RFC 9110 sections 7.6.1 and 8.6).
const FRAMING: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::ACCEPT_ENCODING,
];

/// What the names of headers and parameters have in them that hold a secret.
const SECRETIVE: [&str; 7] = [
    "auth",
    "cookie",
    "key",
    "password",
    "secret",
    "signature",
    "token",
];

/// All but what stands in a query as it is (RFC 3986 section 2.3).
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

impl Config {
    pub(super) fn key_header(&self) -> Result<KeyHeader, ConfigError> {
        let Some(name) = &self.api_key_header else {
            return Ok(KeyHeader::Authorization);
        };
        let parsed = HeaderName::try_from(name).map_err(|_| ConfigError::HeaderName(name.clone()));
        match parsed? {
            header::AUTHORIZATION => Ok(KeyHeader::Authorization),
            name if FRAMING.contains(&name) || name == header::PROXY_AUTHORIZATION => {
                Err(ConfigError::HeaderTaken(name.to_string()))
            }
            name => Ok(KeyHeader::Bare(name)),
        }
    }

    pub(super) fn headers(&self, key: &KeyHeader) -> Result<HeaderMap, ConfigError> {
        if self.headers.len() > HEADERS_MAX {
            return Err(ConfigError::ManyHeaders(HEADERS_MAX));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let parsed = HeaderName::try_from(name);
            let parsed = parsed.map_err(|_| ConfigError::HeaderName(name.clone()))?;
            if parsed == header::AUTHORIZATION
                || parsed == header::PROXY_AUTHORIZATION
                || *key == KeyHeader::Bare(parsed.clone())
            {
                return Err(ConfigError::KeyInHeaders(name.clone()));
            }
            if FRAMING.contains(&parsed) {
                return Err(ConfigError::HeaderTaken(name.clone()));
            }
            let value = Some(value.expose())
                .filter(|value| value.len() <= VALUE_BYTES_MAX)
                .and_then(|value| HeaderValue::from_str(value).ok());
            let mut value = value.ok_or_else(|| ConfigError::HeaderValue(name.clone()))?;
            value.set_sensitive(true);
            if headers.insert(parsed, value).is_some() {
                return Err(ConfigError::HeaderTwice(name.clone()));
            }
        }
        Ok(headers)
    }

    /// The parameters as they stand behind the `?`; empty without any.
    pub(super) fn query(&self) -> Result<String, ConfigError> {
        if self.query.keys().any(String::is_empty) {
            return Err(ConfigError::Empty("query"));
        }
        let parameters = self.query.iter().map(|(name, value)| {
            let encode = |text| utf8_percent_encode(text, IN_QUERY);
            format!("{}={}", encode(name), encode(value.expose()))
        });
        Ok(parameters.collect::<Vec<_>>().join("&"))
    }

    /// What is worth a warning: secrets that stand in the configuration's file. Names, never values.
    pub(crate) fn secrets_in_clear(&self) -> Vec<String> {
        let is_secretive = |name: &str| {
            let name = name.to_ascii_lowercase();
            SECRETIVE.iter().any(|part| name.contains(part))
        };
        let of = |table: &str, members: &BTreeMap<String, Hidden>| {
            let names = members.keys().filter(|name| is_secretive(name));
            names
                .map(|name| format!("{table}.{name}"))
                .collect::<Vec<_>>()
        };
        let mut found = of("headers", &self.headers);
        found.extend(of("query", &self.query));
        let proxy = self.proxy.as_ref();
        if proxy.is_some_and(|proxy| proxy.expose().contains('@')) {
            found.push("proxy".to_owned());
        }
        found
    }
}
