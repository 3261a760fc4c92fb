//! What a module has declared of its routes: who may call them, and how large their bodies may be.

use super::Generation;
use crate::modules::descriptor::RoutePattern;

impl Generation {
    /// How many bytes a request body on `path` may have.
    pub(crate) fn body_limit(&self, path: &str) -> u64 {
        let declared = self
            .body_limits
            .iter()
            .filter(|(pattern, _)| pattern.matches(path))
            .map(|(_, bytes)| *bytes);
        declared.max().unwrap_or(self.body_bytes)
    }

    /// What the module declared: pattern and bytes.
    pub(crate) fn body_limits(&self) -> impl Iterator<Item = (&RoutePattern, u64)> {
        self.body_limits
            .iter()
            .map(|(pattern, bytes)| (pattern, *bytes))
    }

    /// Whether `path` needs no session here.
    pub(crate) fn is_public(&self, path: &str) -> bool {
        self.public
            && !self.is_internal(path)
            && self
                .descriptor
                .public_routes
                .iter()
                .any(|pattern| pattern.matches(path))
    }

    /// Whether `path` is open to other modules, and to nobody else.
    pub(crate) fn is_internal(&self, path: &str) -> bool {
        let internal = &self.descriptor.internal_routes;
        internal.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether `path` is closed to clients: also one that only reads as an internal one once it is decoded or its slashes are
    /// merged, as some routers do.
    pub(crate) fn is_internal_to_clients(&self, path: &str) -> bool {
        if self.descriptor.internal_routes.is_empty() {
            return false;
        }
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let mut merged = String::with_capacity(decoded.len());
        for c in decoded.chars() {
            if c != '/' || !merged.ends_with('/') {
                merged.push(c);
            }
        }
        self.is_internal(path) || self.is_internal(&decoded) || self.is_internal(&merged)
    }
}
