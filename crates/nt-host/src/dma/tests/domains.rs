//! Domains that devices share.

use super::*;

/// Another device of the same system, with an adapter.
fn neighbour(nic: &Nic) -> Nic {
    let mut other = Nic::without_adapter(Kernel::on(&nic.kernel.host));
    other.get(&description(3, 32));
    assert_ne!(other.adapter, 0);
    other
}

fn handle(nic: &Nic) -> u64 {
    nic.kernel.call("GetDmaDomain", &[nic.adapter])
}

fn join(nic: &Nic, handle: u64) -> u32 {
    nic.kernel.call32("JoinDmaDomain", &[nic.adapter, handle])
}

fn leave(nic: &Nic) -> u32 {
    nic.kernel.call32("LeaveDmaDomain", &[nic.adapter])
}

fn allocate_in(nic: &Nic, handle: u64) -> (u32, u64, u64) {
    let (mut logical, mut address) = (0_u64, 0_u64);
    let to = [&raw mut logical as u64, &raw mut address as u64];
    let any_node = 0x8000_0000;
    let arguments = [nic.adapter, handle, 0, PAGE, 0, 0, any_node, to[0], to[1]];
    let status = nic.kernel.call32("AllocateDomainCommonBuffer", &arguments);
    (status, logical, address)
}

#[test]
fn buffer_of_a_domain_is_reached_by_all_devices_in_it() {
    let first = Nic::plain();
    let second = neighbour(&first);
    let domain = handle(&first);
    assert_ne!((domain, domain), (0, handle(&second)));
    let (status, logical, address) = allocate_in(&first, domain);
    assert_eq!(status, 0);
    assert!(
        second.device().write(logical, &[1]).is_err(),
        "not in it yet"
    );
    second.device().domain().take_faults();
    assert_eq!(join(&second, domain), 0);
    assert_eq!(handle(&second), domain);
    second.device().write(logical, &[7]).unwrap();
    assert_eq!(access::read::<u8>(address), 7);
    assert_eq!(leave(&second), 0);
    assert!(second.device().write(logical, &[1]).is_err());
    second.device().domain().take_faults();
    first.free(PAGE, logical, address);
    first.put();
    second.put();
    first.kernel.assert_clean();
}

#[test]
fn adapter_with_something_mapped_neither_joins_nor_leaves() {
    let first = Nic::plain();
    let second = neighbour(&first);
    let busy = NtStatus::INVALID_DEVICE_STATE.0;
    assert_eq!(leave(&second), busy, "it has not joined");
    let (address, logical) = second.allocate(PAGE);
    assert_eq!(join(&second, handle(&first)), busy);
    second.free(PAGE, logical, address);
    assert_eq!(join(&second, handle(&first)), 0);
    let (_, logical, address) = allocate_in(&second, handle(&first));
    assert_eq!(leave(&second), busy);
    second.free(PAGE, logical, address);
    second.put();
    first.put();
    first.kernel.assert_clean();
}

#[test]
fn handle_of_nothing_and_domain_of_another_are_refused() {
    let first = Nic::plain();
    let second = neighbour(&first);
    assert_eq!(join(&first, 0x1234), NtStatus::INVALID_HANDLE.0);
    assert_eq!(allocate_in(&first, 0x1234).0, NtStatus::INVALID_HANDLE.0);
    let foreign = allocate_in(&first, handle(&second)).0;
    assert_eq!(foreign, NtStatus::INVALID_PARAMETER.0);
    first.kernel.assert_clean();
}

#[test]
fn device_without_an_iommu_has_no_domain() {
    let dma = DmaConfig {
        remapping: false,
        ..config()
    };
    let nic = Nic::new(MachineConfig::default(), dma);
    assert_eq!(handle(&nic), 0);
    nic.kernel.assert_clean();
}
