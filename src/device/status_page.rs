//! A page that every provider may look at without asking the driver: what Storport calls an
//! uncached extension.
//!
//! It is a common buffer if there is an adapter, so that the device can look at it too.

use sanproxy_abi::{
    DeviceState, PAGE_SIZE,
    wire::{Header, StatusPage as Wire},
};
use sanproxy_registry::{Quota, Statistics};
use wdm::{
    contiguous::{ContiguousMemory, Wanted},
    dma::{Adapter, BufferWanted, CommonBuffer},
    memory::{CacheType, Memory},
    node::Node,
    pool::Shared,
};

/// The page, and what was written to it last.
pub(crate) struct StatusPage {
    memory: Memory,
    device_address: u64,
    sequence: u64,
    state: DeviceState,
    generation: u64,
}

/// The length of the page.
const LENGTH: usize = 4096;

const _: () = assert!(PAGE_SIZE == 4096 && size_of::<Wire>() <= LENGTH);

impl StatusPage {
    /// A page for the `generation`-th start of a device; `None` if there is no memory for it.
    pub(super) fn new(adapter: Option<&Shared<Adapter>>, generation: u64) -> Option<Self> {
        let (memory, device_address) = match adapter {
            Some(adapter) => common_buffer(adapter)?,
            None => (contiguous()?, 0),
        };
        let page = Self {
            memory,
            device_address,
            sequence: 0,
            state: DeviceState::Unknown,
            generation,
        };
        let header = Header::of::<Wire>();
        let version = u64::from(header.version) << 32;
        page.put(0, u64::from(header.size) | version);
        Some(page)
    }

    /// Its memory, and where the device finds it; 0 if it does not.
    pub(crate) fn place(&self) -> (Memory, u64) {
        (self.memory.clone(), self.device_address)
    }

    /// Says where the device is in its life.
    pub(super) fn enter(&mut self, state: DeviceState, quota: &Quota, statistics: &Statistics) {
        self.state = state;
        self.publish(quota, statistics);
    }

    /// Writes all numbers anew. One at a time may do so, and readers look at any moment.
    pub(super) fn publish(&mut self, quota: &Quota, statistics: &Statistics) {
        let (usage, peak) = (quota.usage(), quota.peak());
        self.put(8, self.sequence.saturating_add(1));
        self.put(16, u64::from(self.state.value()));
        self.put(24, self.generation);
        self.put(32, usage.count);
        self.put(40, usage.bytes);
        self.put(48, statistics.made());
        self.put(56, statistics.released());
        self.put(64, statistics.failed());
        self.put(72, peak.bytes);
        let mut offset = 80_usize;
        for count in statistics.events() {
            self.put(offset, count);
            offset = offset.saturating_add(8);
        }
        self.sequence = self.sequence.saturating_add(2);
        self.put(8, self.sequence);
    }

    fn put(&self, offset: usize, number: u64) {
        // The page is longer than the struct.
        let _ = self.memory.publish(offset, number);
    }
}

const _: () = {
    assert!(core::mem::offset_of!(Wire, sequence) == 8);
    assert!(core::mem::offset_of!(Wire, state) == 16);
    assert!(core::mem::offset_of!(Wire, generation) == 24);
    assert!(core::mem::offset_of!(Wire, live_registrations) == 32);
    assert!(core::mem::offset_of!(Wire, live_bytes) == 40);
    assert!(core::mem::offset_of!(Wire, made) == 48);
    assert!(core::mem::offset_of!(Wire, released) == 56);
    assert!(core::mem::offset_of!(Wire, failures) == 64);
    assert!(core::mem::offset_of!(Wire, peak_bytes) == 72);
    assert!(core::mem::offset_of!(Wire, events) == 80);
};

fn common_buffer(adapter: &Shared<Adapter>) -> Option<(Memory, u64)> {
    let wanted = BufferWanted {
        length: LENGTH,
        lowest: 0,
        highest: u64::MAX,
        cache: CacheType::Cached,
        node: Node::Any,
    };
    let buffer = Shared::new(CommonBuffer::new(adapter, &wanted).ok()?).ok()?;
    let address = buffer.logical_address();
    Some((Memory::from(buffer), address))
}

fn contiguous() -> Option<Memory> {
    let wanted = Wanted {
        length: LENGTH,
        lowest: 0,
        highest: u64::MAX,
        boundary: 0,
        cache: CacheType::Cached,
        node: Node::Any,
    };
    let memory = Shared::new(ContiguousMemory::new(&wanted).ok()?).ok()?;
    Some(Memory::from(memory))
}
