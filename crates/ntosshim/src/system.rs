//! What this module calls: Wine's `ntoskrnl.exe`, `ntdll.dll` and `kernel32.dll`.

use std::ffi::c_void;

pub(crate) type Handle = *mut c_void;
pub(crate) type Status = i32;

pub(crate) const SUCCESS: Status = 0;
pub(crate) const INSUFFICIENT_RESOURCES: Status = 0xC000_009A_u32.cast_signed();
pub(crate) const INVALID_PARAMETER: Status = 0xC000_000D_u32.cast_signed();
pub(crate) const NO_SUCH_DEVICE: Status = 0xC000_000E_u32.cast_signed();
pub(crate) const NOT_SUPPORTED: Status = 0xC000_00BB_u32.cast_signed();

pub(crate) const CURRENT_PROCESS: Handle = std::ptr::without_provenance_mut(usize::MAX);
pub(crate) const SECTION_ALL_ACCESS: u32 = 0x000F_001F;
pub(crate) const SEC_COMMIT: u32 = 0x0800_0000;
pub(crate) const PAGE_NOACCESS: u32 = 0x01;
pub(crate) const PAGE_READWRITE: u32 = 0x04;
pub(crate) const VIEW_UNMAP: u32 = 2;
pub(crate) const MEM_COMMIT_RESERVE: u32 = 0x3000;
pub(crate) const MEM_RELEASE: u32 = 0x8000;
/// `PROCESS_VM_OPERATION | PROCESS_QUERY_INFORMATION | SYNCHRONIZE`.
pub(crate) const PROCESS_ACCESS: u32 = 0x0010_0408;
pub(crate) const INFINITE: u32 = u32::MAX;
/// `GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS`.
pub(crate) const PIN_BY_ADDRESS: u32 = 5;

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "system" {
    pub(crate) fn ExAllocatePoolWithTag(kind: u32, bytes: usize, tag: u32) -> *mut c_void;
    pub(crate) fn ExFreePoolWithTag(block: *mut c_void, tag: u32);
    pub(crate) fn IoAllocateIrp(stack_size: i8, charge_quota: u8) -> *mut u8;
    pub(crate) fn IoAttachDeviceToDeviceStack(source: *mut u8, target: *mut u8) -> *mut u8;
    #[link_name = "IoRegisterDeviceInterface"]
    pub(crate) fn register_interface(
        device: *mut u8,
        class: *const c_void,
        reference: *const c_void,
        link: *mut c_void,
    ) -> Status;
    #[link_name = "IoGetCurrentProcess"]
    pub(crate) fn requesting_process() -> *mut c_void;
    pub(crate) fn IofCallDriver(device: *mut u8, irp: *mut u8) -> Status;
    pub(crate) fn ObfDereferenceObject(object: *mut c_void);
    pub(crate) fn ObfReferenceObject(object: *mut c_void);
    pub(crate) fn PsGetProcessId(process: *mut c_void) -> usize;
}

#[link(name = "ntdll")]
unsafe extern "system" {
    pub(crate) fn NtCreateSection(
        section: *mut Handle,
        access: u32,
        attributes: *mut c_void,
        size: *mut i64,
        protection: u32,
        kind: u32,
        file: Handle,
    ) -> Status;
    pub(crate) fn NtMapViewOfSection(
        section: Handle,
        process: Handle,
        address: *mut *mut c_void,
        zero_bits: usize,
        commit: usize,
        offset: *mut i64,
        size: *mut usize,
        inherit: u32,
        kind: u32,
        protection: u32,
    ) -> Status;
    pub(crate) fn NtProtectVirtualMemory(
        process: Handle,
        address: *mut *mut c_void,
        size: *mut usize,
        protection: u32,
        old: *mut u32,
    ) -> Status;
    pub(crate) fn NtUnmapViewOfSection(process: Handle, address: *mut c_void) -> Status;
    pub(crate) fn RtlRaiseStatus(status: Status) -> !;
}

#[link(name = "kernel32")]
unsafe extern "system" {
    pub(crate) fn CloseHandle(handle: Handle) -> i32;
    pub(crate) fn GetModuleHandleExW(
        flags: u32,
        address: *const c_void,
        module: *mut Handle,
    ) -> i32;
    pub(crate) fn OpenProcess(access: u32, inherit: i32, process: u32) -> Handle;
    pub(crate) fn VirtualAlloc(
        address: *mut c_void,
        size: usize,
        kind: u32,
        protection: u32,
    ) -> *mut c_void;
    pub(crate) fn VirtualFree(address: *mut c_void, size: usize, kind: u32) -> i32;
    pub(crate) fn WaitForSingleObject(handle: Handle, milliseconds: u32) -> u32;
}

/// Whether a status says success.
pub(crate) const fn is_success(status: Status) -> bool {
    status >= 0
}
