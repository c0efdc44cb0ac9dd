//! From bytes to checked requests: everything that can be checked without the device is checked here.
//!
//! What depends on the device is left to it: whether it offers the kind, whether the node is there,
//! the longest registration, and whether a handle is live.

use crate::wire::{
    self, ByteCount, Choice, ConnectInput, DeviceAddress, EndpointId, Flags, Handle, Header,
    LookupInput, Message, MoveInput, QueryRegistrationInput, RegisterInput,
    RegisterUserBufferInput, ReleaseInput, SecureInput, SynchronizeInput, UnsecureInput,
};
use crate::{
    ANY_NODE, Access, CacheType, ControlCode, Error, ExchangeRequest, Kind, RegisterFlags,
    RegisterUserBufferRequest, SynchronizeRequest, UserBytes,
};

mod device;
mod placement;

use device::highest;
pub use device::{HostMemoryRequest, QuotaRequest};
pub use placement::{Alignment, Boundary, Bounds, Node, Pages};

/// Memory to register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterRequest {
    /// The kind of memory: one that this version of the contract offers.
    pub kind: Kind,
    /// How much, in whole pages.
    pub length: Pages,
    /// Where it must lie; low memory is already part of it.
    pub bounds: Bounds,
    /// What it must not cross.
    pub boundary: Option<Boundary>,
    /// What it must be aligned to.
    pub alignment: Alignment,
    /// The cache type wanted.
    pub cache: CacheType,
    /// The node wanted, if one is.
    pub node: Option<Node>,
    /// The rest.
    pub flags: RegisterFlags,
}

impl TryFrom<RegisterInput> for RegisterRequest {
    type Error = Error;

    fn try_from(input: RegisterInput) -> Result<Self, Error> {
        let RegisterInput {
            kind: Choice(kind),
            flags: Flags(flags),
            ..
        } = input;
        let flags = RegisterFlags::of_own_memory(flags).ok_or(Error::ReservedBits)?;
        let kind = match Kind::from_value(kind).ok_or(Error::UnknownKind)? {
            kind @ (Kind::CommonBuffer | Kind::Contiguous) => kind,
            Kind::HostMemoryBuffer | Kind::UserBuffer => return Err(Error::KindNotOffered),
        };
        let length = Pages::for_bytes(input.length.0)?;
        let boundary = Boundary::parse(input.boundary.0, length)?;
        let alignment = Alignment::parse(input.alignment.0)?;
        let highest = highest(input.highest.0, flags);
        let bounds = Bounds::parse(input.lowest.0, highest, length, alignment)?;
        let cache = CacheType::from_value(input.cache.0).ok_or(Error::UnknownCacheType)?;
        let node = (input.node.0 != ANY_NODE).then_some(Node(input.node.0));
        Ok(Self {
            kind,
            length,
            bounds,
            boundary,
            alignment,
            cache,
            node,
            flags,
        })
    }
}

/// Pieces of a registration to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryRegistrationRequest {
    /// The registration.
    pub handle: Handle,
    /// The first piece wanted, counted from 0.
    pub first_piece: u32,
}

/// A range of bytes in a registration: not empty, and its end does not overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    handle: Handle,
    offset: u64,
    length: u64,
}

impl Place {
    /// The registration.
    #[must_use]
    pub const fn handle(self) -> Handle {
        self.handle
    }

    /// Where in it the range begins.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.offset
    }

    /// How many bytes.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.length
    }

    /// Itself, if it lies within a registration of `available` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] if it reaches beyond.
    pub const fn within(self, available: u64) -> Result<Self, Error> {
        match self.offset.checked_add(self.length) {
            Some(end) if end <= available => Ok(self),
            Some(_) | None => Err(Error::OutOfRange),
        }
    }

    pub(crate) fn parse(handle: Handle, offset: ByteCount, length: u64) -> Result<Self, Error> {
        Self {
            handle,
            offset: offset.0,
            length,
        }
        .within(u64::MAX)
    }
}

/// Bytes to copy from one registration to another, or within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveRequest {
    /// Where to read.
    pub source: Place,
    /// Where to write: as many bytes.
    pub destination: Place,
}

impl TryFrom<MoveInput> for MoveRequest {
    type Error = Error;

    fn try_from(input: MoveInput) -> Result<Self, Error> {
        let ByteCount(length) = input.length;
        if length == 0 {
            return Err(Error::Length);
        }
        Ok(Self {
            source: Place::parse(input.source, input.source_offset, length)?,
            destination: Place::parse(input.destination, input.destination_offset, length)?,
        })
    }
}

/// The caller's own memory, to be secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecureRequest {
    /// The memory.
    pub range: UserBytes,
    /// The access that stays.
    pub access: Access,
}

impl TryFrom<SecureInput> for SecureRequest {
    type Error = Error;

    fn try_from(input: SecureInput) -> Result<Self, Error> {
        Ok(Self {
            access: Access::from_value(input.access.0).ok_or(Error::Access)?,
            range: UserBytes::try_from(input.range)?,
        })
    }
}

/// A checked request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Which interface version? Replied with [`wire::InterfaceOutput`].
    QueryInterface,
    /// What is offered? Replied with [`wire::CapabilitiesOutput`].
    QueryCapabilities,
    /// Replied with [`wire::RegisterOutput`].
    Register(RegisterRequest),
    /// Replied with [`wire::QueryRegistrationOutput`].
    QueryRegistration(QueryRegistrationRequest),
    /// Replied with [`Header`].
    Release(Handle),
    /// Replied with [`wire::StatisticsOutput`].
    Statistics,
    /// Replied with [`wire::LookupOutput`].
    Lookup(DeviceAddress),
    /// Replied with [`Header`].
    Move(MoveRequest),
    /// Replied with [`wire::MapStatusPageOutput`].
    MapStatusPage,
    /// Which registrations come after this one? Replied with [`wire::EnumerateOutput`].
    Enumerate(wire::Serial),
    /// Replied with [`wire::QueryRegistrationOutput`].
    EnumeratePieces(wire::Serial, wire::PieceIndex),
    /// Replied with [`Header`].
    SetQuota(QuotaRequest),
    /// Replied with [`wire::RegisterOutput`].
    RegisterHostMemory(HostMemoryRequest),
    /// Replied with [`wire::SecureOutput`].
    Secure(SecureRequest),
    /// Replied with [`Header`].
    Unsecure(Handle),
    /// Replied with [`wire::EventsOutput`], when there is an event.
    WaitEvent,
    /// Replied with a message.
    Exchange(ExchangeRequest),
    /// Replied with [`wire::ConnectOutput`].
    Connect(EndpointId),
    /// Replied with [`Header`].
    Disconnect,
    /// Replied with [`wire::RegisterOutput`].
    RegisterUserBuffer(RegisterUserBufferRequest),
    /// Replied with [`Header`].
    Synchronize(SynchronizeRequest),
}

impl Request {
    /// Makes a request of what came in: the code, the input, and how long the output buffer is.
    ///
    /// # Errors
    ///
    /// Every [`Error`] that can be told without the device.
    pub fn parse(code: u32, input: &[u8], output_length: usize) -> Result<Self, Error> {
        match ControlCode::from_value(code).ok_or(Error::UnknownCode)? {
            ControlCode::QueryInterface => {
                receive::<Header, wire::InterfaceOutput>(input, output_length)
                    .map(|_| Self::QueryInterface)
            }
            ControlCode::QueryCapabilities => {
                receive::<Header, wire::CapabilitiesOutput>(input, output_length)
                    .map(|_| Self::QueryCapabilities)
            }
            ControlCode::Register => {
                receive::<RegisterInput, wire::RegisterOutput>(input, output_length)
                    .and_then(RegisterRequest::try_from)
                    .map(Self::Register)
            }
            ControlCode::QueryRegistration => receive::<
                QueryRegistrationInput,
                wire::QueryRegistrationOutput,
            >(input, output_length)
            .map(|input| QueryRegistrationRequest {
                handle: input.handle,
                first_piece: input.first_piece.0,
            })
            .map(Self::QueryRegistration),
            ControlCode::Release => receive::<ReleaseInput, Header>(input, output_length)
                .map(|input| Self::Release(input.handle)),
            ControlCode::Statistics => {
                receive::<Header, wire::StatisticsOutput>(input, output_length)
                    .map(|_| Self::Statistics)
            }
            ControlCode::Lookup => receive::<LookupInput, wire::LookupOutput>(input, output_length)
                .map(|input| Self::Lookup(input.device_address)),
            ControlCode::Move => receive::<MoveInput, Header>(input, output_length)
                .and_then(MoveRequest::try_from)
                .map(Self::Move),
            ControlCode::MapStatusPage => {
                receive::<Header, wire::MapStatusPageOutput>(input, output_length)
                    .map(|_| Self::MapStatusPage)
            }
            ControlCode::Enumerate => {
                receive::<wire::EnumerateInput, wire::EnumerateOutput>(input, output_length)
                    .map(|input| Self::Enumerate(input.after))
            }
            ControlCode::EnumeratePieces => receive::<
                wire::EnumeratePiecesInput,
                wire::QueryRegistrationOutput,
            >(input, output_length)
            .map(|input| Self::EnumeratePieces(input.serial, input.first_piece)),
            ControlCode::SetQuota => receive::<wire::SetQuotaInput, Header>(input, output_length)
                .and_then(QuotaRequest::try_from)
                .map(Self::SetQuota),
            ControlCode::RegisterHostMemory => {
                receive::<wire::RegisterHostMemoryInput, wire::RegisterOutput>(input, output_length)
                    .and_then(HostMemoryRequest::try_from)
                    .map(Self::RegisterHostMemory)
            }
            ControlCode::Secure => receive::<SecureInput, wire::SecureOutput>(input, output_length)
                .and_then(SecureRequest::try_from)
                .map(Self::Secure),
            ControlCode::Unsecure => receive::<UnsecureInput, Header>(input, output_length)
                .map(|input| Self::Unsecure(input.handle)),
            ControlCode::WaitEvent => {
                receive::<Header, wire::EventsOutput>(input, output_length).map(|_| Self::WaitEvent)
            }
            ControlCode::Exchange => {
                ExchangeRequest::parse(input, input.len(), output_length).map(Self::Exchange)
            }
            ControlCode::Connect => {
                receive::<ConnectInput, wire::ConnectOutput>(input, output_length)
                    .map(|input| Self::Connect(input.endpoint))
            }
            ControlCode::Disconnect => {
                receive::<Header, Header>(input, output_length).map(|_| Self::Disconnect)
            }
            ControlCode::RegisterUserBuffer => {
                receive::<RegisterUserBufferInput, wire::RegisterOutput>(input, output_length)
                    .and_then(RegisterUserBufferRequest::try_from)
                    .map(Self::RegisterUserBuffer)
            }
            ControlCode::Synchronize => receive::<SynchronizeInput, Header>(input, output_length)
                .and_then(SynchronizeRequest::try_from)
                .map(Self::Synchronize),
        }
    }
}

fn receive<Input: Message, Output: Message>(
    input: &[u8],
    output_length: usize,
) -> Result<Input, Error> {
    if input.len() != size_of::<Input>() {
        return Err(Error::InputLength);
    }
    if output_length != size_of::<Output>() {
        return Err(Error::OutputLength);
    }
    Input::parse(input)
}
