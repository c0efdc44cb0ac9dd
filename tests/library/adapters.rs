//! Adapters that the library has to refuse, or to give back.

use nt_host::{DmaConfig, RegistryValue};

use crate::stage::{Stage, builder, call, interface};

#[test]
fn table_without_the_member_that_frees_buffers_is_given_back_for_an_older_one() {
    // `PutDmaAdapter` and `AllocateCommonBuffer`, and not `FreeCommonBuffer`.
    let stage = Stage::new(DmaConfig {
        table_size: 24,
        ..interface(3, true)
    });
    assert_eq!(stage.ask(call::ADAPTER, &[])[..2], [2, 128]);
    assert_eq!(stage.calls("PutDmaAdapter"), 1);
    stage.finish();
}

/// What a device with so many address bits gets from a system with this version.
fn width(interface_version: u32, bits: u32) -> Option<u64> {
    let dma = interface(interface_version, true);
    let setting = builder(dma).parameter("AddressWidth", RegistryValue::Dword(bits));
    Stage::try_on(setting).map(|stage| {
        let width = stage.ask(call::ADAPTER, &[])[3];
        stage.finish();
        width
    })
}

#[test]
fn device_with_few_address_bits_has_an_adapter_in_version_3() {
    assert_eq!(width(3, 20), Some(20));
}

#[test]
fn device_with_fewer_than_24_address_bits_has_no_adapter_in_older_versions() {
    assert_eq!(width(2, 23), None);
    assert_eq!(width(1, 20), None);
}

#[test]
fn device_with_bits_that_older_versions_cannot_name_is_said_to_have_fewer() {
    let told = [(24, 24), (31, 24), (32, 32), (36, 32), (63, 32), (64, 64)];
    for (bits, width) in told {
        assert_eq!(self::width(2, bits), Some(width), "{bits} bits");
    }
}

#[test]
fn device_without_address_bits_or_with_too_many_has_no_adapter() {
    assert_eq!(width(3, 0), None);
    assert_eq!(width(3, 65), None);
}
