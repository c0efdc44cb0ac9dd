//! Pages that a device sees instead of those of a buffer: bounce pages, and what stands for a cache.
//!
//! A bounce page is there because the device does not reach the buffer's own. Its bytes are moved whole: to it when
//! the transfer is mapped towards the device, back when a transfer from the device is flushed. So a driver that leaves the
//! flush out has lost the data, as on a real system.
//!
//! A shadow is there because the machine is not coherent ([`DmaConfig::coherent`](super::DmaConfig::coherent)): the
//! device works on memory while the processor works on its cache. The buffer's own pages are what the processor sees, the shadow
//! is what the device sees, and between two synchronisations neither notices the other. A synchronisation moves the bytes that
//! the one side has changed since the last, and leaves the other side's own changes alone.

use std::sync::Arc;

use nt_machine::{FrameList, PAGE_SIZE};

use super::pieces::Piece;
use crate::host::Host;
use crate::memory::blocks::SLACK;

/// Which side is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    /// The device is to see what the processor wrote.
    Device,
    /// The processor is to see what the device wrote.
    Processor,
}

/// The pages that a device sees instead of a piece.
pub(crate) struct Copy {
    /// The pages.
    pub(crate) frames: FrameList,
    /// Of a shadow, the bytes on which both sides agreed last; bounce pages have none.
    agreed: Option<Vec<u8>>,
}

impl Copy {
    /// Bounce pages. What is in them before the transfer is not the buffer's.
    pub(crate) fn bounce(host: &Arc<Host>, frames: FrameList, piece: &Piece) -> Self {
        pad(host, &frames, piece);
        Self {
            frames,
            agreed: None,
        }
    }

    /// A shadow, equal to the piece at first.
    pub(crate) fn shadow(host: &Arc<Host>, frames: FrameList, piece: &Piece) -> Self {
        pad(host, &frames, piece);
        let bytes = read(host, &piece.frames, piece);
        write(host, &frames, piece, &bytes);
        Self {
            frames,
            agreed: Some(bytes),
        }
    }

    /// Whether the device needs it because it does not reach the piece's own pages.
    pub(crate) const fn is_bounce(&self) -> bool {
        self.agreed.is_none()
    }

    /// Whether the device has written beside the piece.
    pub(crate) fn is_overrun(&self, host: &Arc<Host>, piece: &Piece) -> bool {
        padding(&self.frames, piece)
            .into_iter()
            .any(|(offset, length)| {
                let bytes = read_at(host, &self.frames, offset, length);
                bytes.iter().any(|byte| *byte != SLACK)
            })
    }

    /// Brings one side up to date.
    pub(crate) fn synchronise(&mut self, host: &Arc<Host>, piece: &Piece, toward: Toward) {
        let (from, to) = match toward {
            Toward::Device => (&piece.frames, &self.frames),
            Toward::Processor => (&self.frames, &piece.frames),
        };
        let bytes = read(host, from, piece);
        match &mut self.agreed {
            None => write(host, to, piece, &bytes),
            Some(agreed) => write_changes(host, to, piece, &bytes, agreed),
        }
    }
}

/// Fills what lies before and behind a piece in pages of the system's own.
fn pad(host: &Arc<Host>, frames: &FrameList, piece: &Piece) {
    for (offset, length) in padding(frames, piece) {
        write_at(host, frames, offset, &vec![SLACK; length]);
    }
}

/// Offset and length of the parts of the pages that the device has no business in.
fn padding(frames: &FrameList, piece: &Piece) -> [(u64, usize); 2] {
    let end = piece.offset + piece.length;
    let behind = frames.pages() * PAGE_SIZE - end;
    [(0, piece.offset as usize), (end, behind as usize)]
}

/// Writes the runs of bytes that differ from what was agreed, and agrees on them.
fn write_changes(
    host: &Arc<Host>,
    frames: &FrameList,
    piece: &Piece,
    bytes: &[u8],
    agreed: &mut [u8],
) {
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == agreed[at] {
            at += 1;
            continue;
        }
        let rest = bytes[at..].iter().zip(&agreed[at..]);
        let count = rest.take_while(|(new, old)| new != old).count();
        let part = at..at + count;
        write_at(host, frames, piece.offset + at as u64, &bytes[part.clone()]);
        agreed[part.clone()].copy_from_slice(&bytes[part]);
        at += count;
    }
}

/// The bytes of a piece in these frames.
fn read(host: &Arc<Host>, frames: &FrameList, piece: &Piece) -> Vec<u8> {
    read_at(host, frames, piece.offset, piece.length as usize)
}

fn read_at(host: &Arc<Host>, frames: &FrameList, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (address, range) in places(frames, offset, length) {
        let done = host.machine().read_physical(address, &mut bytes[range]);
        debug_assert!(done.is_ok(), "{done:?}");
    }
    bytes
}

fn write(host: &Arc<Host>, frames: &FrameList, piece: &Piece, bytes: &[u8]) {
    write_at(host, frames, piece.offset, bytes);
}

fn write_at(host: &Arc<Host>, frames: &FrameList, offset: u64, bytes: &[u8]) {
    for (address, range) in places(frames, offset, bytes.len()) {
        let done = host.machine().write_physical(address, &bytes[range]);
        debug_assert!(done.is_ok(), "{done:?}");
    }
}

/// Physical addresses of bytes at an offset into frames, page by page, with the part of the bytes that lies there.
fn places(
    frames: &FrameList,
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= length {
            return None;
        }
        let at = offset + done as u64;
        let frame = frames.get(at / PAGE_SIZE)?;
        let part = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(length - done);
        let place = (frame * PAGE_SIZE + at % PAGE_SIZE, done..done + part);
        done += part;
        Some(place)
    })
}
