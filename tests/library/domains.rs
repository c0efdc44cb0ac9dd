//! DMA domains: devices that see the same addresses.

use nt_host::DmaConfig;

use crate::stage::{NOT_SUPPORTED, PAGE, Stage, call, interface, send};

const NOT_FOUND: u32 = 0xC000_0225;

#[test]
fn buffer_in_the_own_domain_is_reached() {
    let stage = Stage::new(interface(3, true));
    stage.ask(call::DOMAIN, &[]);
    let address = stage.ask(call::DOMAIN_BUFFER, &[2 * PAGE, 0, u64::MAX])[0];
    let mut seen = [1; 32];
    stage
        .nic()
        .read(address + PAGE, &mut seen)
        .expect("reached");
    assert_eq!(seen, [0; 32]);
    stage.ask(call::FREE_COMMON, &[]);
    assert_eq!(stage.calls("AllocateDomainCommonBuffer"), 1);
    assert!(stage.calls("GetDmaDomain") > 0);
    stage.finish();
}

#[test]
fn buffer_in_a_domain_keeps_below_its_bound() {
    let stage = Stage::new(interface(3, true));
    stage.ask(call::DOMAIN, &[]);
    let highest = 0x0FFF_FFFF;
    let address = stage.ask(call::DOMAIN_BUFFER, &[PAGE, 0, highest])[0];
    assert!(address + PAGE - 1 <= highest, "{address:#x}");
    stage.finish();
}

#[test]
fn device_that_joined_a_domain_reaches_its_buffers() {
    let stage = Stage::new(interface(3, true));
    stage.ask(call::DOMAIN, &[]);
    stage.ask(call::PUBLISH, &[]);
    let address = stage.ask(call::DOMAIN_BUFFER, &[PAGE, 0, u64::MAX])[0];
    stage.nic().write(address, &[5; 16]).expect("its own");

    let other = stage.second_device();
    let ask = |call, numbers: &[u64]| send(&other.file, call, numbers, &[]);
    ask(call::JOIN, &[]).expect("joined");
    let mut seen = [0; 16];
    let nic = other.device.bus_master();
    nic.read(address, &mut seen).expect("the domain's");
    assert_eq!(seen, [5; 16]);
    let bytes = ask(call::DOMAIN_BUFFER, &[PAGE, 0, u64::MAX]).expect("a buffer");
    let shared = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    stage.nic().write(shared, &[9; 16]).expect("the domain's");
    nic.read(shared, &mut seen).expect("its own");
    assert_eq!(seen, [9; 16]);

    // Left when the buffer, which keeps the membership, is freed.
    ask(call::LEAVE, &[]).expect("forgotten");
    assert_eq!(stage.calls("LeaveDmaDomain"), 0);
    ask(call::FREE_COMMON, &[]).expect("freed");
    assert_eq!(stage.calls("LeaveDmaDomain"), 1);
    let own = other.device.bus_master();
    assert!(own.read(address, &mut seen).is_err());
    own.domain().take_faults();
    stage.ask(call::WITHDRAW, &[]);
    other.end();
    stage.finish();
}

#[test]
fn device_without_an_iommu_has_no_domain() {
    let stage = Stage::new(interface(3, false));
    assert_eq!(stage.try_ask(call::DOMAIN, &[]), Err(NOT_FOUND));
    stage.finish();
}

#[test]
fn table_of_windows_8_offers_no_domains() {
    let stage = Stage::new(DmaConfig {
        table_size: 232,
        ..interface(3, true)
    });
    assert_eq!(stage.try_ask(call::DOMAIN, &[]), Err(NOT_SUPPORTED));
    stage.finish();
}

#[test]
fn domain_that_was_forgotten_has_nothing_to_close() {
    let stage = Stage::new(interface(3, true));
    stage.ask(call::DOMAIN, &[]);
    stage.ask(call::FORGET_DOMAIN, &[]);
    stage.finish();
}
