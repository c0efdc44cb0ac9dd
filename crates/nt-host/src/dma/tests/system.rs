//! Channels of the system's DMA controller.

use super::*;

const CHANNEL: u32 = 5;

/// A device without an adapter yet, which transfers through a channel.
fn slave() -> Nic {
    let dma = DmaConfig {
        system_channel: Some(CHANNEL),
        ..config()
    };
    Nic::without_adapter(Kernel::with(MachineConfig::default(), dma))
}

/// Its description, with `Master` FALSE.
fn of_channel(version: u32, channel: u32) -> [u8; 64] {
    let mut bytes = description(version, 0);
    bytes[4] = 0;
    bytes[5] = 0;
    bytes[16..20].copy_from_slice(&channel.to_le_bytes());
    bytes
}

#[test]
fn channel_that_the_device_has_gets_an_adapter_in_every_version() {
    for version in 1..=3 {
        let mut nic = slave();
        nic.get(&of_channel(version, CHANNEL));
        assert_ne!(nic.adapter, 0, "version {version}");
        nic.put();
        nic.kernel.assert_clean();
    }
}

#[test]
fn channel_that_the_device_does_not_have_is_v177() {
    let mut nic = slave();
    nic.get(&of_channel(3, CHANNEL + 1));
    assert_eq!((nic.adapter, nic.rules()), (0, vec!["V177"]));
}

#[test]
fn channel_of_a_bus_master_is_v177() {
    let mut nic = Nic::without_adapter(Kernel::with(MachineConfig::default(), config()));
    nic.get(&of_channel(3, 0));
    assert_eq!((nic.adapter, nic.rules()), (0, vec!["V177"]));
}

#[test]
fn function_of_the_controller_adds_one_and_others_are_not_implemented() {
    let mut nic = slave();
    nic.get(&of_channel(3, CHANNEL));
    let mut number = 41_u32;
    let mut configure = |function: u64| {
        let at = &raw mut number as u64;
        nic.kernel
            .call("ConfigureAdapterChannel", &[nic.adapter, function, at])
    };
    assert_eq!(configure(1), 0);
    assert_eq!(configure(2), u64::from(NtStatus::NOT_IMPLEMENTED.0));
    assert_eq!(number, 42);
    nic.put();
    nic.kernel.assert_clean();
}
