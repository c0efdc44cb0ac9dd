//! What all structs that cross the border on their own have in common.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{
    CapabilitiesOutput, ConnectInput, ConnectOutput, EnumerateInput, EnumerateOutput,
    EnumeratePiecesInput, EventsOutput, ExchangeInput, Header, InterfaceOutput, LookupInput,
    LookupOutput, MapStatusPageOutput, MoveInput, QueryRegistrationInput, QueryRegistrationOutput,
    RegisterHostMemoryInput, RegisterInput, RegisterOutput, RegisterUserBufferInput, ReleaseInput,
    Reserved, SecureInput, SecureOutput, SetQuotaInput, StatisticsOutput, StatusPage,
    SynchronizeInput, UnsecureInput,
};
use crate::{Error, WIRE_VERSION};

/// A struct that crosses the border on its own: it begins with a [`Header`].
pub trait Message: FromBytes + IntoBytes + KnownLayout + Immutable + Copy {
    /// The size in bytes.
    const SIZE: u32;

    /// The header at its start.
    fn header(&self) -> Header;

    /// Whether all its reserved fields are zero.
    fn reserved_is_zero(&self) -> bool;

    /// Copies the message out of `bytes` and checks its length, header and reserved fields.
    ///
    /// # Errors
    ///
    /// [`Error::InputLength`], [`Error::HeaderVersion`], [`Error::HeaderSize`] or
    /// [`Error::ReservedBits`].
    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        // One copy: what is checked here is what is used later.
        let message = Self::read_from_bytes(bytes).map_err(|_| Error::InputLength)?;
        let header = message.header();
        if header.version != WIRE_VERSION {
            return Err(Error::HeaderVersion);
        }
        if header.size != Self::SIZE {
            return Err(Error::HeaderSize);
        }
        if header.reserved != 0 || !message.reserved_is_zero() {
            return Err(Error::ReservedBits);
        }
        Ok(message)
    }
}

impl Header {
    /// The header of a message of this type.
    #[must_use]
    pub const fn of<T: Message>() -> Self {
        Self {
            size: T::SIZE,
            version: WIRE_VERSION,
            reserved: 0,
        }
    }
}

impl Message for Header {
    const SIZE: u32 = Self::WIRE_SIZE;
    fn header(&self) -> Header {
        *self
    }
    fn reserved_is_zero(&self) -> bool {
        self.reserved == 0
    }
}

macro_rules! message {
    ($($name:ident { $($reserved:ident),* })*) => {
        $(impl Message for $name {
            const SIZE: u32 = Self::WIRE_SIZE;
            fn header(&self) -> Header {
                self.header
            }
            fn reserved_is_zero(&self) -> bool {
                true $(&& self.$reserved == Reserved(0))*
            }
        })*
    };
}

message! {
    InterfaceOutput { reserved, reserved_end }
    CapabilitiesOutput { reserved, reserved_end }
    RegisterInput {}
    RegisterOutput {}
    QueryRegistrationInput { reserved }
    QueryRegistrationOutput {}
    ReleaseInput {}
    StatisticsOutput {}
    LookupInput {}
    LookupOutput {}
    MoveInput {}
    SecureInput { reserved }
    SecureOutput {}
    UnsecureInput {}
    RegisterUserBufferInput { reserved, reserved_end }
    SynchronizeInput { reserved }
    EventsOutput { reserved }
    ExchangeInput { reserved }
    ConnectInput {}
    ConnectOutput { reserved }
    MapStatusPageOutput {}
    StatusPage { reserved }
    EnumerateInput {}
    EnumerateOutput { reserved }
    EnumeratePiecesInput { reserved }
    SetQuotaInput {}
    RegisterHostMemoryInput { reserved, reserved_end }
}
