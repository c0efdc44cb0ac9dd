//! Import libraries of the modules that a WDM driver links to.
//!
//! An import library must not offer a name that the oldest supported Windows (10, version 1809) does not export: a driver
//! would link, and then not load. A name is offered if either
//! - MinGW's import library (made from Windows 7) has it *and* the kernel headers name it: Windows does not take back a
//!   routine that it documents for drivers, while undocumented exports come and go; or
//! - it is in one of the lists below.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use implib::{Flavor, ImportLibrary, MachineType};
use object::read::archive::ArchiveFile;

use crate::{KitError, Sources, read, write};

/// Exported by ntoskrnl.exe since Windows 7 or before, but named by no header: what compilers and macros call.
const CALLED_BY_COMPILERS_AND_MACROS: [&str; 17] = [
    "ExRaiseAccessViolation",
    "ExRaiseDatatypeMisalignment",
    "ExpInterlockedFlushSList",
    "ExpInterlockedPopEntrySList",
    "ExpInterlockedPushEntrySList",
    "IofCallDriver",
    "IofCompleteRequest",
    "KeLowerIrql",
    "KfRaiseIrql",
    "ObfDereferenceObject",
    "ObfReferenceObject",
    "__C_specific_handler",
    "__chkstk",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
];

/// Exported by ntoskrnl.exe only after Windows 7, with the first version that does.
const ADDED_AFTER_WINDOWS_7: [(&str, &str); 11] = [
    ("ExAcquirePushLockExclusiveEx", "Windows 8"),
    ("ExAcquirePushLockSharedEx", "Windows 8"),
    ("ExInitializePushLock", "Windows 8"),
    ("ExReleasePushLockExclusiveEx", "Windows 8"),
    ("ExReleasePushLockSharedEx", "Windows 8"),
    ("KeQueryInterruptTimePrecise", "Windows 8"),
    ("KeQuerySystemTimePrecise", "Windows 8"),
    ("MmAllocateContiguousNodeMemory", "Windows 8"),
    ("MmAllocateNodePagesForMdlEx", "Windows 8"),
    ("MmSecureVirtualMemoryEx", "Windows 10, version 1809"),
    (
        "PsSetCreateProcessNotifyRoutineEx2",
        "Windows 10, version 1703",
    ),
];

/// Exported by cng.sys, which the system starts at boot, since Windows Vista. MinGW has no import library for it.
const CNG: [&str; 1] = ["BCryptGenRandom"];

/// The one exception: `wdk-alloc` cannot be built without it, and thereby sets the oldest Windows that a driver with its
/// allocator loads on (10, version 2004).
pub const LATER_THAN_1809: [&str; 1] = ["ExAllocatePool2"];

/// A name that an import library offers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Export {
    /// The exported name.
    pub name: String,
    /// A variable rather than a routine.
    pub data: bool,
}

/// What the import library of a module (`"ntoskrnl.exe"`, `"hal.dll"`) offers.
///
/// # Errors
///
/// MinGW's import library or headers cannot be read.
pub fn exports_of(sources: &Sources, module: &str) -> Result<BTreeSet<Export>, KitError> {
    if module == "cng.sys" {
        return Ok(BTreeSet::from(CNG.map(|name| Export {
            name: name.to_string(),
            data: false,
        })));
    }
    let stem = module.split('.').next().unwrap_or(module);
    let known = symbols(&sources.lib.join(format!("lib{stem}.a")))?;
    let mut named = BTreeSet::new();
    for header in ["wdm.h", "ntddk.h", "ntifs.h", "wmilib.h"] {
        named.extend(identifiers(&sources.include.join("ddk").join(header))?);
    }
    let mut exports: BTreeSet<Export> = known
        .into_iter()
        .filter(|(name, _)| {
            named.contains(name) || CALLED_BY_COMPILERS_AND_MACROS.contains(&name.as_str())
        })
        .map(|(name, data)| Export { name, data })
        .collect();
    if stem == "ntoskrnl" {
        let added = ADDED_AFTER_WINDOWS_7
            .iter()
            .map(|(name, _)| *name)
            .chain(LATER_THAN_1809);
        exports.extend(added.map(|name| Export {
            name: name.to_string(),
            data: false,
        }));
    }
    Ok(exports)
}

/// Writes the import libraries for one architecture.
///
/// The kernel of 64-bit Arm exports the same documented routines under the same names; no list of its own is at hand to
/// prove that for each, so an image for it is to be compared with one that the WDK has linked before it is trusted.
pub(crate) fn lay_out(
    sources: &Sources,
    folder: &Path,
    machine: MachineType,
) -> Result<(), KitError> {
    for (library, module) in [
        ("ntoskrnl.lib", "ntoskrnl.exe"),
        ("hal.lib", "hal.dll"),
        ("cng.lib", "cng.sys"),
        ("wmilib.lib", "wmilib.sys"),
    ] {
        let path = folder.join(library);
        let mut definition = format!("LIBRARY {module}\nEXPORTS\n");
        for export in exports_of(sources, module)? {
            definition.push_str(&export.name);
            definition.push_str(if export.data { " DATA\n" } else { "\n" });
        }
        let unknown = |source: std::io::Error| KitError::UnknownLibrary {
            path: path.clone(),
            reason: source.to_string(),
        };
        let library = ImportLibrary::new(&definition, machine, Flavor::Msvc).map_err(unknown)?;
        let mut bytes = std::io::Cursor::new(Vec::new());
        library.write_to(&mut bytes).map_err(unknown)?;
        write(&path, bytes.get_ref())?;
    }
    // Microsoft's compiler needs it for its stack cookies; Rust has none. An archive without members links as nothing.
    write(&folder.join("BufferOverflowFastFailK.lib"), b"!<arch>\n")
}

/// The names in an import library, each with whether it is a variable: those have no thunk, only an import slot.
fn symbols(path: &Path) -> Result<BTreeMap<String, bool>, KitError> {
    let bytes = read(path)?;
    let unknown = |reason: String| KitError::UnknownLibrary {
        path: path.to_path_buf(),
        reason,
    };
    let archive =
        ArchiveFile::parse(bytes.as_slice()).map_err(|error| unknown(error.to_string()))?;
    let index = archive
        .symbols()
        .map_err(|error| unknown(error.to_string()))?
        .ok_or_else(|| unknown("it has no symbol index".to_string()))?;
    let mut slots = BTreeSet::new();
    let mut thunks = BTreeSet::new();
    for symbol in index {
        let symbol = symbol.map_err(|error| unknown(error.to_string()))?;
        let name = String::from_utf8_lossy(symbol.name()).into_owned();
        match name.strip_prefix("__imp_") {
            Some(slot) => slots.insert(slot.to_string()),
            None => thunks.insert(name),
        };
    }
    Ok(slots
        .into_iter()
        .map(|name| (name.clone(), !thunks.contains(&name)))
        .collect())
}

/// All identifiers in a header.
fn identifiers(path: &Path) -> Result<BTreeSet<String>, KitError> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    Ok(text
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_string)
        .collect())
}
