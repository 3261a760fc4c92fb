//! A request's head, copied out of the kernel's slices.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use midplane_abi::{self as abi, Slice};

use super::calls::Switch;
use crate::body::Incoming;
use crate::calls::Caller;
use crate::session::{Exchange, Session, SessionFields};
use crate::ws::Handshake;

/// The texts of a request's head, copied out of the kernel's slices into one allocation.
#[derive(Default)]
pub(super) struct HeadBytes {
    pub(super) bytes: BytesMut,
}

impl HeadBytes {
    fn push(&mut self, slice: Slice) -> Range<usize> {
        let start = self.bytes.len();
        // SAFETY: the kernel's slices are valid during the call that this is a part of.
        self.bytes
            .extend_from_slice(unsafe { slice.bytes() }.unwrap_or_default());
        start..self.bytes.len()
    }

    pub(super) fn session(&mut self, session: &abi::Session) -> SessionFields {
        SessionFields {
            id: self.push(session.id),
            user: self.push(session.user),
            scope: self.push(session.scope),
            metadata: self.push(session.metadata),
            environment: self.push(session.environment),
            has_secret: !session.secret_key_id.ptr.is_null(),
            expires_at: session.expires_at,
        }
    }
}

/// Builds the request; `None` when the head is not a valid HTTP one, which the kernel never sends.
pub(super) fn read_head(
    request: abi::Request,
    head: &abi::RequestHead,
    switch: &Arc<Switch>,
) -> Option<(Arc<Exchange>, http::Request<Body>)> {
    // SAFETY: the kernel's slices are valid during `begin`.
    let (method, path, query) =
        unsafe { (head.method.bytes()?, head.path.bytes()?, head.query.bytes()) };
    let fields = match head.headers_len {
        0 => &[],
        // SAFETY: the kernel's array, valid during `begin`.
        len => unsafe { std::slice::from_raw_parts(head.headers, len) },
    };
    let values_len: usize = fields.iter().map(|field| field.value.len).sum();
    let target_len = path.len() + query.map_or(0, |query| query.len() + 1);
    let mut bytes = HeadBytes {
        bytes: BytesMut::with_capacity(target_len + values_len + 256),
    };

    bytes.bytes.extend_from_slice(path);
    if let Some(query) = query {
        bytes.bytes.extend_from_slice(b"?");
        bytes.bytes.extend_from_slice(query);
    }
    let values_start = bytes.bytes.len();
    for field in fields {
        bytes.push(field.value);
    }
    // SAFETY: the kernel's struct, null or valid during `begin`.
    let session = unsafe { head.session.as_ref() };
    let has_session = session.is_some();
    let session = session.map_or_else(SessionFields::default, |session| bytes.session(session));
    let bytes = bytes.bytes.freeze();

    let mut headers = HeaderMap::with_capacity(fields.len());
    let mut start = values_start;
    for field in fields {
        let end = start + field.value.len;
        // SAFETY: as above.
        let name = HeaderName::from_bytes(unsafe { field.name.bytes()? }).ok()?;
        headers.append(
            name,
            HeaderValue::from_maybe_shared(bytes.slice(start..end)).ok()?,
        );
        start = end;
    }
    let exchange = Exchange::new(request, bytes.clone(), session, Arc::clone(switch));
    let body = match u64::try_from(head.content_length) {
        Ok(0) => Body::empty(),
        Ok(length) => Body::new(Incoming::new(Arc::clone(&exchange), Some(length))),
        Err(_unknown) => Body::new(Incoming::new(Arc::clone(&exchange), None)),
    };
    let mut built = http::Request::new(body);
    *built.method_mut() = Method::from_bytes(method).ok()?;
    *built.uri_mut() = Uri::from_maybe_shared(bytes.slice(..values_start)).ok()?;
    *built.headers_mut() = headers;
    if head.flags & abi::head::WEBSOCKET != 0 {
        built
            .extensions_mut()
            .insert(Handshake(Arc::clone(&exchange)));
    }
    // SAFETY: the kernel's struct, null or valid during `begin`.
    if let Some(caller) = unsafe { head.caller.as_ref() } {
        // SAFETY: as above.
        let module = unsafe { caller.module.bytes() }.unwrap_or_default();
        built.extensions_mut().insert(Caller {
            module: String::from_utf8_lossy(module).into_owned(),
            generation: caller.generation,
            session: has_session.then(|| Session(Arc::clone(&exchange))),
        });
    }
    if has_session {
        built
            .extensions_mut()
            .insert(Session(Arc::clone(&exchange)));
    }
    Some((exchange, built))
}
