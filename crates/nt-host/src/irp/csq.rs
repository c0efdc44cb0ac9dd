//! Cancel-safe queues: the driver keeps the list and the lock, the system settles who takes an IRP out.
//!
//! `IO_CSQ`: Type +0, Insert +8, Remove +16, `PeekNext` +24, `AcquireLock` +32, `ReleaseLock` +40,
//! `CompleteCanceledIrp` +48. `IO_CSQ_IRP_CONTEXT`: Type +0, Irp +8, Csq +16.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use crate::access::{atomic_u64, fill, read, write};
use crate::call::{Entry, Stopped, exported};
use crate::export::{IrqlRule, exports, table};
use crate::host::Host;
use crate::layout::{irp, stack};
use crate::status::NtStatus;
use crate::thread::{self, DISPATCH};

const TYPE: u32 = 1;
const TYPE_EX: u32 = 3;
const CONTEXT_TYPE: u32 = 2;
/// `DriverContext[3]` holds the queue, or the context that points to it.
const DRIVER_CONTEXT_3: u64 = irp::DRIVER_CONTEXT + 24;

fn callback(
    host: &Arc<Host>,
    csq: u64,
    slot: u64,
    name: &str,
    arguments: &[u64],
    entry: Entry,
) -> Result<u64, Stopped> {
    let routine: u64 = read(csq + slot);
    let all: Vec<u64> = std::iter::once(csq)
        .chain(arguments.iter().copied())
        .collect();
    host.call_driver(entry, name, routine, &all)
}

fn acquire(host: &Arc<Host>, csq: u64) -> Result<u64, Stopped> {
    // The routine stores the old IRQL through its second argument.
    let irql = host
        .object("saved IRQL", 8)
        .map_err(|_| host.die("no memory for a saved IRQL"))?;
    callback(
        host,
        csq,
        32,
        "CsqAcquireLock",
        &[irql.address()],
        Entry::Lock,
    )?;
    Ok(read::<u64>(irql.address()) & 0xFF)
}

fn release(host: &Arc<Host>, csq: u64, irql: u64) -> Result<(), Stopped> {
    callback(host, csq, 40, "CsqReleaseLock", &[irql], Entry::Lock).map(drop)
}

fn initialize(csq: u64, kind: u32, routines: [u64; 6]) -> u32 {
    fill(csq, 0, 64);
    write(csq, kind);
    for (slot, routine) in (8..).step_by(8).zip(routines) {
        write(csq + slot, routine);
    }
    NtStatus::SUCCESS.0
}

extern "win64" fn io_csq_initialize(
    csq: u64,
    insert: u64,
    remove: u64,
    peek: u64,
    acquire: u64,
    release: u64,
    complete: u64,
) -> u32 {
    initialize(
        csq,
        TYPE,
        [insert, remove, peek, acquire, release, complete],
    )
}

extern "win64" fn io_csq_initialize_ex(
    csq: u64,
    insert: u64,
    remove: u64,
    peek: u64,
    acquire: u64,
    release: u64,
    complete: u64,
) -> u32 {
    initialize(
        csq,
        TYPE_EX,
        [insert, remove, peek, acquire, release, complete],
    )
}

/// The routine that the system sets as an IRP's cancel routine while it is queued.
fn cancel_stub() -> u64 {
    static STUB: OnceLock<u64> = OnceLock::new();
    *STUB.get_or_init(|| {
        table()
            .routine("IopCsqCancelRoutine")
            .map_or(0, |routine| nt_image::stub(routine) as u64)
    })
}

fn insert(
    host: &Arc<Host>,
    csq: u64,
    request: u64,
    context: u64,
    insert_context: u64,
) -> Result<u32, Stopped> {
    if host.irps.at(request).is_none() {
        host.violation("V197", "44", format!("{request:#x} is no live IRP"));
        return Ok(NtStatus::INVALID_PARAMETER.0);
    }
    let irql = acquire(host, csq)?;
    if context == 0 {
        write(request + DRIVER_CONTEXT_3, csq);
    } else {
        write(context, CONTEXT_TYPE);
        write(context + 8, request);
        write(context + 16, csq);
        write(request + DRIVER_CONTEXT_3, context);
    }
    let location: u64 = read(request + irp::CURRENT_STACK_LOCATION);
    let control: u8 = read(location + stack::CONTROL);
    write(location + stack::CONTROL, control | stack::PENDING_RETURNED);
    let answer = callback(
        host,
        csq,
        8,
        "CsqInsertIrp",
        &[request, insert_context],
        Entry::Callback,
    )?;
    let status = if read::<u32>(csq) == TYPE_EX {
        NtStatus(answer as u32)
    } else {
        NtStatus::SUCCESS
    };
    if !status.is_success() {
        write(location + stack::CONTROL, control);
        write(request + DRIVER_CONTEXT_3, 0_u64);
        release(host, csq, irql)?;
        return Ok(status.0);
    }
    let slot = atomic_u64(request + irp::CANCEL_ROUTINE);
    slot.store(cancel_stub(), Ordering::SeqCst);
    let cancelled = read::<u8>(request + irp::CANCEL) != 0;
    if cancelled && slot.swap(0, Ordering::SeqCst) != 0 {
        callback(host, csq, 16, "CsqRemoveIrp", &[request], Entry::Callback)?;
        write(request + DRIVER_CONTEXT_3, 0_u64);
        release(host, csq, irql)?;
        callback(
            host,
            csq,
            48,
            "CsqCompleteCanceledIrp",
            &[request],
            Entry::Callback,
        )?;
        return Ok(status.0);
    }
    release(host, csq, irql)?;
    Ok(status.0)
}

extern "win64" fn io_csq_insert_irp(csq: u64, request: u64, context: u64) {
    exported(|host| insert(host, csq, request, context, 0).map(drop));
}

extern "win64" fn io_csq_insert_irp_ex(
    csq: u64,
    request: u64,
    context: u64,
    insert_context: u64,
) -> u32 {
    exported(|host| insert(host, csq, request, context, insert_context))
}

/// Takes an IRP out of the driver's list, if its cancel routine has not been taken by `IoCancelIrp`.
fn take(host: &Arc<Host>, csq: u64, request: u64) -> Result<bool, Stopped> {
    if atomic_u64(request + irp::CANCEL_ROUTINE).swap(0, Ordering::SeqCst) == 0 {
        return Ok(false);
    }
    callback(host, csq, 16, "CsqRemoveIrp", &[request], Entry::Callback)?;
    let context: u64 = read(request + DRIVER_CONTEXT_3);
    if context != 0 && context != csq {
        write(context + 8, 0_u64);
    }
    write(request + DRIVER_CONTEXT_3, 0_u64);
    Ok(true)
}

extern "win64" fn io_csq_remove_irp(csq: u64, context: u64) -> u64 {
    exported(|host| {
        let irql = acquire(host, csq)?;
        let request: u64 = read(context + 8);
        let taken = request != 0 && take(host, csq, request)?;
        release(host, csq, irql)?;
        Ok(if taken { request } else { 0 })
    })
}

extern "win64" fn io_csq_remove_next_irp(csq: u64, peek_context: u64) -> u64 {
    exported(|host| {
        let irql = acquire(host, csq)?;
        let mut previous = 0;
        loop {
            let arguments = [previous, peek_context];
            let request = callback(host, csq, 24, "CsqPeekNextIrp", &arguments, Entry::Callback)?;
            if request == 0 || take(host, csq, request)? {
                release(host, csq, irql)?;
                return Ok(request);
            }
            previous = request;
        }
    })
}

extern "win64" fn iop_csq_cancel_routine(_device: u64, request: u64) {
    exported(|host| {
        let restored: u8 = read(request + irp::CANCEL_IRQL);
        host.cancel_lock.release_for_queue(restored);
        let held: u64 = read(request + DRIVER_CONTEXT_3);
        let csq = if read::<u32>(held) == CONTEXT_TYPE {
            read(held + 16)
        } else {
            held
        };
        let irql = acquire(host, csq)?;
        callback(host, csq, 16, "CsqRemoveIrp", &[request], Entry::Callback)?;
        if held != csq {
            write(held + 8, 0_u64);
        }
        write(request + DRIVER_CONTEXT_3, 0_u64);
        release(host, csq, irql)?;
        callback(
            host,
            csq,
            48,
            "CsqCompleteCanceledIrp",
            &[request],
            Entry::Callback,
        )?;
        thread::set_irql(restored);
        Ok(())
    });
}

exports! {
    "IoCsqInitialize" => io_csq_initialize, IrqlRule::Any, "V050", "C4/0xE5";
    "IoCsqInitializeEx" => io_csq_initialize_ex, IrqlRule::Any, "V050", "C4/0xE5";
    "IoCsqInsertIrp" => io_csq_insert_irp, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoCsqInsertIrpEx" => io_csq_insert_irp_ex, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoCsqRemoveIrp" => io_csq_remove_irp, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoCsqRemoveNextIrp" => io_csq_remove_next_irp, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IopCsqCancelRoutine" => iop_csq_cancel_routine, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
}
