//! Requests about memory that the caller has already.
//!
//! What a program says of its memory is an allegation: here it is only made sure that the numbers
//! make a range. The system probes the range as the process itself would use it.

use crate::wire::{RegisterUserBufferInput, SynchronizeInput, UserRange};
use crate::{
    Access, Alignment, Bounds, CacheType, Error, Kind, LOW_MEMORY_HIGHEST, PAGE_SIZE, Pages, Place,
    RegisterFlags, RegisterRequest, Side,
};

/// A range of the caller's own memory, as it alleges: not empty, and its end does not overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserBytes {
    start: u64,
    length: u64,
}

impl UserBytes {
    /// Where it begins.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// How many bytes.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.length
    }

    /// How many bytes the pages have that it lies in.
    #[must_use]
    pub const fn page_bytes(self) -> u64 {
        let into = self.start % PAGE_SIZE;
        // The end does not overflow, so the pages do at most by the last one.
        match into
            .saturating_add(self.length)
            .checked_next_multiple_of(PAGE_SIZE)
        {
            Some(bytes) => bytes,
            None => u64::MAX,
        }
    }
}

impl TryFrom<UserRange> for UserBytes {
    type Error = Error;

    fn try_from(range: UserRange) -> Result<Self, Error> {
        let (start, length) = (range.start.0, range.length.0);
        match start.checked_add(length) {
            Some(end) if end > start => Ok(Self { start, length }),
            Some(_) | None => Err(Error::UserRange),
        }
    }
}

/// The caller's own memory, to be made reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterUserBufferRequest {
    /// The memory.
    pub range: UserBytes,
    /// What the device may do with it.
    pub access: Access,
    /// Where the device must find it; low memory is already part of it.
    pub bounds: Bounds,
    /// The rest: [`RegisterFlags::LOW_MEMORY`], [`RegisterFlags::ALLOW_PIECES`] and
    /// [`RegisterFlags::COPY`] at most.
    pub flags: RegisterFlags,
}

impl TryFrom<RegisterUserBufferInput> for RegisterUserBufferRequest {
    type Error = Error;

    fn try_from(input: RegisterUserBufferInput) -> Result<Self, Error> {
        let allowed = RegisterFlags::LOW_MEMORY
            .with(RegisterFlags::ALLOW_PIECES)
            .with(RegisterFlags::COPY);
        let flags = RegisterFlags::from_bits(input.flags.0)
            .filter(|flags| allowed.contains(*flags))
            .ok_or(Error::ReservedBits)?;
        let access = Access::from_value(input.access.0).ok_or(Error::Access)?;
        let range = UserBytes::try_from(input.range)?;
        let highest = if flags.contains(RegisterFlags::LOW_MEMORY) {
            input.highest.0.min(LOW_MEMORY_HIGHEST)
        } else {
            input.highest.0
        };
        let bounds = Bounds::with_room(input.lowest.0, highest, range.length)?;
        Ok(Self {
            range,
            access,
            bounds,
            flags,
        })
    }
}

impl RegisterUserBufferRequest {
    /// The request for memory that a copy of the range is to be in.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if no registration can be so long.
    pub fn of_copy(&self) -> Result<RegisterRequest, Error> {
        Ok(RegisterRequest {
            kind: Kind::CommonBuffer,
            length: Pages::for_bytes(self.range.length)?,
            bounds: self.bounds,
            boundary: None,
            alignment: Alignment::parse(0)?,
            cache: CacheType::Cached,
            node: None,
            flags: self.flags,
        })
    }
}

/// Bytes of a registration to bring up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynchronizeRequest {
    /// Which bytes.
    pub place: Place,
    /// For whom.
    pub side: Side,
}

impl TryFrom<SynchronizeInput> for SynchronizeRequest {
    type Error = Error;

    fn try_from(input: SynchronizeInput) -> Result<Self, Error> {
        if input.length.0 == 0 {
            return Err(Error::Length);
        }
        Ok(Self {
            place: Place::parse(input.handle, input.offset, input.length.0)?,
            side: Side::from_value(input.side.0).ok_or(Error::UnknownSide)?,
        })
    }
}
