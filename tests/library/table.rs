//! The table in `docs/dma-operations.md` names every member, and for each a test that exists.

use std::{fs, path::PathBuf};

/// The members of `DMA_OPERATIONS`, in their order.
pub(crate) const MEMBERS: [&str; 39] = [
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

fn read(path: &str) -> String {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let path = root.join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of each row of the table.
fn rows() -> Vec<Vec<String>> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    let text = read("docs/dma-operations.md");
    text.lines()
        .filter(|line| line.starts_with("| `"))
        .map(cells)
        .collect()
}

#[test]
fn every_member_has_a_row_in_the_order_of_the_table() {
    let named: Vec<String> = rows().iter().map(|row| row[1].replace('`', "")).collect();
    assert_eq!(named, MEMBERS);
}

#[test]
fn every_test_that_a_row_names_exists() {
    for row in rows() {
        let (_, rest) = row[6].split_once('`').expect("a test is named");
        let name = rest.trim_end_matches('`');
        let (module, test) = name.split_once("::").expect("module::test");
        let text = read(&format!("tests/library/{module}.rs"));
        let exists = [format!("fn {test}("), format!("    {test}: ")];
        assert!(
            exists.iter().any(|text_of| text.contains(text_of)),
            "{name}"
        );
    }
}
