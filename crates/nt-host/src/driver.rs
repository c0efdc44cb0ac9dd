//! Drivers: the image, its driver object, loading and unloading with all that has to be given back.

use std::sync::{Arc, Mutex, OnceLock};

use nt_image::Image;

use crate::access::{copy_in, read, write};
use crate::call::Entry;
use crate::device::Device;
use crate::device::node::Phase;
use crate::export::{self, IrqlRule, exports};
use crate::guarded::{GuardedBlock, GuardedHeap};
use crate::host::{Host, HostError};
use crate::layout::{driver, irp, major};
use crate::object::Kind;
use crate::status::NtStatus;
use crate::thread::{self, DISPATCH};
use crate::{lock, object};

/// A driver as the kernel sees it.
pub(crate) struct DriverObject {
    /// Its service name.
    pub(crate) name: String,
    object: GuardedBlock,
    _extension: GuardedBlock,
    _names: Vec<GuardedBlock>,
    image: Option<Image>,
}

impl DriverObject {
    /// The address that the driver knows it by.
    pub(crate) fn address(&self) -> u64 {
        self.object.address()
    }
}

/// The drivers of a host.
pub(crate) struct Drivers {
    all: Mutex<Vec<Arc<DriverObject>>>,
    bus: Arc<DriverObject>,
}

/// The dispatch routine of every slot that a driver leaves alone.
pub(crate) fn default_stub() -> u64 {
    static STUB: OnceLock<u64> = OnceLock::new();
    *STUB.get_or_init(|| {
        let routine = export::table().routine("IopInvalidDeviceRequest");
        routine.map_or(0, |routine| nt_image::stub(routine) as u64)
    })
}

impl Drivers {
    /// With the root bus driver alone.
    pub(crate) fn new(heap: &GuardedHeap) -> std::io::Result<Self> {
        let bus = Arc::new(create_object(heap, "PnpManager", None)?);
        let all = Mutex::new(vec![Arc::clone(&bus)]);
        Ok(Self { all, bus })
    }

    /// The root bus driver's object.
    pub(crate) fn bus_driver(&self) -> u64 {
        self.bus.address()
    }

    /// The driver object at that address.
    pub(crate) fn at(&self, address: u64) -> Option<Arc<DriverObject>> {
        lock(&self.all)
            .iter()
            .find(|driver| driver.address() == address)
            .cloned()
    }

    /// `DllCharacteristics` of the image that holds the address.
    pub(crate) fn dll_characteristics_at(&self, address: u64) -> Option<u16> {
        let all = lock(&self.all);
        let mut images = all.iter().filter_map(|driver| driver.image.as_ref());
        images
            .find(|image| image.contains(address))
            .map(Image::dll_characteristics)
    }

    /// Whether the address lies in an image; with `pageable`, in a section that the system may page.
    pub(crate) fn section_at(&self, address: u64) -> Option<String> {
        let all = lock(&self.all);
        let mut images = all.iter().filter_map(|driver| driver.image.as_ref());
        let image = images.find(|image| image.contains(address))?;
        let offset = address - image.base();
        let inside = |section: &&nt_image::Section| section.range.contains(&(offset as usize));
        let name = image
            .sections()
            .iter()
            .find(inside)
            .map(|section| section.name.clone());
        Some(name.unwrap_or_default())
    }

    /// A completion routine has to be in code that stays in memory.
    pub(crate) fn check_completion_routine(&self, host: &Host, routine: u64, control: u8) {
        if routine == 0 || control & 0xE0 == 0 {
            return;
        }
        if self
            .section_at(routine)
            .is_some_and(|name| name.starts_with("PAGE"))
        {
            let message = format!("completion routine {routine:#x} lies in pageable code");
            host.violation("V226", "C9/0x227", message);
        }
    }
}

fn create_object(
    heap: &GuardedHeap,
    name: &str,
    image: Option<Image>,
) -> std::io::Result<DriverObject> {
    let object = heap.allocate("driver object", driver::SIZE as usize)?;
    let extension = heap.allocate("driver extension", driver::EXTENSION_SIZE as usize)?;
    let (at, after) = (object.address(), extension.address());
    write(at, driver::TYPE_DRIVER);
    write(at + 2, driver::SIZE as u16);
    write(at + driver::DRIVER_EXTENSION, after);
    write(after, at);
    if let Some(image) = &image {
        write(at + driver::DRIVER_START, image.base());
        write(at + driver::DRIVER_SIZE, image.size() as u32);
        write(at + driver::DRIVER_INIT, image.entry() as u64);
    }
    let mut names = Vec::new();
    for (slot, text) in [
        (at + driver::DRIVER_NAME, format!("\\Driver\\{name}")),
        (after + driver::SERVICE_KEY_NAME, name.to_owned()),
    ] {
        names.push(unicode_string(heap, slot, &text)?);
    }
    for index in 0..major::COUNT {
        write(at + driver::MAJOR_FUNCTION + 8 * index, default_stub());
    }
    let name = name.to_owned();
    Ok(DriverObject {
        name,
        object,
        _extension: extension,
        _names: names,
        image,
    })
}

/// A `UNICODE_STRING` at `slot` with its characters in a block of their own.
fn unicode_string(heap: &GuardedHeap, slot: u64, text: &str) -> std::io::Result<GuardedBlock> {
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let block = heap.allocate("string", bytes.len())?;
    copy_in(block.address(), &bytes);
    write(slot, bytes.len() as u16);
    write(slot + 2, bytes.len() as u16);
    write(slot + 8, block.address());
    Ok(block)
}

/// A loaded driver.
pub struct Driver {
    host: Arc<Host>,
    object: Arc<DriverObject>,
}

impl Host {
    /// Maps a driver's image and runs its `DriverEntry`.
    ///
    /// # Errors
    ///
    /// What is wrong with the image, with all imports that the host lacks; the status of `DriverEntry`;
    /// or [`HostError::Stopped`].
    pub fn load(self: &Arc<Self>, name: &str, file: &[u8]) -> Result<Driver, HostError> {
        self.check_alive()?;
        let image_name = if name.contains('.') {
            name.to_owned()
        } else {
            format!("{name}.sys")
        };
        let image = Image::load(&image_name, file, &mut |module, routine| {
            export::resolve(module, routine, &|name| self.data.variable(name))
        })?;
        for finding in image.findings() {
            let code = match finding.rule {
                "V140" => "C4/0x2003",
                "V141" => "C4/0x2004",
                _ => "C4/0x2005",
            };
            self.violation(finding.rule, code, finding.message.clone());
        }
        let entry = image.entry() as u64;
        let object = Arc::new(create_object(&self.heap, name, Some(image))?);
        lock(&self.drivers.all).push(Arc::clone(&object));
        self.objects.insert(object.address(), Kind::Driver);
        self.registry.create_service(name);
        let driver = Driver {
            host: Arc::clone(self),
            object,
        };
        let status = driver.run_entry(entry)?;
        if status.is_success() {
            driver.check_dispatch_table();
            if let Some(image) = &driver.object.image {
                image.discard_initialization()?;
            }
            Ok(driver)
        } else {
            driver.check_leaks();
            driver.forget();
            Err(HostError::Status(status))
        }
    }
}

impl Driver {
    fn run_entry(&self, entry: u64) -> Result<NtStatus, HostError> {
        let path = format!(
            "\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Services\\{}",
            self.object.name
        );
        // Both go when DriverEntry has returned: a driver that keeps the pointer faults.
        let string = self.host.object("registry path", 16)?;
        let buffer = unicode_string(&self.host.heap, string.address(), &path)?;
        let arguments = [self.object.address(), string.address()];
        let system = self.host.processes.system();
        let status = thread::in_process(&system, || {
            self.host
                .call_driver(Entry::Callback, "DriverEntry", entry, &arguments)
        })?;
        drop(buffer);
        Ok(NtStatus(status as u32))
    }

    /// The dispatch routines that every WDM driver has to have.
    fn check_dispatch_table(&self) {
        let object = self.object.address();
        let extension: u64 = read(object + driver::DRIVER_EXTENSION);
        if read::<u64>(extension + driver::ADD_DEVICE) == 0 {
            return;
        }
        for (function, name) in [
            (major::PNP, "IRP_MJ_PNP"),
            (major::POWER, "IRP_MJ_POWER"),
            (major::SYSTEM_CONTROL, "IRP_MJ_SYSTEM_CONTROL"),
        ] {
            let routine: u64 = read(object + driver::MAJOR_FUNCTION + 8 * u64::from(function));
            if routine == default_stub() || routine == 0 {
                let message = format!("no dispatch routine for {name}");
                self.host.violation("V221", "C9/0x21F", message);
            }
        }
        if read::<u64>(object + driver::DRIVER_UNLOAD) == 0 {
            self.host
                .violation("V221", "C9/0x21F", "no DriverUnload routine");
        }
    }

    /// A new device on the root bus, with this driver's `AddDevice` called for it.
    ///
    /// # Errors
    ///
    /// The status of `AddDevice`, or [`HostError::Stopped`].
    pub fn add_device(&self) -> Result<Device, HostError> {
        Device::add(&self.host, &self.object)
    }

    /// The address of the image's first byte.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.object.image.as_ref().map_or(0, Image::base)
    }

    /// What the image imports, as (module, routine).
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        self.object.image.as_ref()
    }

    /// Unloads the driver: its Unload routine, then the search for what it has left.
    ///
    /// # Errors
    ///
    /// `DEVICE_BUSY` while a device of it is not removed, `INVALID_DEVICE_REQUEST` if it has no Unload
    /// routine, [`HostError::Stopped`].
    pub fn unload(self) -> Result<(), HostError> {
        crate::file::run_deferred(&self.host)?;
        self.host.check_alive()?;
        let busy =
            |node: &Arc<crate::device::node::Node>| lock(&node.state).phase != Phase::Removed;
        if self.host.nodes.all().iter().any(busy) {
            return Err(HostError::Status(NtStatus::DEVICE_BUSY));
        }
        let object = self.object.address();
        let routine: u64 = read(object + driver::DRIVER_UNLOAD);
        if routine == 0 {
            return Err(HostError::Status(NtStatus::INVALID_DEVICE_REQUEST));
        }
        crate::work_item::driver_unloading(&self.host)?;
        crate::memory::driver_unloading(&self.host);
        let system = self.host.processes.system();
        let result = thread::in_process(&system, || {
            self.host
                .call_driver(Entry::Callback, "DriverUnload", routine, &[object])
        });
        result?;
        self.check_leaks();
        self.forget();
        Ok(())
    }

    fn check_leaks(&self) {
        let host = &self.host;
        thread::push_context("after unload");
        crate::irp::owned::driver_unloaded(host);
        crate::memory::driver_unloaded(host);
        crate::dma::driver_unloaded(host);
        crate::device::object::driver_unloaded(host, self.object.address());
        crate::device::link::driver_unloaded(host);
        host.strings.driver_unloaded(host);
        host.registry.driver_unloaded(host);
        host.etw.driver_unloaded(host);
        crate::process::notify::driver_unloaded(host);
        crate::bug_check::driver_unloaded(host);
        crate::work_item::driver_unloaded(host);
        host.captured.driver_unloaded(host);
        host.locks.driver_unloaded(host);
        object::driver_unloaded(host);
        thread::pop_context();
    }

    fn forget(&self) {
        let address = self.object.address();
        lock(&self.host.drivers.all).retain(|driver| driver.address() != address);
        self.host.objects.remove(address);
        Device::forget_all(&self.host);
    }
}

/// What a driver's dispatch slot holds until the driver fills it.
extern "win64" fn invalid_device_request(_device: u64, request: u64) -> u32 {
    crate::call::exported(|host| {
        write(request + irp::STATUS, NtStatus::INVALID_DEVICE_REQUEST.0);
        write(request + irp::INFORMATION, 0_u64);
        if let Some(found) = host.irps.at(request) {
            crate::irp::complete::complete(host, &found)?;
        }
        Ok(NtStatus::INVALID_DEVICE_REQUEST.0)
    })
}

exports! {
    "IopInvalidDeviceRequest" => invalid_device_request, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
}
