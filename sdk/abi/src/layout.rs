//! The layouts, asserted for 64-bit targets: a change that moves a field does not compile. `midplane.h` asserts the same
//! numbers; its generator reads them in [`LAYOUTS`].

#![cfg(target_pointer_width = "64")]

use crate::*;
use core::mem::offset_of;

/// What stands where in a struct.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub name: &'static str,
    pub size: usize,
    /// Each field and its offset, in their order.
    pub fields: &'static [(&'static str, usize)],
}

macro_rules! layouts {
    ($($type:ident, size $size:literal, align $align:literal, $($field:ident $offset:literal),+;)+) => {
        /// Every struct of the ABI.
        pub const LAYOUTS: &[Layout] = &[$(Layout {
            name: stringify!($type),
            size: $size,
            fields: &[$((stringify!($field), $offset)),+],
        }),+];

        $(const _: () = {
            assert!(size_of::<$type>() == $size);
            assert!(align_of::<$type>() == $align);
            $(assert!(offset_of!($type, $field) == $offset);)+
            // Every field is named: a pattern without `..` does not compile else.
            let _ = |value: &$type| { let $type { $($field: _),+ } = value; };
        };)+
    };
}

layouts! {
    Slice, size 16, align 8, ptr 0, len 8;
    Header, size 32, align 8, name 0, value 16;
    Session, size 112, align 8, size 0, flags 4, id 8, user 24, scope 40, metadata 56, environment 72, secret_key_id 88, expires_at 104;
    RequestHead, size 112, align 8, size 0, flags 4, method 8, path 24, query 40, headers 56, headers_len 64, request_id 72, session 88, content_length 96, caller 104;
    Init, size 72, align 8, size 0, flags 4, owner 8, name 16, generation 32, config 40, data_dir 56;
    Instance, size 16, align 8, size 0, flags 4, ptr 8;
    Module, size 104, align 8, size 0, abi_major 4, abi_minor 6, flags 8, init 16, restore 24, probe 32, begin 40, poll 48, drop_task 56,
        on_session 64, openapi 72, quiesce 80, save 88, fini 96;
    Host, size 152, align 8, size 0, abi_major 4, abi_minor 6, fail 8, log 16, log_level 24, wake 32, body_read 40, respond 48,
        respond_start 56, body_write 64, body_end 72, secret_get 80, secret_refresh 88, body_limit 96, state_write 104, get_api 112, ws_accept 120,
        ws_recv 128, ws_send 136, ws_close 144;
    CallHead, size 96, align 8, size 0, flags 4, module 8, method 24, path 40, query 56, headers 72, headers_len 80, content_length 88;
    Caller, size 32, align 8, size 0, flags 4, module 8, generation 24;
    CallApi, size 72, align 8, size 0, flags 4, start 8, body_write 16, body_end 24, response 32, body_read 40, forget 48, listen 56, news 64;
    MetricHead, size 56, align 8, size 0, kind 4, name 8, help 24, bounds 40, bounds_len 48;
    MetricsApi, size 48, align 8, size 0, flags 4, metric 8, series 16, add 24, set 32, observe 40;
    DescriptorBody, size 1056, align 4, magic 0, len 8, abi_major 12, abi_minor 14, grants 16, flags 20, state_schema_min 24,
        state_schema_max 28, name 32, version 96, public_routes 160, internal_routes 416, calls 672, sdk 928, compiler 992;
    Descriptor, size 1080, align 4, name_len 0, body_len 4, note_type 8, note_name 12, body 24;
}

const _: () = assert!(size_of::<Module>() >= MODULE_LEN_MIN as usize);
