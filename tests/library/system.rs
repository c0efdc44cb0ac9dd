//! Adapters of a channel of the system's DMA controller.

use nt_host::{DmaConfig, RegistryValue};

use crate::lists::{BUILD, BUILD_EX, GET, GET_EX};
use crate::stage::{
    DEVICE_BUSY, FROM_DEVICE, NOT_SUPPORTED, PAGE, Stage, TO_DEVICE, builder, call, device_read,
    device_write, elements, interface,
};

const CHANNEL: u32 = 5;
const NOT_IMPLEMENTED: u32 = 0xC000_0002;

/// A device that is no bus master: what plays it in the tests is the controller.
pub(crate) fn channel(interface_version: u32, remapping: bool) -> DmaConfig {
    DmaConfig {
        system_channel: Some(CHANNEL),
        ..interface(interface_version, remapping)
    }
}

fn slave(interface_version: u32, remapping: bool) -> Stage {
    Stage::new(channel(interface_version, remapping))
}

/// Maps a part of the buffer, whole: where it is.
fn map(stage: &Stage, offset: u64, length: u64, direction: u64) -> Vec<(u64, u64)> {
    let answer = stage.ask(call::MAP, &[offset, length, direction]);
    assert_eq!(answer[0], length);
    elements(&answer[1..])
}

fn moves_bytes(stage: &Stage, ask: u32) {
    let bytes = stage.pool_buffer(3 * PAGE);
    stage.ask(ask, &[3]);
    let places = map(stage, 10, 2 * PAGE, TO_DEVICE);
    assert_eq!(places.len(), 1, "a controller takes one fragment");
    assert_eq!(device_read(&stage.nic(), &places), bytes[10..10 + 8192]);
    stage.ask(call::FLUSH, &[]);
    let places = map(stage, 0, 3 * PAGE, FROM_DEVICE);
    device_write(&stage.nic(), &places, &[0x3C; 3 * 4096]);
    stage.ask(call::FLUSH, &[]);
    assert_eq!(stage.read(0, 3 * PAGE), [0x3C; 3 * 4096]);
    stage.ask(call::GIVE_BACK, &[]);
}

#[test]
fn transfer_through_a_channel_moves_bytes() {
    for (version, remapping) in [(1, true), (2, true), (3, true), (3, false)] {
        let stage = slave(version, remapping);
        moves_bytes(&stage, call::WAIT_FOR);
        assert_eq!(stage.calls("FreeAdapterChannel"), 1);
        assert_eq!(stage.calls("FreeMapRegisters"), 0);
        stage.finish();
    }
}

#[test]
fn transfer_through_a_channel_taken_at_once_moves_bytes() {
    for remapping in [true, false] {
        let stage = slave(3, remapping);
        moves_bytes(&stage, call::TAKE);
        assert_eq!(stage.calls("FreeAdapterObject"), 1);
        stage.finish();
    }
}

#[test]
fn channel_that_is_kept_is_busy_until_it_is_freed() {
    let stage = slave(3, true);
    stage.ask(call::WAIT_FOR, &[1]);
    for ask in [call::WAIT_FOR, call::TAKE] {
        assert_eq!(stage.try_ask(ask, &[1]), Err(DEVICE_BUSY));
    }
    stage.ask(call::GIVE_BACK, &[]);
    stage.ask(call::TAKE, &[1]);
    stage.finish();
}

#[test]
fn counter_tells_what_is_left() {
    for version in [1, 3] {
        let stage = slave(version, true);
        stage.pool_buffer(PAGE);
        stage.ask(call::WAIT_FOR, &[1]);
        let places = map(&stage, 0, 1000, FROM_DEVICE);
        let under_way = stage.device.begin_transfer(places[0].0);
        assert_eq!(stage.ask(call::REMAINING, &[]), [1000]);
        drop(under_way);
        assert_eq!(stage.ask(call::REMAINING, &[]), [0]);
        stage.finish();
    }
}

#[test]
fn adapter_of_a_channel_says_that_there_is_a_counter() {
    let stage = slave(3, true);
    assert_eq!(stage.ask(call::INFO, &[])[0], 1);
    stage.finish();
}

#[test]
fn function_of_the_controller_is_called() {
    let stage = slave(3, true);
    assert_eq!(stage.ask(call::CONFIGURE, &[1, 41]), [42]);
    assert_eq!(
        stage.try_ask(call::CONFIGURE, &[2, 41]),
        Err(NOT_IMPLEMENTED)
    );
    stage.finish();
}

#[test]
fn function_of_a_controller_is_not_offered_by_version_2() {
    let stage = slave(2, true);
    assert_eq!(stage.try_ask(call::CONFIGURE, &[1, 41]), Err(NOT_SUPPORTED));
    stage.finish();
}

#[test]
fn transfer_of_the_controller_is_cancelled_and_flushed() {
    let stage = slave(3, true);
    stage.pool_buffer(PAGE);
    stage.ask(call::TAKE, &[1]);
    let places = map(&stage, 0, PAGE, FROM_DEVICE);
    let under_way = stage.device.begin_transfer(places[0].0);
    stage.ask(call::CANCEL, &[]);
    stage.ask(call::FLUSH, &[]);
    drop(under_way);
    stage.finish();
}

#[test]
fn list_of_an_older_member_serves_the_controller() {
    for member in [GET, BUILD] {
        let stage = slave(3, true);
        let bytes = stage.pool_buffer(2 * PAGE);
        let list = elements(&stage.ask(call::LIST, &[0, 2 * PAGE, TO_DEVICE, member]));
        assert_eq!(device_read(&stage.nic(), &list), bytes);
        stage.ask(call::PUT, &[]);
        stage.finish();
    }
}

#[test]
fn lists_of_version_3_and_requests_that_wait_are_for_bus_masters() {
    let stage = slave(3, true);
    stage.pool_buffer(PAGE);
    for member in [GET_EX, BUILD_EX] {
        let refused = stage.try_ask(call::LIST, &[0, PAGE, TO_DEVICE, member]);
        assert_eq!(refused, Err(NOT_SUPPORTED));
    }
    assert_eq!(stage.try_ask(call::REQUEST, &[1]), Err(NOT_SUPPORTED));
    stage.finish();
}

#[test]
fn device_without_that_channel_has_no_adapter() {
    let setting = builder(interface(3, true));
    let dma_of_another = setting.parameter("SystemChannel", RegistryValue::Dword(CHANNEL));
    let host = dma_of_another.build().expect("a host");
    let image = sanproxy_tests::image::read(sanproxy_tests::image::TestImage::Library);
    let driver = host.load("library", &image).expect("the driver loads");
    let device = driver.add_device().expect("AddDevice succeeds");
    assert!(device.start().expect("START comes back").is_success());
    assert!(host.report().has("V177"));
    assert!(device.remove().expect("REMOVE comes back").is_success());
    driver.unload().expect("unloaded");
}
