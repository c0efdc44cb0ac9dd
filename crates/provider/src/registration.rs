//! A registration: memory that the device can reach, released on drop.

mod host_memory;
mod user_buffer;

use std::sync::Arc;

use sanproxy_abi::wire::{
    Handle, Header, PieceIndex, QueryRegistrationInput, QueryRegistrationOutput, RegisterOutput,
    ReleaseInput, Reserved,
};
use sanproxy_abi::{
    ANY_NODE, AddressKind, CacheType, ControlCode, Kind, Method, PAGE_SIZE, RegisterFlags,
    RegisterRequest,
};

pub use self::user_buffer::UserBufferOptions;
use crate::pieces;
use crate::reply::{Check, ask};
use crate::{Channel, Error, RegisterOptions};

/// One more than the highest address that user mode can have on x86-64.
const USER_END: u64 = 1 << 47;

/// A part of a registration that is contiguous for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where the device finds it.
    pub device_address: u64,
    /// How many bytes.
    pub length: u64,
    /// Where this process finds it, if it is mapped.
    pub user_address: Option<u64>,
}

/// What the driver says about a registration when asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationReport {
    /// The kind of memory.
    pub kind: Kind,
    /// The flags that it was registered with.
    pub flags: RegisterFlags,
    /// How many bytes.
    pub length: u64,
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
}

/// Memory that the device can reach. Dropping it releases it; [`Registration::release`] does the
/// same and says whether it worked.
pub struct Registration<C: Channel> {
    claim: Claim<C>,
    kind: Kind,
    flags: RegisterFlags,
    pieces: Vec<Piece>,
    length: u64,
    method: Method,
    cache: CacheType,
    node: Option<u32>,
    address_kind: AddressKind,
    rung: u32,
}

/// The obligation to release a handle.
struct Claim<C: Channel> {
    channel: Arc<C>,
    handle: Option<Handle>,
}

impl<C: Channel> Claim<C> {
    fn release(&mut self) -> Result<(), Error> {
        let Some(handle) = self.handle.take() else {
            return Ok(());
        };
        release(&self.channel, handle)
    }

    fn handle(&self) -> Handle {
        self.handle.unwrap_or(Handle(0))
    }
}

/// Releases a registration. Allocates nothing: it may run while the heap frees memory.
pub(crate) fn release(channel: &impl Channel, handle: Handle) -> Result<(), Error> {
    let input = ReleaseInput {
        header: Header::of::<ReleaseInput>(),
        handle,
    };
    let _: Header = ask(channel, ControlCode::Release, &input)?;
    Ok(())
}

impl<C: Channel> Drop for Claim<C> {
    fn drop(&mut self) {
        // Nobody is left to be told: what cannot be released now goes when the file is closed.
        let _ = self.release();
    }
}

impl<C: Channel> Registration<C> {
    pub(crate) fn new(channel: Arc<C>, options: &RegisterOptions) -> Result<Self, Error> {
        let request = ControlCode::Register;
        let input = options.wire();
        let reply: RegisterOutput = ask(&channel, request, input)?;
        let check = Check(request);
        check.that(reply.handle.0 != 0, "handle", 0_u64)?;
        // From here on the handle is released whatever else is wrong with the reply.
        let claim = Claim {
            channel,
            handle: Some(reply.handle),
        };
        // A driver that carries out a request which the contract forbids breaks the contract too.
        let asked = check.some(RegisterRequest::try_from(*input).ok(), "status", 0_u64)?;
        Self::from_reply(claim, &asked, &reply)
    }

    fn from_reply(
        claim: Claim<C>,
        asked: &RegisterRequest,
        reply: &RegisterOutput,
    ) -> Result<Self, Error> {
        let mut registration = Self::check_reply(claim, asked, reply)?;
        if reply.pieces.0 > 1 {
            registration.pieces = registration.ask_pieces()?.pieces;
        }
        registration.check_pieces(asked, reply)?;
        Ok(registration)
    }

    /// Believes the reply field by field, but for its pieces.
    fn check_reply(
        claim: Claim<C>,
        asked: &RegisterRequest,
        reply: &RegisterOutput,
    ) -> Result<Self, Error> {
        let check = Check(ControlCode::Register);
        let length = reply.length.0;
        check.that(length == asked.length.bytes(), "length", length)?;
        let method = check.some(Method::from_value(reply.method.0), "method", reply.method.0)?;
        check.that(gives(method, asked.kind), "method", reply.method.0)?;
        let cache = check.some(CacheType::from_value(reply.cache.0), "cache", reply.cache.0)?;
        let address_kind = reply.address_kind.0;
        let address_kind = check.some(
            AddressKind::from_value(address_kind),
            "address_kind",
            address_kind,
        )?;
        let may_be_many = asked.flags.contains(RegisterFlags::ALLOW_PIECES);
        let pieces = reply.pieces.0;
        let sound =
            pieces == 1 || (pieces > 1 && may_be_many && u64::from(pieces) <= asked.length.count());
        check.that(sound, "pieces", pieces)?;
        let ladder = may_be_many || asked.flags.contains(RegisterFlags::ALLOW_OTHER_NODE);
        check.that(ladder || reply.rung == 0, "rung", reply.rung)?;
        let user = reply.user_address.0;
        let mapped = asked.flags.contains(RegisterFlags::MAP);
        check.that((user != 0) == mapped, "user_address", user)?;
        Ok(Self {
            claim,
            kind: asked.kind,
            flags: asked.flags,
            pieces: vec![Piece {
                device_address: reply.device_address.0,
                length,
                user_address: mapped.then_some(user),
            }],
            length,
            method,
            cache,
            node: (reply.node.0 != ANY_NODE).then_some(reply.node.0),
            address_kind,
            rung: reply.rung,
        })
    }

    /// Holds the pieces against what was asked, and the first one against the reply.
    fn check_pieces(&self, asked: &RegisterRequest, reply: &RegisterOutput) -> Result<(), Error> {
        let check = Check(ControlCode::Register);
        let first = self.pieces.first().map_or(0, |piece| piece.device_address);
        check.that(first == reply.device_address.0, "device_address", first)?;
        if self.address_kind == AddressKind::None {
            let known = self.pieces.iter().find(|piece| piece.device_address != 0);
            return match known {
                Some(piece) => check.that(false, "device_address", piece.device_address),
                None => self.check_user_addresses(check),
            };
        }
        for piece in &self.pieces {
            let start = piece.device_address;
            let last = start.saturating_add(piece.length.saturating_sub(1));
            let mut sound = start.is_multiple_of(asked.alignment.bytes());
            sound &= asked.bounds.contain(start, piece.length);
            if let Some(boundary) = asked.boundary {
                let apart = u64::checked_div(start, boundary.bytes())
                    != u64::checked_div(last, boundary.bytes());
                sound &= !apart;
            }
            check.that(sound, "device_address", start)?;
        }
        self.check_user_addresses(check)
    }

    fn check_user_addresses(&self, check: Check) -> Result<(), Error> {
        for piece in &self.pieces {
            let Some(address) = piece.user_address else {
                continue;
            };
            let end = address
                .checked_add(piece.length)
                .filter(|end| *end <= USER_END);
            let sound = address.is_multiple_of(PAGE_SIZE) && end.is_some();
            check.that(sound, "user_address", address)?;
        }
        Ok(())
    }

    /// Asks for all pieces, as many replies as it takes.
    fn ask_pieces(&self) -> Result<RegistrationReport, Error> {
        let check = Check(ControlCode::QueryRegistration);
        let mapped = self.is_mapped();
        let read = |piece: &sanproxy_abi::wire::Piece| {
            let length = piece.length.0;
            let whole = self.kind == Kind::UserBuffer || length.is_multiple_of(PAGE_SIZE);
            check.that(length > 0 && whole, "piece length", length)?;
            let user = piece.user_address.0;
            check.that((user != 0) == mapped, "piece user_address", user)?;
            Ok(Piece {
                device_address: piece.device_address.0,
                length,
                user_address: mapped.then_some(user),
            })
        };
        let ask_from = |first| self.ask_some_pieces(first);
        let pieces = pieces::collect(check, self.most_pieces(), ask_from, read)?;
        let sum = pieces
            .iter()
            .try_fold(0_u64, |sum, piece| sum.checked_add(piece.length));
        check.that(
            sum == Some(self.length),
            "sum of the pieces",
            sum.unwrap_or(u64::MAX),
        )?;
        Ok(RegistrationReport {
            kind: self.kind,
            flags: self.flags,
            length: self.length,
            pieces,
        })
    }

    /// Whether this process finds it anywhere.
    fn is_mapped(&self) -> bool {
        self.flags.contains(RegisterFlags::MAP) || self.kind == Kind::UserBuffer
    }

    /// A piece for each page, of which the first and the last may be part of it only.
    const fn most_pieces(&self) -> u64 {
        let pages = self.length / PAGE_SIZE;
        match self.kind {
            Kind::UserBuffer => pages.saturating_add(2),
            Kind::CommonBuffer | Kind::Contiguous | Kind::HostMemoryBuffer => pages,
        }
    }

    fn ask_some_pieces(&self, first: u32) -> Result<QueryRegistrationOutput, Error> {
        let check = Check(ControlCode::QueryRegistration);
        let input = QueryRegistrationInput {
            header: Header::of::<QueryRegistrationInput>(),
            handle: self.handle(),
            first_piece: PieceIndex(first),
            reserved: Reserved(0),
        };
        let reply: QueryRegistrationOutput =
            ask(&self.claim.channel, ControlCode::QueryRegistration, &input)?;
        check.that(reply.kind.0 == self.kind.value(), "kind", reply.kind.0)?;
        check.that(reply.flags.0 == self.flags.bits(), "flags", reply.flags.0)?;
        check.that(reply.length.0 == self.length, "length", reply.length.0)?;
        Ok(reply)
    }

    /// Asks the driver about this registration.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or an error that names what is wrong with the reply.
    pub fn query(&self) -> Result<RegistrationReport, Error> {
        self.ask_pieces()
    }

    /// Releases the memory now. The handle is spent, whatever the outcome.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the driver does not know it any more.
    pub fn release(mut self) -> Result<(), Error> {
        self.claim.release()
    }

    /// Leaves the memory registered until the file is closed.
    #[must_use]
    pub fn into_handle(mut self) -> Handle {
        self.claim.handle.take().unwrap_or(Handle(0))
    }

    /// Names the registration to the driver.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.claim.handle()
    }

    /// The kind of memory.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How many bytes: whole pages, unless it is a user buffer.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Where the device finds the first piece.
    #[must_use]
    pub fn device_address(&self) -> u64 {
        self.pieces.first().map_or(0, |piece| piece.device_address)
    }

    /// Where this process finds the first piece, if it is mapped.
    #[must_use]
    pub fn user_address(&self) -> Option<u64> {
        self.pieces.first().and_then(|piece| piece.user_address)
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The routine that the memory came from.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The cache type that the memory has.
    #[must_use]
    pub const fn cache(&self) -> CacheType {
        self.cache
    }

    /// The NUMA node that was asked of the system, if one was.
    #[must_use]
    pub const fn node(&self) -> Option<u32> {
        self.node
    }

    /// What the addresses are.
    #[must_use]
    pub const fn address_kind(&self) -> AddressKind {
        self.address_kind
    }

    /// 0 if the memory is as asked, or the step of the ladder that succeeded.
    #[must_use]
    pub const fn rung(&self) -> u32 {
        self.rung
    }

    /// Whether the memory lies below 4 GiB, as the device sees it.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.pieces.iter().all(|piece| {
            piece
                .device_address
                .checked_add(piece.length)
                .is_some_and(|end| end <= 1 << 32)
        })
    }

    /// Reads mapped memory.
    ///
    /// # Errors
    ///
    /// [`Error::NotMapped`], [`Error::OutOfBounds`] or [`Error::Memory`].
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let mut rest = bytes;
        for (address, length) in self.parts(offset, rest.len())? {
            let (part, others) = rest.split_at_mut(length.min(rest.len()));
            self.claim.channel.read_memory(address, part)?;
            rest = others;
        }
        Ok(())
    }

    /// Writes mapped memory.
    ///
    /// # Errors
    ///
    /// [`Error::NotMapped`], [`Error::OutOfBounds`] or [`Error::Memory`].
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        for (address, length) in self.parts(offset, rest.len())? {
            let (part, others) = rest.split_at(length.min(rest.len()));
            self.claim.channel.write_memory(address, part)?;
            rest = others;
        }
        Ok(())
    }

    /// The mapped ranges that a range of the registration is made of.
    fn parts(&self, offset: u64, length: usize) -> Result<Vec<(u64, usize)>, Error> {
        let mut left = u64::try_from(length).unwrap_or(u64::MAX);
        check_range(offset, left, self.length)?;
        let (mut parts, mut skip) = (Vec::new(), offset);
        for piece in &self.pieces {
            let address = piece.user_address.ok_or(Error::NotMapped)?;
            let here = piece.length.saturating_sub(skip).min(left);
            if here > 0 {
                let length = usize::try_from(here).unwrap_or(usize::MAX);
                parts.push((address.saturating_add(skip), length));
            }
            skip = skip.saturating_sub(piece.length);
            left = left.saturating_sub(here);
        }
        Ok(parts)
    }
}

/// Whether memory of a kind can come from a routine.
fn gives(method: Method, kind: Kind) -> bool {
    match method {
        Method::None => false,
        Method::Reserve
        | Method::AllocateCommonBuffer
        | Method::AllocateCommonBufferEx
        | Method::AllocateCommonBufferWithBounds
        | Method::AllocateCommonBufferVector => {
            matches!(kind, Kind::CommonBuffer | Kind::HostMemoryBuffer)
        }
        Method::ContiguousNode
        | Method::ContiguousSpecifyCache
        | Method::ContiguousSpecifyCacheNode => {
            matches!(kind, Kind::Contiguous | Kind::HostMemoryBuffer)
        }
        Method::GetScatterGatherList | Method::GetScatterGatherListEx => kind == Kind::UserBuffer,
    }
}

/// Whether a range lies within a registration.
pub(crate) fn check_range(offset: u64, length: u64, available: u64) -> Result<(), Error> {
    match offset.checked_add(length) {
        Some(end) if end <= available => Ok(()),
        Some(_) | None => Err(Error::OutOfBounds {
            offset,
            length,
            available,
        }),
    }
}
