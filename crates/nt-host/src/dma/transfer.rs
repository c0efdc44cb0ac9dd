//! One transfer: pieces of memory made reachable for a device, through pages of their own where needed.

use std::sync::Arc;

use nt_machine::{FrameList, FrameRequest, IoDomain, IoRange, Permissions};

use super::adapter::Adapter;
use super::copies::{Copy, Toward};
use super::pieces::{self, Piece};
use crate::host::Host;
use crate::memory::free_frames;
use crate::status::NtStatus;

/// A fragment of a transfer.
struct Part {
    /// The memory.
    piece: Piece,
    /// What the device sees instead, if not the memory itself.
    copy: Option<Copy>,
    /// Where it was mapped for the device.
    mapped: Option<u64>,
}

/// A transfer that is mapped for a device.
pub(crate) struct Transfer {
    /// Logical address and length of each fragment.
    pub(crate) fragments: Vec<(u64, u64)>,
    /// Data goes from memory to the device.
    pub(crate) to_device: bool,
    /// Map registers in use.
    pub(crate) registers: u32,
    domain: Arc<IoDomain>,
    parts: Vec<Part>,
}

/// Maps fragments for the adapter's device.
pub(crate) fn map(
    host: &Arc<Host>,
    adapter: &Adapter,
    fragments: Vec<Piece>,
    to_device: bool,
) -> Result<Transfer, NtStatus> {
    let mut transfer = Transfer {
        fragments: Vec::new(),
        to_device,
        registers: pieces::registers(&fragments),
        domain: adapter.domain(),
        parts: Vec::new(),
    };
    for piece in fragments {
        if transfer.add(host, adapter, piece).is_none() {
            transfer.abandon(host);
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
    }
    Ok(transfer)
}

impl Transfer {
    fn add(&mut self, host: &Arc<Host>, adapter: &Adapter, piece: Piece) -> Option<()> {
        let direct = if host.options.dma.coherent {
            self.map_frames(adapter, &piece.frames)
        } else {
            None
        };
        if let Some(logical) = direct {
            self.push(piece, None, Some(logical));
            return Some(());
        }
        if host.options.dma.coherent && self.domain.is_remapping() {
            return None;
        }
        let frames = self.own_frames(host, adapter, &piece)?;
        // What was out of reach is copied as bounce pages are, whatever the caches do.
        let reached = self.domain.is_remapping() || {
            let own = self.map_frames(adapter, &piece.frames);
            own.is_some()
        };
        let mut copy = if reached {
            Copy::shadow(host, frames, &piece)
        } else {
            Copy::bounce(host, frames, &piece)
        };
        if copy.is_bounce() && self.to_device {
            copy.synchronise(host, &piece, Toward::Device);
        }
        let Some(logical) = self.map_frames(adapter, &copy.frames) else {
            host.memory.give_back(&copy.frames);
            return None;
        };
        self.push(piece, Some(copy), Some(logical));
        Some(())
    }

    fn push(&mut self, piece: Piece, copy: Option<Copy>, mapped: Option<u64>) {
        let logical = mapped.unwrap_or(0) + piece.offset;
        self.fragments.push((logical, piece.length));
        self.parts.push(Part {
            piece,
            copy,
            mapped,
        });
    }

    fn map_frames(&self, adapter: &Adapter, frames: &FrameList) -> Option<u64> {
        // What the device fills it may also read; what it only reads it must not write.
        let permissions = Permissions {
            read: true,
            write: !self.to_device,
        };
        let range = IoRange {
            lowest: 0,
            highest: adapter.highest(),
        };
        self.domain.map(frames, range, permissions).ok()
    }

    /// Frames of the system's own for a piece: within reach and in one run if there is no IOMMU.
    fn own_frames(&self, host: &Arc<Host>, adapter: &Adapter, piece: &Piece) -> Option<FrameList> {
        let anywhere = FrameRequest::anywhere(piece.frames.pages());
        if self.domain.is_remapping() {
            return host.memory.frames(&anywhere);
        }
        let within_reach = FrameRequest {
            highest: adapter.highest(),
            reserve: true,
            ..anywhere
        };
        host.memory
            .machine
            .allocate(&within_reach)
            .map(FrameList::from)
    }

    /// Brings one side up to date, as a flush does that leaves the transfer mapped.
    pub(crate) fn synchronise(&mut self, host: &Arc<Host>, toward: Toward) {
        // A device that only reads has written nothing.
        if self.to_device && toward == Toward::Processor {
            return;
        }
        for part in &mut self.parts {
            if let Some(copy) = &mut part.copy {
                copy.synchronise(host, &part.piece, toward);
            }
        }
    }

    /// Takes over once more what the processor wrote while the transfer waited to begin.
    pub(crate) fn refresh(&mut self, host: &Arc<Host>) {
        for part in &mut self.parts {
            if let Some(copy) = &mut part.copy
                && (self.to_device || !copy.is_bounce())
            {
                copy.synchronise(host, &part.piece, Toward::Device);
            }
        }
    }

    /// Ends the transfer: what the device wrote to pages of the system's own comes back.
    pub(crate) fn unmap(mut self, host: &Arc<Host>) {
        self.synchronise(host, Toward::Processor);
        self.judge_padding(host);
        self.abandon(host);
    }

    /// Only pages of the system's own show what a device wrote beside the buffer: in the driver's own pages lies more of the
    /// driver's.
    fn judge_padding(&self, host: &Arc<Host>) {
        for part in &self.parts {
            let copy = part.copy.as_ref();
            if copy.is_some_and(|copy| copy.is_overrun(host, &part.piece)) {
                let (length, offset) = (part.piece.length, part.piece.offset);
                let message =
                    format!("the device wrote beside {length} bytes at page offset {offset:#x}");
                host.violation("V158", "E6/0x0F", message);
            }
        }
    }

    /// Ends the transfer, and what the device wrote to pages of the system's own is lost.
    pub(crate) fn abandon(self, host: &Arc<Host>) {
        for part in self.parts {
            if let Some(logical) = part.mapped {
                let unmapped = self.domain.unmap(logical);
                debug_assert!(unmapped.is_ok(), "{unmapped:?}");
            }
            if let Some(copy) = part.copy {
                let what = || "pages of the system's own for a transfer".to_owned();
                free_frames(host, &copy.frames, what);
            }
        }
    }

    /// Bytes of the transfer.
    pub(crate) fn bytes(&self) -> u64 {
        self.fragments.iter().map(|(_, length)| length).sum()
    }

    /// Whether the device sees one of these frames' bytes through it.
    pub(crate) fn covers(&self, frames: &FrameList) -> bool {
        let mut runs = frames.runs();
        runs.any(|run| {
            self.parts
                .iter()
                .flat_map(|part| part.piece.frames.runs())
                .any(|own| own.first < run.first + run.count && run.first < own.first + own.count)
        })
    }

    /// Whether one of the fragments holds that logical address.
    pub(crate) fn has_address(&self, address: u64) -> bool {
        let inside =
            |&(logical, length): &(u64, u64)| (logical..logical + length).contains(&address);
        self.fragments.iter().any(inside)
    }

    /// For each fragment the frames in which the device finds it, if any of them is a bounce page; and offset and length.
    pub(crate) fn bounced(&self) -> Option<Vec<(FrameList, u64, u64)>> {
        let is_bounce = |copy: &Copy| copy.is_bounce();
        self.parts
            .iter()
            .any(|part| part.copy.as_ref().is_some_and(is_bounce))
            .then(|| {
                let frames = |part: &Part| match &part.copy {
                    Some(copy) if copy.is_bounce() => copy.frames.clone(),
                    _ => part.piece.frames.clone(),
                };
                let place = |part: &Part| (frames(part), part.piece.offset, part.piece.length);
                self.parts.iter().map(place).collect()
            })
    }
}
