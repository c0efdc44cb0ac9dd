//! Links `ntosshim` as a module of the native subsystem that forwards to Wine what Wine has.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=forwarded.def");
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("windows") {
        let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-cdylib-link-arg={folder}/forwarded.def");
        println!("cargo::rustc-cdylib-link-arg=-Wl,--subsystem,native");
    }
}
