//! Device-control requests: the function number says which rule to break.

use core::sync::atomic::Ordering;

use crate::memory;
use crate::system::*;
use crate::{EVENT, EXITS, HELD, MUTEX, PUSH, REMOVE_LOCK, RUNDOWN, SPIN_A, SPIN_B, extension};

extern "C" fn cancel(_device: u64, irp: u64) {
    let own = extension(get(stack(irp) + 40));
    IoReleaseCancelSpinLock(get(irp + 69));
    put(own + HELD, 0_u64);
    complete(irp, CANCELLED, 0);
}

fn pend(own: u64, irp: u64) -> u32 {
    let mut irql = 0;
    mark_pending(irp);
    put(own + HELD, irp);
    IoAcquireCancelSpinLock(&mut irql);
    put(irp + 104, cancel as *const () as u64);
    IoReleaseCancelSpinLock(irql);
    PENDING
}

fn finish_pending(own: u64, irp: u64) -> u32 {
    let held: u64 = get(own + HELD);
    if held != 0 {
        put(own + HELD, 0_u64);
        put(held + 104, 0_u64);
        complete(held, SUCCESS, 0);
    }
    complete(irp, SUCCESS, 0)
}

fn both(first: u64, second: u64) {
    let old = KeAcquireSpinLockRaiseToDpc(first);
    let inner = KeAcquireSpinLockRaiseToDpc(second);
    KeReleaseSpinLock(second, inner);
    KeReleaseSpinLock(first, old);
}

/// Uses everything as it should be used.
fn behave(own: u64, irp: u64) {
    both(own + SPIN_A, own + SPIN_B);
    KeEnterCriticalRegion();
    ExAcquirePushLockExclusiveEx(own + PUSH, 0);
    ExReleasePushLockExclusiveEx(own + PUSH, 0);
    KeLeaveCriticalRegion();
    ExAcquireFastMutex(own + MUTEX);
    ExReleaseFastMutex(own + MUTEX);
    ExAcquireRundownProtection(own + RUNDOWN);
    ExReleaseRundownProtection(own + RUNDOWN);
    let file: u64 = get(stack(irp) + 48);
    ObfReferenceObject(file);
    ObfDereferenceObject(file);
    let mut state = [0; 6];
    KeStackAttachProcess(IoGetRequestorProcess(irp), &mut state);
    KeUnstackDetachProcess(&mut state);
    KeSetEvent(own + EVENT, 0, 0);
    KeWaitForSingleObject(own + EVENT, 0, 0, 0, core::ptr::null());
    DbgPrint(c"value %d\n".as_ptr().cast(), 42);
}

pub extern "C" fn device_control(device: u64, irp: u64) -> u32 {
    let (own, location) = (extension(device), stack(irp));
    let (buffer, output): (u64, u32) = (get(irp + 24), get(location + 8));
    let input: u32 = get(location + 16);
    let mut state = [0; 6];
    match get::<u32>(location + 24) >> 2 & 0xFFF {
        0x800 => return complete(irp, SUCCESS, u64::from(output.min(input))),
        0x801 => return complete(irp, SUCCESS, u64::from(output) + 1),
        0x802 => {
            complete(irp, SUCCESS, 0);
            IofCompleteRequest(irp, 0);
            return SUCCESS;
        }
        0x803 => {
            complete(irp, SUCCESS, 0);
            return get(irp + 48);
        }
        0x804 => {
            let old = KeAcquireSpinLockRaiseToDpc(own + SPIN_A);
            complete(irp, SUCCESS, 0);
            KeReleaseSpinLock(own + SPIN_A, old);
            return SUCCESS;
        }
        0x805 => return SUCCESS,
        0x806 => {
            complete(irp, SUCCESS, 0);
            return INVALID;
        }
        0x807 => return pend(own, irp),
        0x808 => return finish_pending(own, irp),
        0x809 => {
            mark_pending(irp);
            return complete(irp, SUCCESS, 0);
        }
        0x80A => {
            KfRaiseIrql(2);
        }
        0x80B => {
            both(own + SPIN_A, own + SPIN_B);
            both(own + SPIN_B, own + SPIN_A);
        }
        0x80C => both(own + SPIN_A, own + SPIN_A),
        0x80D => {
            KfRaiseIrql(2);
            KeReleaseSpinLock(own + SPIN_A, 0);
        }
        0x80E => {
            ExAcquirePushLockExclusiveEx(own + PUSH, 0);
            ExReleasePushLockExclusiveEx(own + PUSH, 0);
        }
        0x80F => KeEnterCriticalRegion(),
        0x810 => {
            ObfDereferenceObject(get(location + 48));
        }
        0x811 => {
            let event = [9_u64; 3];
            KeSetEvent(event.as_ptr() as u64, 0, 0);
        }
        0x812 => KeStackAttachProcess(IoGetCurrentProcess(), &mut state),
        0x813 => put(8, 1_u64),
        0x814 => {
            let old = KfRaiseIrql(1);
            ZwClose(4);
            KeLowerIrql(old);
        }
        0x815 => {
            ObfReferenceObject(get(location + 48));
        }
        0x816 => IoReleaseRemoveLockEx(own + REMOVE_LOCK, irp, 32),
        0x817 => {
            KeSetEvent(own + EVENT, 0, 0);
            let old = KfRaiseIrql(2);
            KeWaitForSingleObject(own + EVENT, 0, 0, 0, core::ptr::null());
            KeLowerIrql(old);
        }
        0x818 => {
            let event = [0_u64; 3];
            let event = event.as_ptr() as u64;
            KeInitializeEvent(event, 0, 0);
            KeWaitForSingleObject(event, 0, 0, 0, core::ptr::null());
        }
        0x819 => unsafe {
            memcpy(
                (buffer + 1) as *mut u8,
                buffer as *const u8,
                input as usize - 1,
            );
        },
        0x81A => KeBugCheckEx(0xE2, 1, 2, 3, 4),
        0x81B => behave(own, irp),
        0x81C => {
            KeAcquireSpinLockRaiseToDpc(own + SPIN_A);
        }
        0x81D => put::<u8>(buffer + u64::from(input), 1),
        0x81E => put::<u8>(device + 4096, 1),
        0x81F => {
            put(buffer, EXITS.load(Ordering::Relaxed));
            return complete(irp, SUCCESS, 8);
        }
        0x820 => KeUnstackDetachProcess(&mut state),
        0x821 => {
            IoAcquireRemoveLockEx(own + REMOVE_LOCK, irp, 0, 0, 32);
        }
        0x822 => return complete(irp, INVALID, 4),
        0x823 => {
            ExAcquireRundownProtection(own + RUNDOWN);
            ExWaitForRundownProtectionRelease(own + RUNDOWN);
        }
        0x824 => return PENDING,
        0x825 => unsafe {
            core::arch::asm!("cli");
        },
        0x826 => return complete(irp, PENDING, 0),
        0x840 => {
            memory::request(device, irp, 0x840);
            return complete(irp, SUCCESS, 8);
        }
        number if memory::request(device, irp, number) => {}
        _ => return complete(irp, INVALID, 0),
    }
    complete(irp, SUCCESS, 0)
}
