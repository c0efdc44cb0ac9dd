//! Adapters: what a description has to say, the table, the end.

use super::*;

#[test]
fn table_of_version_3_covers_its_size_and_traps_beyond() {
    let dma = DmaConfig {
        table_size: 280,
        ..config()
    };
    let nic = Nic::new(MachineConfig::default(), dma);
    assert_eq!(access::read::<u16>(nic.adapter), 1, "Version is always 1");
    let operations = nic.operations();
    assert_eq!(access::read::<u32>(operations), 280);
    assert_eq!(
        access::read::<u64>(operations + 272),
        entry(33, Slot::Member)
    );
    assert_eq!(
        access::read::<u64>(operations + 280),
        entry(34, Slot::BeyondSize)
    );
    assert_eq!(nic.registers, 257);
}

#[test]
fn version_above_the_systems_is_null_without_complaint() {
    let dma = DmaConfig {
        interface_version: 2,
        ..config()
    };
    let mut nic = Nic::without_adapter(Kernel::with(MachineConfig::default(), dma));
    nic.get(&description(3, 32));
    assert_eq!(nic.adapter, 0);
    nic.get(&description(2, 32));
    assert_eq!(access::read::<u32>(nic.operations()), 128);
    nic.kernel.assert_clean();
}

#[test]
fn stack_without_adapters_gives_null() {
    let dma = DmaConfig {
        interface_version: 0,
        ..config()
    };
    let mut nic = Nic::without_adapter(Kernel::with(MachineConfig::default(), dma));
    nic.get(&description(1, 32));
    assert_eq!(nic.adapter, 0);
    nic.kernel.assert_clean();
}

#[test]
fn unknown_description_version_is_v175() {
    let mut nic = Nic::without_adapter(Kernel::new());
    nic.get(&description(4, 32));
    assert_eq!((nic.adapter, nic.rules()), (0, vec!["V175"]));
}

#[test]
fn description_that_was_not_zeroed_is_v177() {
    let mut nic = Nic::without_adapter(Kernel::new());
    let mut bytes = description(3, 32);
    bytes[10] = 0xCC;
    nic.get(&bytes);
    assert_eq!((nic.adapter, nic.rules()), (0, vec!["V177"]));
}

#[test]
fn description_of_version_3_without_width_is_v177() {
    let mut nic = Nic::without_adapter(Kernel::new());
    nic.get(&description(3, 0));
    assert_eq!((nic.adapter, nic.rules()), (0, vec!["V177"]));
}

#[test]
fn adapter_for_something_else_than_a_pdo_is_v178() {
    let mut nic = Nic::without_adapter(Kernel::new());
    nic.pdo += 8;
    nic.get(&description(3, 32));
    assert_eq!(nic.rules(), ["V178"]);
}

#[test]
fn adapter_kept_over_stop_is_v179_and_at_unload_v132() {
    let nic = Nic::plain();
    pnp_completed(&nic.kernel.host, nic.pdo, 4);
    driver_unloaded(&nic.kernel.host);
    assert_eq!(nic.rules(), ["V179", "V132"]);
    assert_eq!(nic.kernel.host.report().leaks[0].kind, "DMA adapter");
}

#[test]
fn use_after_put_is_v164_and_the_table_traps() {
    let nic = Nic::plain();
    nic.put();
    assert_eq!(
        access::read::<u64>(nic.operations() + 16),
        entry(1, Slot::Released)
    );
    assert_eq!(nic.allocate(PAGE), (0, 0));
    nic.put();
    assert_eq!(nic.rules(), ["V164", "V164"]);
}

#[test]
fn call_beyond_the_size_stops_the_driver_as_v180() {
    let dma = DmaConfig {
        table_size: 232,
        ..config()
    };
    let nic = Nic::new(MachineConfig::default(), dma);
    let slot: u64 = access::read(nic.operations() + 272);
    let result = nic
        .kernel
        .host
        .call_driver(crate::call::Entry::Callback, "test", slot, &[0]);
    assert!(result.is_err() && nic.kernel.host.is_dead());
    assert_eq!(nic.rules(), ["V180"]);
}

#[test]
fn null_adapter_is_v165() {
    let nic = Nic::plain();
    nic.kernel.call("GetDmaAlignment", &[0]);
    assert_eq!(nic.rules(), ["V165"]);
}

#[test]
fn info_tells_the_width_and_refuses_other_versions() {
    let nic = Nic::plain();
    let mut info = [0_u32; 6];
    let arguments = [nic.adapter, info.as_mut_ptr() as u64];
    assert_eq!(
        nic.kernel.call32("GetDmaAdapterInfo", &arguments),
        NtStatus::NOT_SUPPORTED.0
    );
    info[0] = 1;
    let arguments = [nic.adapter, info.as_mut_ptr() as u64];
    assert_eq!(nic.kernel.call32("GetDmaAdapterInfo", &arguments), 0);
    assert_eq!(info, [1, 0, u32::MAX, 32, 0, 1]);
    assert_eq!(nic.kernel.call32("GetDmaAlignment", &[nic.adapter]), 1);
}
