//! What a test does with an open file: requests, duplication, closing.

use std::sync::Arc;
use std::time::Duration;

use super::{FileObject, transfer};
use crate::host::{Host, HostError};
use crate::irp::{Irp, cancel};
use crate::lock;
use crate::process::{Process, ProcessObject};
use crate::status::NtStatus;
use crate::thread;

/// What a handle is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// `FILE_READ_DATA`.
    pub read: bool,
    /// `FILE_WRITE_DATA`.
    pub write: bool,
}

impl Access {
    /// Both.
    pub const READ_WRITE: Self = Self {
        read: true,
        write: true,
    };
    /// Reading alone.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
    /// Neither: attributes only.
    pub const NONE: Self = Self {
        read: false,
        write: false,
    };

    /// As an access mask.
    pub(crate) fn mask(self) -> u32 {
        u32::from(self.read) | u32::from(self.write) << 1
    }
}

/// Who a request comes from: `Irp->RequestorMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A system component.
    Kernel,
    /// A program.
    User,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoResult {
    /// `IoStatus.Status`.
    pub status: NtStatus,
    /// `IoStatus.Information`.
    pub information: u64,
}

/// A device-control request.
#[derive(Clone, Copy, Debug)]
pub struct Control<'a> {
    /// The control code.
    pub code: u32,
    /// Input.
    pub input: &'a [u8],
    /// Bytes of output that the caller has room for.
    pub output_length: usize,
    /// For the direct methods: what the "output" buffer holds at first.
    pub output_contents: &'a [u8],
    /// Who asks.
    pub mode: Mode,
}

impl<'a> Control<'a> {
    /// A program's request.
    #[must_use]
    pub const fn new(code: u32, input: &'a [u8], output_length: usize) -> Self {
        Self {
            code,
            input,
            output_length,
            output_contents: &[],
            mode: Mode::User,
        }
    }
}

/// An open handle; closed when dropped.
pub struct File {
    pub(super) host: Arc<Host>,
    process: Arc<ProcessObject>,
    handle: u64,
    pub(super) file: Arc<FileObject>,
}

impl File {
    pub(super) fn new(
        host: Arc<Host>,
        process: Arc<ProcessObject>,
        handle: u64,
        file: Arc<FileObject>,
    ) -> Self {
        Self {
            host,
            process,
            handle,
            file,
        }
    }

    /// The address of its file object, as a driver sees it.
    #[must_use]
    pub fn object_address(&self) -> u64 {
        self.file.address()
    }

    /// Sends a device-control request as a program does, and waits for its end.
    ///
    /// Of `output`, only what the driver reported in `Information` changes.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`] if the driver did not come back; status `TIMEOUT` if the request stays pending.
    pub fn device_control(
        &self,
        code: u32,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<IoResult, HostError> {
        let control = Control {
            output_contents: output,
            ..Control::new(code, input, output.len())
        };
        let pending = self.begin(&control)?;
        let result = pending.finish(output)?;
        super::run_deferred(&self.host)?;
        Ok(result)
    }

    /// Sends any device-control request, and waits for its end.
    ///
    /// # Errors
    ///
    /// As for [`File::device_control`].
    pub fn control(&self, control: &Control<'_>) -> Result<(IoResult, Vec<u8>), HostError> {
        let mut output = vec![0; control.output_length];
        let pending = self.begin(control)?;
        let result = pending.finish(&mut output)?;
        super::run_deferred(&self.host)?;
        Ok((result, output))
    }

    /// Sends a device-control request and returns when the driver does.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`] if the driver did not come back.
    pub fn begin(&self, control: &Control<'_>) -> Result<Pending, HostError> {
        self.check_open()?;
        let _active = self.process.enter();
        thread::in_process(&self.process, || {
            transfer::device_control(&self.host, &self.process, &self.file, control)
        })
    }

    /// Reads from the device.
    ///
    /// # Errors
    ///
    /// As for [`File::device_control`].
    pub fn read(&self, bytes: &mut [u8], offset: u64) -> Result<IoResult, HostError> {
        let pending = self.begin_read(bytes.len(), offset)?;
        let result = pending.finish(bytes)?;
        super::run_deferred(&self.host)?;
        Ok(result)
    }

    /// Begins to read from the device, and returns when the driver does.
    ///
    /// # Errors
    ///
    /// As for [`File::begin`].
    pub fn begin_read(&self, length: usize, offset: u64) -> Result<Pending, HostError> {
        self.check_open()?;
        let _active = self.process.enter();
        thread::in_process(&self.process, || {
            transfer::read(&self.host, &self.process, &self.file, length, offset, None)
        })
    }

    /// Begins to read into memory of the process, and returns when the driver does.
    ///
    /// # Errors
    ///
    /// As for [`File::begin`].
    pub fn begin_read_into(
        &self,
        address: u64,
        length: usize,
        offset: u64,
    ) -> Result<Pending, HostError> {
        self.check_open()?;
        let _active = self.process.enter();
        let named = Some(address);
        thread::in_process(&self.process, || {
            transfer::read(&self.host, &self.process, &self.file, length, offset, named)
        })
    }

    /// Writes to the device.
    ///
    /// # Errors
    ///
    /// As for [`File::device_control`].
    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<IoResult, HostError> {
        let pending = self.begin_write(bytes, offset)?;
        let result = pending.finish(&mut [])?;
        super::run_deferred(&self.host)?;
        Ok(result)
    }

    /// Begins to write to the device, and returns when the driver does.
    ///
    /// # Errors
    ///
    /// As for [`File::begin`].
    pub fn begin_write(&self, bytes: &[u8], offset: u64) -> Result<Pending, HostError> {
        self.check_open()?;
        let _active = self.process.enter();
        thread::in_process(&self.process, || {
            transfer::write(&self.host, &self.process, &self.file, bytes, offset)
        })
    }

    /// Cancels all requests of the file that are under way (`CancelIoEx`).
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`] if the driver did not survive it.
    pub fn cancel_all(&self) -> Result<(), HostError> {
        self.check_open()?;
        for request in self.host.irps.all() {
            let file = request.file.as_ref();
            if file.is_some_and(|file| Arc::ptr_eq(file, &self.file)) {
                cancel::cancel(&self.host, &request)?;
            }
        }
        Ok(())
    }

    /// A handle to the same file in another process.
    ///
    /// # Errors
    ///
    /// `PROCESS_IS_TERMINATING` or `INVALID_HANDLE`.
    pub fn duplicate(&self, target: &Process) -> Result<Self, HostError> {
        self.check_open()?;
        if target.object.is_exiting() {
            return Err(HostError::Status(NtStatus::PROCESS_IS_TERMINATING));
        }
        self.file
            .handles
            .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let handle = target.object.add_handle(Arc::clone(&self.file));
        let (host, file) = (Arc::clone(&self.host), Arc::clone(&self.file));
        Ok(Self::new(host, Arc::clone(&target.object), handle, file))
    }

    /// Closes the handle while others may still be using it: their requests go on, and the file stays until
    /// the last of them has ended. Later requests are refused.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`] if the driver did not survive it.
    pub fn close_handle(&self) -> Result<(), HostError> {
        super::close_handle(&self.host, &self.process, self.handle).map_err(HostError::from)
    }

    /// Closes the handle.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`] if the driver did not survive it.
    pub fn close(self) -> Result<(), HostError> {
        super::close_handle(&self.host, &self.process, self.handle).map_err(HostError::from)
    }

    fn check_open(&self) -> Result<(), HostError> {
        self.host.check_alive()?;
        if lock(&self.process.handles).contains_key(&self.handle) {
            Ok(())
        } else {
            Err(HostError::Status(NtStatus::INVALID_HANDLE))
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // A stopped driver is in the report already.
        drop(super::close_handle(&self.host, &self.process, self.handle));
    }
}

/// A request on its way.
pub struct Pending {
    pub(super) host: Arc<Host>,
    pub(super) request: Arc<Irp>,
    pub(super) process: Arc<ProcessObject>,
    /// A status that came before the driver was asked.
    pub(super) refused: Option<NtStatus>,
    /// User memory that stands for the caller's buffers: input, output.
    pub(super) buffers: [u64; 2],
    /// The output lies in user memory.
    pub(super) output_in_user_memory: bool,
}

impl Pending {
    /// How it ended, if it has.
    #[must_use]
    pub fn result(&self) -> Option<IoResult> {
        if let Some(status) = self.refused {
            return Some(IoResult {
                status,
                information: 0,
            });
        }
        self.request.result().map(|(status, information)| IoResult {
            status,
            information,
        })
    }

    /// Cancels it (`CancelIo`); whether the driver had set a cancel routine.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`] if the driver did not survive it.
    pub fn cancel(&self) -> Result<bool, HostError> {
        if self.refused.is_some() {
            return Ok(false);
        }
        let cancelled =
            thread::in_process(&self.process, || cancel::cancel(&self.host, &self.request));
        cancelled.map_err(HostError::from)
    }

    /// Waits for its end.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> Option<IoResult> {
        if self.refused.is_none() {
            self.request.wait(&self.host, limit)?;
        }
        self.result()
    }

    /// Waits for its end and copies the output.
    ///
    /// # Errors
    ///
    /// Status `TIMEOUT` if it does not end, [`HostError::Stopped`] if the system has ended.
    pub fn finish(self, output: &mut [u8]) -> Result<IoResult, HostError> {
        let Some(result) = self.wait(self.host.options.watchdog) else {
            self.host.check_alive()?;
            return Err(HostError::Status(NtStatus::TIMEOUT));
        };
        if self.output_in_user_memory && !output.is_empty() && self.buffers[1] != 0 {
            crate::memory::read_user(&self.process, self.buffers[1], output)?;
        } else {
            let bytes = lock(&self.request.state).output.clone();
            let length = bytes.len().min(output.len());
            output[..length].copy_from_slice(&bytes[..length]);
        }
        Ok(result)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        for buffer in self.buffers {
            if buffer != 0 {
                self.host.restless.remove(buffer);
                // Whoever secures the buffer of a request under way keeps it.
                let _kept = crate::memory::free_user(&self.host, &self.process, buffer);
            }
        }
    }
}
