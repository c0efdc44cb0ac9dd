//! The table of operations: which slot holds what, and traps for slots that may not be called.

use std::sync::OnceLock;

use super::{
    adapter, buffers, channels, contexts, domains, info, list_mdls, lists, lists_ex, mapping,
    vectors,
};
use crate::export::{Export, IrqlRule, table};
use crate::host::current;

/// Names of the members, from offset 8 on, each a pointer.
const MEMBERS: [&str; 39] = [
    "PutDmaAdapter",
    "AllocateCommonBuffer",
    "FreeCommonBuffer",
    "AllocateAdapterChannel",
    "FlushAdapterBuffers",
    "FreeAdapterChannel",
    "FreeMapRegisters",
    "MapTransfer",
    "GetDmaAlignment",
    "ReadDmaCounter",
    "GetScatterGatherList",
    "PutScatterGatherList",
    "CalculateScatterGatherList",
    "BuildScatterGatherList",
    "BuildMdlFromScatterGatherList",
    "GetDmaAdapterInfo",
    "GetDmaTransferInfo",
    "InitializeDmaTransferContext",
    "AllocateCommonBufferEx",
    "AllocateAdapterChannelEx",
    "ConfigureAdapterChannel",
    "CancelAdapterChannel",
    "MapTransferEx",
    "GetScatterGatherListEx",
    "BuildScatterGatherListEx",
    "FlushAdapterBuffersEx",
    "FreeAdapterObject",
    "CancelMappedTransfer",
    "AllocateDomainCommonBuffer",
    "FlushDmaBuffer",
    "JoinDmaDomain",
    "LeaveDmaDomain",
    "GetDmaDomain",
    "AllocateCommonBufferWithBounds",
    "AllocateCommonBufferVector",
    "GetCommonBufferFromVectorByIndex",
    "FreeCommonBufferFromVector",
    "FreeCommonBufferVector",
    "CreateCommonBufferFromMdl",
];

/// Bytes of the largest table that is known.
pub(crate) const LARGEST: u32 = 320;
/// Slots after the largest table: a driver that miscounts hits a trap, too.
const BEYOND: usize = 8;

/// Bytes that a table occupies, traps included.
pub(crate) const SPACE: u64 = LARGEST as u64 + 8 * BEYOND as u64;

/// The bytes of a table of that interface version.
pub(crate) const fn size_of_version(version: u32) -> u32 {
    match version {
        0 | 1 => 104,
        2 => 128,
        _ => LARGEST,
    }
}

/// What a slot leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The member itself.
    Member,
    /// Nothing: the table is long enough, but the slot is null.
    Null,
    /// A trap: the adapter's table ends before this slot.
    BeyondSize,
    /// A trap: the adapter was released.
    Released,
}

/// The address that slot number `index` (from 0, at offset 8) holds.
pub(crate) fn entry(index: usize, slot: Slot) -> u64 {
    if slot == Slot::Null {
        return 0;
    }
    let name = names(index, slot);
    table()
        .routine(name)
        .map_or(0, |routine| nt_image::stub(routine) as u64)
}

/// The name of the member in slot number `index`.
pub(crate) fn member(index: usize) -> Option<&'static str> {
    MEMBERS.get(index).copied()
}

/// Number of slots, those beyond the largest table included.
pub(crate) const fn slots() -> usize {
    MEMBERS.len() + BEYOND
}

fn names(index: usize, slot: Slot) -> &'static str {
    static NAMES: OnceLock<Vec<[&'static str; 2]>> = OnceLock::new();
    let traps = NAMES.get_or_init(|| {
        let name = |index: usize| {
            let offset = 8 * index + 8;
            MEMBERS
                .get(index)
                .map_or_else(|| format!("slot {offset}"), ToString::to_string)
        };
        // Call stubs keep the names of routines for as long as any image lives.
        let kept = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        let both = |index| {
            let name = name(index);
            [
                kept(format!("{name} (beyond the table)")),
                kept(format!("{name} (released)")),
            ]
        };
        (0..slots()).map(both).collect()
    });
    match (slot, MEMBERS.get(index)) {
        (Slot::Member, Some(name)) => name,
        (Slot::Member | Slot::Null | Slot::BeyondSize, _) => traps[index][0],
        (Slot::Released, _) => traps[index][1],
    }
}

extern "win64" fn beyond_size() -> u64 {
    let name = nt_image::current_routine().map_or("", |routine| routine.name);
    current().bug_check(
        "V180",
        "E6/0x18",
        format!("{name}: compare DMA_OPERATIONS.Size first"),
    )
}

extern "win64" fn released() -> u64 {
    let name = nt_image::current_routine().map_or("", |routine| routine.name);
    current().bug_check("V164", "E6/0x18", format!("{name}: the adapter was put"))
}

/// All routines behind slots, traps included.
pub(crate) fn exports() -> Vec<Export> {
    let modules = [
        adapter::EXPORTS,
        buffers::EXPORTS,
        vectors::EXPORTS,
        lists::EXPORTS,
        lists_ex::EXPORTS,
        contexts::EXPORTS,
        info::EXPORTS,
        channels::EXPORTS,
        mapping::EXPORTS,
        domains::EXPORTS,
        list_mdls::EXPORTS,
    ];
    let mut all = modules.concat();
    let trap = |name: &'static str, function: *const ()| {
        let (irql, rule, code) = (IrqlRule::Any, "V161", "E6/0x13");
        Export {
            name,
            function,
            irql,
            rule,
            code,
        }
    };
    for index in 0..slots() {
        all.push(trap(
            names(index, Slot::BeyondSize),
            beyond_size as *const (),
        ));
        all.push(trap(names(index, Slot::Released), released as *const ()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_simulated() {
        let all = exports();
        let missing = MEMBERS
            .iter()
            .filter(|name| !all.iter().any(|export| export.name == **name));
        assert_eq!(missing.count(), 0);
    }

    #[test]
    fn members_are_as_many_as_the_largest_table_has() {
        assert_eq!(8 + 8 * MEMBERS.len() as u32, LARGEST);
    }

    #[test]
    fn member_before_the_end_of_version_1_is_the_last_of_it() {
        let offset = |name| 8 + 8 * MEMBERS.iter().position(|member| *member == name).unwrap();
        assert_eq!(offset("PutScatterGatherList") + 8, 104);
        assert_eq!(offset("BuildMdlFromScatterGatherList") + 8, 128);
        assert_eq!(offset("CancelMappedTransfer") + 8, 232);
        assert_eq!(offset("GetDmaDomain") + 8, 272);
        assert_eq!(offset("AllocateCommonBufferWithBounds") + 8, 280);
        assert_eq!(offset("FreeCommonBufferVector") + 8, 312);
    }
}
