//! The DMA interface, called as a driver would call it, and a device that uses what it gives.

use std::cell::Cell;
use std::sync::Arc;

use nt_machine::{BusMaster, FaultKind, MachineConfig};

use super::device::bus_master;
use super::table::{Slot, entry};
use super::{DmaConfig, driver_unloaded, pnp_completed};
use crate::access;
use crate::device::root_bus::create_pdo;
use crate::memory::{allocate_user, read_user, write_user};
use crate::status::NtStatus;
use crate::testbed::{Kernel, NONPAGED_POOL, PAGE, TAG};
use crate::thread::{self, DISPATCH};

/// A kernel with a device and an adapter for it.
struct Nic {
    kernel: Kernel,
    pdo: u64,
    adapter: u64,
    registers: u32,
}

fn config() -> DmaConfig {
    DmaConfig::default()
}

/// A `DEVICE_DESCRIPTION`: version 3, bus master, scatter/gather, 32 bits, 1 MiB.
fn description(version: u32, bits: u32) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0..4].copy_from_slice(&version.to_le_bytes());
    bytes[4] = 1;
    bytes[5] = 1;
    bytes[8] = u8::from(bits == 32);
    bytes[11] = u8::from(bits == 64);
    bytes[20..24].copy_from_slice(&(-1_i32).to_le_bytes());
    bytes[32..36].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    bytes[40..44].copy_from_slice(&bits.to_le_bytes());
    bytes
}

impl Nic {
    fn new(machine: MachineConfig, dma: DmaConfig) -> Self {
        let bits = dma.address_bits;
        let mut nic = Self::without_adapter(Kernel::with(machine, dma));
        nic.get(&description(3, bits));
        assert_ne!(nic.adapter, 0);
        nic
    }

    fn plain() -> Self {
        Self::new(MachineConfig::default(), config())
    }

    fn without_adapter(kernel: Kernel) -> Self {
        let pdo = create_pdo(&kernel.host).unwrap();
        Self {
            kernel,
            pdo,
            adapter: 0,
            registers: 0,
        }
    }

    fn get(&mut self, description: &[u8; 64]) {
        let arguments = [
            self.pdo,
            description.as_ptr() as u64,
            &raw mut self.registers as u64,
        ];
        self.adapter = self.kernel.call("IoGetDmaAdapter", &arguments);
    }

    fn device(&self) -> BusMaster {
        bus_master(&self.kernel.host, self.pdo)
    }

    fn operations(&self) -> u64 {
        access::read(self.adapter + 8)
    }

    fn allocate(&self, bytes: u64) -> (u64, u64) {
        let mut logical = 0_u64;
        let arguments = [self.adapter, bytes, &raw mut logical as u64, 1];
        let address = self.kernel.call("AllocateCommonBuffer", &arguments);
        (address, logical)
    }

    fn free(&self, bytes: u64, logical: u64, address: u64) {
        self.kernel.call(
            "FreeCommonBuffer",
            &[self.adapter, bytes, logical, address, 1],
        );
    }

    fn put(&self) {
        self.kernel.call("PutDmaAdapter", &[self.adapter]);
    }

    fn rules(&self) -> Vec<&'static str> {
        self.kernel.rules()
    }
}

thread_local! {
    static LIST: Cell<u64> = const { Cell::new(0) };
}

/// A driver's list control routine: keeps the list for the test.
extern "win64" fn keep_list(_device: u64, _irp: u64, list: u64, _context: u64) {
    LIST.set(list);
}

impl Nic {
    fn list_of(&self, mdl: u64, address: u64, length: u64, to_device: bool) -> u32 {
        let function = keep_list as *const () as u64;
        let device = self.pdo;
        let to_device = u64::from(to_device);
        let arguments = [
            self.adapter,
            device,
            mdl,
            address,
            length,
            function,
            0,
            to_device,
        ];
        thread::at_irql(DISPATCH, || {
            self.kernel.call32("GetScatterGatherList", &arguments)
        })
    }

    fn put_list(&self, list: u64, to_device: bool) {
        let arguments = [self.adapter, list, u64::from(to_device)];
        thread::at_irql(DISPATCH, || {
            self.kernel.call("PutScatterGatherList", &arguments)
        });
    }
}

fn elements(list: u64) -> Vec<(u64, u64)> {
    let count: u32 = access::read(list);
    let element = |index| list + 16 + 24 * u64::from(index);
    (0..count)
        .map(|index| {
            (
                access::read(element(index)),
                access::read(element(index) + 8),
            )
        })
        .collect()
}

mod adapter {
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
    fn member_that_is_not_simulated_stops_the_driver_and_names_itself() {
        let nic = Nic::plain();
        let slot: u64 = access::read(nic.operations() + 64);
        let result = nic
            .kernel
            .host
            .call_driver(crate::call::Entry::Callback, "test", slot, &[0]);
        let stopped = result.unwrap_err();
        assert!(
            stopped.reason.contains("MapTransfer is not simulated"),
            "{stopped}"
        );
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
}

mod buffers {
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
}

mod lists {
    use super::*;

    fn pool_mdl(nic: &Nic, bytes: u64) -> (u64, u64) {
        let arguments = [NONPAGED_POOL, bytes, u64::from(TAG)];
        let base = nic.kernel.call("ExAllocatePool2", &arguments);
        let mdl = nic.kernel.mdl(base, bytes);
        nic.kernel.call("MmBuildMdlForNonPagedPool", &[mdl]);
        (base, mdl)
    }

    fn device_write(nic: &Nic, list: u64, bytes: &[u8]) {
        let mut rest = bytes;
        for (logical, length) in elements(list) {
            let (part, next) = rest.split_at(rest.len().min(length as usize));
            nic.device().write(logical, part).unwrap();
            rest = next;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn device_that_follows_the_list_fills_the_buffer() {
        let nic = Nic::plain();
        let (base, mdl) = pool_mdl(&nic, 4 * PAGE);
        assert_eq!(nic.list_of(mdl, base + 100, 3 * PAGE, false), 0);
        let list = LIST.get();
        let total: u64 = elements(list).iter().map(|(_, length)| length).sum();
        assert_eq!(total, 3 * PAGE);
        let bytes: Vec<u8> = (0..3 * 4096_u32).map(|value| (value % 251) as u8).collect();
        device_write(&nic, list, &bytes);
        assert_eq!(access::read_bytes(base + 100, bytes.len()), bytes);
        nic.put_list(list, false);
        assert!(nic.device().write(base, &[0]).is_err());
        nic.put();
        assert!(!nic.rules().contains(&"V153"));
    }

    #[test]
    fn device_out_of_reach_works_through_bounce_pages() {
        let dma = DmaConfig {
            remapping: false,
            ..config()
        };
        let nic = Nic::new(MachineConfig::without_low_memory(), dma);
        let (base, mdl) = pool_mdl(&nic, 2 * PAGE);
        access::fill(base, 0x11, 2 * 4096);
        assert_eq!(nic.list_of(mdl, base, 2 * PAGE, true), 0);
        let list = LIST.get();
        let mut byte = [0];
        let (logical, _) = elements(list)[0];
        assert!(logical < 1 << 32);
        nic.device().read(logical, &mut byte).unwrap();
        assert_eq!(byte, [0x11]);
        nic.put_list(list, true);
        assert_eq!(nic.list_of(mdl, base, 2 * PAGE, false), 0);
        device_write(&nic, LIST.get(), &[0x22; 2 * 4096]);
        assert_eq!(access::read::<u8>(base), 0x11, "not before the list is put");
        nic.put_list(LIST.get(), false);
        assert_eq!(access::read_bytes(base, 2 * 4096), vec![0x22; 2 * 4096]);
        nic.kernel.assert_clean();
    }

    #[test]
    fn device_without_scatter_gather_gets_one_fragment() {
        let mut nic = Nic::without_adapter(Kernel::new());
        let mut bytes = description(3, 32);
        bytes[5] = 0;
        nic.get(&bytes);
        let (base, mdl) = pool_mdl(&nic, 4 * PAGE);
        assert_eq!(nic.list_of(mdl, base, 4 * PAGE, false), 0);
        assert_eq!(elements(LIST.get()).len(), 1);
    }

    #[test]
    fn device_write_to_memory_that_it_may_only_read_faults() {
        let nic = Nic::plain();
        let (base, mdl) = pool_mdl(&nic, PAGE);
        nic.list_of(mdl, base, PAGE, true);
        let (logical, _) = elements(LIST.get())[0];
        assert_eq!(
            nic.device().write(logical, &[1]).unwrap_err().kind,
            FaultKind::Write
        );
    }

    #[test]
    fn list_of_locked_user_pages_reaches_the_process() {
        let nic = Nic::plain();
        let process = nic.kernel.process();
        let user = allocate_user(&nic.kernel.host, &process, 3 * 4096).unwrap();
        write_user(&process, user + 10, &[9]).unwrap();
        let mdl = nic.kernel.mdl(user + 10, 2 * PAGE);
        thread::in_process(&process, || {
            nic.kernel.call("MmProbeAndLockPages", &[mdl, 1, 1])
        });
        assert_eq!(nic.list_of(mdl, user + 10, 2 * PAGE, false), 0);
        let mut byte = [0];
        let (logical, _) = elements(LIST.get())[0];
        nic.device().read(logical, &mut byte).unwrap();
        assert_eq!(byte, [9]);
        nic.device().write(logical, &[8]).unwrap();
        read_user(&process, user + 10, &mut byte).unwrap();
        assert_eq!(byte, [8]);
        nic.put_list(LIST.get(), false);
        nic.kernel.call("MmUnlockPages", &[mdl]);
        nic.kernel.assert_clean();
    }

    #[test]
    fn transfer_longer_than_the_mdl_is_buffer_too_small_and_v174() {
        let nic = Nic::plain();
        let (base, mdl) = pool_mdl(&nic, PAGE);
        assert_eq!(
            nic.list_of(mdl, base, 2 * PAGE, false),
            NtStatus::BUFFER_TOO_SMALL.0
        );
        assert_eq!(nic.rules(), ["V174"]);
    }

    #[test]
    fn transfer_outside_of_the_mdl_is_v166_and_of_zero_bytes_v171() {
        let nic = Nic::plain();
        let (base, mdl) = pool_mdl(&nic, PAGE);
        nic.list_of(mdl, base - 1, 1, false);
        nic.list_of(mdl, base, 0, false);
        assert_eq!(nic.rules(), ["V166", "V171"]);
    }

    #[test]
    fn transfer_of_unlocked_memory_is_v157() {
        let nic = Nic::plain();
        let mdl = nic.kernel.mdl(nic.kernel.pool(PAGE), PAGE);
        let address = crate::memory::mdl::Mdl::read(mdl).address();
        nic.list_of(mdl, address, PAGE, false);
        assert_eq!(nic.rules(), ["V157"]);
    }

    #[test]
    fn more_map_registers_than_allowed_is_v155() {
        let dma = DmaConfig {
            map_registers: 2,
            ..config()
        };
        let nic = Nic::new(MachineConfig::default(), dma);
        let (base, mdl) = pool_mdl(&nic, 3 * PAGE);
        let status = nic.list_of(mdl, base, 3 * PAGE, false);
        assert_eq!(
            (status, nic.rules()),
            (NtStatus::INSUFFICIENT_RESOURCES.0, vec!["V155"])
        );
    }

    #[test]
    fn list_put_twice_is_v149_and_outstanding_at_put_of_the_adapter_v153() {
        let nic = Nic::plain();
        let (base, mdl) = pool_mdl(&nic, PAGE);
        nic.list_of(mdl, base, PAGE, false);
        let first = LIST.get();
        nic.put_list(first, false);
        nic.put_list(first, false);
        nic.list_of(mdl, base, PAGE, false);
        nic.put();
        assert_eq!(nic.rules(), ["V149", "V153", "V152"]);
    }

    #[test]
    fn list_put_for_the_other_direction_is_v163() {
        let nic = Nic::plain();
        let (base, mdl) = pool_mdl(&nic, PAGE);
        nic.list_of(mdl, base, PAGE, false);
        nic.put_list(LIST.get(), true);
        assert_eq!(nic.rules(), ["V163"]);
    }

    #[test]
    fn list_in_the_drivers_memory_needs_the_calculated_size() {
        let nic = Nic::plain();
        let (base, mdl) = pool_mdl(&nic, 3 * PAGE);
        let (mut size, mut registers) = (0_u32, 0_u32);
        let to = [&raw mut size as u64, &raw mut registers as u64];
        let arguments = [nic.adapter, mdl, base, 3 * PAGE, to[0], to[1]];
        assert_eq!(
            nic.kernel.call32("CalculateScatterGatherList", &arguments),
            0
        );
        assert_eq!((size, registers), (16 + 3 * 24, 3));
        let buffer = nic.kernel.pool(u64::from(size));
        let function = keep_list as *const () as u64;
        let build = |length: u64| {
            let device = nic.pdo;
            let arguments = [
                nic.adapter,
                device,
                mdl,
                base,
                3 * PAGE,
                function,
                0,
                0,
                buffer,
                length,
            ];
            thread::at_irql(DISPATCH, || {
                nic.kernel.call32("BuildScatterGatherList", &arguments)
            })
        };
        assert_eq!(build(16), NtStatus::BUFFER_TOO_SMALL.0);
        assert_eq!(build(u64::from(size)), 0);
        assert_eq!(LIST.get(), buffer);
        nic.put_list(buffer, false);
        nic.kernel.assert_clean();
    }

    #[test]
    fn transfer_info_counts_pages() {
        let nic = Nic::plain();
        let (_, mdl) = pool_mdl(&nic, 3 * PAGE);
        let mut info = [2_u32, 0, 0, 0, 0];
        let to = info.as_mut_ptr() as u64;
        let arguments = [nic.adapter, mdl, PAGE, PAGE + 1, 0, to];
        assert_eq!(nic.kernel.call32("GetDmaTransferInfo", &arguments), 0);
        assert_eq!(info, [2, 2, 2, 64, 2]);
    }
}
