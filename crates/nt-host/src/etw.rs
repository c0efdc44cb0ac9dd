//! Event tracing: providers of drivers, and what they write, kept for tests to read.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::access::{read, read_bytes, write};
use crate::device::interface::Guid;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::judge::{StackFrame, current_stack};
use crate::lock;
use crate::status::NtStatus;
use crate::thread::PASSIVE;

/// Data descriptors that one event may have.
const MAX_DESCRIPTORS: u32 = 128;
/// Events that are kept; later ones are counted by nobody.
const CAPACITY: usize = 100_000;

/// An event that a driver has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtwEvent {
    /// Who wrote it.
    pub provider: Guid,
    /// `EVENT_DESCRIPTOR.Id`.
    pub id: u16,
    /// `EVENT_DESCRIPTOR.Level`.
    pub level: u8,
    /// `EVENT_DESCRIPTOR.Keyword`.
    pub keyword: u64,
    /// Its data, piece by piece.
    pub data: Vec<Vec<u8>>,
}

#[derive(Default)]
struct State {
    providers: HashMap<u64, (Guid, Vec<StackFrame>)>,
    events: Vec<EtwEvent>,
    next: u64,
}

/// The tracing of a host.
#[derive(Default)]
pub(crate) struct Etw {
    state: Mutex<State>,
}

impl Etw {
    /// Reports providers that the driver has not unregistered.
    pub(crate) fn driver_unloaded(&self, host: &Host) {
        for (_, (guid, stack)) in core::mem::take(&mut lock(&self.state).providers) {
            let message = format!("provider {guid} is registered at unload");
            host.violation_at("V257", "C4/0xDD", message, stack);
        }
    }
}

impl Host {
    /// The events that drivers have written.
    #[must_use]
    pub fn etw_events(&self) -> Vec<EtwEvent> {
        lock(&self.etw.state).events.clone()
    }
}

extern "win64" fn register(guid: u64, _callback: u64, _context: u64, handle: u64) -> u32 {
    let host = current();
    let guid = Guid::at(guid);
    if host.faults().should_fail("EtwRegister") {
        return NtStatus::NO_MEMORY.0;
    }
    let stack = current_stack();
    let mut state = lock(&host.etw.state);
    state.next += 1;
    let made = 0xE7E0_0000_0000 + state.next;
    state.providers.insert(made, (guid, stack));
    drop(state);
    write(handle, made);
    NtStatus::SUCCESS.0
}

extern "win64" fn unregister(handle: u64) -> u32 {
    let host = current();
    let removed = lock(&host.etw.state).providers.remove(&handle);
    if removed.is_none() {
        host.violation("V256", "C4/0xDC", format!("{handle:#x} is no registration"));
        return NtStatus::INVALID_HANDLE.0;
    }
    NtStatus::SUCCESS.0
}

fn write_event(handle: u64, descriptor: u64, count: u32, data: u64) -> u32 {
    let host = current();
    let Some(provider) = provider_of(&host, handle) else {
        return NtStatus::INVALID_HANDLE.0;
    };
    if count > MAX_DESCRIPTORS {
        return NtStatus::INVALID_PARAMETER.0;
    }
    let pieces = (0..u64::from(count)).map(|index| {
        let at = data + 16 * index;
        read_bytes(read(at), read::<u32>(at + 8) as usize)
    });
    let event = EtwEvent {
        provider,
        id: read(descriptor),
        level: read(descriptor + 4),
        keyword: read(descriptor + 8),
        data: pieces.collect(),
    };
    let mut state = lock(&host.etw.state);
    if state.events.len() < CAPACITY {
        state.events.push(event);
    }
    NtStatus::SUCCESS.0
}

fn provider_of(host: &Host, handle: u64) -> Option<Guid> {
    lock(&host.etw.state)
        .providers
        .get(&handle)
        .map(|(guid, _)| *guid)
}

extern "win64" fn etw_write(
    handle: u64,
    descriptor: u64,
    _activity: u64,
    count: u32,
    data: u64,
) -> u32 {
    write_event(handle, descriptor, count, data)
}

extern "win64" fn etw_write_transfer(
    handle: u64,
    descriptor: u64,
    _activity: u64,
    _related: u64,
    count: u32,
    data: u64,
) -> u32 {
    write_event(handle, descriptor, count, data)
}

extern "win64" fn enabled(handle: u64) -> u8 {
    u8::from(provider_of(&current(), handle).is_some())
}

extern "win64" fn set_information(handle: u64, _class: u32, _data: u64, _length: u32) -> u32 {
    match provider_of(&current(), handle) {
        Some(_) => NtStatus::SUCCESS.0,
        None => NtStatus::INVALID_HANDLE.0,
    }
}

exports! {
    "EtwRegister" => register, IrqlRule::Exactly(PASSIVE), "V050", "C4/0xE5";
    "EtwUnregister" => unregister, IrqlRule::Exactly(PASSIVE), "V050", "C4/0xE5";
    "EtwWrite" => etw_write, IrqlRule::Any, "V050", "C4/0xE5";
    "EtwWriteTransfer" => etw_write_transfer, IrqlRule::Any, "V050", "C4/0xE5";
    "EtwEventEnabled" => enabled, IrqlRule::Any, "V050", "C4/0xE5";
    "EtwProviderEnabled" => enabled, IrqlRule::Any, "V050", "C4/0xE5";
    "EtwSetInformation" => set_information, IrqlRule::Exactly(PASSIVE), "V050", "C4/0xE5";
}
