//! Base relocations: the image is linked for one address and runs at another.

use crate::error::LoadError;
use crate::headers::{Directory, Headers};
use crate::view::View;

const ABSOLUTE: u16 = 0;
const DIR64: u16 = 10;

/// Adds the distance between the real and the preferred base to every address in the image.
pub(crate) fn apply(view: &mut View, headers: &Headers, base: u64) -> Result<(), LoadError> {
    let delta = base.wrapping_sub(headers.image_base);
    if headers.relocations_stripped && delta != 0 {
        return Err(LoadError::NoRelocations);
    }
    let Some((start, size)) = headers.directory(Directory::Relocation) else {
        return Ok(());
    };
    let end = u64::from(start) + u64::from(size);
    let mut at = start as usize;
    while at as u64 + 8 <= end {
        at += apply_block(view, at, end, delta)?;
    }
    Ok(())
}

/// Applies the block at `at` and returns its size.
fn apply_block(view: &mut View, at: usize, end: u64, delta: u64) -> Result<usize, LoadError> {
    let malformed = || LoadError::BadRelocations(u32::try_from(at).unwrap_or(u32::MAX));
    let page = view.read().u32(at).ok_or_else(malformed)? as usize;
    let size = view.read().u32(at + 4).ok_or_else(malformed)? as usize;
    if size < 8 || !size.is_multiple_of(2) || (at + size) as u64 > end {
        return Err(malformed());
    }
    for entry in (at + 8..at + size).step_by(2) {
        let value = view.read().u16(entry).ok_or_else(malformed)?;
        let place = page + usize::from(value & 0xfff);
        match value >> 12 {
            ABSOLUTE => {}
            DIR64 => {
                let address = view.read().u64(place).ok_or_else(malformed)?;
                view.put_u64(place, address.wrapping_add(delta))
                    .ok_or_else(malformed)?;
            }
            other => {
                let kind = u8::try_from(other).unwrap_or(u8::MAX);
                return Err(LoadError::UnsupportedRelocation(kind));
            }
        }
    }
    Ok(size)
}
