//! Whatever the file: reading a module's descriptor never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane_kernel::untrusted::descriptor::Descriptor;

fuzz_target!(|bytes: &[u8]| {
    // Every outcome is good but a panic.
    let _ = Descriptor::read(bytes);
});
