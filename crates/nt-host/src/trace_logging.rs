//! `TraceLogging`: events that carry their own description, and what such an event says.
//!
//! A provider's description is its length in two bytes, its name, a zero. An event's is its length in two bytes, a tag
//! (bytes of which all but the last have the highest bit set), its name, a zero, and the fields: name, a zero, a type. If
//! the type's highest bit is set, a byte follows that says how to show it, and if that one's is, a tag.

use core::fmt;

use crate::etw::EtwEvent;
use crate::status::NtStatus;

/// A bit of a type byte: more follows.
const CHAIN: u8 = 0x80;
/// Bits of a type byte: an array of some kind.
const ARRAYS: u8 = 0x60;
/// `TlgOutNTSTATUS`.
const OUT_NTSTATUS: u8 = 14;

/// An event, decoded.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TraceEvent {
    /// The provider's name.
    pub provider: String,
    /// The event's name.
    pub name: String,
    /// 1 (critical) to 5 (verbose).
    pub level: u8,
    /// Its fields, in order.
    pub fields: Vec<TraceField>,
}

/// A field of an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TraceField {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: TraceValue,
}

/// A value of a field.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum TraceValue {
    /// A number without sign.
    Unsigned(u64),
    /// A number with sign.
    Signed(i64),
    /// A number that is shown in hexadecimal.
    Hexadecimal(u64),
    /// A truth value.
    Boolean(bool),
    /// A status.
    Status(NtStatus),
    /// A text.
    Text(String),
}

/// Why an event cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It has no description: it is not one of `TraceLogging`.
    #[error("the event has no description")]
    NoMetadata,
    /// A description is not as long as it says, or ends too early.
    #[error("the description of the {0} is cut short or too long")]
    Length(&'static str),
    /// A name is not UTF-8.
    #[error("a name is not UTF-8")]
    Name,
    /// A field's type is none that is decoded here.
    #[error("field {0} has type {1:#x}")]
    Type(String, u8),
    /// There is less data than fields.
    #[error("the data end in field {0}")]
    Short(String),
    /// There is more data than fields.
    #[error("{0} bytes behind the last field")]
    Surplus(usize),
}

impl TraceEvent {
    /// The value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&TraceValue> {
        let mut fields = self.fields.iter();
        fields
            .find(|field| field.name == name)
            .map(|field| &field.value)
    }

    /// The value of a field, if it is a number without sign.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.field(name)? {
            TraceValue::Unsigned(value) | TraceValue::Hexadecimal(value) => Some(*value),
            TraceValue::Signed(_)
            | TraceValue::Boolean(_)
            | TraceValue::Status(_)
            | TraceValue::Text(_) => None,
        }
    }
}

impl fmt::Display for TraceValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => write!(formatter, "{value}"),
            Self::Signed(value) => write!(formatter, "{value}"),
            Self::Hexadecimal(value) => write!(formatter, "{value:#x}"),
            Self::Boolean(value) => write!(formatter, "{value}"),
            Self::Status(NtStatus(value)) => write!(formatter, "{value:#010x}"),
            Self::Text(value) => write!(formatter, "{value:?}"),
        }
    }
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.name)?;
        for field in &self.fields {
            write!(formatter, " {}={}", field.name, field.value)?;
        }
        Ok(())
    }
}

impl EtwEvent {
    /// What the event says.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it has no description, or one that its data do not match.
    pub fn decode(&self) -> Result<TraceEvent, DecodeError> {
        let provider = self.provider_metadata.as_deref();
        let event = self.event_metadata.as_deref();
        let (Some(provider), Some(event)) = (provider, event) else {
            return Err(DecodeError::NoMetadata);
        };
        let mut provider = Reader::description(provider, "provider")?;
        let mut event = Reader::description(event, "event")?;
        let data = self.data.concat();
        let mut data = Reader {
            rest: &data,
            of: "data",
        };
        while event.byte()? & CHAIN != 0 {}
        let name = event.text()?;
        let mut fields = Vec::new();
        while !event.rest.is_empty() {
            fields.push(field(&mut event, &mut data)?);
        }
        if !data.rest.is_empty() {
            return Err(DecodeError::Surplus(data.rest.len()));
        }
        Ok(TraceEvent {
            provider: provider.text()?,
            name,
            level: self.level,
            fields,
        })
    }
}

fn field(event: &mut Reader<'_>, data: &mut Reader<'_>) -> Result<TraceField, DecodeError> {
    let name = event.text()?;
    let kind = event.byte()?;
    let mut format = 0;
    if kind & CHAIN != 0 {
        format = event.byte()?;
        let mut more = format & CHAIN != 0;
        while more {
            more = event.byte()? & CHAIN != 0;
        }
    }
    if kind & ARRAYS != 0 {
        return Err(DecodeError::Type(name, kind));
    }
    match value(kind & !CHAIN, format & !CHAIN, data) {
        Ok(Some(value)) => Ok(TraceField { name, value }),
        Ok(None) => Err(DecodeError::Type(name, kind)),
        Err(_) => Err(DecodeError::Short(name)),
    }
}

/// A value of the type `kind`, `TlgIn_t` in the documentation; none if that is not decoded here.
fn value(kind: u8, format: u8, data: &mut Reader<'_>) -> Result<Option<TraceValue>, DecodeError> {
    let value = match kind {
        1 => {
            let mut units = Vec::new();
            loop {
                match u16::from_le_bytes(data.array()?) {
                    0 => break TraceValue::Text(String::from_utf16_lossy(&units)),
                    unit => units.push(unit),
                }
            }
        }
        2 => TraceValue::Text(data.text()?),
        3 => TraceValue::Signed(i8::from_le_bytes(data.array()?).into()),
        4 => TraceValue::Unsigned(data.byte()?.into()),
        5 => TraceValue::Signed(i16::from_le_bytes(data.array()?).into()),
        6 => TraceValue::Unsigned(u16::from_le_bytes(data.array()?).into()),
        7 | 8 | 20 if format == OUT_NTSTATUS => {
            TraceValue::Status(NtStatus(u32::from_le_bytes(data.array()?)))
        }
        7 => TraceValue::Signed(i32::from_le_bytes(data.array()?).into()),
        8 => TraceValue::Unsigned(u32::from_le_bytes(data.array()?).into()),
        9 => TraceValue::Signed(i64::from_le_bytes(data.array()?)),
        10 => TraceValue::Unsigned(u64::from_le_bytes(data.array()?)),
        13 => TraceValue::Boolean(u32::from_le_bytes(data.array()?) != 0),
        20 => TraceValue::Hexadecimal(u32::from_le_bytes(data.array()?).into()),
        21 => TraceValue::Hexadecimal(u64::from_le_bytes(data.array()?)),
        _ => return Ok(None),
    };
    Ok(Some(value))
}

/// Bytes that are read from the front.
struct Reader<'a> {
    rest: &'a [u8],
    of: &'static str,
}

impl<'a> Reader<'a> {
    /// What follows the length, if that is right.
    fn description(bytes: &'a [u8], of: &'static str) -> Result<Self, DecodeError> {
        let mut reader = Self { rest: bytes, of };
        let length = u16::from_le_bytes(reader.array()?);
        if usize::from(length) == bytes.len() {
            Ok(reader)
        } else {
            Err(DecodeError::Length(of))
        }
    }

    fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], DecodeError> {
        let (first, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Length(self.of))?;
        self.rest = rest;
        Ok(*first)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let mut bytes = Vec::new();
        loop {
            match self.byte()? {
                0 => return String::from_utf8(bytes).map_err(|_| DecodeError::Name),
                byte => bytes.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::device::interface::Guid;

    /// An event "Two" of provider "P" with a number and a status.
    fn event() -> EtwEvent {
        EtwEvent {
            provider: Guid::from_u128(1),
            id: 0,
            time: Instant::now(),
            channel: 11,
            level: 4,
            keyword: 0,
            provider_metadata: Some(b"\x04\0P\0".to_vec()),
            event_metadata: Some(b"\x0e\0\0Two\0N\0\x0aS\0\x94\x0e".to_vec()),
            data: vec![7_u64.to_le_bytes().to_vec(), vec![0x0D, 0, 0, 0xC0]],
        }
    }

    #[test]
    fn event_with_a_number_and_a_status_is_decoded() {
        let decoded = event().decode().expect("well formed");
        assert_eq!((decoded.provider.as_str(), decoded.level), ("P", 4));
        assert_eq!(decoded.number("N"), Some(7));
        assert_eq!(decoded.to_string(), "Two N=7 S=0xc000000d");
    }

    #[test]
    fn event_without_description_is_refused() {
        let mut event = event();
        event.event_metadata = None;
        assert_eq!(event.decode(), Err(DecodeError::NoMetadata));
    }

    #[test]
    fn description_with_a_wrong_length_is_refused() {
        let mut event = event();
        event.event_metadata.as_mut().expect("a description")[0] += 1;
        assert_eq!(event.decode(), Err(DecodeError::Length("event")));
    }

    #[test]
    fn data_shorter_than_the_fields_are_refused() {
        let mut event = event();
        event.data[1].pop();
        assert_eq!(event.decode(), Err(DecodeError::Short("S".to_owned())));
    }

    #[test]
    fn data_longer_than_the_fields_are_refused() {
        let mut event = event();
        event.data.push(vec![1, 2]);
        assert_eq!(event.decode(), Err(DecodeError::Surplus(2)));
    }

    #[test]
    fn unknown_type_is_refused() {
        let mut event = event();
        event.event_metadata.as_mut().expect("a description")[9] = 31;
        assert_eq!(event.decode(), Err(DecodeError::Type("N".to_owned(), 31)));
    }
}
