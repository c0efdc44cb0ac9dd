//! Mappings of blocks in programs.
//!
//! The driver's process and the program are two processes of Wine, so memory that both see has to be a section. A view of a
//! section begins at a multiple of 64 KiB of it. Where the driver maps a page in the middle, the pages in front of that are
//! part of the view, and made inaccessible; what follows is not part of it.

use std::{
    collections::BTreeMap,
    ptr,
    sync::{Mutex, PoisonError},
};

use crate::{
    PAGE, blocks, process,
    system::{self, Handle, Status},
};

const GRANULE: u64 = 0x1_0000;

/// A view of a section in a program.
struct View {
    /// Keeps the process's identifier from being used again.
    process: usize,
    base: usize,
}

/// By process object and the address that the program uses.
static VIEWS: Mutex<BTreeMap<(usize, usize), View>> = Mutex::new(BTreeMap::new());

/// Maps memory of a block into the current process.
pub(crate) fn map(address: usize, bytes: u64) -> Result<usize, Status> {
    let block = blocks::holding(address).ok_or(system::NOT_SUPPORTED)?;
    let offset = address.wrapping_sub(block.address) as u64;
    let end = offset
        .checked_add(bytes)
        .filter(|&end| end <= block.length)
        .ok_or(system::INVALID_PARAMETER)?;
    let start = offset & !GRANULE.wrapping_sub(1);
    let hidden = offset.wrapping_sub(start);
    let current = process::current();
    let handle = process::open(current).ok_or(system::INVALID_PARAMETER)?;
    let length = end.wrapping_sub(start).next_multiple_of(PAGE);
    let mapped = blocks::map(block.section(), handle, start, length)
        .and_then(|base| hide(handle, base, hidden).map(|()| base));
    let base = match mapped {
        Ok(base) => base,
        Err(status) => {
            close(handle);
            return Err(status);
        }
    };
    let user = base.wrapping_add(hidden as usize);
    let view = View {
        process: handle.expose_provenance(),
        base,
    };
    views().insert((current.addr(), user), view);
    Ok(user)
}

/// Makes the first pages of a view inaccessible.
fn hide(process: Handle, base: usize, length: u64) -> Result<(), Status> {
    if length == 0 {
        return Ok(());
    }
    let mut address = ptr::with_exposed_provenance_mut(base);
    let mut size = length as usize;
    let mut old = 0;
    // SAFETY: pages of a view that nobody uses yet; all places outlive the call.
    let status = unsafe {
        system::NtProtectVirtualMemory(
            process,
            &raw mut address,
            &raw mut size,
            system::PAGE_NOACCESS,
            &raw mut old,
        )
    };
    if system::is_success(status) {
        return Ok(());
    }
    remove(process, base);
    Err(status)
}

/// Removes a mapping of the current process; whether there was one.
pub(crate) fn unmap(user: usize) -> bool {
    let key = (process::current().addr(), user);
    let Some(view) = views().remove(&key) else {
        return false;
    };
    let process = ptr::with_exposed_provenance_mut(view.process);
    remove(process, view.base);
    close(process);
    true
}

/// Fails where the process has ended; then its views are gone too.
fn remove(process: Handle, base: usize) {
    // SAFETY: a view that this module made, and that the driver takes back.
    unsafe { system::NtUnmapViewOfSection(process, ptr::with_exposed_provenance_mut(base)) };
}

fn close(handle: Handle) {
    // SAFETY: a handle of this module that nobody uses any more.
    unsafe { system::CloseHandle(handle) };
}

fn views() -> std::sync::MutexGuard<'static, BTreeMap<(usize, usize), View>> {
    VIEWS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many mappings there are.
pub(crate) fn count() -> usize {
    views().len()
}
