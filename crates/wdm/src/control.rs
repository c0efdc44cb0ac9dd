//! Device control requests, with buffered transfer or a direct output buffer.

// UNSAFETY: copies input out of, and output into, the buffer that the I/O manager made.
#![expect(
    unsafe_code,
    reason = "the system buffer is reached through a raw pointer"
)]

use crate::{
    direct::Direct,
    irp::{Completed, Irp},
    layout,
    status::Status,
};

/// The bits of a code that tell the transfer method.
const METHOD: u32 = 3;
const METHOD_OUT_DIRECT: u32 = 2;
const METHOD_NEITHER: u32 = 3;

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

    /// How many bytes of input there are.
    #[must_use]
    pub const fn input_length(&self) -> usize {
        self.input_length
    }

    /// Whether the transfer is buffered.
    const fn is_buffered(&self) -> bool {
        self.code.trailing_zeros() >= 2
    }

    /// Whether the input is in the system buffer: for all methods but `METHOD_NEITHER`, whose
    /// pointers are not looked at.
    const fn has_input(&self) -> bool {
        self.code & METHOD != METHOD_NEITHER
    }

    /// Copies the input out: as much of it as there is room for. A driver whose longest input is
    /// shorter than the room sees by the length that there was more.
    #[must_use]
    pub fn copy_input<'a>(&self, room: &'a mut [u8]) -> &'a [u8] {
        self.copy_input_from(0, room)
    }

    /// Copies the input out from an offset on, as [`Control::copy_input`] does.
    #[must_use]
    pub fn copy_input_from<'a>(&self, offset: usize, room: &'a mut [u8]) -> &'a [u8] {
        let length = self.input_length.saturating_sub(offset).min(room.len());
        let source = self.irp.system_buffer().filter(|_| self.has_input());
        let (Some(source), Some(place)) = (source, room.get_mut(..length)) else {
            return &[];
        };
        // Past the end only if nothing is copied.
        let source = source.as_ptr().wrapping_add(offset);
        // SAFETY: the buffer holds `input_length` bytes of input, and is nobody else's now.
        unsafe { source.copy_to_nonoverlapping(place.as_mut_ptr(), place.len()) };
        place
    }

    /// Makes the caller's direct output buffer reachable.
    ///
    /// # Errors
    ///
    /// The request itself, if it has no such buffer or there is no room to map it.
    pub fn map_output(self) -> Result<Direct, Self> {
        if self.code & METHOD != METHOD_OUT_DIRECT {
            return Err(self);
        }
        let Self {
            irp,
            code,
            input_length,
            output_length,
        } = self;
        Direct::map(irp, output_length, true).map_err(|irp| Self {
            irp,
            code,
            input_length,
            output_length,
        })
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

impl crate::pending::private::HasIrp for Control {
    fn irp(&mut self) -> &mut Irp {
        &mut self.irp
    }

    fn into_irp(self) -> Irp {
        self.irp
    }
}
