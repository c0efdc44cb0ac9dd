//! The build kit: import libraries offer only what the oldest supported Windows exports, and other drivers build with it.

use std::collections::BTreeSet;

use object::read::archive::ArchiveFile;
use wdk_kit::{LATER_THAN_1809, Sources, exports_of};

fn offered() -> BTreeSet<String> {
    exports_of(&Sources::default(), "ntoskrnl.exe")
        .expect("MinGW's packages, which `cargo xtask setup` installs")
        .into_iter()
        .map(|export| export.name)
        .collect()
}

#[test]
fn routine_that_came_after_1809_is_offered_only_if_the_allocator_needs_it() {
    // First exported by Windows 10, version 2004, or later, by the pages of these routines.
    let later = [
        "ExAllocatePool2",
        "ExAllocatePool3",
        "ExFreePool2",
        "IoCreateSystemThreadEx",
        "ExCreatePool",
    ];
    let offered = offered();
    let wrong: Vec<_> = later
        .into_iter()
        .filter(|name| offered.contains(*name) && !LATER_THAN_1809.contains(name))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(offered.contains("ExAllocatePool2"));
}

#[test]
fn undocumented_export_is_not_offered() {
    // Both are in MinGW's list and in no header: such names come and go.
    let offered = offered();
    assert!(!offered.contains("InbvEnableDisplayString"));
    assert!(!offered.contains("ZwModifyDriverEntry"));
}

#[test]
fn routine_of_a_wdm_driver_is_offered() {
    let offered = offered();
    let wanted = [
        "IoCreateDevice",
        "IofCompleteRequest",
        "IoGetDmaAdapter",
        "KeStackAttachProcess",
        "MmAllocateContiguousMemorySpecifyCacheNode",
        "MmAllocateContiguousNodeMemory",
        "MmMapLockedPagesSpecifyCache",
        "MmProbeAndLockPages",
        "MmUserProbeAddress",
        "ObfDereferenceObject",
        "PsSetCreateProcessNotifyRoutineEx",
        "ZwQueryValueKey",
        "__C_specific_handler",
        "memcpy",
    ];
    let missing: Vec<_> = wanted
        .into_iter()
        .filter(|name| !offered.contains(*name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn variable_is_offered_as_data() {
    let exports = exports_of(&Sources::default(), "ntoskrnl.exe").expect("MinGW's packages");
    let data = |name: &str| {
        exports
            .iter()
            .find(|export| export.name == name)
            .expect("offered")
            .data
    };
    assert!(data("MmUserProbeAddress"));
    assert!(!data("IoCreateDevice"));
}

#[test]
fn import_library_on_disk_offers_what_the_list_says() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/wdk-kit/lib/x64/ntoskrnl.lib"
    );
    let bytes = std::fs::read(path).expect("the kit, which `cargo xtask setup` lays out");
    let archive = ArchiveFile::parse(bytes.as_slice()).expect("an archive");
    let symbols = archive
        .symbols()
        .expect("a readable index")
        .expect("an index");
    let slots: BTreeSet<String> = symbols
        .map(|symbol| String::from_utf8_lossy(symbol.expect("a symbol").name()).into_owned())
        .filter_map(|name| name.strip_prefix("__imp_").map(str::to_string))
        .collect();
    assert_eq!(slots, offered());
}
