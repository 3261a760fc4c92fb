//! The layouts, asserted for 64-bit targets: a change that moves a field does not compile.

#![cfg(target_pointer_width = "64")]

use crate::*;
use core::mem::offset_of;

macro_rules! layout {
    ($type:ty, size $size:literal, $($field:ident $offset:literal),+) => {
        const _: () = {
            assert!(size_of::<$type>() == $size);
            $(assert!(offset_of!($type, $field) == $offset);)+
        };
    };
}

layout!(Slice, size 16, ptr 0, len 8);
layout!(Header, size 32, name 0, value 16);
layout!(Session, size 112, size 0, flags 4, id 8, user 24, scope 40, metadata 56, environment 72, secret_key_id 88, expires_at 104);
layout!(RequestHead, size 104, size 0, flags 4, method 8, path 24, query 40, headers 56, headers_len 64, request_id 72, session 88, content_length 96);
layout!(Init, size 56, size 0, flags 4, owner 8, name 16, generation 32, config 40);
layout!(Instance, size 16, size 0, flags 4, ptr 8);
layout!(
    Module, size 104, size 0, abi_major 4, abi_minor 6, flags 8, init 16, restore 24, probe 32, begin 40, poll 48, drop_task 56, on_session 64,
    openapi 72, quiesce 80, save 88, fini 96
);
layout!(
    Host, size 120, size 0, abi_major 4, abi_minor 6, fail 8, log 16, log_level 24, wake 32, body_read 40, respond 48, respond_start 56,
    body_write 64, body_end 72, secret_get 80, secret_refresh 88, body_limit 96, state_write 104, get_api 112
);
layout!(
    DescriptorBody, size 800, magic 0, len 8, abi_major 12, abi_minor 14, grants 16, flags 20, state_schema_min 24, state_schema_max 28, name 32,
    version 96, public_routes 160, calls 416, sdk 672, compiler 736
);
layout!(Descriptor, size 824, name_len 0, body_len 4, note_type 8, note_name 12, body 24);
const _: () = assert!(size_of::<Module>() >= MODULE_LEN_MIN as usize);
