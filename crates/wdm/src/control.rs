//! Device control requests with buffered transfer.

// UNSAFETY: copies input out of, and output into, the buffer that the I/O manager made.
#![expect(
    unsafe_code,
    reason = "the system buffer is reached through a raw pointer"
)]

use crate::{
    irp::{Completed, Irp},
    layout,
    status::Status,
};

/// A device control request that has to be finished.
///
/// Input and output share one buffer. Input is therefore copied out, once, and output is written as
/// the request is completed.
#[must_use]
pub struct Control {
    irp: Irp,
    code: u32,
    input_length: usize,
    output_length: usize,
}

impl Control {
    pub(crate) fn new(irp: Irp) -> Self {
        let length = |field| usize::try_from(irp.parameter(field)).unwrap_or(usize::MAX);
        let code = irp.parameter(&layout::CONTROL_CODE);
        let input_length = length(&layout::CONTROL_INPUT_LENGTH);
        let output_length = length(&layout::CONTROL_OUTPUT_LENGTH);
        Self {
            irp,
            code,
            input_length,
            output_length,
        }
    }

    /// The control code, whole.
    #[must_use]
    pub const fn code(&self) -> u32 {
        self.code
    }

    /// How many bytes of output the caller has room for.
    #[must_use]
    pub const fn output_length(&self) -> usize {
        self.output_length
    }

    /// Whether the transfer is buffered, as this layer supports it. Of any other code only the
    /// number may be used.
    const fn is_buffered(&self) -> bool {
        self.code.trailing_zeros() >= 2
    }

    /// Copies the input out: as much of it as there is room for. A driver whose longest input is
    /// shorter than the room sees by the length that there was more.
    #[must_use]
    pub fn copy_input<'a>(&self, room: &'a mut [u8]) -> &'a [u8] {
        let length = self.input_length.min(room.len());
        let source = self.irp.system_buffer().filter(|_| self.is_buffered());
        let (Some(source), Some(place)) = (source, room.get_mut(..length)) else {
            return &[];
        };
        // SAFETY: the buffer holds `input_length` bytes of input, and is nobody else's now.
        unsafe {
            source
                .as_ptr()
                .copy_to_nonoverlapping(place.as_mut_ptr(), place.len());
        };
        place
    }

    /// Writes the output and completes the request, or fails it.
    pub fn complete(self, result: Result<&[u8], Status>) -> Completed {
        let written = result.and_then(|output| self.write(output));
        self.irp.complete(written)
    }

    fn write(&self, output: &[u8]) -> Result<usize, Status> {
        if output.len() > self.output_length || !self.is_buffered() {
            return Err(Status::INFO_LENGTH_MISMATCH);
        }
        if output.is_empty() {
            return Ok(0);
        }
        let destination = self
            .irp
            .system_buffer()
            .ok_or(Status::INFO_LENGTH_MISMATCH)?;
        // SAFETY: the buffer has room for `output_length` bytes, and is nobody else's now.
        unsafe {
            destination
                .as_ptr()
                .copy_from_nonoverlapping(output.as_ptr(), output.len());
        };
        Ok(output.len())
    }
}
