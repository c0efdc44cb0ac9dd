//! What Windows calls before this process frees, unmaps or protects secured memory: it has every
//! registration cache drop what it holds there.
//!
//! The callback has no argument to tell caches apart, so they stand in a table of fixed places.
//! It may run while the heap frees memory: so it neither allocates nor frees, and while it asks a
//! cache, it holds no lock.

#![expect(unsafe_code, reason = "the system calls back with plain pointers")]

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windows_sys::Win32::System::Memory::{
    AddSecureMemoryCacheCallback, RemoveSecureMemoryCacheCallback,
};

use super::last_error;
use crate::{Registrar, RegistrationCache, SystemError};

/// How many caches of one process can be told.
const PLACES: usize = 64;

trait Invalidate: Send + Sync {
    /// Drops what overlaps the range; whether something was unsecured.
    fn invalidate(&self, start: u64, length: u64) -> bool;
}

impl<R> Invalidate for RegistrationCache<R>
where
    R: Registrar + Send + Sync,
    R::Name: Send,
    R::Secured: Send,
    R::Memory: Send + Sync,
{
    fn invalidate(&self, start: u64, length: u64) -> bool {
        Self::invalidate(self, start, length).has_unsecured()
    }
}

struct Place {
    cache: Mutex<Option<Arc<dyn Invalidate>>>,
    /// Callbacks that have it in hand.
    asked: AtomicUsize,
}

impl Place {
    const fn empty() -> Self {
        Self {
            cache: Mutex::new(None),
            asked: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Invalidate>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, start: u64, length: u64) -> bool {
        let cache = {
            let cache = self.lock();
            if cache.is_some() {
                self.asked.fetch_add(1, Ordering::SeqCst);
            }
            cache.clone()
        };
        let Some(cache) = cache else {
            return false;
        };
        let unsecured = cache.invalidate(start, length);
        // Never the last owner: whoever empties the place waits for the count.
        drop(cache);
        self.asked.fetch_sub(1, Ordering::SeqCst);
        unsecured
    }
}

static TABLE: [Place; PLACES] = [const { Place::empty() }; PLACES];

/// How many caches are in the table: the system is asked to call back while there are some.
static COUNT: Mutex<usize> = Mutex::new(0);

/// Has a cache told of memory that goes, until this is dropped.
#[must_use = "the cache is told until this is dropped"]
pub struct SecureMemoryCallback(&'static Place);

impl SecureMemoryCallback {
    /// Tells that cache, from now on. It has to be done before anything is registered through it.
    ///
    /// # Errors
    ///
    /// Windows refuses; or 64 caches of this process are told already.
    pub fn new<R>(cache: &RegistrationCache<R>) -> Result<Self, SystemError>
    where
        R: Registrar + Send + Sync + 'static,
        R::Name: Send,
        R::Secured: Send,
        R::Memory: Send + Sync,
    {
        const ERROR_TOO_MANY_NAMES: u32 = 68;
        let mut count = COUNT.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = TABLE.iter().find(|place| place.lock().is_none()) else {
            let operation = "cannot tell a further cache of memory that is freed";
            return Err(super::error_of(operation, ERROR_TOO_MANY_NAMES));
        };
        if *count == 0 {
            // SAFETY: the function has the signature asked for, and is never unloaded before it is
            // taken back.
            let added = unsafe { AddSecureMemoryCacheCallback(Some(memory_goes)) };
            if added == 0 {
                return Err(last_error("cannot be told of memory that is freed"));
            }
        }
        *count = count.saturating_add(1);
        let cache: Arc<dyn Invalidate> = Arc::new(cache.clone());
        *place.lock() = Some(cache);
        Ok(Self(place))
    }
}

impl Drop for SecureMemoryCallback {
    fn drop(&mut self) {
        let mut count = COUNT.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = self.0.lock().take();
        while self.0.asked.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
        drop(cache);
        *count = count.saturating_sub(1);
        if *count == 0 {
            // SAFETY: added when the first cache came. If Windows refuses, it goes on calling a
            // function that finds nothing in the table.
            unsafe { RemoveSecureMemoryCacheCallback(Some(memory_goes)) };
        }
    }
}

/// # Safety
///
/// Called by the system, with a range of this process. Nothing of the range is read or written.
unsafe extern "system" fn memory_goes(start: *const c_void, length: usize) -> bool {
    let start = u64::try_from(start.addr()).unwrap_or(0);
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    let mut unsecured = false;
    for place in &TABLE {
        unsecured |= place.ask(start, length);
    }
    unsecured
}
