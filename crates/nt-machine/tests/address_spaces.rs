//! What arenas promise: shared bytes, guard pages, addresses that stay dead.

#![expect(unsafe_code, reason = "accesses mapped memory as a program would")]
#![expect(
    clippy::as_conversions,
    clippy::expect_used,
    reason = "a test may fail loudly, and its arithmetic is small"
)]

use nt_machine::{
    Arena, FrameList, FrameRequest, Machine, MachineConfig, MapOptions, PAGE_SIZE, Protection,
    USER_LIMIT,
};
use std::collections::BTreeSet;
use std::sync::Arc;

const SPACE: u64 = 1 << 30;

fn machine() -> Arc<Machine> {
    Machine::new(MachineConfig::default()).expect("a machine")
}

fn frames(machine: &Machine, count: u64) -> FrameList {
    machine
        .allocate_scattered(&FrameRequest::anywhere(count))
        .expect("frames")
}

/// Whether the processor can read the byte: asked of the system, which answers instead of faulting.
fn readable(address: u64) -> bool {
    let mut byte = [0u8; 1];
    let local = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let remote = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: 1,
    };
    let process = std::process::id().cast_signed();
    let (local, remote) = (&raw const local, &raw const remote);
    // SAFETY: the local buffer is one byte long; a bad remote address is an error, not a fault.
    let got = unsafe { libc::process_vm_readv(process, local, 1, remote, 1, 0) };
    got == 1
}

fn poke(address: u64, value: u8) {
    // SAFETY: the callers pass addresses of live, writable mappings.
    unsafe { (address as *mut u8).write_volatile(value) };
}

fn peek(address: u64) -> u8 {
    // SAFETY: the callers pass addresses of live mappings.
    unsafe { (address as *const u8).read_volatile() }
}

#[test]
fn mappings_of_one_frame_share_bytes_with_physical_memory() {
    let machine = machine();
    let kernel = Arena::kernel(&machine, SPACE).expect("kernel");
    let user = Arena::user(&machine, SPACE).expect("user");
    let list = frames(&machine, 3);
    let upper = kernel.map(&list, MapOptions::READ_WRITE).expect("mapped");
    let lower = user.map(&list, MapOptions::READ_WRITE).expect("mapped");
    poke(upper + 2 * PAGE_SIZE + 5, 0x42);
    assert_eq!(peek(lower + 2 * PAGE_SIZE + 5), 0x42);
    let mut byte = [0];
    let physical = list.get(2).expect("frame") * PAGE_SIZE + 5;
    machine.read_physical(physical, &mut byte).expect("read");
    assert_eq!(byte, [0x42]);
    assert_eq!(user.translate(lower + 2 * PAGE_SIZE + 5), Some(physical));
}

#[test]
fn user_addresses_lie_below_the_limit_and_kernel_addresses_above() {
    let machine = machine();
    let kernel = Arena::kernel(&machine, SPACE).expect("kernel");
    let user = Arena::user(&machine, SPACE).expect("user");
    let list = frames(&machine, 1);
    assert!(kernel.map(&list, MapOptions::READ_WRITE).expect("mapped") >= USER_LIMIT);
    assert!(user.map(&list, MapOptions::READ_WRITE).expect("mapped") < USER_LIMIT);
}

#[test]
fn pages_around_a_mapping_are_inaccessible() {
    let machine = machine();
    let kernel = Arena::kernel(&machine, SPACE).expect("kernel");
    let list = frames(&machine, 2);
    for _ in 0..4 {
        let address = kernel.map(&list, MapOptions::READ_WRITE).expect("mapped");
        assert!(readable(address) && readable(address + 2 * PAGE_SIZE - 1));
        assert!(!readable(address - 1), "before");
        assert!(!readable(address + 2 * PAGE_SIZE), "after");
    }
}

#[test]
fn unmapped_address_is_inaccessible_and_not_reused_by_the_next_mappings() {
    let machine = machine();
    let kernel = Arena::kernel(&machine, SPACE).expect("kernel");
    let list = frames(&machine, 1);
    let address = kernel.map(&list, MapOptions::READ_WRITE).expect("mapped");
    kernel.unmap(address).expect("unmapped");
    assert!(!readable(address));
    for _ in 0..100 {
        let other = kernel.map(&list, MapOptions::READ_WRITE).expect("mapped");
        assert_ne!(other, address);
        kernel.unmap(other).expect("unmapped");
    }
    assert!(kernel.unmap(address).is_err());
}

#[test]
fn arena_that_ran_out_of_fresh_addresses_reuses_the_oldest() {
    let machine = machine();
    let kernel = Arena::kernel(&machine, SPACE).expect("kernel");
    let big = FrameList::from(
        machine
            .allocate(&FrameRequest::anywhere(1 << 14))
            .expect("frames"),
    );
    for _ in 0..64 {
        let address = kernel
            .map(&big, MapOptions::READ_WRITE)
            .expect("space is found again");
        kernel.unmap(address).expect("unmapped");
    }
}

#[test]
fn mappings_beyond_the_guarded_ones_show_the_frames_in_a_window() {
    let config = MachineConfig {
        guarded_mappings: 4,
        ..MachineConfig::default()
    };
    let machine = Machine::new(config).expect("a machine");
    let kernel = Arena::kernel(&machine, SPACE).expect("kernel");
    let mut addresses = BTreeSet::new();
    for value in 0..20 {
        let run = machine
            .allocate(&FrameRequest::anywhere(2))
            .expect("frames");
        let address = kernel
            .map(&run.into(), MapOptions::READ_WRITE)
            .expect("mapped");
        assert!(address >= USER_LIMIT && addresses.insert(address));
        poke(address, value);
        let mut byte = [0];
        machine
            .read_physical(run.address(), &mut byte)
            .expect("read");
        assert_eq!(byte, [value]);
        assert_eq!(kernel.translate(address), Some(run.address()));
    }
    for address in addresses {
        kernel.unmap(address).expect("unmapped");
    }
    assert!(kernel.mappings().is_empty());
}

#[test]
fn write_through_a_read_only_mapping_is_a_bad_address() {
    let machine = machine();
    let user = Arena::user(&machine, SPACE).expect("user");
    let options = MapOptions {
        protection: Protection::Read,
        guarded: true,
    };
    let address = user.map(&frames(&machine, 1), options).expect("mapped");
    assert!(user.write(address, &[1]).is_err());
    assert!(user.frames_of(address, 1, true).is_none());
    user.protect(address, Protection::ReadWrite)
        .expect("protected");
    user.write(address, &[1]).expect("written");
    assert_eq!(peek(address), 1);
}

#[test]
fn read_across_pages_follows_the_frames() {
    let machine = machine();
    let user = Arena::user(&machine, SPACE).expect("user");
    let address = user
        .map(&frames(&machine, 3), MapOptions::READ_WRITE)
        .expect("mapped");
    let bytes: Vec<u8> = (0..9000u32)
        .map(|value| value.to_le_bytes()[0] ^ 0x5A)
        .collect();
    user.write(address + 100, &bytes).expect("written");
    let mut back = vec![0; bytes.len()];
    user.read(address + 100, &mut back).expect("read");
    assert_eq!(back, bytes);
    let error = user
        .read(address + 3 * PAGE_SIZE - 1, &mut back[..2])
        .expect_err("past the end");
    assert_eq!(error.0, address + 3 * PAGE_SIZE);
}
