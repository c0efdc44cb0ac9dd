//! The hash by which a signature knows an image: SHA-256 over all of it but what signing changes.
//!
//! Left out are the checksum, the directory entry of the certificate table, and the table itself, which stands at the end.

use std::ops::Range;

use object::{
    LittleEndian,
    pe::{IMAGE_DIRECTORY_ENTRY_SECURITY, ImageDosHeader, ImageNtHeaders64},
    read::pe::ImageNtHeaders,
};
use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The parts of an image that a signature changes, as offsets into the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Changed {
    checksum: Range<usize>,
    entry: Range<usize>,
    table: Range<usize>,
}

/// The Authenticode hash of a 64-bit image, or `None` if `file` is none.
#[must_use]
pub fn hash(file: &[u8]) -> Option<Hash> {
    let changed = changed(file)?;
    let mut hasher = Sha256::new();
    hasher.update(file.get(..changed.checksum.start)?);
    hasher.update(file.get(changed.checksum.end..changed.entry.start)?);
    hasher.update(file.get(changed.entry.end..changed.table.start)?);
    hasher.update(file.get(changed.table.end..)?);
    if changed.table.is_empty() {
        // A signature begins at a multiple of 8; the zeros before it are part of what is signed.
        let padding = file.len().next_multiple_of(8).saturating_sub(file.len());
        hasher.update([0_u8; 8].get(..padding)?);
    }
    Some(hasher.finalize().into())
}

/// The hash of the whole file, for what is no image.
#[must_use]
pub fn flat_hash(file: &[u8]) -> Hash {
    Sha256::digest(file).into()
}

/// Whether an image carries a signature; `None` if `file` is no image.
#[must_use]
pub fn is_signed(file: &[u8]) -> Option<bool> {
    changed(file).map(|changed| !changed.table.is_empty())
}

/// The checksum in an image's header and the one that its bytes have; the kernel's loader compares them.
#[must_use]
pub fn checksums(file: &[u8]) -> Option<(u32, u32)> {
    let field = changed(file)?.checksum;
    let stored = u32::from_le_bytes(file.get(field.clone())?.try_into().ok()?);
    let mut sum = 0_u32;
    for (index, pair) in file.chunks(2).enumerate() {
        let offset = index.saturating_mul(2);
        if field.contains(&offset) {
            continue;
        }
        let word = match pair {
            [low, high] => u16::from_le_bytes([*low, *high]),
            [low] => u16::from(*low),
            _ => 0,
        };
        sum = sum.saturating_add(u32::from(word));
        sum = (sum & 0xFFFF).saturating_add(sum >> 16);
    }
    let length = u32::try_from(file.len()).ok()?;
    Some((stored, sum.saturating_add(length)))
}

fn changed(file: &[u8]) -> Option<Changed> {
    let dos = ImageDosHeader::parse(file).ok()?;
    let start = usize::try_from(dos.nt_headers_offset()).ok()?;
    let mut offset = u64::from(dos.nt_headers_offset());
    let (_, directories) = ImageNtHeaders64::parse(file, &mut offset).ok()?;
    // Signature and file header are 24 bytes; the checksum is at 64 of what follows, the directories at 112.
    let optional = start.checked_add(24)?;
    let checksum = optional.checked_add(64)?;
    let entry = optional
        .checked_add(112)?
        .checked_add(IMAGE_DIRECTORY_ENTRY_SECURITY.checked_mul(8)?)?;
    let table = match directories.get(IMAGE_DIRECTORY_ENTRY_SECURITY) {
        Some(entry) if entry.virtual_address.get(LittleEndian) != 0 => {
            // The one directory whose address is an offset into the file.
            let start = usize::try_from(entry.virtual_address.get(LittleEndian)).ok()?;
            let size = usize::try_from(entry.size.get(LittleEndian)).ok()?;
            start..start.checked_add(size).filter(|end| *end <= file.len())?
        }
        _ => file.len()..file.len(),
    };
    Some(Changed {
        checksum: checksum..checksum.checked_add(4)?,
        entry: entry..entry.checked_add(8)?,
        table,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_image() {
        assert_eq!(hash(b"MZ no image"), None);
        assert_eq!(is_signed(b""), None);
    }
}
