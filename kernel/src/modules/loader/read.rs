//! Reads what a module hands over during a call: bounded, and copied where it is kept.

use http::HeaderMap;
use midplane_abi::{Header, Slice};

use crate::modules::exchange::{self, RESPONSE_HEADERS_MAX};

/// Header fields of a module's; `None` when one is not valid HTTP, or there are too many.
///
/// # Safety
/// `headers` points to `len` fields that are valid for the call.
pub(super) unsafe fn fields(headers: *const Header, len: usize) -> Option<HeaderMap> {
    // SAFETY: by the contract.
    exchange::header_map(unsafe { pairs(headers, len) }?)
}

/// Names and values.
///
/// # Safety
/// `headers` points to `len` fields that are valid for the call.
pub(super) unsafe fn pairs<'a>(
    headers: *const Header,
    len: usize,
) -> Option<impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>> {
    if len > RESPONSE_HEADERS_MAX || (headers.is_null() && len > 0) {
        return None;
    }
    let fields: &'a [Header] = match len {
        0 => &[],
        // SAFETY: by the contract.
        len => unsafe { std::slice::from_raw_parts(headers, len) },
    };
    Some(fields.iter().map(|field| {
        // SAFETY: borrowed for the call, by the contract.
        unsafe {
            (
                field.name.bytes().unwrap_or_default(),
                field.value.bytes().unwrap_or_default(),
            )
        }
    }))
}

/// A text of the module's, cut at `len_max`; what is not UTF-8 in it is replaced.
///
/// # Safety
/// The slice is valid for the call.
pub(super) unsafe fn text(slice: Slice, len_max: usize) -> String {
    // SAFETY: by the contract.
    let bytes = unsafe { slice.bytes() }.unwrap_or_default();
    String::from_utf8_lossy(&bytes[..bytes.len().min(len_max)]).into_owned()
}
