//! What the system asks of the driver, and who answers.

use wdm::{
    control::Control,
    crash_dump::CrashDump,
    device::Objects,
    direct::Transfer,
    entry::Driver,
    irp::Completed,
    list::{List, Node},
    mutex::Mutex,
    pnp::Pnp,
    pool::Shared,
    status::Status,
    trace::Provider,
};

use crate::{
    address_space::AddressSpace,
    device::{Device, pnp},
    dispatch,
    file::File,
    trace,
};

/// The open files of all devices.
pub(crate) type Files = Mutex<List<Shared<File>>>;

/// The driver.
pub(crate) struct SanProxy {
    files: Shared<Files>,
    /// Held while a file is opened.
    opening: Mutex<()>,
    /// `None` if the system does not ask.
    dump: Option<Shared<CrashDump>>,
}

impl Driver for SanProxy {
    type Device = Device;
    type File = File;

    fn load() -> Result<Self, Status> {
        Ok(Self {
            files: Shared::new(Mutex::new(List::new()))?,
            opening: Mutex::new(()),
            // A driver that cannot show memory in a crash dump is as good as ever otherwise.
            dump: CrashDump::register()
                .ok()
                .and_then(|dump| Shared::new(dump).ok()),
        })
    }

    fn tracing() -> Option<&'static Provider> {
        Some(&trace::PROVIDER)
    }

    #[inline(never)]
    fn add_device(&self, objects: Objects) -> Result<Shared<Device>, Status> {
        Device::new(objects, &self.files, self.dump.as_ref())
    }

    fn pnp(&self, device: &Shared<Device>, request: Pnp) -> Completed {
        pnp::answer(device, &self.files, request)
    }

    #[inline(never)]
    fn create(&self, device: &Shared<Device>) -> Result<Shared<File>, Status> {
        // One at a time: all files that a process opens share its address space.
        let _opening = self.opening.lock();
        let own = |file: &File| file.process().is_current();
        let space = match self.find(own) {
            Some(file) => file.space().clone(),
            None => Shared::new(AddressSpace::current()?)?,
        };
        let file = Shared::new(File::new(device, space)?)?;
        let node = Node::new(file.clone())?;
        self.files.lock().push(node);
        Ok(file)
    }

    fn control(&self, file: &Shared<File>, request: Control) -> Completed {
        dispatch::answer(file, request)
    }

    fn transfer(&self, file: &Shared<File>, request: Transfer) -> Completed {
        dispatch::transfer(file, request)
    }

    fn late(&self, file: &Shared<File>, request: Control) -> Completed {
        dispatch::refuse(file, request)
    }

    fn cleanup(&self, file: &Shared<File>) {
        file.cleanup();
    }

    fn close(&self, file: Shared<File>) {
        file.close();
        // The lock is given back before the node is dropped.
        let node = self.files.lock().remove(|open| open.is(&file));
        drop(node);
    }

    fn process_exit(&self) {
        // A file that has been swept is not found again, so this ends.
        while let Some(file) = self.find(File::is_mapped_in_current_process) {
            file.process_exit();
        }
    }
}

impl SanProxy {
    fn find(&self, test: impl Fn(&File) -> bool) -> Option<Shared<File>> {
        self.files.lock().iter().find(|file| test(file)).cloned()
    }
}
