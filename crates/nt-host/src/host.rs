//! The host: one simulated system, with its machine, its processes, its drivers and its judge.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nt_machine::{Machine, MachineConfig};

use crate::call::Stopped;
use crate::dma::{DmaConfig, DmaState};
use crate::export;
use crate::faults::Faults;
use crate::guarded::{GuardedBlock, GuardedHeap};
use crate::judge::{Judge, Leak, Report, StackFrame, Violation, current_stack};
use crate::memory::MemoryState;
use crate::process::{ProcessObject, Processes};
use crate::status::NtStatus;
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

/// One simulated system.
pub struct Host {
    judge: Judge,
    faults: Faults,
    calls: Vec<AtomicU64>,
    dead: AtomicBool,
    stop_reason: Mutex<Option<String>>,
    pub(crate) options: Options,
    pub(crate) machine: Arc<Machine>,
    pub(crate) heap: GuardedHeap,
    pub(crate) memory: MemoryState,
    pub(crate) dma: DmaState,
    pub(crate) processes: Processes,
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
        let calls = std::iter::repeat_with(|| AtomicU64::new(0)).take(export::table().len());
        Ok(Arc::new(Host {
            judge: Judge::default(),
            faults: Faults::default(),
            calls: calls.collect(),
            dead: AtomicBool::new(false),
            stop_reason: Mutex::new(None),
            dma: DmaState::new(&self.options.dma),
            options: self.options,
            machine,
            heap,
            memory,
            processes,
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
            },
        }
    }

    /// Everything that the judge has found so far.
    #[must_use]
    pub fn report(&self) -> Report {
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

    /// Counts a call of the routine at that index of the table.
    pub(crate) fn count_call(&self, index: usize) {
        if let Some(count) = self.calls.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
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

/// The stack to keep with something that the driver allocates.
pub(crate) fn allocation_stack() -> Vec<StackFrame> {
    current_stack()
}
