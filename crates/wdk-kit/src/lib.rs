//! The kit: what stands for the Windows Driver Kit on a build host that is not Windows.
//!
//! A folder with two parts, made at build time from Debian's MinGW packages and from what we know of later Windows
//! versions. Nothing of others is copied into this repository.
//!
//! - `include/`: `wdm.h` with the structures that have grown since Windows 7 replaced by today's, `supplement.h` with
//!   what was added later, and `search-path.txt` with the folders where the rest is found.
//! - `lib/x64/`, `lib/arm64/`: import libraries of the modules that a WDM driver links to.

mod exports;
mod headers;

use std::{
    fs,
    path::{Path, PathBuf},
};

use implib::MachineType;
use thiserror::Error;

pub use exports::{Export, LATER_THAN_1809, exports_of};

/// Where Debian and Ubuntu install MinGW's headers and import libraries.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The folder that holds `ddk/wdm.h` (Debian package `mingw-w64-common`).
    pub include: PathBuf,
    /// The folder that holds `libntoskrnl.a` (Debian package `mingw-w64-x86-64-dev`).
    pub lib: PathBuf,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            include: PathBuf::from("/usr/share/mingw-w64/include"),
            lib: PathBuf::from("/usr/x86_64-w64-mingw32/lib"),
        }
    }
}

/// Why the kit cannot be laid out.
#[derive(Debug, Error)]
pub enum KitError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A header is not as this crate knows it.
    #[error(
        "{}: expected exactly one `{expected}`, found {found}; this kit knows the headers of mingw-w64 8.0 to 13.0",
        path.display()
    )]
    UnknownHeader {
        /// The header.
        path: PathBuf,
        /// The text that marks what has to be replaced.
        expected: String,
        /// How often it stands there.
        found: usize,
    },
    /// An import library is not as this crate knows it.
    #[error("{}: not an import library: {reason}", path.display())]
    UnknownLibrary {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Lays out the kit in `root`, replacing what is there.
///
/// # Errors
///
/// The sources are missing or are not what this crate knows, or `root` cannot be written.
pub fn lay_out(sources: &Sources, root: &Path) -> Result<(), KitError> {
    headers::lay_out(sources, &root.join("include"))?;
    for (folder, machine) in [
        ("lib/x64", MachineType::AMD64),
        ("lib/arm64", MachineType::ARM64),
    ] {
        exports::lay_out(sources, &root.join(folder), machine)?;
    }
    Ok(())
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, KitError> {
    fs::read(path).map_err(|source| KitError::File {
        path: path.to_path_buf(),
        source,
    })
}

/// Writes only what has changed, so that Cargo does not build the bindings anew for nothing.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), KitError> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let failed = |source| KitError::File {
        path: path.to_path_buf(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, bytes).map_err(failed)
}
