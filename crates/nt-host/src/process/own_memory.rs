//! What a program does with memory of its own once it has it, and how it learns that some is secured.

use std::sync::{Arc, Weak};

use nt_machine::Protection;

use super::{Process, ProcessObject};
use crate::memory::secure;
use crate::status::NtStatus;

/// A callback that is called until this is dropped, as `RemoveSecureMemoryCacheCallback` does.
#[must_use = "the callback is removed when this is dropped"]
pub struct SecureMemoryCacheCallback {
    process: Weak<ProcessObject>,
    number: u64,
}

impl Drop for SecureMemoryCacheCallback {
    fn drop(&mut self) {
        if let Some(process) = self.process.upgrade() {
            process.memory.remove_callback(self.number);
        }
    }
}

impl Process {
    /// Frees memory of [`Process::allocate`].
    ///
    /// # Errors
    ///
    /// `INVALID_PAGE_PROTECTION` if it is secured, and the process's callbacks do not change that;
    /// `INVALID_PARAMETER` if none begins there.
    pub fn free(&self, address: u64) -> Result<(), NtStatus> {
        crate::memory::free_user(&self.host, &self.object, address)
    }

    /// Frees memory of [`Process::allocate`] and allocates as much at the same address.
    ///
    /// # Errors
    ///
    /// As for [`Process::free`] and [`Process::allocate`].
    pub fn replace(&self, address: u64) -> Result<(), NtStatus> {
        let memory = &self.object.memory;
        secure::change(&self.host, &self.object, address, None, || {
            memory.replace(address)
        })
    }

    /// Changes what the process may do with memory of [`Process::allocate`], all of it.
    ///
    /// # Errors
    ///
    /// As for [`Process::free`], if it is secured for more than that.
    pub fn protect(&self, address: u64, to: Protection) -> Result<(), NtStatus> {
        let memory = &self.object.memory;
        secure::change(&self.host, &self.object, address, Some(to), || {
            memory.protect(address, to)
        })
    }

    /// Has `callback` called with address and length when secured memory of this process is freed
    /// or protected, as `AddSecureMemoryCacheCallback` does. It unsecures what it has had secured
    /// there, and says whether it has.
    pub fn add_secure_memory_cache_callback(
        &self,
        callback: impl Fn(u64, u64) -> bool + Send + Sync + 'static,
    ) -> SecureMemoryCacheCallback {
        SecureMemoryCacheCallback {
            process: Arc::downgrade(&self.object),
            number: self.object.memory.add_callback(Arc::new(callback)),
        }
    }

    /// What drivers have secured in it, as (address, length) of whole pages.
    #[must_use]
    pub fn secured(&self) -> Vec<(u64, u64)> {
        self.host.memory.secured.of(self.object.id)
    }
}
