//! The provider library's way to a driver in the embedded host.

use nt_host::{File, HostError, IoResult, Process};
use sanproxy_abi::Status;
use sanproxy_provider::{Channel, MemoryFault};

use crate::wire;

/// An open file of a process in the embedded host.
pub struct HostChannel {
    process: Process,
    file: File,
}

impl HostChannel {
    /// Takes a file and the process that opened it.
    #[must_use]
    pub fn new(process: Process, file: File) -> Self {
        Self { process, file }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// What a read or write request came to.
fn moved(outcome: Result<IoResult, HostError>) -> Result<usize, Status> {
    match outcome {
        Ok(IoResult {
            status,
            information,
        }) if status.is_success() => Ok(usize::try_from(information).unwrap_or(usize::MAX)),
        Ok(IoResult { status, .. }) | Err(HostError::Status(status)) => Err(Status(status.0)),
        Err(error) => panic!("the host does not go on: {error}"),
    }
}

impl Channel for HostChannel {
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<usize, Status> {
        let result = wire::control(&self.file, code, input, output);
        let status = Status(result.status.0);
        if !status.is_success() {
            return Err(status);
        }
        // More than the buffer can hold is a lie that the library has to notice.
        Ok(usize::try_from(result.information).unwrap_or(usize::MAX))
    }

    fn send(&self, message: &[u8]) -> Result<(), Status> {
        moved(self.file.write(message, 0)).map(drop)
    }

    fn receive(&self, message: &mut [u8]) -> Result<usize, Status> {
        moved(self.file.read(message, 0))
    }

    fn cancel(&self) {
        // A stopped driver is in the report already.
        drop(self.file.cancel_all());
    }

    fn read_memory(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryFault> {
        self.process
            .read(address, bytes)
            .map_err(|_| MemoryFault { address })
    }

    fn write_memory(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
        self.process
            .write(address, bytes)
            .map_err(|_| MemoryFault { address })
    }
}
