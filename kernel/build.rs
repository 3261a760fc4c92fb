//! Makes the kernel's binary export the functions that `midplane-unload` defines, so that libraries loaded later call them
//! instead of the C library's (kernel/unload/README.md).

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Empty where unloading is not available.
    let exports = env::var("DEP_MIDPLANE_UNLOAD_EXPORTS").unwrap_or_default();
    for symbol in exports.split(',').filter(|symbol| !symbol.is_empty()) {
        println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={symbol}");
    }
}
