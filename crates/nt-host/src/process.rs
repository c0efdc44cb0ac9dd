//! Processes: an object, an address range of its own, a table of handles.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::guarded::{GuardedBlock, GuardedHeap};
use crate::lock;
use crate::memory::{MemoryState, ProcessMemory};

/// Bytes of a process object that the host makes; a driver may not look inside.
const OBJECT_SIZE: usize = 64;

/// A process as the kernel sees it.
pub(crate) struct ProcessObject {
    /// Its identifier, a multiple of 4.
    pub(crate) id: u64,
    /// The name of its image.
    pub(crate) name: String,
    object: GuardedBlock,
    exiting: AtomicBool,
    /// It runs 32-bit code.
    pub(crate) is_32_bit: bool,
    /// Its address space, the memory half's.
    pub(crate) memory: ProcessMemory,
}

impl ProcessObject {
    /// The address that drivers know it by.
    pub(crate) fn address(&self) -> u64 {
        self.object.address()
    }

    /// Whether it is on its way out: nothing new may be mapped or locked in it.
    pub(crate) fn is_exiting(&self) -> bool {
        self.exiting.load(Ordering::SeqCst)
    }
}

/// All processes of a host.
pub(crate) struct Processes {
    system: Arc<ProcessObject>,
    all: Mutex<Vec<Arc<ProcessObject>>>,
    next_id: AtomicU64,
}

impl Processes {
    /// With the system process alone.
    pub(crate) fn new(heap: &GuardedHeap, memory: &MemoryState) -> io::Result<Self> {
        let system = Arc::new(ProcessObject {
            id: 4,
            name: "System".to_owned(),
            object: heap.allocate("process object", OBJECT_SIZE)?,
            exiting: AtomicBool::new(false),
            is_32_bit: false,
            memory: ProcessMemory::new(memory)?,
        });
        let all = Mutex::new(vec![Arc::clone(&system)]);
        Ok(Self {
            system,
            all,
            next_id: AtomicU64::new(1000),
        })
    }

    /// The system process.
    pub(crate) fn system(&self) -> Arc<ProcessObject> {
        Arc::clone(&self.system)
    }

    /// The process object at that address.
    pub(crate) fn at(&self, address: u64) -> Option<Arc<ProcessObject>> {
        lock(&self.all)
            .iter()
            .find(|process| process.address() == address)
            .cloned()
    }
}
