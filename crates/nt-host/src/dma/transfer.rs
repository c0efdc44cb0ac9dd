//! One transfer: from the pages of an MDL chain to logical addresses, through bounce pages where needed.

use std::sync::Arc;

use nt_machine::{FrameList, FrameRange, FrameRequest, IoRange, PAGE_SIZE, Permissions, pages_for};

use super::adapter::Adapter;
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

/// A piece that the device reaches only in a copy.
struct Bounce {
    original: Piece,
    copy: FrameRange,
}

/// A transfer that is mapped for a device.
pub(crate) struct Transfer {
    /// Logical address and length of each fragment.
    pub(crate) fragments: Vec<(u64, u64)>,
    /// Data goes from memory to the device.
    pub(crate) to_device: bool,
    /// Map registers in use.
    pub(crate) registers: u32,
    mapped: Vec<u64>,
    bounces: Vec<Bounce>,
}

/// The part of a MDL chain that a transfer names, judged.
pub(crate) fn pieces(
    host: &Arc<Host>,
    chain: u64,
    address: u64,
    length: u64,
) -> Result<Vec<Piece>, NtStatus> {
    let first = Mdl::read(chain);
    if length == 0 {
        host.violation("V171", "E6/0x21", "a transfer of zero bytes");
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let skip = address.wrapping_sub(first.address());
    if skip >= u64::from(first.count) {
        let message = format!("{address:#x} is not inside of {}", first.describe());
        host.violation("V166", "E6/0x1B", message);
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let (mut at, mut skip, mut left) = (chain, skip, length);
    let mut pieces = Vec::new();
    while left > 0 && at != 0 {
        let mdl = Mdl::read(at);
        let part = left.min(u64::from(mdl.count) - skip);
        pieces.push(piece(host, &mdl, skip, part)?);
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

/// Cuts pieces at the ends of physical runs.
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

/// Maps a transfer for the adapter's device.
pub(crate) fn map(
    host: &Arc<Host>,
    adapter: &Adapter,
    pieces: &[Piece],
    to_device: bool,
) -> Result<Transfer, NtStatus> {
    let registers = registers(pieces);
    let mut transfer = Transfer {
        fragments: Vec::new(),
        to_device,
        registers,
        mapped: Vec::new(),
        bounces: Vec::new(),
    };
    let parts: Vec<Piece> = if adapter.scatter_gather {
        pieces.iter().flat_map(split).collect()
    } else {
        join(pieces)?
    };
    for part in parts {
        if transfer.add(host, adapter, part).is_none() {
            transfer.unmap(host, adapter);
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
    }
    Ok(transfer)
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

impl Transfer {
    fn add(&mut self, host: &Arc<Host>, adapter: &Adapter, part: Piece) -> Option<()> {
        // What the device fills it may also read; what it only reads it must not write.
        let permissions = Permissions {
            read: true,
            write: !self.to_device,
        };
        let range = IoRange {
            lowest: 0,
            highest: adapter.highest(),
        };
        if let Ok(logical) = adapter.domain.map(&part.frames, range, permissions) {
            self.mapped.push(logical);
            self.fragments.push((logical + part.offset, part.length));
            return Some(());
        }
        if adapter.domain.is_remapping() {
            return None;
        }
        let copy = host.memory.machine.allocate(&FrameRequest {
            highest: adapter.highest(),
            reserve: true,
            ..FrameRequest::anywhere(part.frames.pages())
        })?;
        if self.to_device {
            copy_bytes(host, &part, copy, true);
        }
        self.fragments
            .push((copy.address() + part.offset, part.length));
        self.bounces.push(Bounce {
            original: part,
            copy,
        });
        Some(())
    }

    /// Ends the transfer: copies back what the device wrote to bounce pages, and unmaps.
    pub(crate) fn unmap(self, host: &Arc<Host>, adapter: &Adapter) {
        for logical in self.mapped {
            let unmapped = adapter.domain.unmap(logical);
            debug_assert!(unmapped.is_ok(), "{unmapped:?}");
        }
        for bounce in self.bounces {
            if !self.to_device {
                copy_bytes(host, &bounce.original, bounce.copy, false);
            }
            host.memory.give_back(&bounce.copy.into());
        }
    }
}

/// Copies a piece to its bounce pages, or back.
fn copy_bytes(host: &Arc<Host>, piece: &Piece, copy: FrameRange, out: bool) {
    let machine = host.machine();
    let mut bytes = vec![0; PAGE_SIZE as usize];
    let (mut offset, mut left) = (piece.offset, piece.length);
    for (index, frame) in piece.frames.frames().enumerate() {
        let part = left.min(PAGE_SIZE - offset);
        let original = frame * PAGE_SIZE + offset;
        let copied = copy.address() + index as u64 * PAGE_SIZE + offset;
        let (from, to) = if out {
            (original, copied)
        } else {
            (copied, original)
        };
        let bytes = &mut bytes[..part as usize];
        let moved = machine.read_physical(from, bytes);
        let moved = moved.and_then(|()| machine.write_physical(to, bytes));
        debug_assert!(moved.is_ok(), "{moved:?}");
        left -= part;
        offset = 0;
    }
}
