//! The host: one simulated system, with its machine, its processes, its drivers and its judge.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nt_machine::{Machine, MachineConfig};

use crate::bug_check::BugCheckCallbacks;
use crate::call::Stopped;
use crate::data::DataExports;
use crate::debug::DebugOutput;
use crate::device::interface::Strings;
use crate::device::link::Links;
use crate::device::node::Nodes;
use crate::device::object::DeviceObjects;
use crate::dma::{DmaConfig, DmaState};
use crate::driver::Drivers;
use crate::etw::Etw;
use crate::export;
use crate::faults::Faults;
use crate::file::Files;
use crate::guarded::{GuardedBlock, GuardedHeap};
use crate::irp::Irps;
use crate::irp::cancel::CancelLock;
use crate::judge::{Judge, Leak, Report, StackFrame, Violation};
use crate::layout::device::POWER_PAGABLE;
use crate::memory::MemoryState;
use crate::object::Objects;
use crate::process::notify::NotifyRoutines;
use crate::process::{ProcessObject, Processes};
use crate::random::Generator;
use crate::registry::{Registry, RegistryValue};
use crate::remove_lock::RemoveLocks;
use crate::restless::Restless;
use crate::security::Captured;
use crate::status::NtStatus;
use crate::suspension::Suspensions;
use crate::sync::event::Waits;
use crate::sync::lock_registry::Locks;
use crate::work_item::WorkItems;
use crate::{lock, thread};

/// Why the host could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The image cannot be loaded.
    #[error("cannot load the image: {0}")]
    Load(#[from] nt_image::LoadError),
    /// The driver, or the system on its behalf, answered with an error.
    #[error("{0}")]
    Status(NtStatus),
    /// The driver was stopped by a bug check or an exception.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The build host has no memory or address space left.
    #[error("the machine cannot be simulated: {0}")]
    Machine(#[from] std::io::Error),
}

impl From<NtStatus> for HostError {
    fn from(status: NtStatus) -> Self {
        Self::Status(status)
    }
}

/// Something that happens at a call of the driver.
struct Interruption {
    /// The routine, by its index in the table, unless every routine counts.
    routine: Option<usize>,
    /// Calls left.
    left: u64,
    /// How long the driver waits for it at most.
    patience: Duration,
    work: Box<dyn FnOnce() + Send>,
}

/// One simulated system.
pub struct Host {
    judge: Judge,
    faults: Faults,
    calls: Vec<AtomicU64>,
    dead: AtomicBool,
    interruption_set: AtomicBool,
    interruption: Mutex<Option<Interruption>>,
    stop_reason: Mutex<Option<String>>,
    pub(crate) options: Options,
    pub(crate) machine: Arc<Machine>,
    pub(crate) heap: GuardedHeap,
    pub(crate) memory: MemoryState,
    pub(crate) dma: DmaState,
    pub(crate) processes: Processes,
    pub(crate) data: DataExports,
    pub(crate) drivers: Drivers,
    pub(crate) bug_checks: BugCheckCallbacks,
    pub(crate) cancel_lock: CancelLock,
    pub(crate) captured: Captured,
    pub(crate) debug: DebugOutput,
    pub(crate) devices: DeviceObjects,
    pub(crate) etw: Etw,
    pub(crate) files: Files,
    pub(crate) irps: Irps,
    pub(crate) links: Links,
    pub(crate) locks: Locks,
    pub(crate) nodes: Nodes,
    pub(crate) notify: NotifyRoutines,
    pub(crate) objects: Objects,
    pub(crate) random: Generator,
    pub(crate) registry: Registry,
    pub(crate) remove_locks: RemoveLocks,
    pub(crate) restless: Restless,
    pub(crate) strings: Strings,
    pub(crate) suspensions: Suspensions,
    pub(crate) waits: Waits,
    pub(crate) work_items: WorkItems,
}

/// What a builder sets and the rest of the host reads.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How the device reaches memory.
    pub(crate) dma: DmaConfig,
    /// Seed of every random choice.
    pub(crate) seed: u64,
    /// A wait or lock that lasts longer has hung.
    pub(crate) watchdog: Duration,
    /// Further `Flags` of a PDO.
    pub(crate) pdo_flags: u32,
    /// Lower drivers answer `STATUS_PENDING` and complete from another thread.
    pub(crate) force_pending: bool,
    /// Values of each new device's hardware key.
    pub(crate) parameters: Vec<(String, RegistryValue)>,
}

/// Sets up a host.
pub struct HostBuilder {
    machine: MachineConfig,
    options: Options,
}

impl HostBuilder {
    /// The machine to simulate.
    #[must_use]
    pub fn machine(mut self, machine: MachineConfig) -> Self {
        self.machine = machine;
        self
    }

    /// How the device reaches memory.
    #[must_use]
    pub fn dma(mut self, dma: DmaConfig) -> Self {
        self.options.dma = dma;
        self
    }

    /// Seed of every random choice that the host makes.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// After how long a wait or a lock counts as hung (10 seconds unless set).
    #[must_use]
    pub fn watchdog(mut self, limit: Duration) -> Self {
        self.options.watchdog = limit;
        self
    }

    /// A value of the device's hardware key, as its INF or an administrator sets it.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: RegistryValue) -> Self {
        self.options.parameters.push((name.to_owned(), value));
        self
    }

    /// `Flags` of a new PDO beyond those that every PDO has (`DO_POWER_PAGABLE` unless set).
    #[must_use]
    pub fn pdo_flags(mut self, flags: u32) -> Self {
        self.options.pdo_flags = flags;
        self
    }

    /// Lower drivers answer `STATUS_PENDING` and complete a moment later from another thread.
    #[must_use]
    pub fn force_pending(mut self, force: bool) -> Self {
        self.options.force_pending = force;
        self
    }

    /// Starts the system.
    ///
    /// # Errors
    ///
    /// [`HostError::Machine`] if memory or address space cannot be reserved.
    pub fn build(self) -> Result<Arc<Host>, HostError> {
        let machine = Machine::new(self.machine)?;
        let heap = GuardedHeap::default();
        let memory = MemoryState::new(&machine)?;
        let processes = Processes::new(&heap, &memory)?;
        let data = DataExports::new(&heap)?;
        let drivers = Drivers::new(&heap)?;
        let calls = std::iter::repeat_with(|| AtomicU64::new(0)).take(export::table().len());
        Ok(Arc::new(Host {
            judge: Judge::default(),
            faults: Faults::default(),
            calls: calls.collect(),
            dead: AtomicBool::new(false),
            interruption_set: AtomicBool::new(false),
            interruption: Mutex::new(None),
            stop_reason: Mutex::new(None),
            dma: DmaState::new(&self.options.dma),
            options: self.options,
            machine,
            heap,
            memory,
            processes,
            data,
            drivers,
            bug_checks: BugCheckCallbacks::default(),
            cancel_lock: CancelLock::default(),
            captured: Captured::default(),
            debug: DebugOutput::default(),
            devices: DeviceObjects::default(),
            etw: Etw::default(),
            files: Files::default(),
            irps: Irps::default(),
            links: Links::default(),
            locks: Locks::default(),
            nodes: Nodes::default(),
            notify: NotifyRoutines::default(),
            objects: Objects::default(),
            random: Generator::default(),
            registry: Registry::default(),
            remove_locks: RemoveLocks::default(),
            restless: Restless::default(),
            strings: Strings::default(),
            suspensions: Suspensions::default(),
            waits: Waits::default(),
            work_items: WorkItems::default(),
        }))
    }
}

impl Host {
    /// Sets up a host: a small machine, a 32-bit device behind an IOMMU, unless told otherwise.
    #[must_use]
    pub fn builder() -> HostBuilder {
        HostBuilder {
            machine: MachineConfig::default(),
            options: Options {
                dma: DmaConfig::default(),
                seed: 1,
                watchdog: Duration::from_secs(10),
                pdo_flags: POWER_PAGABLE,
                force_pending: false,
                parameters: Vec::new(),
            },
        }
    }

    /// Everything that the judge has found so far.
    #[must_use]
    pub fn report(&self) -> Report {
        crate::dma::report_faults(self);
        self.judge.report()
    }

    /// The fault plan.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Calls of the driver so far, by routine; routines never called are left out.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        let counts = self.calls.iter().enumerate();
        counts
            .map(|(index, count)| (export::table().name(index), count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// The machine underneath.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// Whether a bug check or an exception has ended this system.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Runs `work` on another thread when the driver makes its `n`-th call from now (from 1), before the
    /// routine runs: a process that dies, a handle that closes, at any point of the driver.
    ///
    /// The driver goes on when `work` has ended, or after 50 ms: it may be waiting for the driver.
    pub fn at_call(&self, n: u64, work: impl FnOnce() + Send + 'static) {
        self.interrupt_at(Interruption {
            routine: None,
            left: n,
            patience: Duration::from_millis(50),
            work: Box::new(work),
        });
    }

    /// As [`Host::at_call`], at the driver's `n`-th call of one routine, which waits until `work` has ended
    /// (5 seconds at most). A routine that the host does not export is never called.
    pub fn at_routine(&self, routine: &str, n: u64, work: impl FnOnce() + Send + 'static) {
        let Some(routine) = export::table().routine(routine) else {
            return;
        };
        self.interrupt_at(Interruption {
            routine: Some(routine.tag),
            left: n,
            patience: Duration::from_secs(5),
            work: Box::new(work),
        });
    }

    fn interrupt_at(&self, interruption: Interruption) {
        *lock(&self.interruption) = Some(interruption);
        self.interruption_set.store(true, Ordering::SeqCst);
    }

    /// Counts a call of the routine at that index of the table.
    pub(crate) fn count_call(&self, index: usize) {
        if let Some(count) = self.calls.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if self.interruption_set.load(Ordering::Relaxed) {
            self.interrupt(index);
        }
    }

    fn interrupt(&self, index: usize) {
        let due = {
            let mut next = lock(&self.interruption);
            let is_due = next.as_mut().is_some_and(|next| {
                if next.routine.is_none_or(|routine| routine == index) {
                    next.left = next.left.saturating_sub(1);
                }
                next.left == 0
            });
            if is_due {
                self.interruption_set.store(false, Ordering::SeqCst);
                next.take()
            } else {
                None
            }
        };
        let Some(Interruption { patience, work, .. }) = due else {
            return;
        };
        let running = std::thread::spawn(work);
        let deadline = std::time::Instant::now() + patience;
        while !running.is_finished() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
    }

    /// Records a breach of a rule by the driver that runs on this thread.
    pub(crate) fn violation(
        &self,
        rule: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) {
        self.judge
            .violation(rule, code, &thread::context(), message);
    }

    /// Records a breach with a stack that was taken earlier.
    pub(crate) fn violation_at(
        &self,
        rule: &'static str,
        code: &'static str,
        message: String,
        stack: Vec<StackFrame>,
    ) {
        let routine = thread::context();
        self.judge.record(Violation {
            rule,
            code,
            routine,
            message,
            stack,
        });
    }

    /// Records something that was not given back; `stack` is that of its allocation.
    pub(crate) fn leak(
        &self,
        kind: &'static str,
        detail: impl Into<String>,
        stack: Vec<StackFrame>,
    ) {
        self.judge.leak(Leak {
            kind,
            detail: detail.into(),
            stack,
        });
    }

    /// Ends this system; the first reason stays.
    pub(crate) fn die(&self, reason: impl Into<String>) -> Stopped {
        let mut first = lock(&self.stop_reason);
        let reason = first.get_or_insert_with(|| reason.into()).clone();
        self.dead.store(true, Ordering::SeqCst);
        Stopped { reason }
    }

    /// `Err` once the system has ended.
    pub(crate) fn check_alive(&self) -> Result<(), Stopped> {
        if self.is_dead() {
            Err(self.die("the system has stopped"))
        } else {
            Ok(())
        }
    }

    /// A breach that the system does not survive: recorded, then the driver is abandoned.
    ///
    /// Only from a routine that the driver called; no lock of the host may be held.
    pub(crate) fn bug_check(
        &self,
        rule: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> ! {
        let message = message.into();
        let stopped = self.die(format!("{rule} ({code}): {message}"));
        self.judge
            .violation(rule, code, &thread::context(), message);
        nt_image::stop(Box::new(stopped))
    }

    /// Memory for a kernel object. A build host without memory leaves nothing to simulate.
    pub(crate) fn object(&self, kind: &'static str, size: u64) -> Result<GuardedBlock, NtStatus> {
        self.heap
            .allocate(kind, size as usize)
            .map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)
    }

    /// The process whose address space this thread is in, attached or its own.
    pub(crate) fn current_process(&self) -> Arc<ProcessObject> {
        thread::process().unwrap_or_else(|| self.processes.system())
    }
}

/// The host whose driver called the routine that now runs.
///
/// # Panics
///
/// Not when called from a routine of the export table: `call_driver` has entered the host.
pub(crate) fn current() -> Arc<Host> {
    match thread::host() {
        Some(host) => host,
        None => nt_image::stop(Box::new(Stopped {
            reason: "no host runs on this thread".to_owned(),
        })),
    }
}
