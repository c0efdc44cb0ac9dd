//! One open file on the device: control requests by `DeviceIoControl`, memory by volatile accesses.
//!
//! The file is opened for overlapped requests, so several threads can have requests under way at
//! once, and a request that waits in the driver holds up nobody else. Overlapped requests also
//! tell the exact NTSTATUS, which the Win32 error alone does not.

#![expect(unsafe_code, reason = "requests take pointers to buffers")]

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr;
use std::sync::{Mutex, PoisonError, RwLock};

use sanproxy_abi::Status;
use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE, STATUS_PENDING,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_OVERLAPPED, FILE_SHARE_READ, FILE_SHARE_WRITE, OPEN_EXISTING, ReadFile,
    WriteFile,
};
use windows_sys::Win32::System::IO::{
    CancelIoEx, DeviceIoControl, GetOverlappedResult, OVERLAPPED,
};
use windows_sys::Win32::System::Threading::CreateEventW;

use super::text::wide;
use super::{interface_paths, last_code, last_error, memory};
use crate::mappings::Mappings;
use crate::win32::status_of_win32;
use crate::{Channel, MemoryFault, SystemError};

/// How many events are kept for further requests.
const EVENTS: usize = 64;

/// One open file on the device. Child processes do not inherit it; dropping it closes it.
pub struct DeviceChannel {
    file: OwnedHandle,
    /// Events of requests that have ended, for the next ones.
    events: Mutex<Vec<OwnedHandle>>,
    /// Held for reading while mapped memory is touched, so that no other thread unmaps it by a
    /// release in between.
    mappings: RwLock<Mappings>,
}

impl DeviceChannel {
    /// Opens the first started device; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Windows cannot list the devices, or refuses to open this one.
    pub fn open_first() -> Result<Option<Self>, SystemError> {
        let path = interface_paths()?.into_iter().next();
        path.map(|path| Self::open(&path)).transpose()
    }

    /// Opens the device with this interface path.
    ///
    /// # Errors
    ///
    /// Windows refuses: error 5 if the caller is not an administrator.
    pub fn open(path: &str) -> Result<Self, SystemError> {
        let name = wide(path);
        // SAFETY: the name ends with a zero. Without security attributes the handle is not
        // inherited by child processes.
        let file = unsafe {
            CreateFileW(
                name.as_ptr(),
                GENERIC_READ | GENERIC_WRITE,
                FILE_SHARE_READ | FILE_SHARE_WRITE,
                ptr::null(),
                OPEN_EXISTING,
                FILE_FLAG_OVERLAPPED,
                ptr::null_mut(),
            )
        };
        if file == INVALID_HANDLE_VALUE {
            return Err(last_error("cannot open the device"));
        }
        // SAFETY: the call above made this handle, and nobody else has it.
        let file = unsafe { OwnedHandle::from_raw_handle(file) };
        Ok(Self {
            file,
            events: Mutex::new(Vec::with_capacity(EVENTS)),
            mappings: RwLock::default(),
        })
    }

    /// An event for one request.
    fn event(&self) -> Result<OwnedHandle, Status> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = events.pop() {
            return Ok(event);
        }
        // SAFETY: no attributes, no name; manual reset, as overlapped requests want it.
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        if event.is_null() {
            return Err(status_of_win32(last_code()));
        }
        // SAFETY: the call above made this handle, and nobody else has it.
        Ok(unsafe { OwnedHandle::from_raw_handle(event) })
    }

    /// Sends a request and waits for its end.
    fn exchange(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<usize, Status> {
        let too_long = |_| Status::INVALID_PARAMETER;
        let input_length = u32::try_from(input.len()).map_err(too_long)?;
        let output_length = u32::try_from(output.len()).map_err(too_long)?;
        // SAFETY: both buffers and `overlapped` live until the request has ended, which `request`
        // waits for; the lengths are theirs.
        self.request(|file, overlapped| unsafe {
            DeviceIoControl(
                file,
                code,
                input.as_ptr().cast(),
                input_length,
                output.as_mut_ptr().cast(),
                output_length,
                ptr::null_mut(),
                overlapped,
            )
        })
    }

    /// Starts an overlapped request and waits for its end.
    fn request(
        &self,
        start: impl FnOnce(RawHandle, *mut OVERLAPPED) -> i32,
    ) -> Result<usize, Status> {
        let event = self.event()?;
        let mut overlapped = OVERLAPPED {
            hEvent: event.as_raw_handle(),
            ..OVERLAPPED::default()
        };
        let overlapped = &raw mut overlapped;
        let done = start(self.file.as_raw_handle(), overlapped);
        let refused = if done == 0 { last_code() } else { 0 };
        let result = match refused {
            0 | ERROR_IO_PENDING => self.finish(overlapped),
            refused => Err(exact_status(overlapped).unwrap_or_else(|| status_of_win32(refused))),
        };
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        // A request may be sent while the heap frees memory: so the list never grows.
        if events.len() < events.capacity() {
            events.push(event);
        }
        result
    }

    /// Waits for the end of a request that was accepted.
    fn finish(&self, overlapped: *mut OVERLAPPED) -> Result<usize, Status> {
        let mut returned = 0;
        // SAFETY: `overlapped` belongs to a request on this file; the call waits for its end.
        let done = unsafe {
            GetOverlappedResult(self.file.as_raw_handle(), overlapped, &raw mut returned, 1)
        };
        if done != 0 {
            return Ok(usize::try_from(returned).unwrap_or(usize::MAX));
        }
        let refused = last_code();
        let Some(status) = exact_status(overlapped) else {
            // The request is still under way and could not be waited for. Its buffers belong to
            // the kernel, so going on would let it write where something else is by then.
            if is_pending(overlapped) {
                std::process::abort();
            }
            return Err(status_of_win32(refused));
        };
        Err(status)
    }
}

fn internal(overlapped: *const OVERLAPPED) -> u32 {
    // SAFETY: the caller's struct, alive.
    let place = unsafe { &raw const (*overlapped).Internal };
    // SAFETY: a field of that struct; the kernel may write it at any time, hence volatile.
    let status = unsafe { place.read_volatile() };
    u32::try_from(status & 0xFFFF_FFFF).unwrap_or(u32::MAX)
}

/// The NTSTATUS of a request that failed, if the request got that far.
fn exact_status(overlapped: *const OVERLAPPED) -> Option<Status> {
    let status = Status(internal(overlapped));
    (!status.is_success()).then_some(status)
}

fn is_pending(overlapped: *const OVERLAPPED) -> bool {
    internal(overlapped) == u32::from_ne_bytes(STATUS_PENDING.to_ne_bytes())
}

impl Channel for DeviceChannel {
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<usize, Status> {
        let write = || {
            self.mappings
                .write()
                .unwrap_or_else(PoisonError::into_inner)
        };
        write().before(code, input);
        let returned = self.exchange(code, input, output)?;
        if let Some(output) = output.get(..returned) {
            write().after(code, input, output);
        }
        Ok(returned)
    }

    fn send(&self, message: &[u8]) -> Result<(), Status> {
        let length = u32::try_from(message.len()).map_err(|_| Status::INVALID_PARAMETER)?;
        // SAFETY: the message and `overlapped` live until the request has ended.
        let sent = self.request(|file, overlapped| unsafe {
            WriteFile(file, message.as_ptr(), length, ptr::null_mut(), overlapped)
        });
        sent.map(drop)
    }

    fn receive(&self, message: &mut [u8]) -> Result<usize, Status> {
        let length = u32::try_from(message.len()).map_err(|_| Status::INVALID_PARAMETER)?;
        // SAFETY: the room and `overlapped` live until the request has ended.
        self.request(|file, overlapped| unsafe {
            ReadFile(
                file,
                message.as_mut_ptr(),
                length,
                ptr::null_mut(),
                overlapped,
            )
        })
    }

    fn cancel(&self) {
        // SAFETY: the handle is open. That there was nothing to cancel is no failure.
        let _ = unsafe { CancelIoEx(self.file.as_raw_handle(), ptr::null()) };
    }

    fn read_memory(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryFault> {
        let mappings = self.mappings.read().unwrap_or_else(PoisonError::into_inner);
        if !mappings.contain(address, bytes.len()) {
            return Err(MemoryFault { address });
        }
        memory::check(address, bytes.len())?;
        // SAFETY: the driver mapped the range, and no release can unmap it while `mappings` is
        // held; that it is there was checked just now.
        unsafe { memory::read(address, bytes) };
        Ok(())
    }

    fn write_memory(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
        let mappings = self.mappings.read().unwrap_or_else(PoisonError::into_inner);
        if !mappings.contain(address, bytes.len()) {
            return Err(MemoryFault { address });
        }
        memory::check(address, bytes.len())?;
        // SAFETY: as for reading.
        unsafe { memory::write(address, bytes) };
        Ok(())
    }
}
