//! Transfers packet by packet: map registers, mappings, flushes.

use nt_host::DmaConfig;

use crate::stage::{
    DEVICE_BUSY, FROM_DEVICE, INSUFFICIENT_RESOURCES, INVALID_PARAMETER, NOT_SUPPORTED, PAGE,
    Stage, TO_DEVICE, call, device_read, device_write, elements, interface, pattern,
    with_interfaces,
};

/// Maps a part of the buffer: how many bytes are, and where.
fn map(stage: &Stage, offset: u64, length: u64, direction: u64) -> (u64, Vec<(u64, u64)>) {
    let answer = stage.ask(call::MAP, &[offset, length, direction]);
    (answer[0], elements(&answer[1..]))
}

/// The registers move bytes both ways, one transfer after the other.
fn moves_bytes(stage: &Stage) {
    let bytes = stage.read(0, 5 * PAGE);
    let (mapped, places) = map(stage, 100, 15_000, TO_DEVICE);
    assert_eq!(mapped, 15_000);
    assert_eq!(device_read(&stage.nic(), &places), bytes[100..15_100]);
    stage.ask(call::FLUSH, &[]);
    let (mapped, places) = map(stage, PAGE + 1, 9_000, FROM_DEVICE);
    assert_eq!(mapped, 9_000);
    let written: Vec<u8> = pattern(9_000).iter().map(|byte| !byte).collect();
    device_write(&stage.nic(), &places, &written);
    stage.ask(call::FLUSH, &[]);
    assert_eq!(stage.read(PAGE + 1, 9_000), written);
    assert_eq!(stage.read(0, PAGE + 1), bytes[..4097]);
}

fn called(stage: &Stage, routines: &[&str]) {
    for routine in routines {
        assert!(stage.calls(routine) > 0, "{routine} was not called");
    }
}

fn waited_for(dma: DmaConfig) {
    let stage = Stage::new(dma);
    stage.pool_buffer(5 * PAGE);
    stage.ask(call::WAIT_FOR, &[5]);
    moves_bytes(&stage);
    stage.ask(call::GIVE_BACK, &[]);
    called(
        &stage,
        &[
            "AllocateAdapterChannel",
            "MapTransfer",
            "FlushAdapterBuffers",
            "FreeMapRegisters",
        ],
    );
    stage.finish();
}

fn taken(dma: DmaConfig) {
    let stage = Stage::new(dma);
    stage.pool_buffer(5 * PAGE);
    stage.ask(call::TAKE, &[5]);
    moves_bytes(&stage);
    stage.ask(call::GIVE_BACK, &[]);
    called(
        &stage,
        &[
            "AllocateAdapterChannelEx",
            "MapTransferEx",
            "FlushAdapterBuffersEx",
            "FreeAdapterObject",
        ],
    );
    assert_eq!(stage.calls("FreeMapRegisters"), 0);
    stage.finish();
}

fn requested(dma: DmaConfig) {
    let stage = Stage::new(dma);
    stage.pool_buffer(5 * PAGE);
    stage.ask(call::REQUEST, &[5]);
    stage.ask(call::AWAIT_REQUEST, &[]);
    moves_bytes(&stage);
    stage.ask(call::GIVE_BACK, &[]);
    called(
        &stage,
        &[
            "AllocateAdapterChannelEx",
            "MapTransferEx",
            "FreeMapRegisters",
        ],
    );
    stage.finish();
}

/// A transfer that needs more registers than there are is made in several parts.
fn in_parts(dma: DmaConfig, ask: u32) {
    let stage = Stage::new(DmaConfig {
        map_registers: 2,
        ..dma
    });
    let bytes = stage.pool_buffer(5 * PAGE);
    stage.ask(ask, &[2]);
    let (mut done, mut parts) = (100, 0);
    while done < 5 * PAGE {
        let (mapped, places) = map(&stage, done, 5 * PAGE - done, TO_DEVICE);
        assert!(mapped > 0 && mapped <= 2 * PAGE, "{mapped}");
        let end = done + mapped;
        assert_eq!(
            device_read(&stage.nic(), &places),
            bytes[done as usize..end as usize]
        );
        stage.ask(call::FLUSH, &[]);
        (done, parts) = (end, parts + 1);
    }
    assert!(parts >= 3, "{parts}");
    stage.finish();
}

fn waited_for_in_parts(dma: DmaConfig) {
    in_parts(dma, call::WAIT_FOR);
}

fn taken_in_parts(dma: DmaConfig) {
    in_parts(dma, call::TAKE);
}

/// What the device wrote is in the buffer once the mapping is dropped, and the registers are given back.
fn dropped(dma: DmaConfig, ask: u32) {
    let stage = Stage::new(dma);
    stage.pool_buffer(3 * PAGE);
    stage.ask(ask, &[3]);
    let (_, places) = map(&stage, 0, 3 * PAGE, FROM_DEVICE);
    let written = vec![0xA5; 3 * 4096];
    device_write(&stage.nic(), &places, &written);
    stage.ask(call::DROP_MAPPING, &[]);
    assert_eq!(stage.read(0, 3 * PAGE), written);
    stage.finish();
}

fn waited_for_and_dropped(dma: DmaConfig) {
    dropped(dma, call::WAIT_FOR);
}

fn taken_and_dropped(dma: DmaConfig) {
    dropped(dma, call::TAKE);
}

with_interfaces! {
    transfer_with_registers_waited_for: super::super::waited_for, version_1 = 1 version_2 = 2 version_3 = 3;
    transfer_with_registers_taken: super::super::taken, version_3 = 3;
    transfer_with_registers_requested: super::super::requested, version_3 = 3;
    transfer_in_parts: super::super::waited_for_in_parts, version_1 = 1 version_2 = 2 version_3 = 3;
    transfer_ex_in_parts: super::super::taken_in_parts, version_3 = 3;
    mapping_dropped: super::super::waited_for_and_dropped, version_1 = 1 version_3 = 3;
    mapping_ex_dropped: super::super::taken_and_dropped, version_3 = 3;
}

#[test]
fn buffer_and_registers_freed_while_mapped_stay_until_the_flush() {
    let stage = Stage::new(interface(3, true));
    let bytes = stage.pool_buffer(2 * PAGE);
    stage.ask(call::TAKE, &[2]);
    let (_, places) = map(&stage, 0, 2 * PAGE, TO_DEVICE);
    // The request forgets its owner of the buffer; the mapping has one of its own.
    stage.ask(call::FREE, &[]);
    assert_eq!(device_read(&stage.nic(), &places), bytes);
    stage.ask(call::FLUSH, &[]);
    stage.finish();
}

#[test]
fn registers_without_the_adapter_object_are_freed_as_such() {
    let stage = Stage::new(interface(3, true));
    stage.pool_buffer(5 * PAGE);
    stage.ask(call::TAKE, &[5]);
    stage.ask(call::WITHOUT_OBJECT, &[]);
    moves_bytes(&stage);
    stage.ask(call::GIVE_BACK, &[]);
    assert_eq!(stage.calls("FreeMapRegisters"), 1);
    assert_eq!(stage.calls("FreeAdapterObject"), 1);
    stage.finish();
}

#[test]
fn second_request_while_the_adapter_object_is_held_is_busy() {
    let stage = Stage::new(interface(3, true));
    stage.ask(call::TAKE, &[1]);
    assert_eq!(stage.try_ask(call::WAIT_FOR, &[1]), Err(DEVICE_BUSY));
    stage.ask(call::WITHOUT_OBJECT, &[]);
    stage.ask(call::WAIT_FOR, &[1]);
    stage.finish();
}

#[test]
fn more_registers_than_there_are_are_asked_of_nobody() {
    for ask in [call::WAIT_FOR, call::TAKE, call::REQUEST] {
        let stage = Stage::new(DmaConfig {
            map_registers: 4,
            ..interface(3, true)
        });
        for count in [0, 5, u64::from(u32::MAX)] {
            assert_eq!(stage.try_ask(ask, &[count]), Err(INSUFFICIENT_RESOURCES));
        }
        assert_eq!(stage.try_ask(ask, &[1 << 32]), Err(INVALID_PARAMETER));
        stage.ask(ask, &[4]);
        stage.finish();
    }
}

#[test]
fn registers_beside_those_held_are_no_more_than_there_are() {
    let stage = Stage::new(DmaConfig {
        map_registers: 4,
        ..interface(3, true)
    });
    stage.ask(call::WAIT_FOR, &[3]);
    for ask in [call::WAIT_FOR, call::TAKE, call::REQUEST] {
        assert_eq!(stage.try_ask(ask, &[2]), Err(INSUFFICIENT_RESOURCES));
    }
    stage.ask(call::GIVE_BACK, &[]);
    stage.ask(call::TAKE, &[4]);
    stage.finish();
}

#[test]
fn registers_of_version_3_are_not_offered_by_older_tables() {
    let stage = Stage::new(interface(2, true));
    assert_eq!(stage.try_ask(call::TAKE, &[1]), Err(NOT_SUPPORTED));
    assert_eq!(stage.try_ask(call::REQUEST, &[1]), Err(NOT_SUPPORTED));
    stage.finish();
}

#[test]
fn range_that_the_buffer_does_not_have_leaves_the_registers() {
    let stage = Stage::new(interface(3, true));
    stage.pool_buffer(PAGE);
    stage.ask(call::TAKE, &[1]);
    let refused = stage.try_ask(call::MAP, &[1, PAGE, TO_DEVICE]);
    assert_eq!(refused, Err(INVALID_PARAMETER));
    assert_eq!(map(&stage, 0, PAGE, TO_DEVICE).0, PAGE);
    stage.finish();
}

#[test]
fn transfer_under_way_is_flushed_early_once_it_is_cancelled() {
    let stage = Stage::new(interface(3, true));
    stage.pool_buffer(PAGE);
    stage.ask(call::TAKE, &[1]);
    let (_, places) = map(&stage, 0, PAGE, FROM_DEVICE);
    let under_way = stage.device.begin_transfer(places[0].0);
    stage.ask(call::CANCEL, &[]);
    stage.ask(call::FLUSH, &[]);
    drop(under_way);
    assert_eq!(stage.calls("CancelMappedTransfer"), 1);
    stage.finish();
}

#[test]
fn transfer_of_registers_waited_for_has_no_context_to_cancel() {
    let stage = Stage::new(interface(3, true));
    stage.pool_buffer(PAGE);
    stage.ask(call::WAIT_FOR, &[1]);
    map(&stage, 0, PAGE, FROM_DEVICE);
    assert_eq!(stage.try_ask(call::CANCEL, &[]), Err(NOT_SUPPORTED));
    stage.finish();
}

#[test]
fn counter_of_a_controller_is_not_for_a_bus_master() {
    let stage = Stage::new(interface(3, true));
    stage.pool_buffer(PAGE);
    stage.ask(call::WAIT_FOR, &[1]);
    map(&stage, 0, PAGE, FROM_DEVICE);
    assert_eq!(stage.try_ask(call::REMAINING, &[]), Err(NOT_SUPPORTED));
    assert_eq!(stage.calls("ReadDmaCounter"), 0);
    stage.finish();
}

/// A machine whose caches have to be flushed by hand.
fn incoherent() -> DmaConfig {
    DmaConfig {
        coherent: false,
        ..interface(3, true)
    }
}

#[test]
fn device_sees_what_the_processor_wrote_after_the_mapping_once_it_is_flushed() {
    let stage = Stage::new(incoherent());
    stage.pool_buffer(PAGE);
    stage.ask(call::TAKE, &[1]);
    let (_, places) = map(&stage, 0, PAGE, TO_DEVICE);
    stage
        .bytes(call::WRITE, &[10], &[0xEE; 20])
        .expect("written");
    stage.ask(call::SYNCHRONISE, &[TO_DEVICE]);
    assert_eq!(device_read(&stage.nic(), &places)[10..30], [0xEE; 20]);
    stage.ask(call::FLUSH, &[]);
    assert_eq!(stage.calls("FlushDmaBuffer"), 1);
    stage.finish();
}

#[test]
fn processor_sees_what_the_device_wrote_once_it_is_flushed() {
    let stage = Stage::new(incoherent());
    stage.pool_buffer(PAGE);
    stage.ask(call::TAKE, &[1]);
    let (_, places) = map(&stage, 0, PAGE, FROM_DEVICE);
    device_write(&stage.nic(), &places, &[0x77; 4096]);
    stage.ask(call::SYNCHRONISE, &[FROM_DEVICE]);
    assert_eq!(stage.read(0, PAGE), [0x77; 4096]);
    stage.finish();
}

#[test]
fn both_sides_of_a_list_see_what_the_other_wrote_once_it_is_flushed() {
    for member in 0..4 {
        let stage = Stage::new(incoherent());
        stage.pool_buffer(PAGE);
        let list = elements(&stage.ask(call::LIST, &[0, PAGE, FROM_DEVICE, member]));
        stage
            .bytes(call::WRITE, &[10], &[0xEE; 20])
            .expect("written");
        stage.ask(call::SYNCHRONISE, &[TO_DEVICE]);
        assert_eq!(device_read(&stage.nic(), &list)[10..30], [0xEE; 20]);
        device_write(&stage.nic(), &list, &[0x77; 4096]);
        stage.ask(call::SYNCHRONISE, &[FROM_DEVICE]);
        assert_eq!(stage.read(0, PAGE), [0x77; 4096]);
        stage.ask(call::PUT, &[]);
        stage.finish();
    }
}

#[test]
fn flush_of_a_buffer_is_not_offered_by_the_table_of_windows_8() {
    let stage = Stage::new(DmaConfig {
        table_size: 232,
        ..interface(3, true)
    });
    stage.pool_buffer(PAGE);
    stage.ask(call::TAKE, &[1]);
    map(&stage, 0, PAGE, TO_DEVICE);
    assert_eq!(
        stage.try_ask(call::SYNCHRONISE, &[TO_DEVICE]),
        Err(NOT_SUPPORTED)
    );
    stage.finish();
}
