//! Requests that use memory and DMA: one as it should be, the others each breaking a rule.

use crate::system::*;
use crate::{PDO, extension};

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    safe fn ExAllocatePool2(flags: u64, bytes: u64, tag: u32) -> u64;
    safe fn ExFreePool(at: u64);
    safe fn MmAllocateContiguousMemorySpecifyCache(
        bytes: u64,
        lowest: u64,
        highest: u64,
        boundary: u64,
        cache: u32,
    ) -> u64;
    safe fn MmFreeContiguousMemory(at: u64);
    safe fn IoAllocateMdl(at: u64, bytes: u32, secondary: u8, quota: u8, irp: u64) -> u64;
    safe fn IoFreeMdl(mdl: u64);
    safe fn MmBuildMdlForNonPagedPool(mdl: u64);
    safe fn MmProbeAndLockPages(mdl: u64, mode: u8, operation: u32);
    safe fn MmMapLockedPagesSpecifyCache(
        mdl: u64,
        mode: u8,
        cache: u32,
        at: u64,
        bug_check: u32,
        priority: u32,
    ) -> u64;
    safe fn MmUnmapLockedPages(at: u64, mdl: u64);
    safe fn MmAllocatePagesForMdlEx(
        lowest: u64,
        highest: u64,
        skip: u64,
        bytes: u64,
        cache: u32,
        flags: u32,
    ) -> u64;
    safe fn IoGetDmaAdapter(pdo: u64, description: *const [u32; 16], registers: *mut u32) -> u64;
}

const PAGE: u64 = 4096;
const TAG: u32 = 0x7473_6554;
const NO_EXECUTE: u32 = 0x4000_0010;

fn pool(bytes: u64) -> u64 {
    ExAllocatePool2(0x40, bytes, TAG)
}

/// The member of the adapter's table at an offset, called with any arguments.
fn member(adapter: u64, offset: u64, arguments: [u64; 9]) -> u64 {
    type Member = extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u64;
    let address: u64 = get(get::<u64>(adapter + 8) + offset);
    let member = unsafe { core::mem::transmute::<u64, Member>(address) };
    let [b, c, d, e, f, g, h, i, j] = arguments;
    member(adapter, b, c, d, e, f, g, h, i, j)
}

#[link(name = "hal.dll", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    safe fn HalGetAdapter(description: *const [u32; 16], registers: *mut u32) -> u64;
}

fn adapter(device: u64) -> u64 {
    let mut description = [0_u32; 16];
    description[0] = 3;
    description[1] = 0x0101;
    description[5] = u32::MAX;
    description[8] = 1 << 20;
    description[10] = 32;
    let mut registers = 0;
    IoGetDmaAdapter(get(extension(device) + PDO), &description, &mut registers)
}

fn put_adapter(adapter: u64) {
    member(adapter, 8, [0; 9]);
}

extern "C" fn list_control(_device: u64, _irp: u64, list: u64, context: u64) {
    put(context, list);
}

/// A common buffer, and a list for a contiguous block that is mapped to the caller meanwhile.
fn behave(device: u64) -> u64 {
    let adapter = adapter(device);
    let mut logical = 0_u64;
    let to = (&raw mut logical) as u64;
    let buffer = member(adapter, 16, [2 * PAGE, to, 1, 0, 0, 0, 0, 0, 0]);
    put(buffer, 7_u64);
    let block = MmAllocateContiguousMemorySpecifyCache(2 * PAGE, 0, u64::MAX, 0, 1);
    for at in (block..block + 2 * PAGE).step_by(8) {
        put(at, 0_u64);
    }
    let mdl = IoAllocateMdl(block, 2 * PAGE as u32, 0, 0, 0);
    MmBuildMdlForNonPagedPool(mdl);
    let user = MmMapLockedPagesSpecifyCache(mdl, 1, 1, 0, 0, NO_EXECUTE);
    put(user + PAGE, 42_u32);
    let seen: u32 = get(block + PAGE);
    let mut list = 0_u64;
    let (function, context) = (list_control as *const () as u64, (&raw mut list) as u64);
    let old = KfRaiseIrql(2);
    member(adapter, 88, [device, mdl, block, 2 * PAGE, function, context, 0, 0, 0]);
    let elements: u32 = get(list);
    member(adapter, 96, [list, 0, 0, 0, 0, 0, 0, 0, 0]);
    KeLowerIrql(old);
    MmUnmapLockedPages(user, mdl);
    IoFreeMdl(mdl);
    MmFreeContiguousMemory(block);
    member(adapter, 24, [2 * PAGE, logical, buffer, 1, 0, 0, 0, 0, 0]);
    put_adapter(adapter);
    let small = pool(100);
    ExFreePool(small);
    u64::from(seen) << 32 | u64::from(elements)
}

/// Runs the request of that number; false if it is none of these.
pub fn request(device: u64, irp: u64, number: u32) -> bool {
    match number {
        0x840 => put(get::<u64>(irp + 24), behave(device)),
        0x841 => put(pool(PAGE) + PAGE, 1_u8),
        0x842 => {
            let block = pool(64);
            ExFreePool(block);
            put(block, 1_u8);
        }
        0x843 => put(pool(PAGE) - 1, 1_u8),
        0x844 => MmProbeAndLockPages(IoAllocateMdl(0x10_0000, 8, 0, 0, 0), 1, 1),
        0x845 => {
            let adapter = adapter(device);
            put_adapter(adapter);
            member(adapter, 16, [PAGE, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
        0x846 => {
            member(adapter(device), 320, [0; 9]);
        }
        0x847 => {
            let block = pool(PAGE);
            let mdl = IoAllocateMdl(block, PAGE as u32, 0, 0, 0);
            MmBuildMdlForNonPagedPool(mdl);
            let mut length = PAGE as u32;
            let to = (&raw mut length) as u64;
            member(adapter(device), 64, [mdl, 0x1000, block, to, 1, 0, 0, 0, 0]);
        }
        0x848 => {
            let mdl = MmAllocatePagesForMdlEx(0, u64::MAX, 0, 8 * PAGE, 1, 0);
            let at = MmMapLockedPagesSpecifyCache(mdl, 0, 1, 0, 0, NO_EXECUTE);
            put(at + 4 * PAGE, 1_u8);
        }
        0x849 => {
            let adapter = adapter(device);
            let mut logical = 0_u64;
            let old = KfRaiseIrql(2);
            member(adapter, 16, [PAGE, (&raw mut logical) as u64, 1, 0, 0, 0, 0, 0, 0]);
            KeLowerIrql(old);
        }
        0x84A => ExFreePool(irp),
        0x84B => {
            adapter(device);
        }
        0x84C => {
            pool(100);
        }
        0x84D => {
            let mut registers = 0;
            HalGetAdapter(&[0; 16], &mut registers);
        }
        _ => return false,
    }
    true
}
