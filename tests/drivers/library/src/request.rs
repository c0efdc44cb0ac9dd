//! What a request asks, and what it is told: numbers of 64 bits, and bytes.

use wdm::{
    control::Control,
    dma::{Direction, Error},
    pool::Bytes,
    status::Status,
};

/// Numbers before the bytes of an input.
const NUMBERS: usize = 4;
const HEADER: usize = 8 * NUMBERS;
/// The longest answer.
const ROOM: usize = 1 << 16;

/// The input of a request: up to four numbers, then bytes.
pub(crate) struct Input {
    numbers: [u64; NUMBERS],
    bytes: Option<Bytes>,
}

impl Input {
    pub(crate) fn read(request: &Control) -> Result<Self, Status> {
        let mut header = [0; HEADER];
        let _ = request.copy_input(&mut header);
        let mut numbers = [0; NUMBERS];
        for (number, bytes) in numbers.iter_mut().zip(header.chunks_exact(8)) {
            *number = u64::from_le_bytes(bytes.try_into().map_err(|_| Status::UNSUCCESSFUL)?);
        }
        let rest = request.input_length().saturating_sub(HEADER);
        let bytes = if rest == 0 {
            None
        } else {
            let mut bytes = Bytes::zeroed(rest)?;
            let _ = request.copy_input_from(HEADER, &mut bytes);
            Some(bytes)
        };
        Ok(Self { numbers, bytes })
    }

    pub(crate) fn number(&self, index: usize) -> u64 {
        self.numbers.get(index).copied().unwrap_or(0)
    }

    pub(crate) fn size(&self, index: usize) -> Result<usize, Error> {
        usize::try_from(self.number(index)).map_err(|_| Error::BadRange)
    }

    pub(crate) fn count(&self, index: usize) -> Result<u32, Error> {
        u32::try_from(self.number(index)).map_err(|_| Error::BadRange)
    }

    /// 0: to the device, else from it.
    pub(crate) fn direction(&self, index: usize) -> Direction {
        match self.number(index) {
            0 => Direction::ToDevice,
            _ => Direction::FromDevice,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or(&[])
    }
}

/// The answer to a request, as it grows.
pub(crate) struct Output {
    bytes: Bytes,
    length: usize,
}

impl Output {
    pub(crate) fn new() -> Result<Self, Status> {
        Ok(Self {
            bytes: Bytes::zeroed(ROOM)?,
            length: 0,
        })
    }

    pub(crate) fn push(&mut self, number: impl Into<u64>) -> Result<(), Error> {
        let bytes = number.into().to_le_bytes();
        self.room(bytes.len())?.copy_from_slice(&bytes);
        Ok(())
    }

    pub(crate) fn push_all(
        &mut self,
        elements: impl Iterator<Item = (u64, u32)>,
    ) -> Result<(), Error> {
        for (address, length) in elements {
            self.push(address)?;
            self.push(length)?;
        }
        Ok(())
    }

    /// Room for so many bytes more.
    pub(crate) fn room(&mut self, length: usize) -> Result<&mut [u8], Error> {
        let end = self.length.checked_add(length).ok_or(Error::BadRange)?;
        let room = self
            .bytes
            .get_mut(self.length..end)
            .ok_or(Error::BadRange)?;
        self.length = end;
        Ok(room)
    }

    pub(crate) fn written(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}
