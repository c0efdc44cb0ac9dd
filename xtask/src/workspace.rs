//! Where the parts of the workspace are.

use std::path::{Path, PathBuf};

/// The driver's target.
pub(crate) const DRIVER_TARGET: &str = "x86_64-pc-windows-msvc";

/// The target of programs for Windows.
pub(crate) const PROGRAM_TARGET: &str = "x86_64-pc-windows-gnu";

/// The workspace's root folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("."))
}

/// The folder for everything that is built.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}
