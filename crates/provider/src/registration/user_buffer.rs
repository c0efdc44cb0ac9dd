//! Registering memory that the process has already.

use std::sync::Arc;

use sanproxy_abi::wire::{
    AddressBound, ByteCount, Choice, Flags, Header, RangeStart, RegisterOutput,
    RegisterUserBufferInput, Reserved, SynchronizeInput, UserRange,
};
use sanproxy_abi::{
    ANY_NODE, Access, AddressKind, CacheType, ControlCode, Kind, Method, RegisterFlags,
    RegisterUserBufferRequest, Side,
};

use super::{Claim, Piece, Registration};
use crate::reply::{Check, ask};
use crate::{Channel, Error};

/// Memory of this process that is to be made reachable, and what the device may do with it.
///
/// Nothing is checked here: the driver decides, and its refusal says what was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct UserBufferOptions {
    input: RegisterUserBufferInput,
}

impl UserBufferOptions {
    /// `length` bytes from an address on, in one piece for the device.
    ///
    /// The device may read or write them at any moment until the registration is gone, and what it
    /// does, the compiler does not see: the memory is nothing that Rust has references to.
    pub const fn new(start: u64, length: u64, access: Access) -> Self {
        Self {
            input: RegisterUserBufferInput {
                header: Header::of::<RegisterUserBufferInput>(),
                range: UserRange {
                    start: RangeStart(start),
                    length: ByteCount(length),
                },
                access: Choice(access.value()),
                flags: Flags(0),
                lowest: AddressBound(0),
                highest: AddressBound(u64::MAX),
                reserved: Reserved(0),
                reserved_end: Reserved(0),
            },
        }
    }

    /// The device may find it in several pieces.
    pub const fn allow_pieces(self) -> Self {
        self.flag(RegisterFlags::ALLOW_PIECES)
    }

    /// If the device cannot be given the memory itself as asked, a copy will do. Then neither side sees
    /// what the other writes until [`Registration::synchronize`], and what the device wrote is in
    /// the memory at the latest when the registration is released.
    pub const fn allow_copy(self) -> Self {
        self.flag(RegisterFlags::COPY)
    }

    /// Below 4 GiB as the device sees it.
    pub const fn low_memory(self) -> Self {
        self.flag(RegisterFlags::LOW_MEMORY)
    }

    /// Not below this device address.
    pub const fn lowest(mut self, address: u64) -> Self {
        self.input.lowest = AddressBound(address);
        self
    }

    /// Not above this device address.
    pub const fn highest(mut self, address: u64) -> Self {
        self.input.highest = AddressBound(address);
        self
    }

    /// The request as it goes to the driver.
    #[must_use]
    pub const fn wire(&self) -> &RegisterUserBufferInput {
        &self.input
    }

    const fn flag(mut self, flag: RegisterFlags) -> Self {
        self.input.flags = Flags(self.input.flags.0 | flag.bits());
        self
    }
}

impl<C: Channel> Registration<C> {
    pub(crate) fn of_user_buffer(
        channel: Arc<C>,
        options: &UserBufferOptions,
    ) -> Result<Self, Error> {
        let request = ControlCode::RegisterUserBuffer;
        let input = options.wire();
        let reply: RegisterOutput = ask(&channel, request, input)?;
        let check = Check(request);
        check.that(reply.handle.0 != 0, "handle", 0_u64)?;
        // From here on the handle is released whatever else is wrong with the reply.
        let claim = Claim {
            channel,
            handle: Some(reply.handle),
        };
        let asked = RegisterUserBufferRequest::try_from(*input).ok();
        let asked = check.some(asked, "status", 0_u64)?;
        let mut registration = Self::check_user_buffer(claim, &asked, &reply)?;
        if reply.pieces.0 > 1 {
            registration.pieces = registration.ask_pieces()?.pieces;
        }
        let mut offset = 0_u64;
        for (number, piece) in registration.pieces.iter().enumerate() {
            let address = piece.device_address;
            let sound = number > 0 || address == reply.device_address.0;
            let within = asked.bounds.contain(address, piece.length);
            check.that(sound && within, "device_address", address)?;
            let user = piece.user_address.unwrap_or(0);
            let sound = user == asked.range.start().saturating_add(offset);
            check.that(sound, "user_address", user)?;
            offset = offset.saturating_add(piece.length);
        }
        Ok(registration)
    }

    /// Whether the device has a copy of this process's memory, and not the memory itself.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.kind == Kind::UserBuffer && !super::gives(self.method, Kind::UserBuffer)
    }

    /// Brings a part of it up to date: for the device, which then sees what this process has written,
    /// or for the processor, which then sees what the device has written. Needed for copies, and
    /// for user buffers on machines whose devices do not see what the processor's caches hold.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if the range reaches beyond; [`Error::Refused`] if the device may not
    /// read or write the memory so, or the adapter offers no way.
    pub fn synchronize(&self, side: Side, offset: u64, length: u64) -> Result<(), Error> {
        super::check_range(offset, length, self.length)?;
        if length == 0 {
            return Ok(());
        }
        let input = SynchronizeInput {
            header: Header::of::<SynchronizeInput>(),
            handle: self.handle(),
            offset: ByteCount(offset),
            length: ByteCount(length),
            side: Choice(side.value()),
            reserved: Reserved(0),
        };
        let _: Header = ask(&self.claim.channel, ControlCode::Synchronize, &input)?;
        Ok(())
    }

    /// Believes the reply field by field, but for its pieces.
    fn check_user_buffer(
        claim: Claim<C>,
        asked: &RegisterUserBufferRequest,
        reply: &RegisterOutput,
    ) -> Result<Self, Error> {
        let check = Check(ControlCode::RegisterUserBuffer);
        let length = reply.length.0;
        check.that(length == asked.range.length(), "length", length)?;
        let method = check.some(Method::from_value(reply.method.0), "method", reply.method.0)?;
        let copy = asked.flags.contains(RegisterFlags::COPY);
        let sound = super::gives(method, Kind::UserBuffer)
            || (copy && super::gives(method, Kind::CommonBuffer));
        check.that(sound, "method", reply.method.0)?;
        check.that(
            reply.cache.0 == CacheType::Cached.value(),
            "cache",
            reply.cache.0,
        )?;
        check.that(
            reply.address_kind.0 == AddressKind::Logical.value(),
            "address_kind",
            reply.address_kind.0,
        )?;
        check.that(reply.node.0 == ANY_NODE, "node", reply.node.0)?;
        check.that(reply.rung == 0, "rung", reply.rung)?;
        let pieces = reply.pieces.0;
        let many = asked.flags.contains(RegisterFlags::ALLOW_PIECES);
        let sound = pieces == 1 || (pieces > 1 && many);
        check.that(sound, "pieces", pieces)?;
        let user = reply.user_address.0;
        check.that(user == asked.range.start(), "user_address", user)?;
        Ok(Self {
            claim,
            kind: Kind::UserBuffer,
            flags: asked.flags,
            pieces: vec![Piece {
                device_address: reply.device_address.0,
                length,
                user_address: Some(user),
            }],
            length,
            method,
            cache: CacheType::Cached,
            node: None,
            address_kind: AddressKind::Logical,
            rung: 0,
        })
    }
}
