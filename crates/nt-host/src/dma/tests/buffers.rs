//! Common buffers, vectors of them, and those over memory of the driver's own.

use super::*;

#[test]
fn device_and_processor_share_a_buffer_until_it_is_freed() {
    let nic = Nic::plain();
    let (address, logical) = nic.allocate(3 * PAGE);
    assert!(logical + 3 * PAGE - 1 <= 0xFFFF_FFFF);
    assert_ne!(logical, nic.kernel.call("MmGetPhysicalAddress", &[address]));
    assert_eq!(access::read::<u8>(address), 0xCC, "contents are not zeroed");
    nic.device().write(logical + PAGE - 1, &[1, 2]).unwrap();
    assert_eq!(access::read::<u16>(address + PAGE - 1), 0x0201);
    nic.free(3 * PAGE, logical, address);
    nic.put();
    driver_unloaded(&nic.kernel.host);
    crate::memory::driver_unloaded(&nic.kernel.host);
    nic.kernel.assert_clean();
    let fault = nic.device().write(logical, &[1]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unmapped);
    assert_eq!(nic.rules(), ["V181"]);
}

#[test]
fn device_that_is_given_the_physical_address_is_v182() {
    let nic = Nic::plain();
    let (address, _) = nic.allocate(PAGE);
    let physical = nic.kernel.call("MmGetPhysicalAddress", &[address]);
    let wide = BusMaster::new(Arc::clone(nic.device().domain()), 64);
    assert!(wide.write(physical, &[1]).is_err());
    assert_eq!(nic.rules(), ["V182"]);
}

#[test]
fn buffer_without_remapping_lies_within_reach_of_a_narrow_device() {
    for machine in [
        MachineConfig::default(),
        MachineConfig::without_low_memory(),
    ] {
        let dma = DmaConfig {
            address_bits: 28,
            remapping: false,
            ..config()
        };
        let nic = Nic::new(machine, dma);
        let (address, logical) = nic.allocate(16 * PAGE);
        assert!(logical + 16 * PAGE <= 1 << 28);
        assert_eq!(logical, nic.kernel.call("MmGetPhysicalAddress", &[address]));
        nic.free(16 * PAGE, logical, address);
        nic.put();
        nic.kernel.assert_clean();
    }
}

#[test]
fn buffer_freed_with_other_values_is_v146_and_stays() {
    let nic = Nic::plain();
    let (address, logical) = nic.allocate(PAGE);
    nic.free(2 * PAGE, logical, address);
    nic.free(PAGE, logical + PAGE, address);
    nic.kernel.call(
        "FreeCommonBuffer",
        &[nic.adapter, PAGE, logical, address, 0],
    );
    nic.free(PAGE, logical, address + PAGE);
    assert_eq!(nic.rules(), ["V146"; 4]);
    nic.device().write(logical, &[1]).unwrap();
}

#[test]
fn buffer_freed_twice_is_v146() {
    let nic = Nic::plain();
    let (address, logical) = nic.allocate(PAGE);
    nic.free(PAGE, logical, address);
    nic.free(PAGE, logical, address);
    assert_eq!(nic.rules(), ["V146"]);
}

#[test]
fn put_with_a_buffer_outstanding_is_v150_and_the_buffer_a_leak() {
    let nic = Nic::plain();
    nic.allocate(PAGE);
    nic.put();
    crate::memory::driver_unloaded(&nic.kernel.host);
    assert_eq!(nic.rules(), ["V150", "V132"]);
    assert_eq!(nic.kernel.host.report().leaks[0].kind, "common buffer");
}

#[test]
fn write_past_the_length_is_v158_at_free() {
    let nic = Nic::plain();
    let (address, logical) = nic.allocate(100);
    nic.device().write(logical + 100, &[1]).unwrap();
    nic.free(100, logical, address);
    assert_eq!(nic.rules(), ["V158"]);
}

#[test]
fn pool_routine_on_a_buffer_is_v129() {
    let nic = Nic::plain();
    let (address, _) = nic.allocate(PAGE);
    nic.kernel.call("MmFreeContiguousMemory", &[address]);
    assert_eq!(nic.rules(), ["V129"]);
}

#[test]
fn bounds_are_kept_and_no_room_is_null() {
    let nic = Nic::plain();
    let (low, high, cached) = (0x10_0000_u64, 0x10_1FFF_u64, 1_u32);
    let allocate = |logical: &mut u64| {
        let pointers = [&raw const low as u64, &raw const high as u64];
        let arguments = [
            nic.adapter,
            pointers[0],
            pointers[1],
            2 * PAGE,
            0,
            &raw const cached as u64,
            0x8000_0000,
            &raw mut *logical as u64,
        ];
        nic.kernel
            .call("AllocateCommonBufferWithBounds", &arguments)
    };
    let mut logical = 0;
    let address = allocate(&mut logical);
    assert_eq!(logical, low);
    assert_eq!(allocate(&mut 0), 0);
    nic.free(2 * PAGE, logical, address);
    nic.kernel.assert_clean();
}

#[test]
fn maximum_and_node_of_the_ex_allocator_are_kept() {
    let dma = DmaConfig {
        address_bits: 64,
        remapping: false,
        ..config()
    };
    let nic = Nic::new(MachineConfig::default(), dma);
    let (maximum, mut logical) = (u64::MAX, 0_u64);
    let arguments = [
        nic.adapter,
        &raw const maximum as u64,
        PAGE,
        &raw mut logical as u64,
        1,
        1,
    ];
    assert_ne!(nic.kernel.call("AllocateCommonBufferEx", &arguments), 0);
    assert_eq!(nic.kernel.host.machine().node_of(logical / PAGE), Some(1));
}

#[test]
fn fault_plan_makes_the_allocation_null() {
    let nic = Nic::plain();
    nic.kernel
        .host
        .faults()
        .fail_routine("AllocateCommonBuffer", 1);
    assert_eq!(nic.allocate(PAGE), (0, 0));
    nic.kernel.assert_clean();
}

#[test]
fn vector_has_separate_elements_that_go_away_with_it() {
    let nic = Nic::plain();
    let mut vector = 0_u64;
    let to = &raw mut vector as u64;
    let arguments = [
        nic.adapter,
        0,
        0xFFFF_FFFF,
        1,
        0x8000_0000,
        0,
        4,
        2 * PAGE,
        to,
    ];
    assert_eq!(
        nic.kernel.call32("AllocateCommonBufferVector", &arguments),
        0
    );
    let element = |index: u64| {
        let (mut address, mut logical) = (0_u64, 0_u64);
        let to = [&raw mut address as u64, &raw mut logical as u64];
        let arguments = [nic.adapter, vector, index, to[0], to[1]];
        nic.kernel
            .call("GetCommonBufferFromVectorByIndex", &arguments);
        (address, logical)
    };
    let (address, logical) = element(3);
    nic.device().write(logical, &[7]).unwrap();
    assert_eq!(access::read::<u8>(address), 7);
    nic.kernel
        .call("FreeCommonBufferFromVector", &[nic.adapter, vector, 1]);
    nic.kernel
        .call("FreeCommonBufferVector", &[nic.adapter, vector]);
    nic.put();
    crate::memory::driver_unloaded(&nic.kernel.host);
    nic.kernel.assert_clean();
}

#[test]
fn element_of_a_vector_that_is_not_there_is_v146() {
    let nic = Nic::plain();
    let (mut address, mut logical) = (0_u64, 0_u64);
    let to = [&raw mut address as u64, &raw mut logical as u64];
    let arguments = [nic.adapter, 0x1234, 0, to[0], to[1]];
    nic.kernel
        .call("GetCommonBufferFromVectorByIndex", &arguments);
    assert_eq!(nic.rules(), ["V146"]);
}

#[test]
fn buffer_over_an_mdl_shows_the_drivers_memory() {
    let nic = Nic::plain();
    let (base, mdl) = nic.kernel.described(2 * PAGE);
    let mut logical = 0_u64;
    let arguments = [nic.adapter, mdl, 0, 0, &raw mut logical as u64];
    assert_eq!(
        nic.kernel.call32("CreateCommonBufferFromMdl", &arguments),
        0
    );
    nic.device().write(logical + PAGE, &[5]).unwrap();
    assert_eq!(access::read::<u8>(base + PAGE), 5);
    nic.free(2 * PAGE, logical, base);
    assert!(nic.device().read(logical, &mut [0]).is_err());
    assert_eq!(access::read::<u8>(base + PAGE), 5, "the memory stays");
    assert_eq!(nic.rules(), ["V181"]);
}

#[test]
fn read_only_buffer_over_an_mdl_refuses_writes() {
    let nic = Nic::plain();
    let (_, mdl) = nic.kernel.described(PAGE);
    let mut logical = 0_u64;
    let mut entry = [0_u32; 10];
    entry[0] = 2;
    let to = &raw mut logical as u64;
    let arguments = [nic.adapter, mdl, entry.as_ptr() as u64, 1, to];
    assert_eq!(
        nic.kernel.call32("CreateCommonBufferFromMdl", &arguments),
        0
    );
    assert_eq!(
        nic.device().write(logical, &[5]).unwrap_err().kind,
        FaultKind::Write
    );
    nic.device().read(logical, &mut [0]).unwrap();
}
