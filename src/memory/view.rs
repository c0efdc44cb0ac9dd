//! What a process sees of a registration.

use wdm::{pool::Shared, process::Process, status::Status, user_mapping::UserMapping};

use super::{Piece, reserve::ReservedPages};

/// A mapping of one piece. It may outlive the registration, so it keeps what the next owner of the
/// pages waits for.
pub(crate) struct View {
    // Dropped in this order: the pages are given back when nobody sees them any more.
    mapping: UserMapping,
    #[expect(dead_code, reason = "kept as long as they are mapped")]
    pages: Option<Shared<ReservedPages>>,
}

impl View {
    /// Maps a piece into the current process, which has to be `process`.
    pub(crate) fn new(piece: &Piece, process: &Shared<Process>) -> Result<Self, Status> {
        Ok(Self {
            mapping: UserMapping::new(piece.memory().clone(), process)?,
            pages: piece.pages().cloned(),
        })
    }

    /// Where the process finds the piece.
    pub(crate) fn address(&self) -> u64 {
        self.mapping.address()
    }
}
