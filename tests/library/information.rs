//! What adapters tell.

use crate::stage::{INVALID_PARAMETER, NOT_SUPPORTED, PAGE, Stage, TO_DEVICE, call, interface};

#[test]
fn adapter_is_the_newest_that_the_system_has() {
    for (version, size) in [(1, 104), (2, 128), (3, 320)] {
        let stage = Stage::new(interface(version, true));
        // A mebibyte, and a page more because it may begin inside of one.
        let told = [u64::from(version), size, 257, 32, 1];
        assert_eq!(stage.ask(call::ADAPTER, &[]), told);
        stage.finish();
    }
}

#[test]
fn adapter_without_an_iommu_does_not_translate() {
    let stage = Stage::new(interface(3, false));
    assert_eq!(stage.ask(call::ADAPTER, &[])[4], 0);
    stage.finish();
}

#[test]
fn alignment_is_told_by_every_version() {
    for version in [1, 2, 3] {
        let stage = Stage::new(interface(version, true));
        let alignment = stage.ask(call::ALIGNMENT, &[])[0];
        assert!(alignment.is_power_of_two(), "{alignment}");
        assert_eq!(stage.calls("GetDmaAlignment"), 1);
        stage.finish();
    }
}

#[test]
fn hardware_is_told_by_version_3() {
    let stage = Stage::new(interface(3, true));
    let info = stage.ask(call::INFO, &[]);
    assert_eq!((info[0], info[1], info[2]), (0, u64::from(u32::MAX), 32));
    stage.finish();
}

#[test]
fn hardware_is_not_told_by_version_2() {
    let stage = Stage::new(interface(2, true));
    assert_eq!(stage.try_ask(call::INFO, &[]), Err(NOT_SUPPORTED));
    stage.finish();
}

#[test]
fn transfer_is_described_by_version_3() {
    let stage = Stage::new(interface(3, true));
    stage.pool_buffer(4 * PAGE);
    let info = stage.ask(call::TRANSFER_INFO, &[PAGE - 1, PAGE + 2, TO_DEVICE]);
    assert_eq!(info[0], 3, "map registers of three pages");
    assert!(info[1] <= 3 && info[2] >= 16 + 24 * info[1], "{info:?}");
    assert_eq!(info[3], 3, "logical pages");
    stage.finish();
}

#[test]
fn transfer_is_not_described_by_version_2() {
    let stage = Stage::new(interface(2, true));
    stage.pool_buffer(PAGE);
    let refused = stage.try_ask(call::TRANSFER_INFO, &[0, PAGE, TO_DEVICE]);
    assert_eq!(refused, Err(NOT_SUPPORTED));
    stage.finish();
}

#[test]
fn size_of_a_list_is_told_by_version_2() {
    let stage = Stage::new(interface(2, true));
    stage.pool_buffer(4 * PAGE);
    let size = stage.ask(call::LIST_SIZE, &[1, 2 * PAGE]);
    assert!(size[0] >= 16 + 24, "{size:?}");
    assert_eq!(size[1], 3);
    stage.finish();
}

#[test]
fn size_of_a_list_is_not_told_by_version_1() {
    let stage = Stage::new(interface(1, true));
    stage.pool_buffer(PAGE);
    assert_eq!(
        stage.try_ask(call::LIST_SIZE, &[0, PAGE]),
        Err(NOT_SUPPORTED)
    );
    stage.finish();
}

#[test]
fn range_that_the_buffer_does_not_have_is_asked_of_nobody() {
    let stage = Stage::new(interface(3, true));
    stage.pool_buffer(PAGE);
    for (offset, length) in [(0, PAGE + 1), (PAGE, 1), (0, 0), (1, PAGE), (u64::MAX, 2)] {
        let refused = stage.try_ask(call::LIST_SIZE, &[offset, length]);
        assert_eq!(
            refused,
            Err(INVALID_PARAMETER),
            "{length} bytes from {offset}"
        );
    }
    assert_eq!(stage.calls("CalculateScatterGatherList"), 0);
    stage.finish();
}

#[test]
fn functions_of_a_controller_are_not_for_a_bus_master() {
    let stage = Stage::new(interface(3, true));
    assert_eq!(stage.try_ask(call::CONFIGURE, &[1]), Err(NOT_SUPPORTED));
    assert_eq!(stage.calls("ConfigureAdapterChannel"), 0);
    stage.finish();
}
