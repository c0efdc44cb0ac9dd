//! One step outwards on the driver's stack, by the image's unwind information.
//!
//! The tables come from an image that may be malformed and the stack may be damaged: every read
//! is checked, each step must move the stack pointer up, and whatever makes no sense is a
//! [`Problem`].

use crate::context::{Context, RSP};
use crate::epilog;
use crate::registry::{self, Function, Known, read_function};
use crate::view::Reader;

/// The function has an exception handler.
pub(crate) const EXCEPTION_HANDLER: u8 = 1;
/// The function has a termination handler.
pub(crate) const TERMINATION_HANDLER: u8 = 2;
const CHAINED: u8 = 4;
/// Longer chains of unwind information are taken for loops.
const MAXIMUM_CHAIN: usize = 32;

/// Why unwinding cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("{0:#x} is not in a driver image")]
    NoImage(u64),
    #[error("unwind information of {0:#x} is outside the image")]
    Outside(u64),
    #[error("unwind information of {pc:#x} has version {version}")]
    Version { pc: u64, version: u8 },
    #[error("unwind information of {pc:#x} has the unknown operation {operation}")]
    Operation { pc: u64, operation: u8 },
    #[error("unwind information of {0:#x} is chained without end")]
    Chain(u64),
    #[error("frame of {pc:#x} reads {address:#x}, which is not in the driver's stack")]
    Stack { pc: u64, address: u64 },
    #[error("frame of {0:#x} does not lead up the stack")]
    NotUp(u64),
    #[error("language handler of {pc:#x} returned the disposition {disposition:#x}")]
    Disposition { pc: u64, disposition: u64 },
    #[error("scope table at {0:#x} is outside the image")]
    ScopeTable(u64),
    #[error("no frame at {0:#x} to unwind to")]
    NoTarget(u64),
    #[error("a language handler was called outside of exception dispatch")]
    NoDispatch,
}

/// The part of the stack that holds driver frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stack {
    /// The lowest address in use.
    pub(crate) low: u64,
    /// The stack pointer that the outermost driver function returns to.
    pub(crate) end: u64,
}

impl Stack {
    /// Argument space of the outermost driver function, which may keep registers there.
    const HOME: u64 = 32;

    pub(crate) fn read(self, pc: u64, address: u64) -> Result<u64, Problem> {
        let inside = address >= self.low
            && address
                .checked_add(8)
                .is_some_and(|end| end <= self.end + Self::HOME);
        if !inside || !address.is_multiple_of(8) {
            return Err(Problem::Stack { pc, address });
        }
        let place: *const u64 = std::ptr::with_exposed_provenance(address as usize);
        // SAFETY: an aligned word in the part of this thread's stack that driver code uses.
        Ok(unsafe { place.read() })
    }
}

/// A function's language handler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handler {
    pub(crate) flags: u8,
    pub(crate) routine: u64,
    pub(crate) data: u64,
}

/// A frame that was stepped out of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) image_base: u64,
    /// Address of the function table entry, or 0.
    pub(crate) function_entry: u64,
    pub(crate) establisher: u64,
    pub(crate) handler: Option<Handler>,
}

/// Takes `context` from a function to its caller.
pub(crate) fn step(context: &mut Context, stack: Stack) -> Result<Step, Problem> {
    let (pc, rsp) = (context.rip, context.rsp());
    let step = registry::with_image(pc, |image| {
        Unwinder {
            image,
            context,
            stack,
            pc,
        }
        .step()
    });
    let step = step.ok_or(Problem::NoImage(pc))??;
    if context.rsp() <= rsp || context.rsp() > stack.end {
        return Err(Problem::NotUp(pc));
    }
    Ok(step)
}

/// If the code is not in an image at all (a call of a bad address), takes `context` to the caller.
pub(crate) fn leave_nowhere(context: &mut Context, stack: Stack) -> Result<(), Problem> {
    if context.rsp() == stack.end || registry::with_image(context.rip, |_| ()).is_some() {
        return Ok(());
    }
    step_leaf(context, stack)
}

/// Takes `context` out of a function that has no frame.
pub(crate) fn step_leaf(context: &mut Context, stack: Stack) -> Result<(), Problem> {
    context.rip = stack.read(context.rip, context.rsp())?;
    context.integer[RSP] += 8;
    Ok(())
}

/// The fixed part of an `UNWIND_INFO`.
struct Info {
    at: usize,
    flags: u8,
    prolog: u8,
    count: usize,
    frame_register: usize,
    frame_offset: u64,
}

impl Info {
    /// What follows the unwind codes: a handler and its data, or the chained entry.
    fn trailer(&self) -> usize {
        self.at + 4 + self.count.next_multiple_of(2) * 2
    }
}

struct Unwinder<'a> {
    image: &'a Known,
    context: &'a mut Context,
    stack: Stack,
    pc: u64,
}

impl Unwinder<'_> {
    fn view(&self) -> Reader<'_> {
        self.image.view.read()
    }

    fn step(&mut self) -> Result<Step, Problem> {
        let rva = (self.pc - self.image.base) as u32;
        let mut step = Step {
            image_base: self.image.base,
            function_entry: 0,
            establisher: self.context.rsp(),
            handler: None,
        };
        let Some(function) = self.image.function_at(rva) else {
            step_leaf(self.context, self.stack)?;
            return Ok(step);
        };
        step.function_entry = self.image.base + u64::from(function.entry);
        let function = self.direct(function)?;
        let mut info = self.info(function)?;
        let offset = rva.wrapping_sub(function.begin);
        let in_prolog = offset < u32::from(info.prolog);
        step.establisher = self.establisher(&info, offset)?;
        if !in_prolog && self.leave_epilog(rva, function, &info)? {
            return Ok(step);
        }
        let mut machine_frame = self.undo(&info, offset, step.establisher)?;
        let mut chain = 0;
        while info.flags & CHAINED != 0 {
            chain += 1;
            if chain > MAXIMUM_CHAIN {
                return Err(Problem::Chain(self.pc));
            }
            let entry = info.trailer() as u32;
            let outer = read_function(self.view(), entry).ok_or(Problem::Outside(self.pc))?;
            let outer = self.direct(outer)?;
            info = self.info(outer)?;
            machine_frame |= self.undo(&info, u32::MAX, step.establisher)?;
        }
        if !machine_frame {
            step_leaf(self.context, self.stack)?;
        }
        if !in_prolog || chain > 0 {
            step.handler = self.handler(&info)?;
        }
        Ok(step)
    }

    /// Follows a function table entry that stands for another one.
    fn direct(&self, function: Function) -> Result<Function, Problem> {
        if function.unwind & 1 == 0 {
            return Ok(function);
        }
        let target = read_function(self.view(), function.unwind & !1);
        target
            .filter(|it| it.unwind & 1 == 0)
            .ok_or(Problem::Outside(self.pc))
    }

    fn info(&self, function: Function) -> Result<Info, Problem> {
        let at = function.unwind as usize;
        let head = self.view().u32(at).ok_or(Problem::Outside(self.pc))?;
        let [first, prolog, count, frame] = head.to_le_bytes();
        let version = first & 7;
        if version != 1 && version != 2 {
            return Err(Problem::Version {
                pc: self.pc,
                version,
            });
        }
        Ok(Info {
            at,
            flags: first >> 3,
            prolog,
            count: usize::from(count),
            frame_register: usize::from(frame & 15),
            frame_offset: u64::from(frame >> 4) * 16,
        })
    }

    fn code(&self, info: &Info, index: usize) -> Result<u16, Problem> {
        let code = self.view().u16(info.at + 4 + index * 2);
        code.filter(|_| index < info.count)
            .ok_or(Problem::Outside(self.pc))
    }

    /// What the function's frame is known by: its frame pointer once that is set, else `rsp`.
    fn establisher(&self, info: &Info, offset: u32) -> Result<u64, Problem> {
        let pointer = self.context.integer[info.frame_register].wrapping_sub(info.frame_offset);
        if info.frame_register == 0 {
            return Ok(self.context.rsp());
        }
        if offset >= u32::from(info.prolog) || info.flags & CHAINED != 0 {
            return Ok(pointer);
        }
        let mut index = 0;
        while index < info.count {
            let code = self.code(info, index)?;
            if code >> 8 & 15 == 3 && u32::from(code & 0xff) <= offset {
                return Ok(pointer);
            }
            index += slots(code, self.pc)?;
        }
        Ok(self.context.rsp())
    }

    /// Undoes what the prolog has done by `offset`; true if the frame is a machine frame.
    fn undo(&mut self, info: &Info, offset: u32, frame: u64) -> Result<bool, Problem> {
        let mut machine_frame = false;
        let mut index = 0;
        while index < info.count {
            let code = self.code(info, index)?;
            let used = slots(code, self.pc)?;
            if u32::from(code & 0xff) <= offset {
                let operand = match used {
                    2 => u64::from(self.code(info, index + 1)?),
                    3 => {
                        let low = u64::from(self.code(info, index + 1)?);
                        low | u64::from(self.code(info, index + 2)?) << 16
                    }
                    _ => 0,
                };
                machine_frame |= self.undo_one(code, operand, info, frame)?;
            }
            index += used;
        }
        Ok(machine_frame)
    }

    fn undo_one(
        &mut self,
        code: u16,
        operand: u64,
        info: &Info,
        frame: u64,
    ) -> Result<bool, Problem> {
        let register = usize::from(code >> 12);
        let amount = u64::from(code >> 12);
        let rsp = self.context.rsp();
        match (code >> 8 & 15) as u8 {
            0 => {
                self.context.integer[register] = self.stack.read(self.pc, rsp)?;
                self.context.integer[RSP] = rsp + 8;
            }
            1 => {
                let size = if amount == 0 { operand * 8 } else { operand };
                self.context.integer[RSP] = rsp.wrapping_add(size);
            }
            2 => self.context.integer[RSP] = rsp.wrapping_add(amount * 8 + 8),
            3 => {
                let pointer = self.context.integer[info.frame_register];
                self.context.integer[RSP] = pointer.wrapping_sub(info.frame_offset);
            }
            4 | 5 => {
                let scale = if code >> 8 & 15 == 4 { 8 } else { 1 };
                let place = frame.wrapping_add(operand * scale);
                self.context.integer[register] = self.stack.read(self.pc, place)?;
            }
            6 => {} // marks an epilog
            8 | 9 => {
                let scale = if code >> 8 & 15 == 8 { 16 } else { 1 };
                let place = frame.wrapping_add(operand * scale);
                let low = self.stack.read(self.pc, place)?;
                let high = self.stack.read(self.pc, place.wrapping_add(8))?;
                self.context.xmm[register] = [low, high];
            }
            10 => {
                let place = rsp.wrapping_add(if amount == 0 { 0 } else { 8 });
                self.context.rip = self.stack.read(self.pc, place)?;
                let place = place.wrapping_add(24);
                self.context.integer[RSP] = self.stack.read(self.pc, place)?;
                return Ok(true);
            }
            operation => {
                return Err(Problem::Operation {
                    pc: self.pc,
                    operation,
                });
            }
        }
        Ok(false)
    }

    fn leave_epilog(&mut self, rva: u32, function: Function, info: &Info) -> Result<bool, Problem> {
        let code = self
            .view()
            .0
            .get(rva as usize..function.end as usize)
            .unwrap_or_default();
        let Some(epilog) = epilog::parse(code, info.frame_register) else {
            return Ok(false);
        };
        if let Some(displacement) = epilog.from_frame_pointer {
            let pointer = self.context.integer[info.frame_register];
            self.context.integer[RSP] = pointer.wrapping_add_signed(displacement);
        }
        let rsp = self.context.rsp();
        self.context.integer[RSP] = rsp.wrapping_add_signed(epilog.add);
        for register in epilog.pops {
            let rsp = self.context.rsp();
            self.context.integer[register] = self.stack.read(self.pc, rsp)?;
            self.context.integer[RSP] = rsp + 8;
        }
        step_leaf(self.context, self.stack)?;
        Ok(true)
    }

    fn handler(&self, info: &Info) -> Result<Option<Handler>, Problem> {
        let flags = info.flags & (EXCEPTION_HANDLER | TERMINATION_HANDLER);
        if flags == 0 {
            return Ok(None);
        }
        let at = info.trailer();
        let routine = self.view().u32(at).ok_or(Problem::Outside(self.pc))?;
        let routine = self.image.base + u64::from(routine);
        Ok(Some(Handler {
            flags,
            routine,
            data: self.image.base + at as u64 + 4,
        }))
    }
}

/// How many slots an unwind code takes.
fn slots(code: u16, pc: u64) -> Result<usize, Problem> {
    match (code >> 8 & 15, code >> 12) {
        (0 | 2 | 3, _) | (10, 0 | 1) => Ok(1),
        (1, 0) | (4 | 6 | 8, _) => Ok(2),
        (1, 1) | (5 | 9, _) => Ok(3),
        (operation, _) => Err(Problem::Operation {
            pc,
            operation: operation as u8,
        }),
    }
}

#[cfg(test)]
mod tests;
