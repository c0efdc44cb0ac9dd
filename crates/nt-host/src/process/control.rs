//! What a test does with processes: make them, open files from them, look into their memory, end them.

use std::sync::Arc;

use super::{ProcessObject, ThreadObject};
use crate::device::Device;
use crate::device::interface::Guid;
use crate::file::{Access, File};
use crate::host::{Host, HostError};
use crate::object::Kind;
use crate::status::NtStatus;
use crate::thread;

/// A user process.
#[derive(Clone)]
pub struct Process {
    pub(crate) host: Arc<Host>,
    pub(crate) object: Arc<ProcessObject>,
}

impl Host {
    /// Starts a 64-bit process; process-notification callbacks run.
    ///
    /// # Errors
    ///
    /// The status with which a callback refused it, or [`HostError::Stopped`].
    pub fn create_process(self: &Arc<Self>, name: &str) -> Result<Process, HostError> {
        self.create_process_of(name, false)
    }

    /// Starts a 32-bit process.
    ///
    /// # Errors
    ///
    /// As for [`Host::create_process`].
    pub fn create_process_32(self: &Arc<Self>, name: &str) -> Result<Process, HostError> {
        self.create_process_of(name, true)
    }

    fn create_process_of(self: &Arc<Self>, name: &str, wow: bool) -> Result<Process, HostError> {
        self.check_alive()?;
        let object = self.processes.add(self, name, wow)?;
        let process = Process {
            host: Arc::clone(self),
            object,
        };
        let status = super::notify::created(self, &process.object)?;
        if status.is_success() {
            Ok(process)
        } else {
            process.exit()?;
            Err(HostError::Status(status))
        }
    }
}

impl Process {
    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.object.id
    }

    /// Its image's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.object.name
    }

    /// Whether its token is an administrator's, which it is unless told otherwise.
    pub fn set_administrator(&self, administrator: bool) {
        self.object.set_administrator(administrator);
    }

    /// The address of its process object, as a driver sees it.
    #[must_use]
    pub fn object_address(&self) -> u64 {
        self.object.address()
    }

    /// Opens the first device that offers the interface, for reading and writing.
    ///
    /// # Errors
    ///
    /// The status of the create request; `OBJECT_NAME_NOT_FOUND` if no interface is enabled.
    pub fn open(&self, interface: &Guid) -> Result<File, HostError> {
        self.open_with(interface, "")
    }

    /// Opens a name below the device, such as `\name`.
    ///
    /// # Errors
    ///
    /// As for [`Process::open`].
    pub fn open_with(&self, interface: &Guid, name: &str) -> Result<File, HostError> {
        let pdo = self.host.nodes.open_interface(interface);
        let pdo = pdo.ok_or(HostError::Status(NtStatus::OBJECT_NAME_NOT_FOUND))?;
        crate::file::open(&self.host, &self.object, pdo, name, Access::READ_WRITE)
    }

    /// Opens by interface with other access rights.
    ///
    /// # Errors
    ///
    /// As for [`Process::open`].
    pub fn open_for(&self, interface: &Guid, access: Access) -> Result<File, HostError> {
        let pdo = self.host.nodes.open_interface(interface);
        let pdo = pdo.ok_or(HostError::Status(NtStatus::OBJECT_NAME_NOT_FOUND))?;
        crate::file::open(&self.host, &self.object, pdo, "", access)
    }

    /// Opens the device whatever its state, past the `PnP` manager's own checks.
    ///
    /// # Errors
    ///
    /// The status of the create request.
    pub fn open_device(&self, device: &Device) -> Result<File, HostError> {
        crate::file::open(
            &self.host,
            &self.object,
            device.pdo(),
            "",
            Access::READ_WRITE,
        )
    }

    /// Opens a device object by name, or by a symbolic link such as `\??\X`.
    ///
    /// # Errors
    ///
    /// The status of the create request, or `OBJECT_NAME_NOT_FOUND`.
    pub fn open_name(&self, name: &str) -> Result<File, HostError> {
        let device = crate::device::link::resolve(&self.host, name);
        let device = device.ok_or(HostError::Status(NtStatus::OBJECT_NAME_NOT_FOUND))?;
        crate::file::open(&self.host, &self.object, device, "", Access::READ_WRITE)
    }

    /// Reads its memory.
    ///
    /// # Errors
    ///
    /// `ACCESS_VIOLATION` if a byte of the range is not mapped in this process.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), NtStatus> {
        crate::memory::read_user(&self.object, address, bytes)
    }

    /// Writes its memory.
    ///
    /// # Errors
    ///
    /// `ACCESS_VIOLATION` if a byte of the range is not mapped for writing in this process.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), NtStatus> {
        crate::memory::write_user(&self.object, address, bytes)
    }

    /// What drivers have mapped into it, as (address, length).
    #[must_use]
    pub fn mappings(&self) -> Vec<(u64, u64)> {
        crate::memory::mappings(&self.object)
    }

    /// Allocates memory of its own, readable and writable.
    ///
    /// # Errors
    ///
    /// A status if there is none.
    pub fn allocate(&self, length: usize) -> Result<u64, NtStatus> {
        crate::memory::allocate_user(&self.host, &self.object, length)
    }

    /// A further thread of this process.
    ///
    /// # Errors
    ///
    /// A status if the build host has no memory.
    pub fn create_thread(&self) -> Result<Thread, HostError> {
        let object = Arc::new(ThreadObject::new(&self.host, &self.object)?);
        self.object.adopt(&object);
        Ok(Thread {
            process: self.clone(),
            object,
        })
    }

    /// Ends the process as a kill does: callbacks, its requests cancelled, its handles closed, its memory gone.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`] if the driver did not survive it.
    pub fn exit(&self) -> Result<(), HostError> {
        super::exit::exit(&self.host, &self.object).map_err(HostError::from)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        self.object.has_exited()
    }
}

/// A thread of a process: requests issued in [`Thread::run`] are its own.
pub struct Thread {
    process: Process,
    object: Arc<ThreadObject>,
}

impl Thread {
    /// Runs `work` as this thread.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        thread::as_thread(&self.object, work)
    }

    /// Ends the thread: its requests are cancelled, and must complete.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`] if the driver did not survive it.
    pub fn exit(self) -> Result<(), HostError> {
        super::exit::cancel_requests(&self.process.host, &self.object)?;
        self.process.host.objects.remove(self.object.address());
        Ok(())
    }
}

impl Host {
    /// Whether the address is an object of that kind.
    pub(crate) fn is_object(&self, address: u64, kind: Kind) -> bool {
        self.objects.kind(address) == Some(kind)
    }
}
