//! A host whose driver "runs" on the test's own thread: routines are called without an image.

use std::sync::Arc;

use nt_machine::MachineConfig;

use crate::access;
use crate::dma::DmaConfig;
use crate::export::table;
use crate::host::Host;
use crate::process::ProcessObject;
use crate::thread;

pub(crate) const PAGE: u64 = 4096;
pub(crate) const TAG: u32 = u32::from_le_bytes(*b"Test");
pub(crate) const NONPAGED_POOL: u64 = 0x40;
/// `NormalPagePriority | MdlMappingNoExecute`.
const NO_EXECUTE: u64 = 0x4000_0010;

/// The host; it is the thread's until the value is dropped.
pub(crate) struct Kernel {
    pub(crate) host: Arc<Host>,
}

impl Kernel {
    pub(crate) fn new() -> Self {
        Self::with(MachineConfig::default(), DmaConfig::default())
    }

    pub(crate) fn with(machine: MachineConfig, dma: DmaConfig) -> Self {
        let host = Host::builder().machine(machine).dma(dma).build().unwrap();
        thread::push_host(Arc::clone(&host));
        Self { host }
    }

    /// The host on another thread.
    pub(crate) fn on(host: &Arc<Host>) -> Self {
        thread::push_host(Arc::clone(host));
        Self {
            host: Arc::clone(host),
        }
    }

    pub(crate) fn rules(&self) -> Vec<&'static str> {
        self.host
            .report()
            .violations
            .iter()
            .map(|violation| violation.rule)
            .collect()
    }

    pub(crate) fn assert_clean(&self) {
        assert!(self.host.report().is_clean(), "{}", self.host.report());
    }

    /// Calls a routine of the export table.
    pub(crate) fn call(&self, name: &str, arguments: &[u64]) -> u64 {
        #[rustfmt::skip]
        type Function = extern "win64" fn(
            u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64,
        ) -> u64;
        let function = table().routine(name).unwrap().function;
        // SAFETY: a routine ignores arguments that it has not declared.
        let function = unsafe { core::mem::transmute::<*const (), Function>(function) };
        let mut all = [0; 16];
        all[..arguments.len()].copy_from_slice(arguments);
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = all;
        function(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
    }

    /// As `call`, for a routine that returns a status, a ULONG or a BOOLEAN.
    pub(crate) fn call32(&self, name: &str, arguments: &[u64]) -> u32 {
        self.call(name, arguments) as u32
    }

    pub(crate) fn pool(&self, bytes: u64) -> u64 {
        self.call("ExAllocatePool2", &[NONPAGED_POOL, bytes, u64::from(TAG)])
    }

    pub(crate) fn contiguous(&self, bytes: u64) -> u64 {
        self.call(
            "MmAllocateContiguousMemorySpecifyCache",
            &[bytes, 0, u64::MAX, 0, 1],
        )
    }

    pub(crate) fn mdl(&self, address: u64, length: u64) -> u64 {
        self.call("IoAllocateMdl", &[address, length, 0, 0, 0])
    }

    /// An MDL for zeroed contiguous memory.
    pub(crate) fn described(&self, bytes: u64) -> (u64, u64) {
        let base = self.contiguous(bytes);
        access::fill(base, 0, bytes as usize);
        let mdl = self.mdl(base, bytes);
        self.call("MmBuildMdlForNonPagedPool", &[mdl]);
        (base, mdl)
    }

    pub(crate) fn map_user(&self, mdl: u64) -> u64 {
        let arguments = [mdl, 1, 1, 0, 0, NO_EXECUTE];
        self.call("MmMapLockedPagesSpecifyCache", &arguments)
    }

    pub(crate) fn map_system(&self, mdl: u64, cache: u64) -> u64 {
        let arguments = [mdl, 0, cache, 0, 0, NO_EXECUTE];
        self.call("MmMapLockedPagesSpecifyCache", &arguments)
    }

    pub(crate) fn process(&self) -> Arc<ProcessObject> {
        self.host
            .processes
            .add(&self.host, "test.exe", false)
            .unwrap()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        thread::pop_host();
    }
}
