//! The way to the driver on Windows, and what it takes to install and set it.
//!
//! [`DeviceChannel`] is one open file on the device. The rest is for programs like `sanctl`:
//! finding, creating and removing devices, their settings, the state of the system.

// UNSAFETY: this folder calls Win32, whose functions take pointers and lengths.

mod channel;
mod device;
mod device_set;
mod installation;
mod memory;
mod own_pages;
mod secure_memory;
mod settings;
mod state;
mod text;

pub use channel::DeviceChannel;
pub use device::{Device, devices, interface_paths, restart};
pub use installation::{
    check_inf, create_root_device, delete_service, remove_device, uninstall_inf, update_driver,
};
pub use own_pages::OwnPages;
pub use secure_memory::SecureMemoryCallback;
pub use settings::{Setting, read_setting, remove_setting, write_setting};
pub use state::{is_administrator, is_wine, system_folder, test_signing};

use crate::SystemError;

/// The error that the system set last for this thread.
fn last_error(operation: impl Into<String>) -> SystemError {
    refusal(operation, &std::io::Error::last_os_error())
}

/// The number of the error that the system set last for this thread; uses no heap.
fn last_code() -> u32 {
    let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    u32::from_ne_bytes(code.to_ne_bytes())
}

/// An error that a function returned.
fn error_of(operation: impl Into<String>, code: u32) -> SystemError {
    let code = i32::from_ne_bytes(code.to_ne_bytes());
    refusal(operation, &std::io::Error::from_raw_os_error(code))
}

/// An error of the standard library that came from the system.
#[must_use]
pub fn refusal(operation: impl Into<String>, error: &std::io::Error) -> SystemError {
    let code = error.raw_os_error().unwrap_or(0);
    let text = match code {
        0 => "the system gives no reason".to_owned(),
        _ => error.to_string(),
    };
    // Rust appends the number, which is shown anyway.
    let text = text
        .split_once(" (os error")
        .map_or(text.as_str(), |(text, _)| text);
    SystemError::new(operation, u32::from_ne_bytes(code.to_ne_bytes()), text)
}

/// The size of a struct as Win32 wants it.
fn size<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}
