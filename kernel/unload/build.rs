//! The one list of functions that the binary must export, and the linker's argument for this crate's own tests.
//!
//! A dependent's build script reads the list as `DEP_MIDPLANE_UNLOAD_EXPORTS`: link arguments reach only the package whose
//! script gives them.

use std::env;

/// As in `src/linux/interpose.rs`, which defines them.
const EXPORTS: [&str; 5] = [
    "__cxa_thread_atexit_impl",
    "pthread_create",
    "pthread_key_create",
    "pthread_key_delete",
    "pthread_setspecific",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(can_unload)");
    let target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let crt_static = target("FEATURE").split(',').any(|f| f == "crt-static");
    // A sanitizer stands in for the same functions.
    let is_watched = ["FUZZING", "SANITIZE"]
        .iter()
        .any(|cfg| env::var_os(format!("CARGO_CFG_{cfg}")).is_some());
    // The return address is read by a few lines of assembly, hence the architectures.
    let can_unload = target("OS") == "linux"
        && target("ENV") == "gnu"
        && matches!(target("ARCH").as_str(), "x86_64" | "aarch64")
        && target("POINTER_WIDTH") == "64"
        && !crt_static
        && !is_watched;
    if !can_unload {
        println!("cargo::metadata=exports=");
        return;
    }
    println!("cargo::rustc-cfg=can_unload");
    println!("cargo::metadata=exports={}", EXPORTS.join(","));
    for symbol in EXPORTS {
        println!("cargo::rustc-link-arg-tests=-Wl,--export-dynamic-symbol={symbol}");
    }
}
