//! The way to the driver: control requests, and the memory of the process that made them.

use std::rc::Rc;
use std::sync::Arc;

use sanproxy_abi::Status;

/// An address that cannot be read or written in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory can be reached at address {address:#x}")]
pub struct MemoryFault {
    /// The address.
    pub address: u64,
}

/// An open file on the device, and the memory of the process that opened it.
///
/// The file is closed when the channel is dropped.
pub trait Channel {
    /// Sends a control request and waits for its end; gives the number of bytes put in `output`.
    ///
    /// # Errors
    ///
    /// The driver's status if it refuses the request.
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<usize, Status>;

    /// Sends a message in a write request and waits until it is taken.
    ///
    /// # Errors
    ///
    /// The driver's status if it refuses; `STATUS_INVALID_DEVICE_REQUEST` if the channel carries no
    /// messages.
    fn send(&self, message: &[u8]) -> Result<(), Status> {
        let _ = message;
        Err(Status::INVALID_DEVICE_REQUEST)
    }

    /// Waits for a message with a read request; gives its length.
    ///
    /// # Errors
    ///
    /// As for [`Channel::send`].
    fn receive(&self, message: &mut [u8]) -> Result<usize, Status> {
        let _ = message;
        Err(Status::INVALID_DEVICE_REQUEST)
    }

    /// Cancels all requests of this file that are under way in other threads. They end with
    /// `STATUS_CANCELLED`.
    fn cancel(&self) {}

    /// Reads memory of this process that the driver mapped.
    ///
    /// # Errors
    ///
    /// [`MemoryFault`] if it is not mapped.
    fn read_memory(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryFault>;

    /// Writes memory of this process that the driver mapped.
    ///
    /// # Errors
    ///
    /// [`MemoryFault`] if it is not mapped.
    fn write_memory(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryFault>;
}

macro_rules! forward {
    ($($type:ty),*) => {
        $(impl<C: Channel + ?Sized> Channel for $type {
            fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<usize, Status> {
                (**self).control(code, input, output)
            }
            fn send(&self, message: &[u8]) -> Result<(), Status> {
                (**self).send(message)
            }
            fn receive(&self, message: &mut [u8]) -> Result<usize, Status> {
                (**self).receive(message)
            }
            fn cancel(&self) {
                (**self).cancel();
            }
            fn read_memory(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryFault> {
                (**self).read_memory(address, bytes)
            }
            fn write_memory(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
                (**self).write_memory(address, bytes)
            }
        })*
    };
}

forward!(&C, Arc<C>, Rc<C>, Box<C>);
