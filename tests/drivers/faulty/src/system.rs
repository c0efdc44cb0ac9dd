//! What the system's headers define inline, and the few routines that the bindings lack.

use core::{
    mem::offset_of,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use wdk_sys::{
    DEVICE_OBJECT, DMA_ADAPTER, IO_STACK_LOCATION, IRP, KIRQL, NTSTATUS, PDEVICE_OBJECT,
    PHYSICAL_ADDRESS, PIO_STACK_LOCATION, PIRP, PMDL, PVOID,
    ntddk::{IofCallDriver, IofCompleteRequest, MmMapLockedPagesSpecifyCache},
};

pub(crate) const PASSIVE: KIRQL = 0;
pub(crate) const APC: KIRQL = 1;
pub(crate) const DISPATCH: KIRQL = 2;
/// Above every level at which a driver without interrupts has anything to do.
pub(crate) const DEVICE: KIRQL = 5;

pub(crate) const KERNEL_MODE: i8 = 0;
pub(crate) const USER_MODE: i8 = 1;
pub(crate) const PAGE: usize = 4096;
/// The tag of all our memory.
pub(crate) const TAG: u32 = u32::from_le_bytes(*b"flty");

/// A dispatch routine.
pub(crate) type Dispatch = unsafe extern "C" fn(*mut DEVICE_OBJECT, *mut IRP) -> NTSTATUS;
/// A completion routine.
pub(crate) type Completion = unsafe extern "C" fn(*mut DEVICE_OBJECT, *mut IRP, PVOID) -> NTSTATUS;
/// A cancel routine.
pub(crate) type Cancel = unsafe extern "C" fn(*mut DEVICE_OBJECT, *mut IRP);

unsafe extern "C" {
    #[link_name = "KfRaiseIrql"]
    fn raise_irql_routine(level: KIRQL) -> KIRQL;
    #[link_name = "KeLowerIrql"]
    fn lower_irql_routine(level: KIRQL);
}

/// `KeRaiseIrql`.
pub(crate) fn raise_irql(level: KIRQL) -> KIRQL {
    unsafe { raise_irql_routine(level) }
}

/// `KeLowerIrql`.
pub(crate) fn lower_irql(level: KIRQL) {
    unsafe { lower_irql_routine(level) };
}

/// Runs `work` at another IRQL.
pub(crate) fn at_irql<T>(level: KIRQL, work: impl FnOnce() -> T) -> T {
    let old = raise_irql(level);
    let result = work();
    lower_irql(old);
    result
}

/// `IoGetCurrentIrpStackLocation`.
pub(crate) fn current_stack(irp: PIRP) -> PIO_STACK_LOCATION {
    unsafe {
        (*irp)
            .Tail
            .Overlay
            .__bindgen_anon_2
            .__bindgen_anon_1
            .CurrentStackLocation
    }
}

/// `IoGetNextIrpStackLocation`.
pub(crate) fn next_stack(irp: PIRP) -> PIO_STACK_LOCATION {
    current_stack(irp).wrapping_sub(1)
}

/// `IoSkipCurrentIrpStackLocation`.
pub(crate) fn skip_stack(irp: PIRP) {
    unsafe {
        (*irp).CurrentLocation += 1;
        let location = current_stack(irp).wrapping_add(1);
        (*irp)
            .Tail
            .Overlay
            .__bindgen_anon_2
            .__bindgen_anon_1
            .CurrentStackLocation = location;
    }
}

/// `IoCopyCurrentIrpStackLocationToNext`.
pub(crate) fn copy_stack(irp: PIRP) {
    let bytes = offset_of!(IO_STACK_LOCATION, CompletionRoutine);
    unsafe {
        let (from, to) = (current_stack(irp), next_stack(irp));
        ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast::<u8>(), bytes);
        (*to).Control = 0;
    }
}

/// `IoSetCompletionRoutine`, for every outcome.
pub(crate) fn set_completion(irp: PIRP, routine: Completion, context: PVOID) {
    unsafe {
        let next = next_stack(irp);
        (*next).CompletionRoutine = Some(routine);
        (*next).Context = context;
        (*next).Control = 0xE0;
    }
}

/// `IoMarkIrpPending`.
pub(crate) fn mark_pending(irp: PIRP) {
    unsafe { (*current_stack(irp)).Control |= 1 };
}

/// `IoSetCancelRoutine`; whether there was one before.
pub(crate) fn set_cancel_routine(irp: PIRP, routine: Option<Cancel>) -> bool {
    let value = routine.map_or(0, |routine| routine as usize);
    unsafe {
        let field = &raw mut (*irp).CancelRoutine;
        AtomicUsize::from_ptr(field.cast()).swap(value, Ordering::SeqCst) != 0
    }
}

/// Completes a request; gives the status back for the dispatch routine to return.
pub(crate) fn complete(irp: PIRP, status: NTSTATUS, information: usize) -> NTSTATUS {
    unsafe {
        set_status(irp, status);
        (*irp).IoStatus.Information = information as u64;
        IofCompleteRequest(irp, 0);
    }
    status
}

pub(crate) fn set_status(irp: PIRP, status: NTSTATUS) {
    unsafe { (*irp).IoStatus.__bindgen_anon_1.Status = status };
}

pub(crate) fn status_of(irp: PIRP) -> NTSTATUS {
    unsafe { (*irp).IoStatus.__bindgen_anon_1.Status }
}

/// `IoCallDriver`.
pub(crate) fn call(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    unsafe { IofCallDriver(device, irp) }
}

/// A physical or logical address.
pub(crate) const fn address(value: i64) -> PHYSICAL_ADDRESS {
    PHYSICAL_ADDRESS { QuadPart: value }
}

/// `MmGetSystemAddressForMdlSafe` with a mapping that cannot be executed.
pub(crate) fn system_address(mdl: PMDL) -> PVOID {
    const MAPPED_OR_NONPAGED: i16 = 5;
    unsafe {
        if (*mdl).MdlFlags & MAPPED_OR_NONPAGED != 0 {
            return (*mdl).MappedSystemVa;
        }
        MmMapLockedPagesSpecifyCache(mdl, KERNEL_MODE, 1, ptr::null_mut(), 0, NORMAL_NO_EXECUTE)
    }
}

/// `NormalPagePriority | MdlMappingNoExecute`, as the bindings type it.
pub(crate) const NORMAL_NO_EXECUTE: wdk_sys::MM_PAGE_PRIORITY = 0x4000_0010;

/// A routine of an adapter's table.
macro_rules! operation {
    ($adapter:expr, $member:ident) => {
        $crate::system::table($adapter)
            .$member
            .unwrap_or_else(|| core::hint::unreachable_unchecked())
    };
}
pub(crate) use operation;

/// An adapter's table of routines.
pub(crate) fn table(adapter: *mut DMA_ADAPTER) -> &'static wdk_sys::DMA_OPERATIONS {
    unsafe { &*(*adapter).DmaOperations }
}
