//! The memory routines, called as a driver would call them, but from the host's own thread.

use std::sync::Arc;

use nt_machine::MachineConfig;

use super::locking::{USER_MODE, probe_and_lock};
use super::mdl::{LOCKED, MAPPED, Mdl, NONPAGED};
use crate::dma::DmaConfig;
use crate::process::ProcessObject;
use crate::status::NtStatus;
use crate::testbed::{Kernel, NONPAGED_POOL, PAGE, TAG};
use crate::thread::{self, DISPATCH};
use crate::{USER_LIMIT, access};

const PAGED_POOL: u64 = 0x100;
const LOW: u64 = 0xFFFF_FFFF;

mod pool {
    use super::*;

    #[test]
    fn allocation_is_zeroed_aligned_and_freed_without_complaint() {
        let kernel = Kernel::new();
        for bytes in [1, 16, 100, 4095, 4096, 5000, 100_000] {
            let block = kernel.pool(bytes);
            assert!(
                block >= USER_LIMIT && block.is_multiple_of(16),
                "{block:#x}"
            );
            assert!(bytes < PAGE || block.is_multiple_of(PAGE));
            assert_eq!(
                access::read_bytes(block, bytes as usize),
                vec![0; bytes as usize]
            );
            access::fill(block, 0xAA, bytes as usize);
            kernel.call("ExFreePoolWithTag", &[block, u64::from(TAG)]);
        }
        assert!(kernel.host.report().is_clean());
    }

    #[test]
    fn memory_not_to_be_zeroed_carries_the_pattern() {
        let kernel = Kernel::new();
        let block = kernel.call("ExAllocatePool2", &[NONPAGED_POOL | 2, 64, u64::from(TAG)]);
        assert_eq!(access::read_bytes(block, 64), vec![0xCC; 64]);
    }

    #[test]
    fn allocation_of_zero_bytes_is_null_and_v001() {
        let kernel = Kernel::new();
        assert_eq!(kernel.pool(0), 0);
        assert_eq!(kernel.rules(), ["V001"]);
    }

    #[test]
    fn allocation_without_tag_is_null_and_v024() {
        let kernel = Kernel::new();
        assert_eq!(kernel.call("ExAllocatePool2", &[NONPAGED_POOL, 16, 0]), 0);
        assert_eq!(kernel.rules(), ["V024"]);
    }

    #[test]
    fn allocation_with_two_types_is_null_and_v024() {
        let kernel = Kernel::new();
        let flags = NONPAGED_POOL | PAGED_POOL;
        assert_eq!(
            kernel.call("ExAllocatePool2", &[flags, 16, u64::from(TAG)]),
            0
        );
        assert_eq!(kernel.rules(), ["V024"]);
    }

    #[test]
    fn paged_allocation_at_dispatch_is_v002_and_its_free_v005() {
        let kernel = Kernel::new();
        thread::at_irql(DISPATCH, || {
            let block = kernel.call("ExAllocatePool2", &[PAGED_POOL, 16, u64::from(TAG)]);
            kernel.call("ExFreePool", &[block]);
        });
        assert_eq!(kernel.rules(), ["V002", "V005"]);
    }

    #[test]
    fn second_free_is_v007() {
        let kernel = Kernel::new();
        let block = kernel.pool(100);
        kernel.call("ExFreePool", &[block]);
        kernel.call("ExFreePool", &[block]);
        assert_eq!(kernel.rules(), ["V007"]);
    }

    #[test]
    fn free_inside_a_block_is_v008_and_of_a_wild_address_v004() {
        let kernel = Kernel::new();
        let block = kernel.pool(100);
        kernel.call("ExFreePool", &[block + 16]);
        kernel.call("ExFreePool", &[0xFFFF_8000_0000_0000]);
        assert_eq!(kernel.rules(), ["V008", "V004"]);
    }

    #[test]
    fn free_with_another_tag_is_v023() {
        let kernel = Kernel::new();
        let block = kernel.pool(100);
        kernel.call("ExFreePoolWithTag", &[block, 1]);
        assert_eq!(kernel.rules(), ["V023"]);
    }

    #[test]
    fn write_past_the_end_is_v009_at_free() {
        let kernel = Kernel::new();
        let block = kernel.pool(100);
        access::write::<u8>(block + 100, 1);
        kernel.call("ExFreePool", &[block]);
        assert_eq!(kernel.rules(), ["V009"]);
    }

    #[test]
    fn write_before_the_start_is_v012_at_free() {
        let kernel = Kernel::new();
        // Every other block has room before it.
        let block = [kernel.pool(100), kernel.pool(100)]
            .into_iter()
            .find(|it| it % PAGE != 0);
        let block = block.unwrap();
        access::write::<u8>(block - 1, 1);
        kernel.call("ExFreePool", &[block]);
        assert_eq!(kernel.rules(), ["V012"]);
    }

    #[test]
    fn contiguous_memory_freed_as_pool_is_v129() {
        let kernel = Kernel::new();
        let base = kernel.contiguous(PAGE);
        kernel.call("ExFreePool", &[base]);
        assert_eq!(kernel.rules(), ["V129"]);
    }

    #[test]
    fn block_left_at_unload_is_a_leak_and_v016() {
        let kernel = Kernel::new();
        kernel.pool(100);
        super::super::driver_unloaded(&kernel.host);
        assert_eq!(kernel.rules(), ["V016"]);
        let leaks = kernel.host.report().leaks;
        assert!(
            leaks[0].detail.contains("100 bytes, nonpaged, tag Test"),
            "{}",
            leaks[0]
        );
    }

    #[test]
    fn fault_plan_makes_the_allocation_null() {
        let kernel = Kernel::new();
        kernel.host.faults().fail_routine("ExAllocatePool2", 1);
        assert_eq!(kernel.pool(100), 0);
        assert_ne!(kernel.pool(100), 0);
        assert!(kernel.host.report().is_clean());
    }

    #[test]
    fn access_to_freed_memory_is_explained_as_v013() {
        let kernel = Kernel::new();
        let block = kernel.pool(100);
        kernel.call("ExFreePool", &[block]);
        let finding = super::super::explain_fault(&kernel.host, block + 8).unwrap();
        assert_eq!(finding.rule, "V013");
        assert!(
            finding.message.contains("byte 8 of pool block"),
            "{}",
            finding.message
        );
    }

    #[test]
    fn access_around_a_page_is_explained_as_v010_and_v011() {
        let kernel = Kernel::new();
        let block = kernel.pool(PAGE);
        let rule = |address| {
            super::super::explain_fault(&kernel.host, address)
                .unwrap()
                .rule
        };
        assert_eq!((rule(block + PAGE), rule(block - 1)), ("V010", "V011"));
    }
}

mod contiguous {
    use super::*;

    #[test]
    fn memory_has_consecutive_frames_within_bounds_and_boundary() {
        let kernel = Kernel::new();
        let arguments = [8 * PAGE, 0, LOW, 64 * PAGE, 1];
        let base = kernel.call("MmAllocateContiguousMemorySpecifyCache", &arguments);
        let physical = kernel.call("MmGetPhysicalAddress", &[base]);
        assert!(physical + 8 * PAGE - 1 <= LOW);
        assert_eq!(
            physical / (64 * PAGE),
            (physical + 8 * PAGE - 1) / (64 * PAGE)
        );
        for page in 0..8 {
            let at = kernel.call("MmGetPhysicalAddress", &[base + page * PAGE + 5]);
            assert_eq!(at, physical + page * PAGE + 5);
        }
        assert_eq!(access::read::<u8>(base), 0xCC, "contents are not zeroed");
        kernel.call("MmFreeContiguousMemorySpecifyCache", &[base, 8 * PAGE, 1]);
        assert!(kernel.host.report().is_clean());
    }

    #[test]
    fn low_memory_without_low_frames_comes_from_the_reserve_only_if_bounded() {
        let kernel = Kernel::with(MachineConfig::without_low_memory(), DmaConfig::default());
        let low = kernel.call("MmAllocateContiguousMemory", &[PAGE, LOW]);
        assert!(kernel.call("MmGetPhysicalAddress", &[low]) < LOW);
        let any = kernel.contiguous(PAGE);
        assert!(kernel.call("MmGetPhysicalAddress", &[any]) > LOW);
    }

    #[test]
    fn node_memory_lies_on_its_node() {
        let kernel = Kernel::new();
        let arguments = [PAGE, 0, u64::MAX, 0, 4, 1];
        let base = kernel.call("MmAllocateContiguousNodeMemory", &arguments);
        let physical = kernel.call("MmGetPhysicalAddress", &[base]);
        assert_eq!(kernel.host.machine().node_of(physical / PAGE), Some(1));
        assert_eq!(kernel.call("KeQueryHighestNodeNumber", &[]), 1);
    }

    #[test]
    fn executable_node_memory_is_v138() {
        let kernel = Kernel::new();
        kernel.call(
            "MmAllocateContiguousNodeMemory",
            &[PAGE, 0, u64::MAX, 0, 0x40, 0],
        );
        assert_eq!(kernel.rules(), ["V138"]);
    }

    #[test]
    fn free_with_another_size_or_cache_type_is_v129() {
        let kernel = Kernel::new();
        let (one, two) = (kernel.contiguous(PAGE), kernel.contiguous(PAGE));
        kernel.call("MmFreeContiguousMemorySpecifyCache", &[one, 2 * PAGE, 1]);
        kernel.call("MmFreeContiguousMemorySpecifyCache", &[two, PAGE, 0]);
        assert_eq!(kernel.rules(), ["V129", "V129"]);
    }

    #[test]
    fn write_past_the_bytes_asked_for_is_v135_at_free() {
        let kernel = Kernel::new();
        let base = kernel.contiguous(100);
        access::write::<u8>(base + 100, 1);
        kernel.call("MmFreeContiguousMemory", &[base]);
        assert_eq!(kernel.rules(), ["V135"]);
    }

    #[test]
    fn boundary_that_is_no_power_of_two_is_null_and_v008() {
        let kernel = Kernel::new();
        let arguments = [PAGE, 0, u64::MAX, 3 * PAGE, 1];
        assert_eq!(
            kernel.call("MmAllocateContiguousMemorySpecifyCache", &arguments),
            0
        );
        assert_eq!(kernel.rules(), ["V008"]);
    }

    #[test]
    fn memory_left_at_unload_is_a_leak_and_v132() {
        let kernel = Kernel::new();
        kernel.contiguous(PAGE);
        super::super::driver_unloaded(&kernel.host);
        assert_eq!(kernel.rules(), ["V132"]);
        assert_eq!(kernel.host.report().leaks[0].kind, "contiguous memory");
    }
}

mod mdl {
    use super::*;

    #[test]
    fn mdl_for_contiguous_memory_has_its_frames_and_flags() {
        let kernel = Kernel::new();
        let (base, address) = kernel.described(2 * PAGE);
        let mdl = Mdl::read(address);
        assert_eq!((mdl.address(), mdl.count), (base, 2 * 4096));
        assert_eq!(mdl.flags & (NONPAGED | LOCKED), NONPAGED);
        let physical = kernel.call("MmGetPhysicalAddress", &[base]);
        assert_eq!(access::read::<u64>(address + 56), physical / PAGE + 1);
        assert_eq!(access::read::<u64>(address + 24), base);
        kernel.call("IoFreeMdl", &[address]);
        kernel.call("MmFreeContiguousMemory", &[base]);
        assert!(kernel.host.report().is_clean());
        assert_eq!(kernel.call("MmSizeOfMdl", &[0xFFF, 2]), 48 + 16);
    }

    #[test]
    fn mdl_built_over_paged_pool_is_v110() {
        let kernel = Kernel::new();
        let block = kernel.call("ExAllocatePool2", &[PAGED_POOL, 64, u64::from(TAG)]);
        kernel.call("MmBuildMdlForNonPagedPool", &[kernel.mdl(block, 64)]);
        assert_eq!(kernel.rules(), ["V110"]);
    }

    #[test]
    fn mdl_built_over_the_stack_is_v121() {
        let kernel = Kernel::new();
        let local = 0_u64;
        kernel.call(
            "MmBuildMdlForNonPagedPool",
            &[kernel.mdl(&raw const local as u64, 8)],
        );
        assert_eq!(kernel.rules(), ["V121"]);
    }

    #[test]
    fn user_mapping_shares_bytes_and_goes_away() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let (base, mdl) = kernel.described(2 * PAGE);
        let user = thread::in_process(&process, || kernel.map_user(mdl));
        assert!(user < USER_LIMIT);
        access::write::<u8>(base + PAGE + 7, 0x42);
        let mut byte = [0];
        super::super::read_user(&process, user + PAGE + 7, &mut byte).unwrap();
        assert_eq!(byte, [0x42]);
        assert_eq!(super::super::mappings(&process), [(user, 2 * PAGE)]);
        thread::in_process(&process, || kernel.call("MmUnmapLockedPages", &[user, mdl]));
        assert!(super::super::read_user(&process, user, &mut byte).is_err());
        kernel.call("IoFreeMdl", &[mdl]);
        kernel.call("MmFreeContiguousMemory", &[base]);
        assert!(kernel.host.report().is_clean(), "{}", kernel.host.report());
    }

    #[test]
    fn user_mapping_of_memory_never_written_is_v127() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let base = kernel.contiguous(2 * PAGE);
        access::fill(base, 0, 4096);
        let mdl = kernel.mdl(base, 2 * PAGE);
        kernel.call("MmBuildMdlForNonPagedPool", &[mdl]);
        thread::in_process(&process, || kernel.map_user(mdl));
        assert_eq!(kernel.rules(), ["V127"]);
        assert!(
            kernel.host.report().violations[0]
                .message
                .contains("byte 0x1000 ")
        );
    }

    #[test]
    fn user_mapping_of_part_of_a_page_is_v128() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let (_, mdl) = kernel.described(100);
        thread::in_process(&process, || kernel.map_user(mdl));
        assert!(kernel.rules().contains(&"V128"));
    }

    #[test]
    fn user_unmap_in_another_process_is_v126_and_not_done() {
        let kernel = Kernel::new();
        let (one, two) = (kernel.process(), kernel.process());
        let (_, mdl) = kernel.described(PAGE);
        let user = thread::in_process(&one, || kernel.map_user(mdl));
        thread::in_process(&two, || kernel.call("MmUnmapLockedPages", &[user, mdl]));
        assert_eq!(kernel.rules(), ["V126"]);
        assert!(super::super::read_user(&one, user, &mut [0]).is_ok());
    }

    #[test]
    fn user_mapping_left_at_process_exit_or_at_free_is_v125() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let (base, mdl) = kernel.described(PAGE);
        thread::in_process(&process, || kernel.map_user(mdl));
        kernel.call("MmFreeContiguousMemory", &[base]);
        super::super::process_exiting(&kernel.host, &process);
        assert_eq!(kernel.rules(), ["V125", "V125"]);
    }

    #[test]
    fn mapping_with_another_cache_type_is_null_and_v134() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let address = super::super::allocate_user(&kernel.host, &process, 4096).unwrap();
        let mdl = kernel.mdl(address, PAGE);
        thread::in_process(&process, || {
            kernel.call("MmProbeAndLockPages", &[mdl, 1, 1]);
            assert_eq!(kernel.map_system(mdl, 0), 0);
        });
        assert_eq!(kernel.rules(), ["V134"]);
    }

    #[test]
    fn mapping_of_an_mdl_that_is_not_locked_is_v114() {
        let kernel = Kernel::new();
        let mdl = kernel.mdl(kernel.pool(PAGE), PAGE);
        assert_eq!(kernel.map_system(mdl, 1), 0);
        assert_eq!(kernel.rules(), ["V114"]);
    }

    #[test]
    fn second_system_mapping_is_v117() {
        let kernel = Kernel::new();
        let (_, mdl) = kernel.described(PAGE);
        assert_eq!(kernel.map_system(mdl, 1), 0);
        assert_eq!(kernel.rules(), ["V117"]);
    }

    #[test]
    fn system_mapping_that_may_execute_is_v139_and_bug_check_on_failure_v112() {
        let kernel = Kernel::new();
        let mdl = kernel.call("MmAllocatePagesForMdlEx", &[0, u64::MAX, 0, PAGE, 1, 0]);
        kernel.call("MmMapLockedPagesSpecifyCache", &[mdl, 0, 1, 0, 1, 16]);
        assert_eq!(kernel.rules(), ["V112", "V139"]);
    }

    #[test]
    fn free_of_a_mapped_mdl_is_v120() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let (_, mdl) = kernel.described(PAGE);
        thread::in_process(&process, || kernel.map_user(mdl));
        kernel.call("IoFreeMdl", &[mdl]);
        assert_eq!(kernel.rules(), ["V120"]);
    }
}

mod locking {
    use super::*;

    fn locked(kernel: &Kernel, process: &Arc<ProcessObject>, bytes: u64) -> (u64, u64) {
        let user = super::super::allocate_user(&kernel.host, process, bytes as usize).unwrap();
        let mdl = kernel.mdl(user + 16, bytes - 16);
        thread::in_process(process, || kernel.call("MmProbeAndLockPages", &[mdl, 1, 1]));
        (user, mdl)
    }

    #[test]
    fn locked_pages_map_into_the_system_and_share_bytes() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let (user, mdl) = locked(&kernel, &process, 3 * PAGE);
        let system = kernel.map_system(mdl, 1);
        super::super::write_user(&process, user + 16 + PAGE, &[0x42]).unwrap();
        assert_eq!(access::read::<u8>(system + PAGE), 0x42);
        assert_eq!(Mdl::read(mdl).flags & (LOCKED | MAPPED), LOCKED | MAPPED);
        kernel.call("MmUnlockPages", &[mdl]);
        assert_eq!(Mdl::read(mdl).flags & (LOCKED | MAPPED), 0);
        kernel.call("IoFreeMdl", &[mdl]);
        super::super::process_exiting(&kernel.host, &process);
        assert!(kernel.host.report().is_clean(), "{}", kernel.host.report());
    }

    #[test]
    fn lock_of_memory_that_is_not_there_raises_access_violation() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let user = super::super::allocate_user(&kernel.host, &process, 4096).unwrap();
        let mdl = kernel.mdl(user, 2 * PAGE);
        let result =
            thread::in_process(&process, || probe_and_lock(&kernel.host, mdl, USER_MODE, 1));
        assert_eq!(result.unwrap_err().code(), NtStatus::ACCESS_VIOLATION);
        assert!(kernel.host.report().is_clean());
    }

    #[test]
    fn user_lock_of_a_kernel_address_raises_access_violation() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let mdl = kernel.mdl(kernel.pool(PAGE), PAGE);
        let result =
            thread::in_process(&process, || probe_and_lock(&kernel.host, mdl, USER_MODE, 1));
        assert_eq!(result.unwrap_err().code(), NtStatus::ACCESS_VIOLATION);
    }

    #[test]
    fn lock_in_another_process_raises_access_violation() {
        let kernel = Kernel::new();
        let (one, two) = (kernel.process(), kernel.process());
        let user = super::super::allocate_user(&kernel.host, &one, 4096).unwrap();
        let mdl = kernel.mdl(user, PAGE);
        let result = thread::in_process(&two, || probe_and_lock(&kernel.host, mdl, USER_MODE, 1));
        assert_eq!(result.unwrap_err().code(), NtStatus::ACCESS_VIOLATION);
    }

    #[test]
    fn second_lock_is_v116() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let (_, mdl) = locked(&kernel, &process, PAGE);
        let result =
            thread::in_process(&process, || probe_and_lock(&kernel.host, mdl, USER_MODE, 1));
        assert!(result.is_err());
        assert_eq!(kernel.rules(), ["V116"]);
    }

    #[test]
    fn unlock_without_lock_is_v108_and_a_second_unlock_v123() {
        let kernel = Kernel::new();
        let process = kernel.process();
        kernel.call("MmUnlockPages", &[kernel.mdl(0x1000, PAGE)]);
        let (_, mdl) = locked(&kernel, &process, PAGE);
        kernel.call("MmUnlockPages", &[mdl]);
        kernel.call("MmUnlockPages", &[mdl]);
        assert_eq!(kernel.rules(), ["V108", "V123"]);
    }

    #[test]
    fn unlock_of_nonpaged_memory_is_v109() {
        let kernel = Kernel::new();
        let (_, mdl) = kernel.described(PAGE);
        kernel.call("MmUnlockPages", &[mdl]);
        assert_eq!(kernel.rules(), ["V109"]);
    }

    #[test]
    fn pages_locked_at_process_exit_are_v122() {
        let kernel = Kernel::new();
        let process = kernel.process();
        locked(&kernel, &process, 2 * PAGE);
        super::super::process_exiting(&kernel.host, &process);
        assert_eq!(kernel.rules(), ["V122"]);
    }

    #[test]
    fn memory_freed_by_its_process_stays_while_locked() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let (user, mdl) = locked(&kernel, &process, PAGE);
        let frame: u64 = access::read(mdl + 48);
        super::super::free_user(&kernel.host, &process, user).unwrap();
        assert_eq!(
            kernel.host.machine().cache_of(frame),
            Some(nt_machine::CacheType::Cached)
        );
        kernel.call("MmUnlockPages", &[mdl]);
        assert_eq!(kernel.host.machine().cache_of(frame), None);
    }

    #[test]
    fn lock_for_a_request_is_undone_when_it_completes() {
        let kernel = Kernel::new();
        let process = kernel.process();
        let user = super::super::allocate_user(&kernel.host, &process, 10_000).unwrap();
        let mdl =
            super::super::lock_for_request(&kernel.host, &process, user + 8, 9000, true).unwrap();
        let system = kernel.map_system(mdl, 1);
        assert_eq!(system % PAGE, 8);
        super::super::unlock_after_request(&kernel.host, mdl);
        super::super::process_exiting(&kernel.host, &process);
        super::super::driver_unloaded(&kernel.host);
        assert!(kernel.host.report().is_clean(), "{}", kernel.host.report());
    }
}

mod pages {
    use super::*;

    #[test]
    fn pages_are_zeroed_mapped_and_given_back() {
        let kernel = Kernel::new();
        let before = kernel.host.machine().free_frames();
        let mdl = kernel.call("MmAllocatePagesForMdlEx", &[0, u64::MAX, 0, 5 * PAGE, 1, 4]);
        let system = kernel.map_system(mdl, 1);
        assert_eq!(access::read_bytes(system, 5 * 4096), vec![0; 5 * 4096]);
        kernel.call("MmUnmapLockedPages", &[system, mdl]);
        kernel.call("MmFreePagesFromMdl", &[mdl]);
        kernel.call("ExFreePool", &[mdl]);
        super::super::driver_unloaded(&kernel.host);
        assert!(kernel.host.report().is_clean(), "{}", kernel.host.report());
        assert_eq!(kernel.host.machine().free_frames(), before);
    }

    #[test]
    fn chunks_are_contiguous() {
        let kernel = Kernel::new();
        let arguments = [0, u64::MAX, 4 * PAGE, 16 * PAGE, 1, 0x20];
        let mdl = kernel.call("MmAllocatePagesForMdlEx", &arguments);
        for chunk in 0..4 {
            let first: u64 = access::read(mdl + 48 + 32 * chunk);
            for page in 1..4 {
                assert_eq!(
                    access::read::<u64>(mdl + 48 + 32 * chunk + 8 * page),
                    first + page
                );
            }
        }
    }

    #[test]
    fn allocation_made_short_describes_fewer_bytes() {
        let kernel = Kernel::new();
        kernel.host.faults().fail_routine("pages for an MDL", 1);
        let mdl = kernel.call("MmAllocatePagesForMdlEx", &[0, u64::MAX, 0, 8 * PAGE, 1, 0]);
        assert_eq!(Mdl::read(mdl).count, 4 * 4096);
    }

    #[test]
    fn mdl_freed_before_its_pages_is_v130() {
        let kernel = Kernel::new();
        let mdl = kernel.call("MmAllocatePagesForMdlEx", &[0, u64::MAX, 0, PAGE, 1, 0]);
        kernel.call("ExFreePool", &[mdl]);
        kernel.call("IoFreeMdl", &[mdl]);
        assert_eq!(kernel.rules(), ["V130", "V130"]);
    }

    #[test]
    fn pages_freed_twice_are_v007() {
        let kernel = Kernel::new();
        let mdl = kernel.call("MmAllocatePagesForMdlEx", &[0, u64::MAX, 0, PAGE, 1, 0]);
        kernel.call("MmFreePagesFromMdl", &[mdl]);
        kernel.call("MmFreePagesFromMdl", &[mdl]);
        assert_eq!(kernel.rules(), ["V007"]);
    }
}

mod threads {
    use super::*;

    /// Allocates, maps and frees in an order that the seed decides.
    fn work(host: &Arc<crate::host::Host>, process: &Arc<ProcessObject>, seed: u64) {
        let kernel = Kernel::on(host);
        let mut random = nt_machine::Random::new(seed);
        for _ in 0..150 {
            let bytes = (random.below(8) + 1) * PAGE;
            let block = kernel.pool(random.below(9000) + 1);
            let (base, mdl) = kernel.described(bytes);
            let user = thread::in_process(process, || kernel.map_user(mdl));
            kernel.call("ExFreePool", &[block]);
            thread::in_process(process, || kernel.call("MmUnmapLockedPages", &[user, mdl]));
            kernel.call("IoFreeMdl", &[mdl]);
            kernel.call("MmFreeContiguousMemory", &[base]);
        }
    }

    fn work_on_threads(machine: MachineConfig) {
        let kernel = Kernel::with(machine, DmaConfig::default());
        let process = kernel.process();
        let before = kernel.host.machine().free_frames();
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let (host, process) = (&kernel.host, &process);
                scope.spawn(move || work(host, process, seed));
            }
        });
        super::super::driver_unloaded(&kernel.host);
        kernel.assert_clean();
        assert_eq!(kernel.host.machine().free_frames(), before);
    }

    #[test]
    fn work_on_several_threads_leaves_nothing_behind() {
        work_on_threads(MachineConfig::default());
    }

    #[test]
    fn work_on_several_threads_in_the_window_leaves_nothing_behind() {
        work_on_threads(MachineConfig {
            guarded_mappings: 2,
            ..MachineConfig::default()
        });
    }
}

mod secured {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::process::Process;
    use crate::{NtStatus, Protection};

    const READ: u64 = 2;
    const READ_WRITE: u64 = 4;
    const REFUSED: Result<(), NtStatus> = Err(NtStatus::INVALID_PAGE_PROTECTION);

    fn process(kernel: &Kernel) -> Process {
        kernel.host.create_process("provider.exe").unwrap()
    }

    /// Secures as a driver in the context of that process.
    fn secure(kernel: &Kernel, process: &Process, address: u64, size: u64, mode: u64) -> u64 {
        thread::in_process(&process.object, || {
            kernel.call("MmSecureVirtualMemory", &[address, size, mode])
        })
    }

    fn unsecure(kernel: &Kernel, process: &Process, secured: u64) {
        thread::in_process(&process.object, || {
            kernel.call("MmUnsecureVirtualMemory", &[secured]);
        });
    }

    #[test]
    fn secured_memory_is_freed_only_after_it_is_unsecured() {
        let kernel = Kernel::new();
        let process = process(&kernel);
        let address = process.allocate(8192).unwrap();
        let secured = secure(&kernel, &process, address + 100, 1, READ);
        assert_eq!(process.secured(), [(address, PAGE)]);
        assert_eq!(process.free(address), REFUSED);
        unsecure(&kernel, &process, secured);
        assert_eq!(process.free(address), Ok(()));
        kernel.assert_clean();
    }

    #[test]
    fn protection_may_not_become_less_than_what_is_secured() {
        let kernel = Kernel::new();
        let process = process(&kernel);
        let address = process.allocate(4096).unwrap();
        let reading = secure(&kernel, &process, address, 4096, READ);
        assert_eq!(process.protect(address, Protection::None), REFUSED);
        assert_eq!(process.protect(address, Protection::Read), Ok(()));
        assert_eq!(secure(&kernel, &process, address, 1, READ_WRITE), 0);
        assert_eq!(process.protect(address, Protection::ReadWrite), Ok(()));
        let writing = secure(&kernel, &process, address, 1, READ_WRITE);
        assert_eq!(process.protect(address, Protection::Read), REFUSED);
        unsecure(&kernel, &process, writing);
        unsecure(&kernel, &process, reading);
        assert_eq!(process.protect(address, Protection::None), Ok(()));
        kernel.assert_clean();
    }

    #[test]
    fn memory_that_the_process_does_not_have_is_not_secured() {
        let kernel = Kernel::new();
        let process = process(&kernel);
        let address = process.allocate(4096).unwrap();
        for (start, size) in [
            (address, 0),
            (address, 4097),
            (address + 4096, 1),
            (address, u64::MAX),
            (USER_LIMIT, 4096),
        ] {
            assert_eq!(
                secure(&kernel, &process, start, size, READ),
                0,
                "{start:#x}"
            );
        }
        assert_eq!(secure(&kernel, &process, address, 1, 0x40), 0);
        kernel.assert_clean();
    }

    #[test]
    fn callback_that_unsecures_lets_the_memory_go() {
        let kernel = Kernel::new();
        let process = process(&kernel);
        let address = process.allocate(8192).unwrap();
        let secured = Arc::new(AtomicU64::new(secure(&kernel, &process, address, 1, READ)));
        let (host, inner, of) = (
            Arc::clone(&kernel.host),
            process.clone(),
            Arc::clone(&secured),
        );
        let callback = process.add_secure_memory_cache_callback(move |start, length| {
            assert_eq!((start, length), (address, 8192));
            let secured = of.swap(0, Ordering::SeqCst);
            unsecure(&Kernel::on(&host), &inner, secured);
            true
        });
        assert_eq!(process.replace(address), Ok(()));
        assert_eq!(
            process.replace(address),
            Ok(()),
            "nothing is secured any more"
        );
        secured.store(
            secure(&kernel, &process, address, 1, READ),
            Ordering::SeqCst,
        );
        drop(callback);
        assert_eq!(process.free(address), REFUSED, "nobody is asked any more");
        unsecure(&kernel, &process, secured.load(Ordering::SeqCst));
        kernel.assert_clean();
    }

    #[test]
    fn memory_unsecured_twice_is_v133() {
        let kernel = Kernel::new();
        let process = process(&kernel);
        let address = process.allocate(4096).unwrap();
        let secured = secure(&kernel, &process, address, 1, READ);
        unsecure(&kernel, &process, secured);
        unsecure(&kernel, &process, secured);
        assert_eq!(kernel.rules(), ["V133"]);
    }

    #[test]
    fn memory_unsecured_in_another_process_is_v133_and_stays_secured() {
        let kernel = Kernel::new();
        let (process, other) = (process(&kernel), process(&kernel));
        let address = process.allocate(4096).unwrap();
        let secured = secure(&kernel, &process, address, 1, READ);
        unsecure(&kernel, &other, secured);
        assert_eq!(kernel.rules(), ["V133"]);
        assert_eq!(process.free(address), REFUSED);
    }

    #[test]
    fn memory_unsecured_after_the_end_of_its_process_is_v133() {
        let kernel = Kernel::new();
        let (process, other) = (process(&kernel), process(&kernel));
        let address = process.allocate(4096).unwrap();
        let secured = secure(&kernel, &process, address, 1, READ);
        process.exit().unwrap();
        kernel.assert_clean();
        unsecure(&kernel, &other, secured);
        assert_eq!(kernel.rules(), ["V133"]);
    }
}
