//! Common buffers, vectors of them, memory of ours made one, and their bounds.

use nt_host::{DmaConfig, RegistryValue};

use crate::stage::{
    INSUFFICIENT_RESOURCES, PAGE, Stage, builder, call, interface, with_interfaces,
};

/// The lowest number that is negative for the kernel.
const NEGATIVE: u64 = 1 << 63;

/// The device finds zeroes, and what it has written.
fn holds_bytes(stage: &Stage, address: u64) {
    let nic = stage.nic();
    let mut seen = [1; 64];
    nic.read(address, &mut seen).expect("reached");
    assert_eq!(seen, [0; 64]);
    nic.write(address, &[7; 64]).expect("reached");
    nic.read(address, &mut seen).expect("reached");
    assert_eq!(seen, [7; 64]);
}

fn plain(dma: DmaConfig) {
    let stage = Stage::new(dma);
    let address = stage.ask(call::COMMON, &[3 * PAGE, 0, u64::MAX])[0];
    holds_bytes(&stage, address + 2 * PAGE);
    assert!(address + 3 * PAGE <= 1 << 32);
    stage.ask(call::FREE_COMMON, &[]);
    stage.finish();
}

with_interfaces! {
    common_buffer: super::super::plain, version_1 = 1 version_2 = 2 version_3 = 3;
}

/// Tables whose best routine is each of the three.
fn tables() -> [DmaConfig; 3] {
    let of_size = |table_size| DmaConfig {
        table_size,
        ..interface(3, true)
    };
    [interface(2, true), of_size(232), of_size(280)]
}

#[test]
fn upper_bound_that_the_kernel_cannot_name_bounds_nothing() {
    for dma in tables() {
        for highest in [NEGATIVE - 1, NEGATIVE, u64::MAX - 1, u64::MAX] {
            let stage = Stage::new(dma.clone());
            let address = stage.ask(call::COMMON, &[PAGE, 0, highest])[0];
            holds_bytes(&stage, address);
            stage.finish();
        }
    }
}

#[test]
fn lower_bound_that_the_kernel_cannot_name_is_met_by_no_buffer() {
    for dma in tables() {
        let stage = Stage::new(dma);
        for lowest in [NEGATIVE, u64::MAX] {
            let refused = stage.try_ask(call::COMMON, &[PAGE, lowest, u64::MAX]);
            assert_eq!(refused, Err(INSUFFICIENT_RESOURCES));
        }
        stage.finish();
    }
}

#[test]
fn bounds_in_the_wrong_order_are_met_by_no_buffer() {
    let stage = Stage::new(interface(3, true));
    for call in [call::COMMON, call::VECTOR] {
        let refused = stage.try_ask(call, &[PAGE, 0x2000, 0x1000, 1]);
        assert_eq!(refused, Err(INSUFFICIENT_RESOURCES));
    }
    stage.finish();
}

#[test]
fn bounds_of_a_vector_are_those_that_the_kernel_can_name() {
    let stage = Stage::new(interface(3, true));
    let refused = stage.try_ask(call::VECTOR, &[PAGE, NEGATIVE, u64::MAX, 2]);
    assert_eq!(refused, Err(INSUFFICIENT_RESOURCES));
    stage.ask(call::VECTOR, &[PAGE, 0, NEGATIVE, 2]);
    stage.finish();
}

#[test]
fn vector_is_given_back_element_by_element() {
    let stage = Stage::new(interface(3, true));
    stage.ask(call::VECTOR, &[2 * PAGE, 0, u64::MAX, 5]);
    assert_eq!(stage.ask(call::SHRINK, &[2]), [2]);
    assert_eq!(stage.calls("FreeCommonBufferFromVector"), 3);
    assert_eq!(stage.ask(call::SHRINK, &[2]), [2]);
    let places = stage.ask(call::LOCATE_VECTOR, &[]);
    assert_eq!(places.len(), 2);
    assert_eq!(stage.calls("FreeCommonBufferVector"), 1);
    stage.finish();
}

#[test]
fn vector_with_all_elements_given_back_is_given_back_itself() {
    let stage = Stage::new(interface(3, false));
    stage.ask(call::VECTOR, &[PAGE, 0, u64::MAX, 3]);
    assert_eq!(stage.ask(call::SHRINK, &[0]), [0]);
    stage.ask(call::FREE_VECTOR, &[]);
    assert_eq!(stage.calls("FreeCommonBufferFromVector"), 3);
    assert_eq!(stage.calls("FreeCommonBufferVector"), 1);
    stage.finish();
}

#[test]
fn vector_of_a_table_without_them_is_not_offered() {
    let stage = Stage::new(interface(2, true));
    let refused = stage.try_ask(call::VECTOR, &[PAGE, 0, u64::MAX, 3]);
    assert_eq!(refused, Err(INSUFFICIENT_RESOURCES));
    assert_eq!(stage.try_ask(call::SHRINK, &[0]), Err(0xC000_0008));
    stage.finish();
}

#[test]
fn block_of_ours_is_made_a_common_buffer() {
    let stage = Stage::new(interface(3, true));
    let address = stage.ask(call::SHARE, &[4 * PAGE, 0, u64::MAX])[0];
    holds_bytes(&stage, address);
    assert_eq!(stage.calls("CreateCommonBufferFromMdl"), 1);
    stage.ask(call::UNSHARE, &[]);
    stage.finish();
}

#[test]
fn block_of_ours_is_listed_where_the_table_is_older() {
    let dma = DmaConfig {
        address_bits: 64,
        ..interface(2, false)
    };
    let setting = builder(dma).parameter("AddressWidth", RegistryValue::Dword(64));
    let stage = Stage::on(setting);
    let address = stage.ask(call::SHARE, &[4 * PAGE, 0, u64::MAX])[0];
    holds_bytes(&stage, address + PAGE);
    assert_eq!(stage.calls("GetScatterGatherList"), 1);
    stage.ask(call::UNSHARE, &[]);
    stage.finish();
}

#[test]
fn block_that_would_have_to_be_copied_is_not_shared() {
    // The device has 32 address bits, and all memory lies above.
    let stage = Stage::new(interface(2, false));
    let refused = stage.try_ask(call::SHARE, &[PAGE, 0, u64::MAX]);
    assert_eq!(refused, Err(INSUFFICIENT_RESOURCES));
    stage.finish();
}
