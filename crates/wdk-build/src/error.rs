//! What can go wrong in a build script, told so that the reader knows what to do.

use std::path::PathBuf;

use thiserror::Error;

/// A failed operation on a file.
#[derive(Debug, Error)]
#[error("{}: {source}", path.display())]
pub struct IoError {
    path: PathBuf,
    source: std::io::Error,
}

impl IoError {
    /// Names the file that `source` is about.
    pub fn with_path(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self {
            path: path.into(),
            source,
        }
    }
}

/// Why a build that needs the kit cannot go on.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// `WDK_KIT_ROOT` is not set.
    #[error(
        "this build host is not Windows and WDK_KIT_ROOT is not set: run `cargo xtask setup` once, which lays out the headers \
         and import libraries that stand for the WDK here and writes .cargo/linux.toml"
    )]
    NoKit,
    /// The kit lacks something that the build needs.
    #[error("the kit has no {}: run `cargo xtask setup` to lay it out anew", .0.display())]
    IncompleteKit(PathBuf),
    /// No package of the build names a driver model.
    #[error(
        "no Cargo.toml of this build has a [package.metadata.wdk.driver-model] section with driver-type = \"WDM\""
    )]
    NoDriverModel,
    /// Several packages name different driver models.
    #[error("the Cargo.toml files of this build name more than one driver model: {0}")]
    ConflictingDriverModels(String),
    /// The driver model is not one that the kit supports.
    #[error(
        "driver-type \"{0}\" needs the WDK on Windows; the kit for other hosts builds \"WDM\" drivers only"
    )]
    UnsupportedDriverModel(String),
    /// The target is not one that the kit supports.
    #[error(
        "target architecture \"{0}\" needs the WDK on Windows; the kit for other hosts builds for x86_64 and aarch64 only"
    )]
    UnsupportedArchitecture(String),
    /// `-C target-feature=+crt-static` is missing.
    #[error(
        "the C runtime must be linked statically: add rustflags = [\"-C\", \"target-feature=+crt-static\"] for this target to \
         .cargo/config.toml"
    )]
    StaticCrtNotEnabled,
    /// `cargo metadata` failed.
    #[error("cannot read the packages of this build: {0}")]
    Metadata(#[from] cargo_metadata::Error),
}
