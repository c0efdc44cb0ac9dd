//! Processes: an object, an address range of its own, a table of handles, threads.

pub(crate) mod attach;
mod control;
pub(crate) mod exit;
pub(crate) mod notify;
mod own_memory;
pub(crate) mod thread_object;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub use control::{Process, Thread};
pub use own_memory::SecureMemoryCacheCallback;
pub(crate) use thread_object::ThreadObject;

use crate::file::FileObject;
use crate::guarded::{GuardedBlock, GuardedHeap};
use crate::host::Host;
use crate::memory::{MemoryState, ProcessMemory};
use crate::object::Kind;
use crate::status::NtStatus;
use crate::{lock, thread};

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
    exited: AtomicBool,
    administrator: AtomicBool,
    /// Calls of its threads into the system that have not returned.
    active: AtomicU64,
    /// It runs 32-bit code.
    pub(crate) is_32_bit: bool,
    /// Its address space, the memory half's.
    pub(crate) memory: ProcessMemory,
    /// Its handles.
    pub(crate) handles: Mutex<BTreeMap<u64, Arc<FileObject>>>,
    next_handle: AtomicU64,
    /// Its threads, by the real thread that stands for them.
    threads: Mutex<HashMap<u64, Arc<ThreadObject>>>,
}

impl ProcessObject {
    fn new(
        heap: &GuardedHeap,
        memory: &MemoryState,
        id: u64,
        name: &str,
        is_32_bit: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            id,
            name: name.to_owned(),
            object: heap.allocate("process object", OBJECT_SIZE)?,
            exiting: AtomicBool::new(false),
            exited: AtomicBool::new(false),
            administrator: AtomicBool::new(true),
            active: AtomicU64::new(0),
            is_32_bit,
            memory: ProcessMemory::new(memory)?,
            handles: Mutex::default(),
            next_handle: AtomicU64::new(4),
            threads: Mutex::default(),
        })
    }

    /// The address that drivers know it by.
    pub(crate) fn address(&self) -> u64 {
        self.object.address()
    }

    /// Whether it is on its way out: nothing new may be mapped or locked in it.
    pub(crate) fn is_exiting(&self) -> bool {
        self.exiting.load(Ordering::SeqCst)
    }

    /// Whether its address space is gone.
    pub(crate) fn has_exited(&self) -> bool {
        self.exited.load(Ordering::SeqCst)
    }

    /// Whether its token is an administrator's.
    pub(crate) fn is_administrator(&self) -> bool {
        self.administrator.load(Ordering::SeqCst)
    }

    fn set_administrator(&self, administrator: bool) {
        self.administrator.store(administrator, Ordering::SeqCst);
    }

    /// A thread of it calls into the system: the process does not end before the call has returned.
    pub(crate) fn enter(&self) -> ActiveCall<'_> {
        self.active.fetch_add(1, Ordering::SeqCst);
        ActiveCall(self)
    }

    /// Enters a file in the handle table.
    pub(crate) fn add_handle(&self, file: Arc<FileObject>) -> u64 {
        let handle = self.next_handle.fetch_add(4, Ordering::SeqCst);
        lock(&self.handles).insert(handle, file);
        handle
    }

    /// The thread of this process that the running thread stands for.
    pub(crate) fn current_thread(&self, host: &Host) -> Result<Arc<ThreadObject>, NtStatus> {
        if let Some(thread) =
            thread::thread_object().filter(|thread| thread.process_id() == self.id)
        {
            return Ok(thread);
        }
        let id = thread::id();
        if let Some(thread) = lock(&self.threads).get(&id) {
            return Ok(Arc::clone(thread));
        }
        let made = Arc::new(ThreadObject::new(host, self)?);
        lock(&self.threads).insert(id, Arc::clone(&made));
        Ok(made)
    }

    /// All threads that have issued something.
    fn all_threads(&self) -> Vec<Arc<ThreadObject>> {
        lock(&self.threads).values().cloned().collect()
    }

    fn adopt(&self, thread: &Arc<ThreadObject>) {
        lock(&self.threads).insert(thread.address(), Arc::clone(thread));
    }
}

/// A call of a process's thread into the system.
pub(crate) struct ActiveCall<'a>(&'a ProcessObject);

impl Drop for ActiveCall<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether this thread is one of the system's, which no program can suspend.
pub(crate) fn is_system_thread(host: &Host) -> bool {
    thread::own_process().is_none_or(|own| own.id == host.processes.system().id)
}

/// Judges a call of a routine that is for threads of the system.
pub(crate) fn check_system_thread(host: &Host, routine: &str) {
    if let Some(own) = thread::own_process().filter(|_| !is_system_thread(host)) {
        let message = format!("{routine} called in a thread of {}", own.name);
        host.violation("V313", "system thread", message);
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
        let system = Arc::new(ProcessObject::new(heap, memory, 4, "System", false)?);
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

    /// The running process with that identifier.
    pub(crate) fn with_id(&self, id: u64) -> Option<Arc<ProcessObject>> {
        let all = lock(&self.all);
        all.iter()
            .find(|process| process.id == id && !process.has_exited())
            .cloned()
    }

    /// A new process.
    pub(crate) fn add(
        &self,
        host: &Host,
        name: &str,
        is_32_bit: bool,
    ) -> io::Result<Arc<ProcessObject>> {
        let id = self.next_id.fetch_add(4, Ordering::SeqCst);
        let process = ProcessObject::new(&host.heap, &host.memory, id, name, is_32_bit)?;
        let process = Arc::new(process);
        lock(&self.all).push(Arc::clone(&process));
        host.objects.insert(process.address(), Kind::Process);
        Ok(process)
    }

    /// The object of an exited process goes with the driver's last reference.
    pub(crate) fn reference_dropped(&self, host: &Host, address: u64) {
        if self.at(address).is_some_and(|process| process.has_exited()) {
            lock(&self.all).retain(|process| process.address() != address);
            host.objects.remove(address);
        }
    }
}
