//! A program whose other threads change the buffers of a request while the driver works on it.
//!
//! A buffer that the I/O manager has copied cannot change any more. One that it has locked for direct
//! transfer, or that the driver reaches by its address, still can. A driver that reads such a buffer twice
//! may find two different things in it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use crate::host::Host;
use crate::process::ProcessObject;
use crate::{lock, memory};

struct Buffer {
    process: Arc<ProcessObject>,
    address: u64,
    length: usize,
}

/// The buffers of requests under way, if they are to change.
#[derive(Default)]
pub(crate) struct Restless {
    is_on: AtomicBool,
    generation: AtomicU8,
    buffers: Mutex<Vec<Buffer>>,
}

impl Restless {
    /// A request begins with a buffer of the program's own.
    pub(crate) fn add(&self, process: &Arc<ProcessObject>, address: u64, length: usize) {
        if self.is_on.load(Ordering::Relaxed) {
            lock(&self.buffers).push(Buffer {
                process: Arc::clone(process),
                address,
                length,
            });
        }
    }

    /// The buffer goes.
    pub(crate) fn remove(&self, address: u64) {
        lock(&self.buffers).retain(|buffer| buffer.address != address);
    }

    /// The driver calls a routine.
    pub(crate) fn called(&self) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        for buffer in lock(&self.buffers).iter() {
            let bytes = vec![generation; buffer.length];
            // Memory that is gone changes no more.
            let _gone = memory::write_user(&buffer.process, buffer.address, &bytes);
        }
    }
}

impl Host {
    /// From now on, or no longer, all bytes of the buffers that programs pass directly change with every call that
    /// the driver makes: to one value, another one each time.
    pub fn set_restless_buffers(&self, restless: bool) {
        self.restless.is_on.store(restless, Ordering::SeqCst);
    }
}
