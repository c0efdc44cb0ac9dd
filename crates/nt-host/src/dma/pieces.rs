//! What a transfer names: the part of an MDL chain that it covers, judged, and cut where physical runs end.

use std::sync::Arc;

use nt_machine::{FrameList, PAGE_SIZE, pages_for};

use crate::host::Host;
use crate::memory::mdl::{LOCKED, Mdl, NONPAGED, state_of};
use crate::status::NtStatus;

/// Bytes of a transfer that lie in frames without a gap between.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// The frames.
    pub(crate) frames: FrameList,
    /// Offset of the first byte in the first frame.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) length: u64,
}

/// The part of a chain from an address in its first MDL on, as the lists of the first tables name it.
pub(crate) fn from_address(
    host: &Arc<Host>,
    chain: u64,
    address: u64,
    length: u64,
) -> Result<Vec<Piece>, NtStatus> {
    check_length(host, length)?;
    let first = Mdl::read(chain);
    let skip = address.wrapping_sub(first.address());
    if skip >= u64::from(first.count) {
        let message = format!("{address:#x} is not inside of {}", first.describe());
        host.violation("V166", "E6/0x1B", message);
        return Err(NtStatus::INVALID_PARAMETER);
    }
    walk(host, chain, skip, length)
}

/// The part of a chain from an offset on, as version 3 names it: the offset may lie in any MDL of the chain.
pub(crate) fn from_offset(
    host: &Arc<Host>,
    chain: u64,
    offset: u64,
    length: u64,
) -> Result<Vec<Piece>, NtStatus> {
    check_length(host, length)?;
    let (mut at, mut skip) = (chain, offset);
    while at != 0 {
        let mdl = Mdl::read(at);
        let count = u64::from(mdl.count);
        if skip < count {
            return walk(host, at, skip, length);
        }
        skip -= count;
        at = mdl.next();
    }
    let message = format!("offset {offset:#x} lies beyond the end of the MDL chain");
    host.violation("V166", "E6/0x1B", message);
    Err(NtStatus::INVALID_PARAMETER)
}

/// The part of one MDL from an address on, as `MapTransfer` names it.
pub(crate) fn of_one_mdl(
    host: &Arc<Host>,
    mdl: u64,
    address: u64,
    length: u64,
) -> Result<Vec<Piece>, NtStatus> {
    check_length(host, length)?;
    let first = Mdl::read(mdl);
    let (start, end) = (first.address(), first.address() + u64::from(first.count));
    let wrong = if address < start {
        Some("begins before")
    } else if address >= end {
        Some("begins after")
    } else if length > end - address {
        Some("reaches beyond")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        let what = first.describe();
        let message = format!("the buffer, {length} bytes at {address:#x}, {wrong} {what}");
        host.violation("V169", "E6/0x1F", message);
        return Err(NtStatus::INVALID_PARAMETER);
    }
    walk(host, mdl, address - start, length)
}

fn check_length(host: &Arc<Host>, length: u64) -> Result<(), NtStatus> {
    if length == 0 {
        host.violation("V171", "E6/0x21", "a transfer of zero bytes");
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(())
}

fn walk(host: &Arc<Host>, chain: u64, skip: u64, length: u64) -> Result<Vec<Piece>, NtStatus> {
    let (mut at, mut skip, mut left) = (chain, skip, length);
    let mut pieces = Vec::new();
    while left > 0 && at != 0 {
        let mdl = Mdl::read(at);
        let part = left.min(u64::from(mdl.count) - skip);
        if part > 0 {
            pieces.push(piece(host, &mdl, skip, part)?);
        }
        left -= part;
        skip = 0;
        at = mdl.next();
    }
    if left > 0 {
        let message = format!("{length} bytes, but the MDL is {left} bytes shorter");
        host.violation("V174", "E6/0x24", message);
        return Err(NtStatus::BUFFER_TOO_SMALL);
    }
    Ok(pieces)
}

fn piece(host: &Arc<Host>, mdl: &Mdl, skip: u64, length: u64) -> Result<Piece, NtStatus> {
    if mdl.flags & (LOCKED | NONPAGED) == 0 {
        host.violation("V157", "E6/0x0E", format!("{}: not locked", mdl.describe()));
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let start = u64::from(mdl.offset) + skip;
    let (index, offset) = (start / PAGE_SIZE, start % PAGE_SIZE);
    let count = pages_for(offset + length);
    let frames = state_of(host, mdl.at).map(|state| state.frames.slice(index, count));
    let frames = frames.filter(|frames| frames.pages() == count);
    // Its pages are no memory of the machine, so no device reaches them.
    let frames = frames.ok_or(NtStatus::INVALID_PARAMETER)?;
    Ok(Piece {
        frames,
        offset,
        length,
    })
}

/// Map registers that the pieces need: one per page.
pub(crate) fn registers(pieces: &[Piece]) -> u32 {
    pieces.iter().map(|piece| piece.frames.pages()).sum::<u64>() as u32
}

/// Bytes in all pieces.
pub(crate) fn bytes(pieces: &[Piece]) -> u64 {
    pieces.iter().map(|piece| piece.length).sum()
}

/// The pieces as fragments of a list: cut where physical runs end, or joined to one for a device without scatter/gather.
pub(crate) fn fragments(pieces: &[Piece], scatter_gather: bool) -> Result<Vec<Piece>, NtStatus> {
    if scatter_gather {
        Ok(pieces.iter().flat_map(split).collect())
    } else {
        join(pieces)
    }
}

/// As many pieces, the last of them cut, as a number of pages and a number of pieces allow.
pub(crate) fn limited(pieces: Vec<Piece>, pages: u32, count: usize) -> Vec<Piece> {
    let mut left = u64::from(pages);
    let mut kept = Vec::new();
    for mut piece in pieces.into_iter().take(count) {
        if left == 0 {
            break;
        }
        if piece.frames.pages() > left {
            piece.frames = piece.frames.slice(0, left);
            piece.length = piece.length.min(left * PAGE_SIZE - piece.offset);
        }
        left -= piece.frames.pages();
        kept.push(piece);
    }
    kept
}

/// Cuts a piece at the ends of physical runs.
fn split(piece: &Piece) -> Vec<Piece> {
    let (mut offset, mut left) = (piece.offset, piece.length);
    let mut parts = Vec::new();
    for run in piece.frames.runs() {
        let length = left.min(run.bytes() - offset);
        parts.push(Piece {
            frames: run.into(),
            offset,
            length,
        });
        left -= length;
        offset = 0;
    }
    parts
}

/// A device without scatter/gather gets one fragment: the pieces have to meet at page boundaries.
fn join(pieces: &[Piece]) -> Result<Vec<Piece>, NtStatus> {
    let (Some(first), Some(last)) = (pieces.first(), pieces.len().checked_sub(1)) else {
        return Err(NtStatus::INVALID_PARAMETER);
    };
    let mut whole = Piece {
        frames: FrameList::default(),
        offset: first.offset,
        length: 0,
    };
    for (index, piece) in pieces.iter().enumerate() {
        let starts = index == 0 || piece.offset == 0;
        let ends = index == last || (piece.offset + piece.length).is_multiple_of(PAGE_SIZE);
        if !starts || !ends {
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        piece.frames.runs().for_each(|run| whole.frames.push(run));
        whole.length += piece.length;
    }
    Ok(vec![whole])
}
