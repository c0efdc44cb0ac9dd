//! `IoCompleteRequest`: a request goes back up, through the completion routines, to who issued it.

use std::sync::Arc;

use super::{Irp, State, check};
use crate::access::{fill, read, read_bytes, write};
use crate::call::{Entry, Stopped, exported};
use crate::export::{IrqlRule, exports};
use crate::file::STALE;
use crate::host::{Host, current};
use crate::layout::{irp, major, stack};
use crate::lock;
use crate::status::NtStatus;
use crate::thread::{self, DISPATCH};

/// `STATUS_MORE_PROCESSING_REQUIRED`.
const MORE_PROCESSING: u32 = 0xC000_0016;

/// Completes the request from its current location upwards.
pub(crate) fn complete(host: &Arc<Host>, request: &Arc<Irp>) -> Result<(), Stopped> {
    loop {
        let location: i8 = read(request.address + irp::CURRENT_LOCATION);
        if location > request.stack_count {
            finish(host, request);
            return Ok(());
        }
        let taken = take_location(request, location);
        let upper = request.location(location + 1);
        let has_upper = location < request.stack_count;
        if taken.wants(request) {
            let device = if has_upper {
                read(upper + stack::DEVICE_OBJECT)
            } else {
                0_u64
            };
            let arguments = [device, request.address, taken.context];
            let name = check::name_of(request.major, request.minor);
            let context = format!("completion routine of {name}");
            lock(&request.state).reclaimed = true;
            let answer =
                host.call_driver(Entry::Completion, &context, taken.routine, &arguments)?;
            if answer as u32 == MORE_PROCESSING {
                return Ok(());
            }
            lock(&request.state).reclaimed = false;
            let marked = has_upper && read::<u8>(upper + stack::CONTROL) & 1 != 0;
            if taken.pending && has_upper && !marked {
                let message = format!("{context}: PendingReturned, not marked pending again");
                host.violation("V227", "C9/0x228", message);
            }
        } else if taken.pending && has_upper {
            let control: u8 = read(upper + stack::CONTROL);
            write(upper + stack::CONTROL, control | stack::PENDING_RETURNED);
        }
    }
}

struct Taken {
    control: u8,
    routine: u64,
    context: u64,
    pending: bool,
}

impl Taken {
    /// Whether the completion routine asked for this outcome.
    fn wants(&self, request: &Irp) -> bool {
        let status = NtStatus(read(request.address + irp::STATUS));
        let cancelled = read::<u8>(request.address + irp::CANCEL) != 0;
        let wanted = if status.is_success() {
            self.control & stack::INVOKE_ON_SUCCESS != 0
        } else {
            self.control & stack::INVOKE_ON_ERROR != 0
        };
        self.routine != 0 && (wanted || cancelled && self.control & stack::INVOKE_ON_CANCEL != 0)
    }
}

/// Leaves a location: notes the outcome for its devices, clears it, moves up.
fn take_location(request: &Irp, location: i8) -> Taken {
    let address = request.location(location);
    let control: u8 = read(address + stack::CONTROL);
    let pending = control & stack::PENDING_RETURNED != 0;
    let taken = Taken {
        control,
        routine: read(address + stack::COMPLETION_ROUTINE),
        context: read(address + stack::CONTEXT),
        pending,
    };
    let status: u32 = read(request.address + irp::STATUS);
    let mut state = lock(&request.state);
    for level in state
        .levels
        .iter_mut()
        .filter(|level| level.location == location)
    {
        if level.completed.is_none() {
            level.completed = Some(status);
            level.marked = pending;
        }
    }
    drop(state);
    write(request.address + irp::PENDING_RETURNED, u8::from(pending));
    fill(address + stack::MINOR, 0, 3);
    fill(address + stack::PARAMETERS, 0, 32);
    write(address + stack::COMPLETION_ROUTINE, 0_u64);
    write(address + stack::CONTEXT, 0_u64);
    write(request.address + irp::CURRENT_LOCATION, location + 1);
    write(
        request.address + irp::CURRENT_STACK_LOCATION,
        request.location(location + 1),
    );
    taken
}

/// The request has left its top device: its data goes to the issuer, its memory goes.
fn finish(host: &Arc<Host>, request: &Arc<Irp>) {
    let status = NtStatus(read(request.address + irp::STATUS));
    let information: u64 = read(request.address + irp::INFORMATION);
    let mdl: u64 = read(request.address + irp::MDL_ADDRESS);
    if mdl != 0 && lock(&request.state).transfer.mdl != 0 {
        crate::memory::unlock_after_request(host, mdl);
    }
    host.irps.forget(request.address);
    if let Some(thread) = &request.thread {
        thread.finished(request.address);
    }
    let mut intact = true;
    let mut state = lock(&request.state);
    if let Some(buffer) = state.transfer.buffer.take() {
        intact = buffer.slack_is_intact();
        if state.transfer.copies_output && !status.is_error() {
            let length = information.min(state.transfer.output_length.unwrap_or(0));
            state.output = read_bytes(buffer.address(), length as usize);
        }
    }
    intact &= state
        .block
        .take()
        .is_none_or(|block| block.slack_is_intact());
    state.result = Some((status, information));
    drop(state);
    request.notify();
    if let Some(file) = &request.file
        && matches!(
            request.major,
            major::READ | major::WRITE | major::DEVICE_CONTROL
        )
    {
        crate::file::request_finished(host, file);
    }
    if !intact {
        let name = check::name_of(request.major, request.minor);
        host.violation(
            "V009",
            "C4/0x51",
            format!("{name}: memory beside a buffer overwritten"),
        );
    }
}

extern "win64" fn iof_complete_request(address: u64, _boost: i8) {
    exported(|host| complete_from_driver(host, address));
}

fn complete_from_driver(host: &Arc<Host>, address: u64) -> Result<(), Stopped> {
    let Some(request) = host.irps.at(address) else {
        let message = format!("{address:#x} is no live IRP");
        let (rule, code) = if host.irps.was_completed(address) {
            ("V196", "44")
        } else {
            ("V183", "C9/0x01")
        };
        host.violation(rule, code, message.clone());
        return Err(host.die(format!("{rule} ({code}): {message}")));
    };
    let status = NtStatus(read(address + irp::STATUS));
    let cancel: u64 = read(address + irp::CANCEL_ROUTINE);
    judge(host, &request, status, cancel);
    if status == NtStatus::PENDING {
        return Err(host.die("V188 (C9/0x06): completed with STATUS_PENDING"));
    }
    complete(host, &request)
}

fn judge(host: &Arc<Host>, request: &Arc<Irp>, status: NtStatus, cancel: u64) {
    let name = check::name_of(request.major, request.minor);
    if status == NtStatus::PENDING || status.0 == u32::MAX {
        host.violation("V188", "C9/0x06", format!("{name} completed with {status}"));
    }
    if cancel != 0 {
        let message = format!("{name} completed with its cancel routine set");
        host.violation("V189", "C9/0x07", message);
    }
    if thread::holds_spin_lock() {
        let message = format!("{name} completed while a spin lock is held");
        host.violation("V193", "C9/0x0E", message);
    }
    super::own::completing(host, request);
    ownership(host, request, &name);
    unsent_completion_routine(host, request, &name);
    let information: u64 = read(request.address + irp::INFORMATION);
    let state = lock(&request.state);
    let problem = information_problem(&state, request, status, information);
    let unwritten = stale_output(host, &state, status, information);
    drop(state);
    if let Some(offset) = unwritten {
        let message =
            format!("{name}: byte {offset} of the output and more after it were never written");
        host.violation("V026", "uninitialised output", message);
    }
    if let Some(problem) = problem {
        host.violation("V252", "C9/0x312", format!("{name}: {problem}"));
    }
    if request.major == major::PNP {
        crate::device::check::completed(host, request, status);
    }
    if request.major == major::POWER {
        crate::device::check::power_completed(host, request, status);
    }
    if request.major == major::SYSTEM_CONTROL {
        let message = "completed by a driver that registered no provider";
        host.violation("V222", "C9/0x220", message);
        host.violation("V292", "WmiForward", message);
    }
}

/// A completion routine was set for a request that is then completed instead of sent.
fn unsent_completion_routine(host: &Host, request: &Irp, name: &str) {
    let location: i8 = read(request.address + irp::CURRENT_LOCATION);
    if location < 2 {
        return;
    }
    let next = request.location(location - 1);
    if read::<u64>(next + stack::COMPLETION_ROUTINE) != 0
        && read::<u8>(next + stack::CONTROL) & 0xE0 != 0
    {
        let message =
            format!("{name} completed after a completion routine was set for the next driver");
        host.violation("V288", "C4/0x4100F", message);
    }
}

/// A driver may not complete what a lower driver has.
fn ownership(host: &Host, request: &Irp, name: &str) {
    let state = lock(&request.state);
    let open = state
        .levels
        .iter()
        .rev()
        .find(|level| level.completed.is_none())
        .cloned();
    let reclaimed = state.reclaimed;
    drop(state);
    if let Some(level) = open
        && host.devices.is_pdo(level.device)
        && !reclaimed
    {
        let message = format!("{name} completed while a lower driver has it");
        host.violation("V281", "C9/0x209", message.clone());
        host.violation("V202", "C9/0x209", message);
    }
}

fn information_problem(
    state: &State,
    request: &Irp,
    status: NtStatus,
    information: u64,
) -> Option<String> {
    let is_transfer = matches!(
        request.major,
        major::DEVICE_CONTROL | major::READ | major::WRITE
    );
    if !is_transfer {
        return None;
    }
    if status.is_error() {
        return (information != 0).then(|| format!("{status} with Information {information}"));
    }
    let limit = state.transfer.output_length?;
    (information > limit).then(|| format!("Information {information}, output is {limit} bytes"))
}

/// Where the output shows what fills memory that nobody has written: a system buffer, or fresh memory copied to it.
///
/// A short run of them may be the driver's own bytes; a long one is not.
fn stale_output(host: &Host, state: &State, status: NtStatus, information: u64) -> Option<usize> {
    const RUN: usize = 32;
    let transfer = &state.transfer;
    let buffer = transfer
        .buffer
        .as_ref()
        .filter(|_| transfer.copies_output && !status.is_error())?;
    let length = information.min(transfer.output_length.unwrap_or(0));
    let bytes = read_bytes(buffer.address(), length as usize);
    let fresh = host.machine.config().fill.unwrap_or(STALE);
    let mut run = 0;
    let last = bytes.iter().position(|&byte| {
        run = if byte == STALE || byte == fresh {
            run + 1
        } else {
            0
        };
        run == RUN
    });
    last.map(|last| last + 1 - RUN)
}

extern "win64" fn io_set_completion_routine_ex(
    _device: u64,
    address: u64,
    routine: u64,
    context: u64,
    on_success: u8,
    on_error: u8,
    on_cancel: u8,
) -> u32 {
    let host = current();
    if host.faults().should_fail("IoSetCompletionRoutineEx") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    let Some(request) = host.irps.at(address) else {
        host.violation("V185", "C9/0x03", format!("{address:#x} is no live IRP"));
        return NtStatus::INVALID_PARAMETER.0;
    };
    let next = request.next();
    write(next + stack::COMPLETION_ROUTINE, routine);
    write(next + stack::CONTEXT, context);
    let bit = |wanted: u8, bit: u8| if wanted == 0 { 0 } else { bit };
    let control = bit(on_success, stack::INVOKE_ON_SUCCESS)
        | bit(on_error, stack::INVOKE_ON_ERROR)
        | bit(on_cancel, stack::INVOKE_ON_CANCEL);
    write(next + stack::CONTROL, control);
    NtStatus::SUCCESS.0
}

exports! {
    "IofCompleteRequest" => iof_complete_request, IrqlRule::AtMost(DISPATCH), "V193", "C9/0x0E";
    "IoSetCompletionRoutineEx" => io_set_completion_routine_ex, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
}
