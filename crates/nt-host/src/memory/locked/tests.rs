//! Locks counted frame by frame, and what gives locked frames back.

use super::*;
use crate::access;
use crate::memory::locking::{USER_MODE, probe_and_lock};
use crate::process::ProcessObject;
use crate::status::NtStatus;
use crate::testbed::{Kernel, PAGE};
use crate::thread;

const READ: u32 = 0;
const MODIFY: u32 = 2;
/// `UserMode`, cached, `MdlMappingNoWrite` and `MdlMappingNoExecute`.
const READ_ONLY_VIEW: [u64; 5] = [1, 1, 0, 0, 0xC000_0010];

const fn run(first: u64, count: u64) -> FrameRange {
    FrameRange { first, count }
}

fn list(runs: &[FrameRange]) -> FrameList {
    let mut list = FrameList::default();
    for run in runs {
        list.push(*run);
    }
    list
}

#[test]
fn overlapping_locks_count_frame_by_frame() {
    let locked = LockedFrames::default();
    locked.add(&list(&[run(10, 10)]));
    locked.add(&list(&[run(15, 10), run(12, 1)]));
    let counts: Vec<u32> = (9..26).map(|frame| locked.count(frame)).collect();
    assert_eq!(counts, [0, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 0]);
}

#[test]
fn locks_that_end_leave_no_trace() {
    let locked = LockedFrames::default();
    let (one, two) = (list(&[run(10, 10)]), list(&[run(5, 8), run(19, 4)]));
    locked.add(&one);
    locked.add(&two);
    let mut state = lock(&locked.0);
    one.runs().for_each(|run| state.change(run, -1));
    assert_eq!(
        (state.count(12), state.count(13), state.count(19)),
        (1, 0, 1)
    );
    two.runs().for_each(|run| state.change(run, -1));
    assert!(state.counts.is_empty(), "{:?}", state.counts);
}

#[test]
fn locked_frames_are_told_from_the_others() {
    let locked = LockedFrames::default();
    locked.add(&list(&[run(12, 2), run(30, 5)]));
    let (free, kept) = locked.part(&list(&[run(10, 8), run(28, 4)]));
    assert_eq!(free, list(&[run(10, 2), run(14, 4), run(28, 2)]));
    assert_eq!(kept, list(&[run(12, 2), run(30, 2)]));
}

/// Locks a user address in a process by a new MDL, which it gives.
fn lock_user(kernel: &Kernel, process: &Arc<ProcessObject>, address: u64, bytes: u64) -> u64 {
    let mdl = kernel.mdl(address, bytes);
    let locked = thread::in_process(process, || {
        probe_and_lock(&kernel.host, mdl, USER_MODE, MODIFY)
    });
    assert!(locked.is_ok(), "{locked:?}");
    mdl
}

fn unlock(kernel: &Kernel, mdl: u64) {
    kernel.call("MmUnlockPages", &[mdl]);
    kernel.call("IoFreeMdl", &[mdl]);
}

#[test]
fn view_of_a_driver_is_locked_as_the_memory_that_it_shows() {
    let kernel = Kernel::new();
    let process = kernel.process();
    let (base, of_view) = kernel.described(3 * PAGE);
    let view = thread::in_process(&process, || kernel.map_user(of_view));
    let mdl = lock_user(&kernel, &process, view + PAGE + 8, PAGE);
    assert_eq!(
        access::read_bytes(mdl + 48, 16),
        access::read_bytes(of_view + 56, 16)
    );
    unlock(&kernel, mdl);
    thread::in_process(&process, || {
        kernel.call("MmUnmapLockedPages", &[view, of_view]);
    });
    kernel.call("IoFreeMdl", &[of_view]);
    kernel.call("MmFreeContiguousMemory", &[base]);
    kernel.assert_clean();
}

#[test]
fn read_only_view_is_locked_for_reading_alone() {
    let kernel = Kernel::new();
    let process = kernel.process();
    let (_, of_view) = kernel.described(PAGE);
    let view = thread::in_process(&process, || {
        let mut arguments = vec![of_view];
        arguments.extend(READ_ONLY_VIEW);
        kernel.call("MmMapLockedPagesSpecifyCache", &arguments)
    });
    let mdl = kernel.mdl(view, PAGE);
    let lock_for = |operation| {
        thread::in_process(&process, || {
            probe_and_lock(&kernel.host, mdl, USER_MODE, operation)
        })
    };
    let refused = lock_for(MODIFY).expect_err("it cannot be written");
    assert_eq!(refused.code(), NtStatus::ACCESS_VIOLATION);
    assert!(lock_for(READ).is_ok());
    unlock(&kernel, mdl);
    kernel.assert_clean();
}

#[test]
fn lock_that_reaches_past_a_view_is_refused_and_holds_nothing() {
    let kernel = Kernel::new();
    let process = kernel.process();
    let (base, of_view) = kernel.described(PAGE);
    let view = thread::in_process(&process, || kernel.map_user(of_view));
    let mdl = kernel.mdl(view, 2 * PAGE);
    let refused = thread::in_process(&process, || {
        probe_and_lock(&kernel.host, mdl, USER_MODE, READ)
    });
    assert_eq!(
        refused.expect_err("no memory there").code(),
        NtStatus::ACCESS_VIOLATION
    );
    let frame = kernel.call("MmGetPhysicalAddress", &[base]) / PAGE;
    assert_eq!(kernel.host.memory.locked.count(frame), 0);
}

#[test]
fn memory_freed_while_its_view_is_locked_is_v312_and_out_of_use() {
    let kernel = Kernel::new();
    let process = kernel.process();
    let (base, of_view) = kernel.described(4 * PAGE);
    let free = kernel.host.machine().free_frames();
    let view = thread::in_process(&process, || kernel.map_user(of_view));
    let mdl = lock_user(&kernel, &process, view + PAGE, PAGE + 1);
    thread::in_process(&process, || {
        kernel.call("MmUnmapLockedPages", &[view, of_view]);
    });
    kernel.call("MmFreeContiguousMemory", &[base]);
    assert_eq!(kernel.rules(), ["V312"]);
    let message = &kernel.host.report().violations[0].message;
    assert!(
        message.contains("2 of its 4 pages") && message.contains(&format!("{mdl:#x}")),
        "{message}"
    );
    // Two pages of memory came back, two did not; the lock's MDL has one of its own.
    assert_eq!(kernel.host.machine().free_frames(), free + 2 - 1);
    unlock(&kernel, mdl);
    assert_eq!(kernel.rules(), ["V312"]);
    assert_eq!(kernel.host.machine().free_frames(), free + 2);
}

#[test]
fn each_of_several_locks_counts() {
    let kernel = Kernel::new();
    let block = kernel.pool(PAGE);
    let lock_block = || {
        let mdl = kernel.mdl(block, PAGE);
        assert!(probe_and_lock(&kernel.host, mdl, 0, MODIFY).is_ok());
        mdl
    };
    let (one, two) = (lock_block(), lock_block());
    unlock(&kernel, one);
    kernel.call("ExFreePool", &[block]);
    assert_eq!(kernel.rules(), ["V312"]);
    unlock(&kernel, two);
    assert_eq!(kernel.rules(), ["V312"]);
}

#[test]
fn pages_freed_while_locked_through_a_system_mapping_are_v312() {
    let kernel = Kernel::new();
    let pages = kernel.call("MmAllocatePagesForMdlEx", &[0, u64::MAX, 0, PAGE, 1, 0]);
    let mapped = kernel.map_system(pages, 1);
    let mdl = kernel.mdl(mapped, PAGE);
    assert!(probe_and_lock(&kernel.host, mdl, 0, MODIFY).is_ok());
    kernel.call("MmUnmapLockedPages", &[mapped, pages]);
    kernel.call("MmFreePagesFromMdl", &[pages]);
    assert_eq!(kernel.rules(), ["V312"]);
}

#[test]
fn memory_of_a_process_locked_through_a_system_mapping_stays_until_the_last_unlock() {
    let kernel = Kernel::new();
    let process = kernel.process();
    let before = kernel.host.machine().free_frames();
    let user = crate::memory::allocate_user(&kernel.host, &process, 4096).expect("memory");
    let own = lock_user(&kernel, &process, user, PAGE);
    let mapped = kernel.map_system(own, 1);
    let other = kernel.mdl(mapped, PAGE);
    assert!(probe_and_lock(&kernel.host, other, 0, MODIFY).is_ok());
    crate::memory::free_user(&kernel.host, &process, user).expect("freed");
    unlock(&kernel, own);
    // The page of the process, and that of the other MDL.
    assert_eq!(kernel.host.machine().free_frames(), before - 2);
    unlock(&kernel, other);
    assert_eq!(kernel.host.machine().free_frames(), before);
    kernel.assert_clean();
}

#[test]
fn memory_of_a_process_that_has_ended_stays_until_it_is_unlocked() {
    let kernel = Kernel::new();
    let process = kernel.process();
    let before = kernel.host.machine().free_frames();
    let user = crate::memory::allocate_user(&kernel.host, &process, 8192).expect("memory");
    let mdl = lock_user(&kernel, &process, user + PAGE, PAGE);
    crate::memory::process_exiting(&kernel.host, &process);
    assert_eq!(kernel.rules(), ["V122"]);
    assert_eq!(kernel.host.machine().free_frames(), before - 2);
    unlock(&kernel, mdl);
    assert_eq!(kernel.host.machine().free_frames(), before);
}

/// Secures all of a page that a driver shows, and has `end` done in the process; the rules broken.
fn rules_with_a_secured_view(end: impl Fn(&Kernel, u64, u64, u64, u64)) -> Vec<&'static str> {
    const READ_WRITE: u64 = 4;
    let kernel = Kernel::new();
    let process = kernel.process();
    let (base, mdl) = kernel.described(PAGE);
    thread::in_process(&process, || {
        let view = kernel.map_user(mdl);
        let secured = kernel.call("MmSecureVirtualMemory", &[view, PAGE, READ_WRITE]);
        assert_ne!(secured, 0);
        end(&kernel, base, mdl, view, secured);
    });
    kernel.rules()
}

#[test]
fn view_that_is_unsecured_before_it_is_removed_is_not_reported() {
    let rules = rules_with_a_secured_view(|kernel, base, mdl, view, secured| {
        kernel.call("MmUnsecureVirtualMemory", &[secured]);
        kernel.call("MmUnmapLockedPages", &[view, mdl]);
        kernel.call("IoFreeMdl", &[mdl]);
        kernel.call("MmFreeContiguousMemory", &[base]);
    });
    assert!(rules.is_empty(), "{rules:?}");
}

#[test]
fn view_removed_while_secured_is_v133() {
    let rules = rules_with_a_secured_view(|kernel, _, mdl, view, _| {
        kernel.call("MmUnmapLockedPages", &[view, mdl]);
    });
    assert_eq!(rules, ["V133"]);
}

#[test]
fn memory_freed_while_its_view_is_secured_is_v133() {
    let rules = rules_with_a_secured_view(|kernel, base, _, _, _| {
        kernel.call("MmFreeContiguousMemory", &[base]);
    });
    assert_eq!(rules, ["V125", "V133"]);
}
