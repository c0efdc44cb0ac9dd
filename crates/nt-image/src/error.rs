//! Why a file could not be loaded.

use std::fmt;

/// Why a file could not be loaded as a driver image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file lacks the `MZ` or `PE` signature.
    #[error("not a PE image")]
    NotPe,
    /// The image is for another processor.
    #[error("image is for machine {0:#06x}, expected 0x8664 (x86-64)")]
    WrongMachine(u16),
    /// The optional header is not that of a PE32+ image.
    #[error("optional header magic is {0:#06x}, expected 0x020b (PE32+)")]
    NotPe32Plus(u16),
    /// The file ends before a part that its headers promise.
    #[error("file is truncated: {0} lies beyond its end")]
    Truncated(&'static str),
    /// A header field has a value that the system loader refuses.
    #[error("header field {field} has the unacceptable value {value:#x}")]
    BadHeader {
        /// The field's documented name.
        field: &'static str,
        /// Its value in the file.
        value: u64,
    },
    /// A section lies outside the image, overlaps another one, or leaves a gap before it.
    #[error("section {index} ({name}) does not fit the image layout")]
    BadSection {
        /// Position in the section table, from 0.
        index: usize,
        /// Name in the section table.
        name: String,
    },
    /// The image must run at its preferred base, which is not available.
    #[error("image has no base relocations")]
    NoRelocations,
    /// The base relocation table is malformed.
    #[error("base relocation table is malformed at RVA {0:#x}")]
    BadRelocations(u32),
    /// A base relocation has a type other than `ABSOLUTE` and `DIR64`.
    #[error("base relocation of unsupported type {0}")]
    UnsupportedRelocation(u8),
    /// The import table is malformed.
    #[error("import table is malformed: {what} at RVA {rva:#x}")]
    BadImports {
        /// The part that could not be read.
        what: &'static str,
        /// Where it should have been.
        rva: u32,
    },
    /// The `.pdata` function table is malformed.
    #[error("function table is malformed at RVA {0:#x}")]
    BadFunctionTable(u32),
    /// Imports that nothing resolves: all of them, as (module, routine).
    #[error("missing imports: {}", ImportList(.0))]
    MissingImports(Vec<(String, String)>),
    /// The system refused the address space for the image.
    #[error("cannot map the image: {0}")]
    Unmappable(std::io::ErrorKind),
}

struct ImportList<'a>(&'a [(String, String)]);

impl fmt::Display for ImportList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (module, routine)) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{module}!{routine}")?;
        }
        Ok(())
    }
}
