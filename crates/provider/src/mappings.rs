//! Which memory of this process the driver has mapped: learnt from its replies as they pass.
//!
//! A channel reads and writes at addresses that it is told, so it has to know which of them are
//! the driver's. Nothing else is ever touched.

use std::collections::BTreeMap;

use sanproxy_abi::wire::{
    Handle, MapStatusPageOutput, Message, QueryRegistrationInput, QueryRegistrationOutput,
    RegisterOutput, ReleaseInput,
};
use sanproxy_abi::{ControlCode, Kind};

struct Mapping {
    end: u64,
    handle: Handle,
}

/// The mapped ranges of one open file.
#[derive(Default)]
pub(crate) struct Mappings {
    /// What the driver has mapped, by its start.
    ranges: BTreeMap<u64, Mapping>,
    /// Registered memory of the process's own: start and handle, with the end. They may overlap.
    own: BTreeMap<(u64, u64), u64>,
}

impl Mappings {
    /// Forgets what a request is about to unmap.
    pub(crate) fn before(&mut self, code: u32, input: &[u8]) {
        if ControlCode::from_value(code) == Some(ControlCode::Release)
            && let Ok(release) = ReleaseInput::parse(input)
        {
            self.ranges
                .retain(|_, mapping| mapping.handle != release.handle);
            self.own
                .retain(|(_, handle), _| *handle != release.handle.0);
        }
    }

    /// Learns from the reply to a request that succeeded.
    pub(crate) fn after(&mut self, code: u32, input: &[u8], output: &[u8]) {
        let code = ControlCode::from_value(code);
        if matches!(
            code,
            Some(ControlCode::Register | ControlCode::RegisterHostMemory)
        ) && let Ok(reply) = RegisterOutput::parse(output)
            // With several pieces the length is not that of the first.
            && reply.pieces.0 == 1
        {
            self.insert(reply.handle, reply.user_address.0, reply.length.0);
        }
        if code == Some(ControlCode::MapStatusPage)
            && let Ok(reply) = MapStatusPageOutput::parse(output)
        {
            // No registration has this handle: it stays known until the file is closed.
            self.insert(Handle(0), reply.user_address.0, reply.length.0);
        }
        if code == Some(ControlCode::RegisterUserBuffer)
            && let Ok(reply) = RegisterOutput::parse(output)
            && let Some(end) = reply.user_address.0.checked_add(reply.length.0)
        {
            self.own.insert((reply.user_address.0, reply.handle.0), end);
        }
        if code == Some(ControlCode::QueryRegistration)
            && let Ok(query) = QueryRegistrationInput::parse(input)
            && let Ok(reply) = QueryRegistrationOutput::parse(output)
            && Kind::from_value(reply.kind.0) != Some(Kind::UserBuffer)
        {
            for piece in reply.pieces {
                self.insert(query.handle, piece.user_address.0, piece.length.0);
            }
        }
    }

    /// Whether all of a range is in one mapped piece, or in one registration of memory of the
    /// process's own.
    pub(crate) fn contain(&self, address: u64, length: usize) -> bool {
        let end = u64::try_from(length)
            .ok()
            .and_then(|length| address.checked_add(length));
        let mapping = self.ranges.range(..=address).next_back();
        let Some(end) = end else { return false };
        let mut own = self.own.range(..=(address, u64::MAX)).rev();
        mapping.is_some_and(|(_, mapping)| end <= mapping.end) || own.any(|(_, last)| end <= *last)
    }

    fn insert(&mut self, handle: Handle, address: u64, length: u64) {
        if let Some(end) = address.checked_add(length).filter(|_| address != 0) {
            self.ranges.insert(address, Mapping { end, handle });
        }
    }
}

#[cfg(test)]
mod tests {
    use sanproxy_abi::wire::{ByteCount, Header, PieceIndex, UserAddress};
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;

    fn mapped(handle: u64, address: u64, length: u64) -> Mappings {
        let reply = RegisterOutput {
            header: Header::of::<RegisterOutput>(),
            handle: Handle(handle),
            length: ByteCount(length),
            user_address: UserAddress(address),
            pieces: PieceIndex(1),
            ..RegisterOutput::new_zeroed()
        };
        let mut mappings = Mappings::default();
        mappings.after(ControlCode::Register.value(), &[], reply.as_bytes());
        mappings
    }

    fn release(mappings: &mut Mappings, handle: u64) {
        let input = ReleaseInput {
            header: Header::of::<ReleaseInput>(),
            handle: Handle(handle),
        };
        mappings.before(ControlCode::Release.value(), input.as_bytes());
    }

    #[test]
    fn range_of_a_registration_is_contained_to_its_last_byte() {
        let mappings = mapped(7, 0x10000, 0x2000);
        assert!(mappings.contain(0x10000, 0x2000));
        assert!(mappings.contain(0x11FFF, 1));
        assert!(!mappings.contain(0x11FFF, 2));
        assert!(!mappings.contain(0xFFFF, 1));
        assert!(!mappings.contain(0x10000, usize::MAX));
    }

    #[test]
    fn registration_that_is_not_mapped_contains_nothing() {
        assert!(!mapped(7, 0, 0x2000).contain(0, 1));
    }

    #[test]
    fn released_registration_is_forgotten_and_others_are_not() {
        let mut mappings = mapped(7, 0x10000, 0x1000);
        release(&mut mappings, 8);
        assert!(mappings.contain(0x10000, 1));
        release(&mut mappings, 7);
        assert!(!mappings.contain(0x10000, 1));
    }

    #[test]
    fn memory_of_the_process_is_known_while_it_is_registered_even_where_ranges_overlap() {
        let mut mappings = Mappings::default();
        for (handle, address, length) in [(1, 0x10001, 0x100), (2, 0x10001, 0x10), (3, 0x10050, 8)]
        {
            let reply = RegisterOutput {
                header: Header::of::<RegisterOutput>(),
                handle: Handle(handle),
                length: ByteCount(length),
                user_address: UserAddress(address),
                pieces: PieceIndex(3),
                ..RegisterOutput::new_zeroed()
            };
            let code = ControlCode::RegisterUserBuffer.value();
            mappings.after(code, &[], reply.as_bytes());
        }
        assert!(mappings.contain(0x10060, 0xA1) && !mappings.contain(0x10060, 0xA2));
        assert!(!mappings.contain(0x10000, 1));
        release(&mut mappings, 1);
        assert!(mappings.contain(0x10051, 7) && !mappings.contain(0x10058, 1));
        release(&mut mappings, 3);
        assert!(mappings.contain(0x10001, 0x10) && !mappings.contain(0x10050, 1));
    }

    #[test]
    fn status_page_and_host_memory_are_learnt_from_their_replies() {
        let page = MapStatusPageOutput {
            header: Header::of::<MapStatusPageOutput>(),
            user_address: UserAddress(0x7000),
            length: ByteCount(0x1000),
            ..MapStatusPageOutput::new_zeroed()
        };
        let memory = RegisterOutput {
            header: Header::of::<RegisterOutput>(),
            handle: Handle(5),
            length: ByteCount(0x2000),
            user_address: UserAddress(0x20000),
            pieces: PieceIndex(1),
            ..RegisterOutput::new_zeroed()
        };
        let mut mappings = Mappings::default();
        mappings.after(ControlCode::MapStatusPage.value(), &[], page.as_bytes());
        let code = ControlCode::RegisterHostMemory.value();
        mappings.after(code, &[], memory.as_bytes());
        assert!(mappings.contain(0x7008, 8) && mappings.contain(0x20000, 0x2000));
        release(&mut mappings, 5);
        assert!(mappings.contain(0x7008, 8) && !mappings.contain(0x20000, 1));
    }

    #[test]
    fn pieces_are_learnt_from_the_query() {
        let query = QueryRegistrationInput {
            header: Header::of::<QueryRegistrationInput>(),
            handle: Handle(3),
            ..QueryRegistrationInput::new_zeroed()
        };
        let mut reply = QueryRegistrationOutput {
            header: Header::of::<QueryRegistrationOutput>(),
            total: PieceIndex(2),
            returned: PieceIndex(2),
            ..QueryRegistrationOutput::new_zeroed()
        };
        for (piece, address) in reply.pieces.iter_mut().zip([0x4000, 0x9000]) {
            piece.user_address = UserAddress(address);
            piece.length = ByteCount(0x1000);
        }
        let mut mappings = Mappings::default();
        let code = ControlCode::QueryRegistration.value();
        mappings.after(code, query.as_bytes(), reply.as_bytes());
        assert!(mappings.contain(0x4000, 0x1000) && mappings.contain(0x9FFF, 1));
        assert!(!mappings.contain(0x5000, 1));
        release(&mut mappings, 3);
        assert!(!mappings.contain(0x4000, 1));
    }
}
