//! Stand-in for the crate `wdk-build` on build hosts that are not Windows.
//!
//! The genuine crate looks for an installed WDK and does not compile anywhere but on Windows. The build scripts of
//! `wdk-sys`, `wdk`, `wdk-alloc`, `wdk-panic` and of drivers call a small part of its interface; this crate offers
//! that part, with the names and the meaning of version 0.6.0, on top of a *kit* instead of a WDK: a folder with
//! headers and import libraries that `cargo xtask setup` lays out (crate `wdk-kit`) and names in `WDK_KIT_ROOT`.
//!
//! Only WDM drivers for x86-64 and 64-bit Arm are supported; anything else is refused with an error that says so.

mod bindings;
mod config;
mod error;
mod metadata;

pub use bindings::BuilderExt;
pub use config::{
    ApiSubset, Config, CpuArchitecture, DriverConfig, KmdfConfig, UmdfConfig,
    configure_wdk_binary_build, configure_wdk_library_build, configure_wdk_library_build_and_then,
    find_top_level_cargo_manifest,
};
pub use error::{ConfigError, IoError};
