//! Routines for what there is none of in Wine: event tracing in the kernel, crash dumps, pages of programs within the driver's
//! reach. They let a driver load, and say truthfully that nothing was done where that can be said.

use std::{ffi::c_void, ptr, time::Instant};

use crate::system::{self, Status};

/// The kernel's routine. Nobody listens.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn EtwRegister(
    _provider: *const c_void,
    _enabled: *const c_void,
    _context: *mut c_void,
    handle: &mut u64,
) -> Status {
    *handle = 1;
    system::SUCCESS
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn EtwUnregister(_handle: u64) -> Status {
    system::SUCCESS
}

/// The kernel's routine: succeeds where nobody listens.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn EtwWriteTransfer(_handle: u64) -> Status {
    system::SUCCESS
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn EtwSetInformation(_handle: u64) -> Status {
    system::SUCCESS
}

/// The kernel's routine. There is no crash dump that the driver could add pages to.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn KeRegisterBugCheckReasonCallback(_record: *mut c_void) -> u8 {
    1
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn KeDeregisterBugCheckReasonCallback(_record: *mut c_void) -> u8 {
    1
}

/// The kernel's routine, in units of 100 ns since the first call.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn KeQueryInterruptTimePrecise(counter: &mut u64) -> u64 {
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let elapsed = FIRST.get_or_init(Instant::now).elapsed();
    let time = (elapsed.as_nanos() / 100) as u64;
    *counter = time;
    time
}

/// The kernel's routine: nothing can be secured.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn MmSecureVirtualMemory(
    _address: *mut c_void,
    _size: usize,
    _mode: u32,
) -> *mut c_void {
    ptr::null_mut()
}

/// The kernel's routine: nothing is ever secured.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn MmUnsecureVirtualMemory(_handle: *mut c_void) {
    crate::log::misuse("MmUnsecureVirtualMemory", "nothing is secured");
}

/// A `SECURITY_SUBJECT_CONTEXT`.
#[repr(C)]
pub(crate) struct SubjectContext {
    client_token: *mut c_void,
    level: u32,
    primary_token: *mut c_void,
    audit: *mut c_void,
}

/// The kernel's routine. Wine has one user, an administrator; the token is no more than not null.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn SeCaptureSubjectContext(context: &mut SubjectContext) {
    *context = SubjectContext {
        client_token: ptr::null_mut(),
        level: 0,
        primary_token: ptr::dangling_mut::<u64>().cast(),
        audit: ptr::null_mut(),
    };
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn SeReleaseSubjectContext(_context: *mut c_void) {}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn SeTokenIsAdmin(_token: *mut c_void) -> u8 {
    1
}
