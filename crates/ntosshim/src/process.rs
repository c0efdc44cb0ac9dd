//! Whose request is being served, and the end of processes.
//!
//! Wine knows whose request the driver's thread is serving, but neither attaches to another process nor tells of the end of
//! one. Attaching is remembering here, since no address space changes. Each program that opens the device gets a thread
//! that waits for its end. On Windows the driver is told before the handles of a process are closed; here it is told about
//! the same time.

use std::{
    cell::Cell,
    collections::BTreeSet,
    ffi::c_void,
    ptr,
    sync::{Mutex, Once, PoisonError, RwLock},
    thread,
};

use crate::system::{self, Handle, Status};

type Notify = unsafe extern "system" fn(parent: usize, process: usize, create: u8);

thread_local! {
    static ATTACHED: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
}

static NOTIFY: RwLock<Vec<Notify>> = RwLock::new(Vec::new());
/// Process objects whose end is waited for.
static WATCHED: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// The process object that is attached to, or whose request is being served.
pub(crate) fn current() -> *mut c_void {
    let attached = ATTACHED.get();
    if attached.is_null() {
        // SAFETY: has no preconditions.
        unsafe { system::requesting_process() }
    } else {
        attached
    }
}

/// Opens a process, to wait for it and to map memory into it.
pub(crate) fn open(process: *mut c_void) -> Option<Handle> {
    // SAFETY: a process object of Wine.
    let identifier = unsafe { system::PsGetProcessId(process) };
    // SAFETY: has no preconditions.
    let handle = unsafe { system::OpenProcess(system::PROCESS_ACCESS, 0, identifier as u32) };
    (!handle.is_null()).then_some(handle)
}

/// The kernel's routine.
// Wine has a routine of that name too, which is called here: `forwarded.def` gives this one its name.
#[unsafe(export_name = "own_IoGetCurrentProcess")]
pub(crate) extern "system" fn current_process() -> *mut c_void {
    current()
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn KeStackAttachProcess(process: *mut c_void, state: &mut *mut c_void) {
    *state = ATTACHED.replace(process);
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn KeUnstackDetachProcess(state: &*mut c_void) {
    ATTACHED.set(*state);
}

/// The kernel's routine. The end of a process is told of if it has opened the driver's device.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn PsSetCreateProcessNotifyRoutine(
    routine: Notify,
    remove: u8,
) -> Status {
    pin();
    // A removal waits here for calls that are under way.
    let mut routines = NOTIFY.write().unwrap_or_else(PoisonError::into_inner);
    let known = routines
        .iter()
        .position(|&other| ptr::fn_addr_eq(other, routine));
    match (remove, known) {
        (0, None) => routines.push(routine),
        (0, Some(_)) | (_, None) => return system::INVALID_PARAMETER,
        (_, Some(index)) => drop(routines.swap_remove(index)),
    }
    system::SUCCESS
}

/// Keeps this module loaded: its threads outlive the driver.
fn pin() {
    static PINNED: Once = Once::new();
    PINNED.call_once(|| {
        let address = ptr::from_ref(&PINNED).cast();
        let mut module = ptr::null_mut();
        // SAFETY: the address is one of this module.
        unsafe { system::GetModuleHandleExW(system::PIN_BY_ADDRESS, address, &raw mut module) };
    });
}

/// Waits, in a thread of its own, for the end of the process whose request is being served.
pub(crate) fn watch_current() {
    let process = current();
    let key = process.expose_provenance();
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if process.is_null() || watched.contains(&key) {
        return;
    }
    let Some(handle) = open(process) else { return };
    // SAFETY: the process whose request is being served is alive. Given back in `wait`.
    unsafe { system::ObfReferenceObject(process) };
    watched.insert(key);
    let handle = handle.expose_provenance();
    thread::spawn(move || wait(key, handle));
}

fn wait(key: usize, handle: usize) {
    let handle = ptr::with_exposed_provenance_mut(handle);
    let process = ptr::with_exposed_provenance_mut(key);
    // SAFETY: this thread's handle.
    unsafe { system::WaitForSingleObject(handle, system::INFINITE) };
    tell(process);
    WATCHED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&key);
    // SAFETY: gives back the reference of `watch_current`.
    unsafe { system::ObfDereferenceObject(process) };
    // SAFETY: this thread's handle, not used again.
    unsafe { system::CloseHandle(handle) };
}

/// Tells drivers of the end of a process, as if in that.
fn tell(process: *mut c_void) {
    // SAFETY: the caller holds a reference to the process object.
    let identifier = unsafe { system::PsGetProcessId(process) };
    ATTACHED.set(process);
    let routines = NOTIFY.read().unwrap_or_else(PoisonError::into_inner);
    for routine in routines.iter() {
        // SAFETY: registered, and not removed while the lock is held.
        unsafe { routine(0, identifier, 0) };
    }
    drop(routines);
    ATTACHED.set(ptr::null_mut());
}
