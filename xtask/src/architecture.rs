//! Architectures that the driver is built for.

use std::path::PathBuf;

use clap::ValueEnum;
use driver_package::stamp;

use crate::workspace::{self, DRIVER_TARGET};

/// An architecture of 64-bit Windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    /// x86-64
    #[default]
    X64,
    /// 64-bit Arm: built and checked here, never run
    Arm64,
}

impl Architecture {
    /// The compiler's name for it.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::X64 => DRIVER_TARGET,
            Self::Arm64 => "aarch64-pc-windows-msvc",
        }
    }

    /// The folder of the image, below the target folder.
    pub(crate) fn image_folder(self) -> &'static str {
        match self {
            Self::X64 => "driver",
            Self::Arm64 => "driver-arm64",
        }
    }

    /// The folder of the package.
    pub(crate) fn package_folder(self) -> PathBuf {
        workspace::target().join(match self {
            Self::X64 => "package",
            Self::Arm64 => "package-arm64",
        })
    }

    /// As the package's files name it.
    pub(crate) fn of_package(self) -> stamp::Architecture {
        match self {
            Self::X64 => stamp::Architecture::Amd64,
            Self::Arm64 => stamp::Architecture::Arm64,
        }
    }
}
