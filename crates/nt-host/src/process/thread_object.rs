//! Threads as drivers see them: who issued a request, and whose exit cancels it.

use std::sync::{Arc, Mutex, Weak};

use super::ProcessObject;
use crate::guarded::GuardedBlock;
use crate::host::Host;
use crate::irp::Irp;
use crate::lock;
use crate::object::Kind;
use crate::status::NtStatus;

/// A thread of a process.
pub(crate) struct ThreadObject {
    object: GuardedBlock,
    process_address: u64,
    process_id: u64,
    is_32_bit: bool,
    pending: Mutex<Vec<Weak<Irp>>>,
}

impl ThreadObject {
    /// A thread of that process.
    pub(crate) fn new(host: &Host, process: &ProcessObject) -> Result<Self, NtStatus> {
        let object = host.object("thread object", 64)?;
        host.objects.insert(object.address(), Kind::Thread);
        Ok(Self {
            object,
            process_address: process.address(),
            process_id: process.id,
            is_32_bit: process.is_32_bit,
            pending: Mutex::default(),
        })
    }

    /// The address that drivers know it by.
    pub(crate) fn address(&self) -> u64 {
        self.object.address()
    }

    /// Its process.
    pub(crate) fn process_address(&self) -> u64 {
        self.process_address
    }

    /// Its process's identifier.
    pub(crate) fn process_id(&self) -> u64 {
        self.process_id
    }

    /// Its process runs 32-bit code.
    pub(crate) fn is_32_bit(&self) -> bool {
        self.is_32_bit
    }

    /// It has issued a request.
    pub(crate) fn issued(&self, request: &Arc<Irp>) {
        lock(&self.pending).push(Arc::downgrade(request));
    }

    /// A request of its own is complete.
    pub(crate) fn finished(&self, address: u64) {
        lock(&self.pending).retain(|request| {
            request
                .upgrade()
                .is_some_and(|request| request.address != address)
        });
    }

    /// Its requests that are not complete.
    pub(crate) fn pending(&self) -> Vec<Arc<Irp>> {
        lock(&self.pending)
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }
}
