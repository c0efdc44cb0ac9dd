//! The driver images that the tests load, as `cargo xtask` builds them.

use std::{fs, path::PathBuf};

/// A driver image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestImage {
    /// The driver that ships, before a signature is put at its end.
    Sanproxy,
    /// The same for 64-bit Arm, which nothing here can run.
    SanproxyArm64,
    /// A driver that does nothing: shows that the build kit builds others too.
    Minimal,
    /// A driver that breaks one rule when told to: shows that the judge sees it.
    Faulty,
    /// A driver that calls every wrapper of the DMA library when told to.
    Library,
    /// A driver with a panic path and a privileged instruction: shows that the image checks find them.
    Panicking,
}

impl TestImage {
    /// Where `cargo xtask build` and `cargo xtask test` put it.
    #[must_use]
    pub fn path(self) -> PathBuf {
        let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
        target.join(match self {
            Self::Sanproxy => "driver/sanproxy.sys",
            Self::SanproxyArm64 => "driver-arm64/sanproxy.sys",
            Self::Minimal => "test-drivers/minimal.sys",
            Self::Faulty => "test-drivers/faulty.sys",
            Self::Library => "test-drivers/library.sys",
            Self::Panicking => "test-drivers/panicking.sys",
        })
    }
}

/// Reads an image.
///
/// # Panics
///
/// If it has not been built: a test without its driver has nothing to say.
#[must_use]
pub fn read(image: TestImage) -> Vec<u8> {
    let path = image.path();
    fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask test` builds the drivers and runs all tests",
            path.display()
        )
    })
}
