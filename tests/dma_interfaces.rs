//! The driver works with every version of the DMA interface, and without one.
//!
//! Cites dma.md sections 1-3; san.md: R09, R11; verifier-rules.md: V175, V177, V179, V180, V304.

use nt_host::DmaConfig;
use sanproxy_abi::{AddressKind, Error, Kind, Method};
use sanproxy_provider::RegisterOptions;
use sanproxy_tests::stage::Setting;

const MIB: u64 = 1 << 20;

/// Registers both kinds with this interface, moves bytes by DMA, and expects common buffers from `method`.
fn works_with(interface_version: u32, table_size: u32, remapping: bool, method: Method) {
    let dma = DmaConfig {
        interface_version,
        table_size,
        remapping,
        ..DmaConfig::default()
    };
    let stage = Setting::default()
        .dma(dma)
        .started()
        .expect("the device starts");
    let (process, provider) = stage.provider().expect("a provider");
    let nic = stage.device.bus_master();
    let offered = provider.capabilities().expect("capabilities");
    assert_eq!(offered.dma_version, Some(interface_version));
    assert_eq!(offered.dma_operations_size, table_size);
    assert_eq!(offered.common_buffer_method, method);
    for options in [
        RegisterOptions::common_buffer(2 * MIB),
        RegisterOptions::contiguous(2 * MIB),
    ] {
        let registration = provider
            .register(&options.low_memory().map())
            .expect("memory");
        assert_eq!(registration.address_kind(), AddressKind::Logical);
        nic.write(registration.device_address() + MIB, &[1, 2, 3])
            .expect("the NIC reaches it");
        let mut seen = [0; 3];
        registration.read_at(MIB, &mut seen).expect("mapped");
        assert_eq!(seen, [1, 2, 3]);
    }
    drop(provider);
    process.exit().expect("the process ends");
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

#[test]
fn version_1_without_remapping() {
    works_with(1, 104, false, Method::AllocateCommonBuffer);
}

#[test]
fn version_1_with_remapping() {
    works_with(1, 104, true, Method::AllocateCommonBuffer);
}

#[test]
fn version_2() {
    works_with(2, 128, true, Method::AllocateCommonBuffer);
}

#[test]
fn version_3_of_windows_8() {
    works_with(3, 232, true, Method::AllocateCommonBufferEx);
}

#[test]
fn version_3_of_windows_10() {
    works_with(3, 272, true, Method::AllocateCommonBufferEx);
}

#[test]
fn version_3_of_windows_10_1803() {
    works_with(3, 280, true, Method::AllocateCommonBufferWithBounds);
}

#[test]
fn version_3_of_windows_10_1903() {
    works_with(3, 312, true, Method::AllocateCommonBufferWithBounds);
}

#[test]
fn version_3_of_windows_11() {
    works_with(3, 320, true, Method::AllocateCommonBufferWithBounds);
}

#[test]
fn version_3_of_windows_11_without_remapping() {
    works_with(3, 320, false, Method::AllocateCommonBufferWithBounds);
}

#[test]
fn without_an_adapter_only_contiguous_memory_is_offered_and_its_addresses_are_physical() {
    let dma = DmaConfig {
        interface_version: 0,
        remapping: false,
        ..DmaConfig::default()
    };
    let stage = Setting::default()
        .dma(dma)
        .started()
        .expect("the device starts");
    let (process, provider) = stage.provider().expect("a provider");
    let offered = provider.capabilities().expect("capabilities");
    assert_eq!(offered.dma_version, None);
    assert!(!offered.kinds.contains(Kind::CommonBuffer));
    assert!(offered.kinds.contains(Kind::Contiguous));
    let refused = provider
        .register(&RegisterOptions::common_buffer(4096))
        .err()
        .expect("not offered");
    assert_eq!(refused.status(), Some(Error::KindNotOffered.status()));
    let registration = provider
        .register(&RegisterOptions::contiguous(MIB).map())
        .expect("memory");
    assert_eq!(registration.address_kind(), AddressKind::Physical);
    registration.write_at(0, &[9]).expect("mapped");
    let mut seen = [0];
    stage
        .host
        .machine()
        .read_physical(registration.device_address(), &mut seen)
        .expect("memory");
    assert_eq!(seen, [9]);
    drop((registration, provider));
    process.exit().expect("the process ends");
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}
