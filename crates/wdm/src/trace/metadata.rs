//! The descriptions that events carry, laid out by the compiler.
//!
//! A provider: the length of all in two bytes, its name, a zero. An event: the length of all in two
//! bytes, a zero for no tag, its name, a zero, and for each field its name, a zero, its type.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "evaluated by the compiler alone: a mistake does not build"
)]

use crate::status::Status;

/// Says that the type is followed by how to show it.
const FORMAT_FOLLOWS: u8 = 0x80;
/// `TlgInUINT32`.
const UINT32: u8 = 8;
/// `TlgInUINT64`.
const UINT64: u8 = 10;
/// `TlgInHEXINT32`.
const HEXINT32: u8 = 20;
/// `TlgOutNTSTATUS`.
const NTSTATUS: u8 = 14;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
    impl Sealed for crate::status::Status {}
}

/// What a field can hold: numbers, and nothing that could point anywhere.
pub trait Value: sealed::Sealed {
    /// Its type, as written in a description.
    const TYPE: &'static [u8];
}

impl Value for u32 {
    const TYPE: &'static [u8] = &[UINT32];
}

impl Value for u64 {
    const TYPE: &'static [u8] = &[UINT64];
}

impl Value for Status {
    const TYPE: &'static [u8] = &[HEXINT32 | FORMAT_FOLLOWS, NTSTATUS];
}

/// A field of an event.
#[derive(Clone, Copy)]
pub struct Field {
    name: &'static str,
    kind: &'static [u8],
}

impl Field {
    /// A field with values of a type.
    #[must_use]
    pub const fn of<T: Value>(name: &'static str) -> Self {
        Self {
            name,
            kind: T::TYPE,
        }
    }
}

/// The length of what [`traits`] makes.
#[must_use]
pub const fn traits_length(name: &str) -> usize {
    3 + name.len()
}

/// The description of a provider.
#[must_use]
pub const fn traits<const LENGTH: usize>(name: &str) -> [u8; LENGTH] {
    Writer::new().text(name).finish()
}

/// The length of what [`metadata`] makes.
#[must_use]
pub const fn metadata_length(name: &str, mut fields: &[Field]) -> usize {
    let mut length = 4 + name.len();
    while let Some((field, rest)) = fields.split_first() {
        length += field.name.len() + 1 + field.kind.len();
        fields = rest;
    }
    length
}

/// The description of an event.
#[must_use]
pub const fn metadata<const LENGTH: usize>(name: &str, mut fields: &[Field]) -> [u8; LENGTH] {
    let mut writer = Writer::new().bytes(&[0]).text(name);
    while let Some((field, rest)) = fields.split_first() {
        writer = writer.text(field.name).bytes(field.kind);
        fields = rest;
    }
    writer.finish()
}

struct Writer<const LENGTH: usize> {
    bytes: [u8; LENGTH],
    next: usize,
}

impl<const LENGTH: usize> Writer<LENGTH> {
    const fn new() -> Self {
        let [low, high, ..] = LENGTH.to_le_bytes();
        Self {
            bytes: [0; LENGTH],
            next: 0,
        }
        .bytes(&[low, high])
    }

    const fn bytes(mut self, mut bytes: &[u8]) -> Self {
        while let Some((byte, rest)) = bytes.split_first() {
            self.bytes[self.next] = *byte;
            self.next += 1;
            bytes = rest;
        }
        self
    }

    const fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes()).bytes(&[0])
    }

    const fn finish(self) -> [u8; LENGTH] {
        // All of it, or the array is too long.
        assert!(self.next == LENGTH);
        self.bytes
    }
}
