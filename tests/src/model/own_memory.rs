//! What processes do with memory of their own, and what they ask of the device for it.

use std::rc::Rc;

use nt_host::{NtStatus, Process, Protection};
use sanproxy_abi::{
    ControlCode, Error, Kind, RegisterFlags,
    wire::{
        AddressBound, ByteCount, Choice, Flags, Handle as RangeHandle, Header, RangeStart,
        RegisterOutput, RegisterUserBufferInput, Reserved, SecureInput, SecureOutput,
        UnsecureInput, UserRange,
    },
};

use super::{
    operation::{Own, OwnWish, Pick, RangeFlaw, Reach, Splash, Target},
    oracle::{
        memory::{Allocation, Pages, Secured, page_bytes, zeroed},
        registration::{Memory, Registration},
    },
    requests::pieces,
    world::{Agreement, World, same},
};
use crate::wire;

/// So much memory do all processes have of their own, at most.
const ALLOCATIONS: usize = 8;

/// What memory that has to be registered may lie between, for the device.
fn bounds(reach: Reach) -> (u64, u64) {
    match reach {
        Reach::Anywhere => (0, u64::MAX),
        Reach::LowMemory => (0, u64::from(u32::MAX)),
        Reach::OutOfReach => (1 << 32, u64::MAX),
    }
}

impl World {
    fn allocation(&self, pick: Pick) -> Option<(usize, &Allocation, Process)> {
        let place = usize::from(pick).checked_rem(self.oracle.allocations.len())?;
        let own = self.oracle.allocations.get(place)?;
        let mut all = self.processes.iter();
        let running = all.find(|running| running.number == own.process)?;
        Some((place, own, running.process.clone()))
    }

    /// A process gets memory of its own.
    pub fn allocate(&mut self, pick: Pick, pages: u64) -> Agreement {
        let Some(place) = self.place(pick) else {
            return Ok(());
        };
        if self.oracle.allocations.len() >= ALLOCATIONS {
            return Ok(());
        }
        let (running, length) = (&self.processes[place], pages * 4096);
        let process = running.number;
        let address = running
            .process
            .allocate(usize::try_from(length).unwrap_or(0))
            .map_err(|status| format!("no memory: {status:?}"))?;
        self.oracle.allocations.push(Allocation {
            process,
            address,
            protection: Protection::ReadWrite,
            pages: zeroed(length),
        });
        self.tell(format!(
            "process {process} gets {pages} pages at {address:#x}"
        ));
        Ok(())
    }

    /// What has to come of freeing or changing memory.
    fn change(&self, own: &Allocation, to: Option<Protection>) -> Result<(), NtStatus> {
        if self.oracle.may_change(own, to) {
            Ok(())
        } else {
            Err(NtStatus::INVALID_PAGE_PROTECTION)
        }
    }

    /// A process frees memory: what is registered of it stays, what is secured is not freed.
    pub fn free(&mut self, pick: Pick) -> Agreement {
        let Some((place, own, process)) = self.allocation(pick) else {
            return Ok(());
        };
        let (address, expected) = (own.address, self.change(own, None));
        self.tell(format!("{address:#x} is freed"));
        same("free", &process.free(address), &expected)?;
        if expected.is_ok() {
            self.oracle.allocations.remove(place);
        }
        Ok(())
    }

    /// A process frees memory and gets other pages at the same address.
    pub fn replace(&mut self, pick: Pick) -> Agreement {
        let Some((place, own, process)) = self.allocation(pick) else {
            return Ok(());
        };
        let (address, expected) = (own.address, self.change(own, None));
        if own.protection != Protection::ReadWrite {
            return Ok(());
        }
        self.tell(format!("{address:#x} is freed and allocated"));
        same("replace", &process.replace(address), &expected)?;
        if expected.is_ok() {
            let own = &mut self.oracle.allocations[place];
            own.pages = zeroed(own.length());
        }
        Ok(())
    }

    /// A process changes what it may do with memory.
    pub fn protect(&mut self, pick: Pick, to: Protection) -> Agreement {
        let Some((place, own, process)) = self.allocation(pick) else {
            return Ok(());
        };
        let (address, expected) = (own.address, self.change(own, Some(to)));
        self.tell(format!("{address:#x} becomes {to:?}"));
        same("protect", &process.protect(address, to), &expected)?;
        if expected.is_ok() {
            self.oracle.allocations[place].protection = to;
        }
        Ok(())
    }

    /// A process writes to memory of its own, if it may.
    pub fn write_own(&mut self, splash: Splash) -> Agreement {
        let Some((place, own, process)) = self.allocation(splash.registration) else {
            return Ok(());
        };
        let (start, bytes) = splash.bytes(usize::try_from(own.length()).unwrap_or(0));
        let (address, allowed) = (own.address, own.protection.writable());
        self.tell(format!("{splash:?} is written to {address:#x}"));
        let written = process.write(address + start as u64, &bytes).is_ok();
        same("write to memory of its own", &written, &allowed)?;
        if allowed {
            let own = &self.oracle.allocations[place];
            own.pages.borrow_mut()[start..start + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }

    /// The range that a request names: more often than not, of the memory of the process that asks.
    fn range(&self, process: usize, own: &Own) -> Option<(u64, u64)> {
        let all = &self.oracle.allocations;
        let theirs: Vec<_> = all.iter().filter(|it| it.process == process).collect();
        let place = usize::from(own.allocation);
        let foreign = own.allocation > 230 || theirs.is_empty();
        let found = if foreign {
            all.get(place.checked_rem(all.len())?)?
        } else {
            theirs[place % theirs.len()]
        };
        let offset = u64::from(own.offset) % found.length();
        let length = u64::from(own.length).min(found.length() - offset);
        let start = found.address + offset;
        Some(match own.flaw {
            None => (start, length),
            Some(RangeFlaw::Empty) => (start, 0),
            Some(RangeFlaw::Wraps) => (start, u64::MAX - start + 1),
            Some(RangeFlaw::Kernel) => (0xFFFF_8000_0000_0000 + offset, length),
            Some(RangeFlaw::TooLong) => (start, found.length() - offset + 1),
        })
    }

    /// Registers memory of the process's own, perhaps while the system fails one of its calls.
    pub fn register_own(&mut self, pick: Pick, wish: &OwnWish, call: Option<u8>) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file, process) = (handle.number, handle.opened, handle.process);
        let Some(range) = self.range(process, &wish.own) else {
            return Ok(());
        };
        let input = own_input(wish, range);
        self.tell(format!(
            "handle {number}: register {} bytes at {:#x} of its own, {wish:?}{}",
            range.1,
            range.0,
            call.map_or(String::new(), |call| format!(", short of call {call}"))
        ));
        let expected = if wish.flag {
            Err(Error::ReservedBits)
        } else {
            let bounds = bounds(wish.reach);
            self.oracle
                .expect_own(file, process, range, wish.own.access, bounds)
        };
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        if let Some(call) = call {
            self.host.faults().fail_nth(u64::from(call));
        }
        let reply =
            wire::ask::<_, RegisterOutput>(&handle.file, ControlCode::RegisterUserBuffer, &input);
        self.host.faults().clear();
        let mut refusals: Vec<Error> = expected.as_ref().err().copied().into_iter().collect();
        let lockable = matches!(expected, Ok(_) | Err(Error::UserRange | Error::OutOfReach));
        if call.is_some() && lockable {
            refusals.extend([Error::NoMemory, Error::UserRange]);
        }
        if !wish.pieces && expected.is_ok() {
            // How many pieces the device sees is the adapter's affair.
            refusals.push(Error::OutOfReach);
        }
        match (reply, expected) {
            (Ok(reply), Ok(own)) => self.registered_own(number, wish, range, &reply, own),
            (Ok(_), Err(error)) => Err(format!("succeeds, has to fail: {error:?}")),
            (Err(status), _) => self.refused(status, &refusals),
        }
    }

    fn registered_own(
        &mut self,
        number: usize,
        wish: &OwnWish,
        (start, length): (u64, u64),
        reply: &RegisterOutput,
        (pages, offset, padding): (Pages, u64, u64),
    ) -> Agreement {
        let Some(handle) = self.handles.iter().find(|handle| handle.number == number) else {
            return Ok(());
        };
        same("length", &reply.length.0, &length)?;
        let flags = own_flags(wish);
        let pieces = pieces(handle, reply, flags)?;
        let mut place = start;
        for piece in &pieces {
            same("where a piece lies", &piece.user, &place)?;
            same(
                "where in its page a piece lies",
                &(piece.device % 4096),
                &(place % 4096),
            )?;
            place += piece.length;
        }
        if reply.handle.0 == 0 || self.oracle.knows(reply.handle.0) {
            return Err(format!("the handle {:#x} is not new", reply.handle.0));
        }
        self.oracle.made += 1;
        self.oracle.registrations.push(Registration {
            file: handle.opened,
            handle: reply.handle.0,
            kind: Kind::UserBuffer,
            flags,
            padding,
            mapped: true,
            reserved: false,
            pieces,
            number: self.oracle.made,
            memory: Memory::Process {
                pages: Rc::clone(&pages),
                offset: usize::try_from(offset).unwrap_or(0),
                length: usize::try_from(length).unwrap_or(0),
                read: wish.own.access & 1 != 0,
                write: wish.own.access & 2 != 0,
            },
        });
        self.look_at_newest(number)
    }

    /// Secures memory of the process's own.
    pub fn secure(&mut self, pick: Pick, own: &Own) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file, process) = (handle.number, handle.opened, handle.process);
        let Some(range) = self.range(process, own) else {
            return Ok(());
        };
        let input = SecureInput {
            header: Header::of::<SecureInput>(),
            range: user_range(range),
            access: Choice(own.access),
            reserved: Reserved(0),
        };
        let reply = wire::ask::<_, SecureOutput>(&handle.file, ControlCode::Secure, &input);
        self.tell(format!(
            "handle {number}: secure {} bytes at {:#x}, {own:?}",
            range.1, range.0
        ));
        let expected = self.oracle.secure(file, process, range, own.access);
        let secured = reply.map(|reply| reply.handle.0);
        self.agree("secure", secured.map(drop), expected)?;
        let Ok(handle) = secured else {
            return Ok(());
        };
        if handle == 0 || self.oracle.knows(handle) {
            return Err(format!("the handle {handle:#x} is not new"));
        }
        self.oracle.made += 1;
        let (start, length) = range;
        self.oracle.secured.push(Secured {
            file,
            handle,
            process,
            range: (start / 4096 * 4096, page_bytes(start, length)),
            write: own.access & 2 != 0,
            length,
            number: self.oracle.made,
        });
        Ok(())
    }

    /// Ends that.
    pub fn unsecure(&mut self, pick: Pick, target: Target) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file) = (handle.number, handle.opened);
        let named = self.resolve(file, target, true);
        let input = UnsecureInput {
            header: Header::of::<UnsecureInput>(),
            handle: RangeHandle(named),
        };
        let actual = wire::ask::<_, Header>(&handle.file, ControlCode::Unsecure, &input);
        self.tell(format!("handle {number}: unsecure {named:#x} ({target:?})"));
        let expected = self.oracle.unsecure(file, named);
        self.agree("unsecure", actual.map(drop), expected)
    }
}

fn user_range((start, length): (u64, u64)) -> UserRange {
    UserRange {
        start: RangeStart(start),
        length: ByteCount(length),
    }
}

fn own_flags(wish: &OwnWish) -> u32 {
    let mut flags = RegisterFlags::NONE;
    if wish.pieces {
        flags = flags.with(RegisterFlags::ALLOW_PIECES);
    }
    if wish.reach == Reach::LowMemory {
        flags = flags.with(RegisterFlags::LOW_MEMORY);
    }
    flags.bits()
}

fn own_input(wish: &OwnWish, range: (u64, u64)) -> RegisterUserBufferInput {
    let misplaced = if wish.flag {
        RegisterFlags::MAP.bits()
    } else {
        0
    };
    RegisterUserBufferInput {
        header: Header::of::<RegisterUserBufferInput>(),
        range: user_range(range),
        access: Choice(wish.own.access),
        flags: Flags(own_flags(wish) | misplaced),
        lowest: AddressBound(bounds(wish.reach).0),
        highest: AddressBound(u64::MAX),
        reserved: Reserved(0),
        reserved_end: Reserved(0),
    }
}
