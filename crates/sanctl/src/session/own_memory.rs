//! Memory of this program's own: allocated, registered where it lies, secured, freed.

use sanproxy_provider::{Error, Status, UserBufferOptions};

use super::Session;
use super::commands::{OwnMemory, Part};
use super::said::Said;
use crate::amount;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::system::{Pages, System};

/// Sets a flag of a request.
type Flag = fn(UserBufferOptions) -> UserBufferOptions;

impl<S: System> Session<'_, S> {
    /// Commands about memory of this program's own.
    pub(super) fn own_memory(
        &mut self,
        screen: &mut Screen<'_>,
        command: OwnMemory,
    ) -> Result<(), Failure> {
        match command {
            OwnMemory::Allocate { size } => {
                let memory = self.number();
                let channel = self.file()?.provider.channel();
                let pages = self.system.allocate(channel, size)?;
                screen.sample(&Said::Allocated {
                    memory,
                    address: amount::address(pages.start()),
                    length: pages.length(),
                })?;
                self.file_mut()?.memory.insert(memory, pages);
                Ok(())
            }
            OwnMemory::Free { memory } => {
                self.free(memory)?;
                screen.sample(&Said::Freed { freed: memory })
            }
            OwnMemory::Buffer {
                part,
                pieces,
                low,
                highest,
                copy,
            } => {
                let (start, length) = self.place(part)?;
                let mut options = UserBufferOptions::new(start, length, part.access.into());
                if let Some(highest) = highest {
                    options = options.highest(highest);
                }
                let flags: [(bool, Flag); 3] = [
                    (pieces, UserBufferOptions::allow_pieces),
                    (low, UserBufferOptions::low_memory),
                    (copy, UserBufferOptions::allow_copy),
                ];
                for (wanted, flag) in flags {
                    if wanted {
                        options = flag(options);
                    }
                }
                let made = self.file()?.provider.register_user_buffer(&options);
                let registration = made.map_err(|error| self.explain(error, part))?;
                self.hold(screen, registration)
            }
            OwnMemory::Synchronize {
                number,
                side,
                offset,
                length,
            } => {
                let registration = self.find(number)?;
                let rest = registration.length().saturating_sub(offset);
                let synchronized = length.unwrap_or(rest);
                registration.synchronize(side.into(), offset, synchronized)?;
                screen.sample(&Said::Synchronized { synchronized })
            }
            OwnMemory::Secure(part) => {
                let (start, length) = self.place(part)?;
                let access = part.access.into();
                let secured = self.file()?.provider.secure(start, length, access);
                let secured = secured.map_err(|error| self.explain(error, part))?;
                let range = self.number();
                screen.sample(&Said::Secured {
                    range,
                    handle: amount::address(secured.handle().0),
                    address: amount::address(start),
                    length,
                })?;
                self.file_mut()?.secured.insert(range, secured);
                Ok(())
            }
            OwnMemory::Unsecure { range } => {
                let secured = self.file_mut()?.secured.remove(&range).ok_or_else(|| {
                    Failure::usage(format!("this file has secured no range {range}"))
                        .cure("secure says the number of each range that it secures")
                })?;
                secured.unsecure()?;
                screen.sample(&Said::Unsecured { unsecured: range })
            }
        }
    }

    /// A refusal, with what was asked for and what there is.
    fn explain(&self, error: Error, part: Part) -> Failure {
        let is_the_range = error.status() == Some(Status::ACCESS_VIOLATION);
        let failure = Failure::from(error);
        let memory = self
            .file()
            .ok()
            .and_then(|file| file.memory.get(&part.memory));
        match (memory, self.place(part)) {
            (Some(pages), Ok((start, length))) if is_the_range => failure.cure(format!(
                "{length} bytes at {} were asked for; memory {} has {} bytes from {} on",
                amount::address(start),
                part.memory,
                pages.length(),
                amount::address(pages.start())
            )),
            _ => failure,
        }
    }

    fn free(&mut self, number: u64) -> Result<(), Failure> {
        let memory = &mut self.file_mut()?.memory;
        let pages = memory.remove(&number).ok_or_else(|| no_memory(number))?;
        let Err((pages, error)) = pages.free() else {
            return Ok(());
        };
        self.file_mut()?.memory.insert(number, pages);
        let failure = Failure::from(error);
        Err(failure.cure("secured memory is not freed: unsecure it first"))
    }

    /// Where a part of this program's own memory lies.
    fn place(&self, part: Part) -> Result<(u64, u64), Failure> {
        let memory = self.file()?.memory.get(&part.memory);
        let pages = memory.ok_or_else(|| no_memory(part.memory))?;
        let rest = pages.length().saturating_sub(part.offset);
        let length = part.length.unwrap_or(rest);
        // The driver judges ranges that lie wrong: trying that is what this is for.
        Ok((pages.start().saturating_add(part.offset), length))
    }
}

fn no_memory(number: u64) -> Failure {
    Failure::usage(format!("this file has allocated no memory {number}"))
        .cure("allocate SIZE allocates some, and says its number")
}
