//! Scatter/gather lists from each member that makes them.

use nt_host::DmaConfig;

use crate::stage::{
    FROM_DEVICE, INSUFFICIENT_RESOURCES, NOT_SUPPORTED, PAGE, Stage, TO_DEVICE, call, device_read,
    device_write, elements, interface, pattern, with_interfaces,
};

pub(crate) const GET: u64 = 0;
pub(crate) const BUILD: u64 = 1;
pub(crate) const GET_EX: u64 = 2;
pub(crate) const BUILD_EX: u64 = 3;

const NONE_MAPPED: u32 = 0xC000_0073;

/// A list for each direction: the device reads what the driver wrote, and the driver what the device wrote.
fn moves_bytes(dma: DmaConfig, member: u64, routine: &str) {
    let stage = Stage::new(dma);
    let bytes = stage.pool_buffer(5 * PAGE);
    let list = elements(&stage.ask(call::LIST, &[100, 15_000, TO_DEVICE, member]));
    assert_eq!(device_read(&stage.nic(), &list), bytes[100..15_100]);
    stage.ask(call::PUT, &[]);
    let list = elements(&stage.ask(call::LIST, &[PAGE + 1, 9_000, FROM_DEVICE, member]));
    let written: Vec<u8> = pattern(9_000).iter().map(|byte| !byte).collect();
    device_write(&stage.nic(), &list, &written);
    stage.ask(call::PUT, &[]);
    assert_eq!(stage.read(PAGE + 1, 9_000), written);
    assert_eq!(stage.read(0, PAGE + 1), bytes[..4097]);
    assert_eq!(stage.calls(routine), 2);
    stage.finish();
}

fn by_get(dma: DmaConfig) {
    moves_bytes(dma, GET, "GetScatterGatherList");
}

fn by_build(dma: DmaConfig) {
    moves_bytes(dma, BUILD, "BuildScatterGatherList");
}

fn by_get_ex(dma: DmaConfig) {
    moves_bytes(dma, GET_EX, "GetScatterGatherListEx");
}

fn by_build_ex(dma: DmaConfig) {
    moves_bytes(dma, BUILD_EX, "BuildScatterGatherListEx");
}

with_interfaces! {
    list_of_get_scatter_gather_list: super::super::by_get, version_1 = 1 version_2 = 2 version_3 = 3;
    list_of_build_scatter_gather_list: super::super::by_build, version_2 = 2 version_3 = 3;
    list_of_get_scatter_gather_list_ex: super::super::by_get_ex, version_3 = 3;
    list_of_build_scatter_gather_list_ex: super::super::by_build_ex, version_3 = 3;
}

#[test]
fn list_without_a_routine_frees_its_adapter_object() {
    let stage = Stage::new(interface(3, true));
    stage.pool_buffer(PAGE);
    stage.ask(call::LIST, &[0, PAGE, TO_DEVICE, BUILD_EX]);
    assert_eq!(stage.calls("FreeAdapterObject"), 1);
    assert_eq!(stage.calls("PutScatterGatherList"), 0);
    stage.ask(call::PUT, &[]);
    assert_eq!(stage.calls("PutScatterGatherList"), 1);
    stage.finish();
}

#[test]
fn member_that_the_table_does_not_have_is_not_supported() {
    let missing = [(1, BUILD), (1, GET_EX), (2, GET_EX), (2, BUILD_EX)];
    for (version, member) in missing {
        let stage = Stage::new(interface(version, true));
        stage.pool_buffer(PAGE);
        let refused = stage.try_ask(call::LIST, &[0, PAGE, TO_DEVICE, member]);
        assert_eq!(refused, Err(NOT_SUPPORTED), "{member} of version {version}");
        stage.finish();
    }
}

#[test]
fn member_within_the_version_but_past_the_size_is_not_supported() {
    // Ends before `BuildScatterGatherListEx`.
    let stage = Stage::new(DmaConfig {
        table_size: 200,
        ..interface(3, true)
    });
    stage.pool_buffer(PAGE);
    let refused = stage.try_ask(call::LIST, &[0, PAGE, TO_DEVICE, BUILD_EX]);
    assert_eq!(refused, Err(NOT_SUPPORTED));
    stage.ask(call::LIST, &[0, PAGE, TO_DEVICE, GET_EX]);
    stage.finish();
}

#[test]
fn list_of_a_process_memory_leads_to_it() {
    let stage = Stage::new(interface(3, true));
    let start = stage.process.allocate(3 * 4096).expect("memory");
    let bytes = pattern(2 * PAGE);
    stage.process.write(start + 8, &bytes).expect("its own");
    stage.ask(call::OF_PROCESS, &[start + 8, 2 * PAGE]);
    let list = elements(&stage.ask(call::LIST, &[10, 5_000, TO_DEVICE, BUILD_EX]));
    assert_eq!(device_read(&stage.nic(), &list), bytes[10..5_010]);
    stage.ask(call::PUT, &[]);
    stage.ask(call::FREE, &[]);
    stage.finish();
}

#[test]
fn list_of_contiguous_memory_has_one_element() {
    let stage = Stage::new(interface(3, true));
    let bytes = pattern(4 * PAGE);
    let range = [4 * PAGE, 0, u64::MAX, 0];
    stage
        .bytes(call::CONTIGUOUS, &range, &bytes)
        .expect("a buffer");
    let list = elements(&stage.ask(call::LIST, &[0, 4 * PAGE, TO_DEVICE, GET]));
    assert_eq!(list.len(), 1);
    assert_eq!(device_read(&stage.nic(), &list), bytes);
    stage.finish();
}

#[test]
fn list_longer_than_the_map_registers_is_refused_before_it_is_asked_for() {
    for member in [GET, BUILD, GET_EX, BUILD_EX] {
        let stage = Stage::new(DmaConfig {
            map_registers: 3,
            ..interface(3, false)
        });
        stage.pool_buffer(5 * PAGE);
        let refused = stage.try_ask(call::LIST, &[0, 4 * PAGE, TO_DEVICE, member]);
        assert_eq!(refused, Err(INSUFFICIENT_RESOURCES));
        stage.ask(call::LIST, &[0, 3 * PAGE, TO_DEVICE, member]);
        stage.finish();
    }
}

#[test]
fn lists_that_could_only_wait_for_each_other_are_refused() {
    for member in [GET, BUILD] {
        let stage = Stage::new(DmaConfig {
            map_registers: 4,
            ..interface(2, false)
        });
        stage.pool_buffer(5 * PAGE);
        stage.ask(call::LIST, &[0, 3 * PAGE, TO_DEVICE, member]);
        let second = [0, 2 * PAGE, TO_DEVICE, member];
        assert_eq!(
            stage.try_ask(call::SECOND_LIST, &second),
            Err(INSUFFICIENT_RESOURCES)
        );
        stage.ask(call::SECOND_LIST, &[0, PAGE, TO_DEVICE, member]);
        stage.ask(call::PUT, &[]);
        stage.ask(call::SECOND_LIST, &[0, 2 * PAGE, TO_DEVICE, member]);
        stage.finish();
    }
}

/// What the device uses is a copy exactly where it does not reach the buffer.
fn view(remapping: bool) -> u64 {
    let stage = Stage::new(interface(3, remapping));
    stage.pool_buffer(2 * PAGE);
    stage.ask(call::LIST, &[0, 2 * PAGE, TO_DEVICE, GET_EX]);
    let is_copy = stage.ask(call::VIEW, &[])[0];
    assert_eq!(stage.calls("BuildMdlFromScatterGatherList"), 1);
    stage.ask(call::PUT, &[]);
    stage.finish();
    is_copy
}

#[test]
fn list_with_an_iommu_leads_to_the_buffer_itself() {
    assert_eq!(view(true), 0);
}

#[test]
fn list_without_an_iommu_leads_to_a_copy_of_what_is_out_of_reach() {
    assert_eq!(view(false), 1);
}

#[test]
fn mdl_of_a_copy_is_made_once() {
    let stage = Stage::new(interface(3, false));
    stage.pool_buffer(PAGE);
    stage.ask(call::LIST, &[0, PAGE, TO_DEVICE, GET_EX]);
    stage.ask(call::VIEW, &[]);
    assert_eq!(stage.try_ask(call::VIEW, &[]), Err(NONE_MAPPED));
    stage.finish();
}

#[test]
fn mdl_of_a_list_is_not_offered_by_version_1() {
    let stage = Stage::new(interface(1, true));
    stage.pool_buffer(PAGE);
    stage.ask(call::LIST, &[0, PAGE, TO_DEVICE, GET]);
    assert_eq!(stage.try_ask(call::VIEW, &[]), Err(NOT_SUPPORTED));
    stage.finish();
}
