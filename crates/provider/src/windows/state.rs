//! What the system and this process are allowed.

#![expect(unsafe_code, reason = "Win32 takes pointers to buffers")]

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::PathBuf;
use std::ptr;

use windows_sys::Wdk::System::SystemInformation::{
    NtQuerySystemInformation, SystemCodeIntegrityInformation,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, TOKEN_ELEVATION, TOKEN_QUERY, TokenElevation,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
use windows_sys::Win32::System::WindowsProgramming::{
    CODEINTEGRITY_OPTION_TESTSIGN, SYSTEM_CODEINTEGRITY_INFORMATION,
};

use super::text::narrow;
use super::{last_error, size};
use crate::SystemError;

/// Whether this process runs with the rights of an administrator.
///
/// # Errors
///
/// Windows does not tell.
pub fn is_administrator() -> Result<bool, SystemError> {
    let refused = || last_error("cannot find out whether this is an administrator");
    let mut token = ptr::null_mut();
    // SAFETY: gives a handle of this process that need not be closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: `token` is ours.
    if unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(refused());
    }
    // SAFETY: the call above made this handle, and nobody else has it.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    let mut elevation = TOKEN_ELEVATION::default();
    let mut returned = 0;
    // SAFETY: the token is live, the buffer has the size given.
    let read = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenElevation,
            (&raw mut elevation).cast(),
            size::<TOKEN_ELEVATION>(),
            &raw mut returned,
        )
    };
    if read == 0 {
        return Err(refused());
    }
    Ok(elevation.TokenIsElevated != 0)
}

/// Whether this is Wine and not Windows: its kernel cannot lock or secure the memory of programs.
#[must_use]
pub fn is_wine() -> bool {
    let name = super::text::wide("ntdll.dll");
    // SAFETY: the name ends with a zero; the module is never unloaded.
    let module = unsafe { GetModuleHandleW(name.as_ptr()) };
    // SAFETY: a loaded module, and a name that ends with a zero.
    !module.is_null()
        && unsafe { GetProcAddress(module, c"wine_get_version".as_ptr().cast()) }.is_some()
}

/// Whether the system loads drivers with a test signature; `None` if it does not tell.
#[must_use]
pub fn test_signing() -> Option<bool> {
    let mut information = SYSTEM_CODEINTEGRITY_INFORMATION {
        Length: size::<SYSTEM_CODEINTEGRITY_INFORMATION>(),
        CodeIntegrityOptions: 0,
    };
    // SAFETY: the buffer has the size given.
    let status = unsafe {
        NtQuerySystemInformation(
            SystemCodeIntegrityInformation,
            (&raw mut information).cast(),
            size::<SYSTEM_CODEINTEGRITY_INFORMATION>(),
            ptr::null_mut(),
        )
    };
    let options = information.CodeIntegrityOptions;
    (status >= 0).then_some(options & CODEINTEGRITY_OPTION_TESTSIGN != 0)
}

/// The folder of the system's own programs.
///
/// # Errors
///
/// Windows does not tell.
pub fn system_folder() -> Result<PathBuf, SystemError> {
    let mut path = [0_u16; 260];
    let length = u32::try_from(path.len()).unwrap_or(0);
    // SAFETY: the buffer has the length given.
    let written = unsafe { GetSystemDirectoryW(path.as_mut_ptr(), length) };
    if written == 0 || written >= length {
        return Err(last_error("cannot find the system's folder"));
    }
    Ok(PathBuf::from(narrow(&path)))
}
