//! How much memory, and where it may lie.

use crate::{Error, LARGEST_ALIGNMENT, PAGE_SIZE};

/// A length in whole pages: never zero, and its byte count never overflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pages {
    bytes: u64,
}

impl Pages {
    /// The pages that hold `bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if that is none, or more than 64 bits can count.
    pub const fn for_bytes(bytes: u64) -> Result<Self, Error> {
        match bytes.checked_next_multiple_of(PAGE_SIZE) {
            None | Some(0) => Err(Error::Length),
            Some(bytes) => Ok(Self { bytes }),
        }
    }

    /// How many bytes: a multiple of [`PAGE_SIZE`].
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.bytes
    }

    /// How many pages.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.bytes / PAGE_SIZE
    }

    /// Itself, if it is not longer than `longest` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if it is longer.
    pub const fn at_most(self, longest: u64) -> Result<Self, Error> {
        if self.bytes <= longest {
            Ok(self)
        } else {
            Err(Error::Length)
        }
    }
}

/// What the memory must not cross: a power of two, a page or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boundary(u64);

impl Boundary {
    /// The distance of two boundaries in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    pub(super) fn parse(boundary: u64, length: Pages) -> Result<Option<Self>, Error> {
        if boundary == 0 {
            return Ok(None);
        }
        let sound = boundary.is_power_of_two() && boundary >= PAGE_SIZE;
        if sound && boundary >= length.bytes() {
            Ok(Some(Self(boundary)))
        } else {
            Err(Error::Boundary)
        }
    }
}

/// What the memory begins at a multiple of: a power of two between a page and 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alignment(u64);

impl Alignment {
    /// A page, which is what memory is always aligned to.
    pub const PAGE: Self = Self(PAGE_SIZE);

    /// The alignment in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    pub(crate) fn parse(alignment: u64) -> Result<Self, Error> {
        if alignment == 0 {
            return Ok(Self::PAGE);
        }
        if alignment.is_power_of_two() && alignment <= LARGEST_ALIGNMENT {
            Ok(Self(alignment.max(PAGE_SIZE)))
        } else {
            Err(Error::Alignment)
        }
    }
}

/// The addresses that the memory must lie in: there is room in them for the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    lowest: u64,
    highest: u64,
}

impl Bounds {
    /// No bounds at all.
    pub const NONE: Self = Self {
        lowest: 0,
        highest: u64::MAX,
    };

    /// The lowest address allowed.
    #[must_use]
    pub const fn lowest(self) -> u64 {
        self.lowest
    }

    /// The highest address allowed, inclusive.
    #[must_use]
    pub const fn highest(self) -> u64 {
        self.highest
    }

    /// Whether every address is allowed.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.lowest == 0 && self.highest == u64::MAX
    }

    /// Whether a block lies within, first byte to last.
    #[must_use]
    pub const fn contain(self, start: u64, length: u64) -> bool {
        let Some(last) = length.checked_sub(1) else {
            return false;
        };
        let Some(last) = start.checked_add(last) else {
            return false;
        };
        start >= self.lowest && last <= self.highest
    }

    /// The bounds, if that many bytes fit in.
    pub(crate) const fn with_room(lowest: u64, highest: u64, length: u64) -> Result<Self, Error> {
        let bounds = Self { lowest, highest };
        if bounds.contain(lowest, length) {
            Ok(bounds)
        } else {
            Err(Error::Bounds)
        }
    }

    /// The bounds, if a block of that length and alignment fits in.
    pub(super) fn parse(
        lowest: u64,
        highest: u64,
        length: Pages,
        align: Alignment,
    ) -> Result<Self, Error> {
        let first = lowest
            .checked_next_multiple_of(align.bytes())
            .ok_or(Error::Bounds)?;
        let bounds = Self { lowest, highest };
        if bounds.contain(first, length.bytes()) {
            Ok(bounds)
        } else {
            Err(Error::Bounds)
        }
    }
}

/// A NUMA node by its number; whether there is such a node only the device knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node(pub(super) u32);

impl Node {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Itself, if the machine has it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownNode`] if it is beyond the highest.
    pub const fn at_most(self, highest: u32) -> Result<Self, Error> {
        if self.0 <= highest {
            Ok(self)
        } else {
            Err(Error::UnknownNode)
        }
    }
}
