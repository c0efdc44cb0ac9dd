//! Requests that a driver allocates itself, and questions about any request.

use super::{NewIrp, State};
use crate::access::{fill, read, write};
use crate::export::{IrqlRule, exports};
use crate::guarded::GuardedBlock;
use crate::host::{Host, current};
use crate::layout::irp;
use crate::lock;
use crate::status::NtStatus;
use crate::thread::DISPATCH;

extern "win64" fn io_allocate_irp(stack_size: i8, _charge_quota: u8) -> u64 {
    let host = current();
    if host.faults().should_fail("IoAllocateIrp") {
        return 0;
    }
    let new = NewIrp {
        major: 0,
        minor: 0,
        stack_count: stack_size,
        requestor_mode: 0,
        status: NtStatus::SUCCESS,
        thread: None,
        file: None,
    };
    match super::create(&host, new) {
        Ok(request) => {
            lock(&request.state).driver_owned = true;
            request.address
        }
        Err(_) => 0,
    }
}

/// Why the driver may not free or reuse the request.
fn misuse(host: &Host, address: u64) -> Option<(&'static str, &'static str, String)> {
    let Some(request) = host.irps.at(address) else {
        return Some(("V183", "C9/0x01", format!("{address:#x} is no live IRP")));
    };
    let state = lock(&request.state);
    if !state.driver_owned {
        let message = format!("{address:#x} was not made by IoAllocateIrp");
        return Some(("V184", "C9/0x02", message));
    }
    in_use(&state).then(|| {
        (
            "V206",
            "C9/0x20A",
            format!("{address:#x} is still with a lower driver"),
        )
    })
}

fn in_use(state: &State) -> bool {
    state.levels.iter().any(|level| level.completed.is_none())
}

extern "win64" fn io_free_irp(address: u64) {
    let host = current();
    if let Some((rule, code, message)) = misuse(&host, address) {
        host.violation(rule, code, message);
        return;
    }
    if let Some(request) = host.irps.at(address) {
        host.irps.forget(address);
        let block: Option<GuardedBlock> = lock(&request.state).block.take();
        drop(block);
    }
}

extern "win64" fn io_reuse_irp(address: u64, status: u32) {
    let host = current();
    if let Some((_, _, message)) = misuse(&host, address) {
        host.violation("V290", "IoReuseIrp", message);
        return;
    }
    let Some(request) = host.irps.at(address) else {
        return;
    };
    lock(&request.state).levels.clear();
    let size: u16 = read(address + irp::SIZE);
    fill(
        address + irp::MDL_ADDRESS,
        0,
        usize::from(size) - irp::MDL_ADDRESS as usize,
    );
    write(address + irp::STATUS, status);
    write(address + irp::STACK_COUNT, request.stack_count);
    write(address + irp::CURRENT_LOCATION, request.stack_count + 1);
    write(
        address + irp::CURRENT_STACK_LOCATION,
        address + u64::from(size),
    );
}

extern "win64" fn io_get_requestor_process(address: u64) -> u64 {
    let host = current();
    let request = host.irps.at(address);
    request
        .and_then(|request| request.thread.clone())
        .map_or(0, |thread| thread.process_address())
}

extern "win64" fn io_get_requestor_process_id(address: u64) -> u32 {
    let host = current();
    let request = host.irps.at(address);
    request
        .and_then(|request| request.thread.clone())
        .map_or(0, |thread| thread.process_id() as u32)
}

extern "win64" fn io_is_32bit_process(address: u64) -> u8 {
    let host = current();
    if address == 0 {
        return u8::from(host.current_process().is_32_bit);
    }
    let request = host.irps.at(address);
    let thread = request.and_then(|request| request.thread.clone());
    u8::from(thread.is_some_and(|thread| thread.is_32_bit()))
}

/// Reports requests of a driver's own that it has not freed, and those it never completed.
pub(crate) fn driver_unloaded(host: &Host) {
    for request in host.irps.all() {
        let owned = lock(&request.state).driver_owned;
        let kind = if owned { "IRP" } else { "request" };
        let name = super::check::name_of(request.major, request.minor);
        host.leak(
            kind,
            format!("{name} at {:#x}", request.address),
            Vec::new(),
        );
    }
}

exports! {
    "IoAllocateIrp" => io_allocate_irp, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoFreeIrp" => io_free_irp, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoReuseIrp" => io_reuse_irp, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoGetRequestorProcess" => io_get_requestor_process, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoGetRequestorProcessId" => io_get_requestor_process_id, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoIs32bitProcess" => io_is_32bit_process, IrqlRule::Any, "V050", "C4/0xE5";
}
