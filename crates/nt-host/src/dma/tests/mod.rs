//! The DMA interface, called as a driver would call it, and a device that uses what it gives.

mod adapter;
mod buffers;
mod channels;
mod coherence;
mod domains;
mod lists;
mod mapping;
mod queue;
mod system;

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

/// Nonpaged memory with its MDL.
fn pool_mdl(nic: &Nic, bytes: u64) -> (u64, u64) {
    let arguments = [NONPAGED_POOL, bytes, u64::from(TAG)];
    let base = nic.kernel.call("ExAllocatePool2", &arguments);
    let mdl = nic.kernel.mdl(base, bytes);
    nic.kernel.call("MmBuildMdlForNonPagedPool", &[mdl]);
    (base, mdl)
}

/// Has the device follow a list.
fn device_write(nic: &Nic, list: u64, bytes: &[u8]) {
    let mut rest = bytes;
    for (logical, length) in elements(list) {
        let (part, next) = rest.split_at(rest.len().min(length as usize));
        nic.device().write(logical, part).unwrap();
        rest = next;
    }
    assert!(rest.is_empty());
}

/// What the device reads along a list.
fn device_read(nic: &Nic, list: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (logical, length) in elements(list) {
        let mut part = vec![0; length as usize];
        nic.device().read(logical, &mut part).unwrap();
        bytes.extend(part);
    }
    bytes
}

/// `KeepObject`, `DeallocateObject` and `DeallocateObjectKeepRegisters`.
const KEEP: u64 = 1;
const FREE: u64 = 2;
const KEEP_REGISTERS: u64 = 3;
/// `DMA_SYNCHRONOUS_CALLBACK`.
const SYNCHRONOUS: u64 = 1;

thread_local! {
    static BASE: Cell<u64> = const { Cell::new(0) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
    static IRQL: Cell<u8> = const { Cell::new(0) };
}

/// A driver's adapter control routine: keeps the handle for the test, and returns what its context says.
extern "win64" fn keep_base(_device: u64, _irp: u64, base: u64, answer: u64) -> u64 {
    BASE.set(base);
    CALLS.set(CALLS.get() + 1);
    IRQL.set(thread::irql());
    answer
}

impl Nic {
    /// A machine without low memory and without an IOMMU: the device reaches nothing but bounce pages.
    fn out_of_reach() -> Self {
        let dma = DmaConfig {
            remapping: false,
            ..config()
        };
        Self::new(MachineConfig::without_low_memory(), dma)
    }

    fn at_dispatch(&self, name: &str, arguments: &[u64]) -> u32 {
        thread::at_irql(DISPATCH, || self.kernel.call32(name, arguments))
    }

    /// `AllocateAdapterChannel` with a routine that returns `answer`.
    fn channel(&self, registers: u64, answer: u64) -> u32 {
        let function = keep_base as *const () as u64;
        let arguments = [self.adapter, self.pdo, registers, function, answer];
        self.at_dispatch("AllocateAdapterChannel", &arguments)
    }

    /// Map registers that stay after the routine, and their handle.
    fn base(&self, registers: u64) -> u64 {
        assert_eq!(self.channel(registers, KEEP_REGISTERS), 0);
        BASE.get()
    }

    fn free_registers(&self, base: u64, count: u64) {
        self.at_dispatch("FreeMapRegisters", &[self.adapter, base, count]);
    }

    /// `MapTransfer`: logical address and bytes.
    fn map(&self, mdl: u64, base: u64, at: u64, length: u32, to_device: bool) -> (u64, u32) {
        let mut bytes = length;
        let to = &raw mut bytes as u64;
        let arguments = [self.adapter, mdl, base, at, to, u64::from(to_device)];
        let logical = self.kernel.call("MapTransfer", &arguments);
        (logical, bytes)
    }

    fn flush(&self, mdl: u64, base: u64, at: u64, length: u32, to_device: bool) -> bool {
        let to_device = u64::from(to_device);
        let arguments = [self.adapter, mdl, base, at, u64::from(length), to_device];
        self.kernel.call32("FlushAdapterBuffers", &arguments) & 0xFF != 0
    }

    /// A transfer context that was set up, in the driver's memory.
    fn context(&self) -> u64 {
        let context = self.kernel.pool(128);
        let arguments = [self.adapter, context];
        assert_eq!(
            self.kernel
                .call32("InitializeDmaTransferContext", &arguments),
            0
        );
        context
    }

    /// `AllocateAdapterChannelEx`, asynchronous, with a routine that returns `answer`.
    fn channel_ex(&self, context: u64, registers: u64, answer: u64) -> u32 {
        let function = keep_base as *const () as u64;
        let arguments = [
            self.adapter,
            self.pdo,
            context,
            registers,
            0,
            function,
            answer,
            0,
        ];
        self.at_dispatch("AllocateAdapterChannelEx", &arguments)
    }

    /// `AllocateAdapterChannelEx` without a routine: the handle.
    fn channel_now(&self, context: u64, registers: u64) -> Result<u64, u32> {
        let mut base = 0_u64;
        let to = &raw mut base as u64;
        let arguments = [
            self.adapter,
            self.pdo,
            context,
            registers,
            SYNCHRONOUS,
            0,
            0,
            to,
        ];
        let status = self.at_dispatch("AllocateAdapterChannelEx", &arguments);
        if status == 0 { Ok(base) } else { Err(status) }
    }

    fn free_object(&self, action: u64) {
        self.kernel
            .call("FreeAdapterObject", &[self.adapter, action]);
    }

    /// `MapTransferEx` into a list with room for `room` elements: the bytes mapped.
    fn map_ex(
        &self,
        (mdl, base, offset): (u64, u64, u64),
        length: u32,
        to_device: bool,
        (list, room): (u64, u64),
    ) -> Result<u32, u32> {
        let mut bytes = length;
        let to = &raw mut bytes as u64;
        let size = 16 + 24 * room;
        let to_device = u64::from(to_device);
        let arguments = [
            self.adapter,
            mdl,
            base,
            offset,
            0,
            to,
            to_device,
            list,
            size,
            0,
            0,
        ];
        match self.kernel.call32("MapTransferEx", &arguments) {
            0 => Ok(bytes),
            status => Err(status),
        }
    }

    fn flush_ex(&self, (mdl, base, offset): (u64, u64, u64), length: u32, to_device: bool) -> u32 {
        let to_device = u64::from(to_device);
        let arguments = [
            self.adapter,
            mdl,
            base,
            offset,
            u64::from(length),
            to_device,
        ];
        self.kernel.call32("FlushAdapterBuffersEx", &arguments)
    }

    fn hold(&self, count: u32) -> super::HeldMapRegisters {
        super::pool::hold(&self.kernel.host, count)
    }

    fn free_in_pool(&self) -> u32 {
        self.kernel.host.dma.registers.free()
    }
}
