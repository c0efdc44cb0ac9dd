//! Event tracing: providers of drivers, sessions that listen to them, and what is written, kept for tests to read.
//!
//! `EVENT_DATA_DESCRIPTOR`: Ptr +0, Size +8, Type +12; `EVENT_DESCRIPTOR`: Id +0, Channel +3, Level +4, Keyword +8.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::access::{read, read_bytes, write};
use crate::call::{Entry, Stopped, exported};
use crate::device::interface::Guid;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::judge::{StackFrame, current_stack};
use crate::lock;
use crate::status::NtStatus;
use crate::thread::PASSIVE;

/// Data descriptors that one event may have.
const MAX_DESCRIPTORS: u32 = 128;
/// `EVENT_DATA_DESCRIPTOR_TYPE_EVENT_METADATA`.
const EVENT_METADATA: u8 = 1;
/// `EVENT_DATA_DESCRIPTOR_TYPE_PROVIDER_METADATA`.
const PROVIDER_METADATA: u8 = 2;
/// Events that are kept; later ones are counted by nobody.
const CAPACITY: usize = 100_000;

/// An event that a driver has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtwEvent {
    /// Who wrote it.
    pub provider: Guid,
    /// `EVENT_DESCRIPTOR.Id`.
    pub id: u16,
    /// When it was written.
    pub time: Instant,
    /// `EVENT_DESCRIPTOR.Channel`.
    pub channel: u8,
    /// `EVENT_DESCRIPTOR.Level`.
    pub level: u8,
    /// `EVENT_DESCRIPTOR.Keyword`.
    pub keyword: u64,
    /// The description of its provider, if it has one.
    pub provider_metadata: Option<Vec<u8>>,
    /// The description of the event, if it has one.
    pub event_metadata: Option<Vec<u8>>,
    /// Its data, piece by piece.
    pub data: Vec<Vec<u8>>,
}

/// What somebody wants to hear.
#[derive(Clone, Copy)]
struct Session {
    level: u8,
    keywords: u64,
}

impl Session {
    /// Level 0 stands for all, of events as of sessions; so does keyword 0.
    fn wants(self, level: u8, keyword: u64) -> bool {
        (self.level == 0 || level <= self.level) && (keyword == 0 || keyword & self.keywords != 0)
    }
}

#[derive(Clone)]
struct Provider {
    id: Guid,
    callback: u64,
    context: u64,
    stack: Vec<StackFrame>,
}

impl Provider {
    /// Tells the driver that somebody listens, or nobody any more.
    fn tell(&self, host: &Arc<Host>, session: Option<Session>) -> Result<(), Stopped> {
        if self.callback == 0 {
            return Ok(());
        }
        let session = session.map_or([0; 3], |session| {
            [1, u64::from(session.level), session.keywords]
        });
        let [code, level, keywords] = session;
        let id = self.id.to_bytes();
        let source = id.as_ptr() as u64;
        let arguments = [source, code, level, keywords, 0, 0, self.context];
        let name = "trace enable callback";
        host.call_driver(Entry::Callback, name, self.callback, &arguments)
            .map(drop)
    }
}

#[derive(Default)]
struct State {
    providers: HashMap<u64, Provider>,
    sessions: HashMap<Guid, Session>,
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
        for (_, left) in core::mem::take(&mut lock(&self.state).providers) {
            let message = format!("provider {} is registered at unload", left.id);
            host.violation_at("V257", "C4/0xDD", message, left.stack);
        }
    }

    /// The registrations of a provider.
    fn of(&self, id: Guid) -> Vec<Provider> {
        let state = lock(&self.state);
        let all = state.providers.values();
        all.filter(|one| one.id == id).cloned().collect()
    }
}

impl Host {
    /// The events that drivers have written.
    #[must_use]
    pub fn etw_events(&self) -> Vec<EtwEvent> {
        lock(&self.etw.state).events.clone()
    }

    /// Listens to a provider, whether it is registered yet or not: to events up to `level` (0: all) with any of
    /// `keywords`, or with none.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the driver did not survive being told.
    pub fn enable_provider(
        self: &Arc<Self>,
        id: Guid,
        level: u8,
        keywords: u64,
    ) -> Result<(), Stopped> {
        let session = Session { level, keywords };
        lock(&self.etw.state).sessions.insert(id, session);
        let providers = self.etw.of(id);
        providers
            .iter()
            .try_for_each(|one| one.tell(self, Some(session)))
    }

    /// Stops listening to a provider.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the driver did not survive being told.
    pub fn disable_provider(self: &Arc<Self>, id: Guid) -> Result<(), Stopped> {
        lock(&self.etw.state).sessions.remove(&id);
        let providers = self.etw.of(id);
        providers.iter().try_for_each(|one| one.tell(self, None))
    }
}

extern "win64" fn register(guid: u64, callback: u64, context: u64, handle: u64) -> u32 {
    let id = Guid::at(guid);
    exported(|host| {
        if host.faults().should_fail("EtwRegister") {
            return Ok(NtStatus::NO_MEMORY.0);
        }
        let provider = Provider {
            id,
            callback,
            context,
            stack: current_stack(),
        };
        let (made, session) = {
            let mut state = lock(&host.etw.state);
            state.next += 1;
            let made = 0xE7E0_0000_0000 + state.next;
            state.providers.insert(made, provider.clone());
            (made, state.sessions.get(&id).copied())
        };
        write(handle, made);
        // Whoever listens already is announced at once.
        if session.is_some() {
            provider.tell(host, session)?;
        }
        Ok(NtStatus::SUCCESS.0)
    })
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
    let mut event = EtwEvent {
        provider,
        id: read(descriptor),
        time: Instant::now(),
        channel: read(descriptor + 3),
        level: read(descriptor + 4),
        keyword: read(descriptor + 8),
        provider_metadata: None,
        event_metadata: None,
        data: Vec::new(),
    };
    for index in 0..u64::from(count) {
        let at = data + 16 * index;
        let bytes = read_bytes(read(at), read::<u32>(at + 8) as usize);
        match read::<u8>(at + 12) {
            EVENT_METADATA => event.event_metadata = Some(bytes),
            PROVIDER_METADATA => event.provider_metadata = Some(bytes),
            _ => event.data.push(bytes),
        }
    }
    let mut state = lock(&host.etw.state);
    let session = state.sessions.get(&provider).copied();
    if session.is_some_and(|session| session.wants(event.level, event.keyword))
        && state.events.len() < CAPACITY
    {
        state.events.push(event);
    }
    NtStatus::SUCCESS.0
}

fn provider_of(host: &Host, handle: u64) -> Option<Guid> {
    let state = lock(&host.etw.state);
    state.providers.get(&handle).map(|one| one.id)
}

/// Whether somebody wants events of that kind.
fn is_wanted(handle: u64, level: u8, keyword: u64) -> u8 {
    let host = current();
    let Some(id) = provider_of(&host, handle) else {
        return 0;
    };
    let session = lock(&host.etw.state).sessions.get(&id).copied();
    u8::from(session.is_some_and(|session| session.wants(level, keyword)))
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

extern "win64" fn event_enabled(handle: u64, descriptor: u64) -> u8 {
    is_wanted(handle, read(descriptor + 4), read(descriptor + 8))
}

extern "win64" fn provider_enabled(handle: u64, level: u8, keyword: u64) -> u8 {
    is_wanted(handle, level, keyword)
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
    "EtwEventEnabled" => event_enabled, IrqlRule::Any, "V050", "C4/0xE5";
    "EtwProviderEnabled" => provider_enabled, IrqlRule::Any, "V050", "C4/0xE5";
    "EtwSetInformation" => set_information, IrqlRule::Exactly(PASSIVE), "V050", "C4/0xE5";
}
