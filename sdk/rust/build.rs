//! Notes the compiler's version, which a module's descriptor carries for people to read.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    println!(
        "cargo:rustc-env=MIDPLANE_SDK_RUSTC={}",
        version.as_deref().unwrap_or("rustc unknown").trim()
    );
}
