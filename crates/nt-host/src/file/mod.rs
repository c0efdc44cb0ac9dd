//! File objects: one per open; cleanup with the last handle, close with the last reference.

mod control;
mod transfer;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub use control::{Access, Control, File, IoResult, Mode, Pending};
pub(crate) use transfer::STALE;

use crate::access::write;
use crate::call::Stopped;
use crate::device;
use crate::guarded::GuardedBlock;
use crate::host::{Host, HostError};
use crate::irp::{self, NewIrp, send};
use crate::layout::{device as device_layout, file, major, stack};
use crate::object::Kind;
use crate::process::ProcessObject;
use crate::status::NtStatus;
use crate::{lock, thread};

/// An open file.
pub(crate) struct FileObject {
    object: GuardedBlock,
    _name: Option<GuardedBlock>,
    /// The device at the bottom of the stack.
    pub(crate) pdo: u64,
    /// What the handle was opened for.
    pub(crate) access: Access,
    handles: AtomicU64,
    requests: AtomicU64,
    cleaned: AtomicBool,
    closed: AtomicBool,
}

impl FileObject {
    /// The address that drivers know it by.
    pub(crate) fn address(&self) -> u64 {
        self.object.address()
    }
}

/// The open files of a host.
#[derive(Default)]
pub(crate) struct Files {
    open: Mutex<HashMap<u64, Arc<FileObject>>>,
    /// Files whose close is due, found where it could not be sent.
    deferred: Mutex<VecDeque<Arc<FileObject>>>,
}

impl Files {
    /// Whether a file is open on the stack that the device is in.
    pub(crate) fn are_open_on(&self, device: u64) -> bool {
        lock(&self.open).values().any(|file| file.pdo == device)
    }

    /// The open file at that address.
    pub(crate) fn at(&self, address: u64) -> Option<Arc<FileObject>> {
        lock(&self.open).get(&address).cloned()
    }
}

/// Opens a file on the stack above `pdo`: the create request, in the opener's context.
pub(crate) fn open(
    host: &Arc<Host>,
    process: &Arc<ProcessObject>,
    pdo: u64,
    name: &str,
    access: Access,
) -> Result<File, HostError> {
    host.check_alive()?;
    if process.is_exiting() {
        return Err(HostError::Status(NtStatus::PROCESS_IS_TERMINATING));
    }
    if !host.devices.contains(pdo) {
        return Err(HostError::Status(NtStatus::NO_SUCH_DEVICE));
    }
    let file = Arc::new(create_object(host, pdo, name, access)?);
    lock(&host.files.open).insert(file.address(), Arc::clone(&file));
    host.objects.insert(file.address(), Kind::File);
    let active = process.enter();
    let sent = thread::in_process(process, || {
        send_file_request(host, process, &file, major::CREATE, access)
    });
    match sent {
        Ok(status) if status.is_success() => {
            file.handles.store(1, Ordering::SeqCst);
            let handle = process.add_handle(Arc::clone(&file));
            drop(active);
            Ok(File::new(
                Arc::clone(host),
                Arc::clone(process),
                handle,
                file,
            ))
        }
        Ok(status) => {
            // A failed create gets neither cleanup nor close.
            forget(host, &file);
            Err(HostError::Status(status))
        }
        Err(stopped) => Err(HostError::Stopped(stopped)),
    }
}

fn create_object(
    host: &Host,
    pdo: u64,
    name: &str,
    access: Access,
) -> Result<FileObject, NtStatus> {
    let object = host.object("file object", file::SIZE)?;
    let address = object.address();
    write(address, file::TYPE_FILE);
    write(address + 2, file::SIZE as u16);
    write(address + file::DEVICE_OBJECT, pdo);
    write(address + file::READ_ACCESS, u8::from(access.read));
    write(address + file::WRITE_ACCESS, u8::from(access.write));
    let name_block = if name.is_empty() {
        None
    } else {
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let block = host.object("file name", units.len() as u64)?;
        crate::access::copy_in(block.address(), &units);
        write(address + file::FILE_NAME, units.len() as u16);
        write(address + file::FILE_NAME + 2, units.len() as u16);
        write(address + file::FILE_NAME + 8, block.address());
        Some(block)
    };
    Ok(FileObject {
        object,
        _name: name_block,
        pdo,
        access,
        handles: AtomicU64::new(0),
        requests: AtomicU64::new(0),
        cleaned: AtomicBool::new(false),
        closed: AtomicBool::new(false),
    })
}

/// Sends create, cleanup or close to the top of the file's stack and waits.
fn send_file_request(
    host: &Arc<Host>,
    process: &Arc<ProcessObject>,
    file: &Arc<FileObject>,
    function: u8,
    access: Access,
) -> Result<NtStatus, Stopped> {
    let top = host.devices.top(file.pdo);
    let stack_count: i8 = crate::access::read(top + device_layout::STACK_SIZE);
    let thread = process.current_thread(host).ok();
    let new = NewIrp {
        major: function,
        minor: 0,
        stack_count,
        requestor_mode: u8::from(function == major::CREATE),
        status: NtStatus::SUCCESS,
        thread,
        file: Some(Arc::clone(file)),
    };
    let Ok(request) = irp::create(host, new) else {
        return Ok(NtStatus::INSUFFICIENT_RESOURCES);
    };
    let mut security = None;
    if function == major::CREATE {
        security = host.object("security context", 32).ok();
        let next = request.next();
        write(
            next + stack::PARAMETERS,
            security.as_ref().map_or(0, GuardedBlock::address),
        );
        // FILE_OPEN in the upper byte, no options.
        write(next + stack::PARAMETERS + 8, 0x0100_0000_u32);
        write(next + stack::PARAMETERS + 18, 3_u16);
        if let Some(block) = &security {
            write(block.address() + 16, access.mask());
        }
    }
    let status = send::send(host, top, &request)?;
    let result = request.wait(host, host.options.watchdog);
    drop(security);
    if let Some((status, _)) = result {
        Ok(status)
    } else {
        host.check_alive()?;
        let name = irp::check::name_of(function, 0);
        let message = format!("{name} answered {} and hangs", NtStatus(status));
        host.violation("V308", "hang", message.clone());
        Err(host.die(message))
    }
}

/// Closes a handle; with the last one, the file's cleanup runs in `process`.
pub(crate) fn close_handle(
    host: &Arc<Host>,
    process: &Arc<ProcessObject>,
    handle: u64,
) -> Result<(), Stopped> {
    let Some(file) = lock(&process.handles).remove(&handle) else {
        return Ok(());
    };
    if file.handles.fetch_sub(1, Ordering::SeqCst) != 1 || host.is_dead() {
        return Ok(());
    }
    let status = thread::in_process(process, || {
        send_file_request(host, process, &file, major::CLEANUP, file.access)
    })?;
    expect_success(host, "IRP_MJ_CLEANUP", status);
    file.cleaned.store(true, Ordering::SeqCst);
    close_if_unused(host, &file)?;
    run_deferred(host)
}

fn expect_success(host: &Host, name: &str, status: NtStatus) {
    if !status.is_success() {
        let message = format!("{name} failed with {status}: cleanup and close always succeed");
        host.violation("V245", "C9/0x247", message);
    }
}

fn is_unused(host: &Host, file: &FileObject) -> bool {
    file.cleaned.load(Ordering::SeqCst)
        && file.requests.load(Ordering::SeqCst) == 0
        && host.objects.references(file.address()) == 0
}

/// Sends the close, in the system process, when nothing refers to the file any more.
fn close_if_unused(host: &Arc<Host>, file: &Arc<FileObject>) -> Result<(), Stopped> {
    if !is_unused(host, file) || file.closed.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let system = host.processes.system();
    let status = thread::in_process(&system, || {
        send_file_request(host, &system, file, major::CLOSE, file.access)
    })?;
    expect_success(host, "IRP_MJ_CLOSE", status);
    forget(host, file);
    device::pnp::last_file_closed(host, file.pdo)
}

fn forget(host: &Host, file: &FileObject) {
    lock(&host.files.open).remove(&file.address());
    host.objects.remove(file.address());
}

/// A request for the file has been issued.
pub(crate) fn request_issued(file: &FileObject) {
    file.requests.fetch_add(1, Ordering::SeqCst);
}

/// A request for the file is complete; its close may have become due.
pub(crate) fn request_finished(host: &Host, file: &Arc<FileObject>) {
    file.requests.fetch_sub(1, Ordering::SeqCst);
    if is_unused(host, file) {
        lock(&host.files.deferred).push_back(Arc::clone(file));
    }
}

/// The driver has dropped its last reference on a file object.
pub(crate) fn reference_dropped(host: &Host, address: u64) {
    if let Some(file) = host.files.at(address)
        && is_unused(host, &file)
    {
        lock(&host.files.deferred).push_back(file);
    }
}

/// Sends the closes that became due inside the driver. Called outside of it, at passive level.
pub(crate) fn run_deferred(host: &Arc<Host>) -> Result<(), Stopped> {
    if thread::host().is_some() || host.is_dead() {
        return Ok(());
    }
    loop {
        let next = lock(&host.files.deferred).pop_front();
        let Some(file) = next else { return Ok(()) };
        close_if_unused(host, &file)?;
    }
}
