//! The registration cache's way to the driver: user buffers, and securing.

use std::sync::Arc;

use sanproxy_abi::Access;
use sanproxy_abi::wire::Handle;

use crate::registration::{self, Registration};
use crate::{Channel, Error, Piece, Registrar, UserBufferOptions, secured};

/// Registers memory of the program's own through one open file. The device may find it in several
/// pieces.
pub struct UserBuffers<C: Channel>(Arc<C>);

impl<C: Channel> UserBuffers<C> {
    pub(crate) const fn new(channel: Arc<C>) -> Self {
        Self(channel)
    }
}

/// Where the device finds memory of the program's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserBuffer {
    /// Where it begins, for the program.
    pub start: u64,
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
}

impl UserBuffer {
    /// Where the device finds a part of it: device addresses and lengths, in order; nothing if it
    /// is no part of it.
    #[must_use]
    pub fn part(&self, start: u64, length: u64) -> Vec<(u64, u64)> {
        let Some(mut skip) = start.checked_sub(self.start) else {
            return Vec::new();
        };
        let (mut left, mut part) = (length, Vec::new());
        for piece in &self.pieces {
            let here = piece.length.saturating_sub(skip).min(left);
            if here > 0 {
                part.push((piece.device_address.saturating_add(skip), here));
            }
            skip = skip.saturating_sub(piece.length);
            left = left.saturating_sub(here);
        }
        if left > 0 {
            part.clear();
        }
        part
    }
}

impl<C: Channel> Registrar for UserBuffers<C> {
    type Name = Handle;
    type Secured = Handle;
    type Memory = UserBuffer;

    fn register(
        &self,
        start: u64,
        length: u64,
        access: Access,
    ) -> Result<(Handle, UserBuffer), Error> {
        let options = UserBufferOptions::new(start, length, access).allow_pieces();
        let made = Registration::of_user_buffer(Arc::clone(&self.0), &options)?;
        let pieces = made.pieces().to_vec();
        Ok((made.into_handle(), UserBuffer { start, pieces }))
    }

    fn release(&self, name: Handle) -> Result<(), Error> {
        registration::release(&self.0, name)
    }

    fn secure(&self, start: u64, length: u64, access: Access) -> Result<Handle, Error> {
        secured::secure(&self.0, start, length, access)
    }

    fn unsecure(&self, secured: Handle) -> Result<(), Error> {
        secured::unsecure(&self.0, secured)
    }
}
