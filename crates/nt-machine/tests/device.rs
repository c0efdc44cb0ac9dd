//! What a device can reach, and what it cannot.

#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    reason = "a test may fail loudly, and its arithmetic is small"
)]

use nt_machine::{
    BusMaster, FaultKind, FrameList, FrameRequest, IoDomain, IoRange, Machine, MachineConfig,
    MapError, PAGE_SIZE, Permissions,
};
use proptest::prelude::*;
use std::sync::Arc;

fn machine() -> Arc<Machine> {
    Machine::new(MachineConfig::default()).expect("a machine")
}

fn frames(machine: &Machine, count: u64) -> FrameList {
    machine
        .allocate_scattered(&FrameRequest::anywhere(count))
        .expect("frames")
}

fn kind(result: Result<(), nt_machine::IommuFault>) -> FaultKind {
    result.expect_err("a fault").kind
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn logical_ranges_never_overlap_and_stay_within_the_width(
        bits in prop_oneof![Just(28u32), Just(32), Just(36), Just(64)],
        steps in prop::collection::vec((1u64..300, any::<bool>()), 1..60),
        seed in any::<u64>(),
    ) {
        let machine = Machine::new(MachineConfig { fill: None, ..MachineConfig::default() }).expect("a machine");
        let domain = IoDomain::remapping(&machine, bits, seed);
        let mut live: Vec<(u64, u64)> = Vec::new();
        for (pages, unmap_one) in steps {
            let list = FrameList::from(machine.allocate(&FrameRequest::anywhere(pages)).expect("frames"));
            let at = domain.map(&list, IoRange::ANY, Permissions::READ_WRITE).expect("mapped");
            let end = at + pages * PAGE_SIZE;
            prop_assert!(end - 1 <= domain.highest());
            for (index, frame) in list.frames().enumerate() {
                prop_assert_ne!(at + index as u64 * PAGE_SIZE, frame * PAGE_SIZE);
            }
            for &(other, other_end) in &live {
                prop_assert!(end <= other || other_end <= at, "overlap");
            }
            live.push((at, end));
            if unmap_one {
                let (at, _) = live.swap_remove(0);
                prop_assert!(domain.unmap(at).is_ok());
            }
        }
        prop_assert_eq!(domain.live(), live.len());
    }
}

#[test]
fn device_write_is_seen_in_the_frames_in_order() {
    let machine = machine();
    let domain = IoDomain::remapping(&machine, 32, 7);
    let list = frames(&machine, 3);
    let at = domain
        .map(&list, IoRange::ANY, Permissions::READ_WRITE)
        .expect("mapped");
    let device = BusMaster::new(domain, 32);
    device
        .write(at + PAGE_SIZE - 2, &[1, 2, 3, 4])
        .expect("written");
    let mut bytes = [0; 2];
    machine
        .read_physical(list.get(1).expect("frame") * PAGE_SIZE, &mut bytes)
        .expect("read");
    assert_eq!(bytes, [3, 4]);
    let mut back = [0; 4];
    device.read(at + PAGE_SIZE - 2, &mut back).expect("read");
    assert_eq!(back, [1, 2, 3, 4]);
}

#[test]
fn device_write_that_ends_outside_moves_nothing_and_is_recorded() {
    let machine = machine();
    let domain = IoDomain::remapping(&machine, 32, 7);
    let list = frames(&machine, 1);
    let at = domain
        .map(&list, IoRange::ANY, Permissions::READ_WRITE)
        .expect("mapped");
    let device = BusMaster::new(Arc::clone(&domain), 32);
    let fault = device
        .write(at + PAGE_SIZE - 1, &[1, 2])
        .expect_err("a fault");
    assert_eq!(
        (fault.address, fault.kind),
        (at + PAGE_SIZE, FaultKind::NotMapped)
    );
    let mut byte = [0];
    machine
        .read_physical(list.get(0).expect("frame") * PAGE_SIZE + 4095, &mut byte)
        .expect("read");
    assert_eq!(byte, [0xCC]);
    assert_eq!(domain.take_faults(), [fault]);
}

#[test]
fn access_by_physical_address_faults_under_remapping() {
    let machine = machine();
    let domain = IoDomain::remapping(&machine, 64, 7);
    let list = frames(&machine, 1);
    domain
        .map(&list, IoRange::ANY, Permissions::READ_WRITE)
        .expect("mapped");
    let physical = list.get(0).expect("frame") * PAGE_SIZE;
    assert_eq!(
        kind(BusMaster::new(domain, 64).write(physical, &[1])),
        FaultKind::NotMapped
    );
}

#[test]
fn access_after_unmap_faults_as_unmapped() {
    let machine = machine();
    let domain = IoDomain::remapping(&machine, 32, 7);
    let at = domain
        .map(&frames(&machine, 1), IoRange::ANY, Permissions::READ_WRITE)
        .expect("mapped");
    domain.unmap(at).expect("unmapped");
    assert!(domain.unmap(at).is_err());
    assert_eq!(
        kind(BusMaster::new(domain, 32).write(at, &[1])),
        FaultKind::Unmapped
    );
}

#[test]
fn write_without_write_permission_faults_and_read_works() {
    let machine = machine();
    let domain = IoDomain::remapping(&machine, 32, 7);
    let read_only = Permissions {
        read: true,
        write: false,
    };
    let at = domain
        .map(&frames(&machine, 1), IoRange::ANY, read_only)
        .expect("mapped");
    let device = BusMaster::new(domain, 32);
    assert_eq!(kind(device.write(at, &[1])), FaultKind::Write);
    device.read(at, &mut [0]).expect("read");
}

#[test]
fn address_beyond_the_width_faults() {
    let machine = machine();
    let device = BusMaster::new(IoDomain::pass_through(&machine, 28), 28);
    assert_eq!(
        kind(device.read((1 << 28) - 1, &mut [0; 2])),
        FaultKind::BeyondWidth
    );
}

#[test]
fn pass_through_leads_to_the_physical_address_and_faults_in_holes() {
    let machine = machine();
    let domain = IoDomain::pass_through(&machine, 64);
    let list = FrameList::from(
        machine
            .allocate(&FrameRequest::anywhere(2))
            .expect("frames"),
    );
    let physical = list.get(0).expect("frame") * PAGE_SIZE;
    assert_eq!(
        domain.map(&list, IoRange::ANY, Permissions::READ_WRITE),
        Ok(physical)
    );
    let device = BusMaster::new(domain, 64);
    device.write(physical, &[9]).expect("written");
    assert_eq!(kind(device.write(0xF000_0000, &[9])), FaultKind::Hole);
}

#[test]
fn pass_through_refuses_frames_beyond_the_device() {
    let machine = machine();
    let domain = IoDomain::pass_through(&machine, 32);
    let high = FrameRequest {
        lowest: 1 << 32,
        ..FrameRequest::anywhere(1)
    };
    let list = FrameList::from(machine.allocate(&high).expect("frames"));
    let result = domain.map(&list, IoRange::ANY, Permissions::READ_WRITE);
    assert_eq!(result, Err(MapError::OutOfReach));
}

#[test]
fn full_logical_range_is_no_range_until_something_is_unmapped() {
    let machine = machine();
    let domain = IoDomain::remapping(&machine, 32, 7);
    let range = IoRange {
        lowest: 0x10_0000,
        highest: 0x10_3FFF,
    };
    let list = frames(&machine, 4);
    let at = domain
        .map(&list, range, Permissions::READ_WRITE)
        .expect("mapped");
    let again = domain.map(&list, range, Permissions::READ_WRITE);
    assert_eq!(again, Err(MapError::NoRange));
    domain.unmap(at).expect("unmapped");
    assert!(domain.map(&list, range, Permissions::READ_WRITE).is_ok());
}
