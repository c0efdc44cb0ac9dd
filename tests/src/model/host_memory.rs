//! Host memory buffers: as much as can be had, and no less than will do.

use sanproxy_abi::{
    ANY_NODE, CacheType, ControlCode, Error, Kind, MOST_RANGES, PAGE_SIZE, RegisterFlags,
    wire::{
        AddressBound, ByteCount, Choice, Flags, Header, NodeNumber, PieceIndex,
        RegisterHostMemoryInput, RegisterOutput, Reserved,
    },
};

use super::{
    operation::{HostFlaw, HostWish, Pick, Reach},
    oracle::{
        accounts::Amount,
        registration::{Memory, Registration},
    },
    requests::pieces,
    world::{Agreement, World},
};
use crate::wire;

impl HostFlaw {
    /// Whether it is found before the device is looked at, and what it is.
    const fn error(self) -> (bool, Error) {
        match self {
            Self::Flag => (true, Error::ReservedBits),
            Self::Empty => (true, Error::Length),
            Self::Minimum | Self::NoRange | Self::Ranges => (true, Error::HostMemoryLimits),
            Self::Alignment => (true, Error::Alignment),
            Self::Node => (false, Error::UnknownNode),
        }
    }
}

impl World {
    /// How many bytes the driver has to try for.
    fn host_total(&mut self, file: usize, process: usize, wish: &HostWish) -> Result<u64, Error> {
        let flaw = wish.flaw.map(HostFlaw::error);
        if let Some((true, error)) = flaw {
            return Err(error);
        }
        self.oracle.gate()?;
        if let Some((false, error)) = flaw {
            return Err(error);
        }
        let owner = self.oracle.files.get(&file).and_then(|file| file.owner);
        if wish.map && owner != Some(process) {
            return Err(Error::WrongProcess);
        }
        let left = |limit: Amount, usage: Amount| limit.bytes.saturating_sub(usage.bytes);
        let own = left(self.oracle.limit_of(file), self.oracle.usage(Some(file)));
        let all = left(self.oracle.per_device, self.oracle.usage(None));
        let total = (own.min(all) / PAGE_SIZE * PAGE_SIZE)
            .min(wish.preferred.next_multiple_of(PAGE_SIZE))
            .max(wish.minimum().next_multiple_of(PAGE_SIZE));
        self.oracle
            .charge(file, Amount::default(), Amount::new(1, total))?;
        Ok(total)
    }

    /// Registers a host memory buffer, perhaps while the system fails one of its calls.
    pub fn register_host(&mut self, pick: Pick, wish: &HostWish, call: Option<u8>) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file, process) = (handle.number, handle.opened, handle.process);
        let expected = self.host_total(file, process, wish);
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        if let Some(call) = call {
            self.host.faults().fail_nth(u64::from(call));
        }
        let reply = wire::ask::<_, RegisterOutput>(
            &handle.file,
            ControlCode::RegisterHostMemory,
            &input(wish),
        );
        self.host.faults().clear();
        self.tell(format!(
            "handle {number}: register {wish:?}{}",
            call.map_or(String::new(), |call| format!(", short of call {call}"))
        ));
        let out_of_reach = wish.reach == Reach::OutOfReach;
        let mut refusals: Vec<Error> = expected.err().into_iter().collect();
        let Ok(total) = expected else {
            return match reply {
                Ok(_) => Err(format!("succeeds, has to fail: {refusals:?}")),
                Err(status) => self.refused(status, &refusals),
            };
        };
        // A block is longer than its range if that has to be aligned, and there may be too much of that.
        let is_exact = call.is_none() && wish.alignment <= 1 && !out_of_reach;
        if !is_exact {
            let base = Amount::new(1, total);
            self.oracle
                .may_have_charged(file, base, u64::from(u32::MAX));
            refusals.extend([Error::NoMemory, Error::FileQuota, Error::DeviceQuota]);
            if call.is_some() {
                refusals.push(Error::MappingFailed);
            }
        }
        let denied = wish.dump && !self.is_administrator(process);
        if denied {
            refusals.push(Error::NotAdministrator);
        }
        match reply {
            Ok(_) if denied => Err("succeeds, is no administrator's".to_string()),
            Ok(_) if out_of_reach => Err("succeeds, out of the device's reach".to_string()),
            Ok(reply) => self.registered_host(number, wish, &reply, (total, is_exact)),
            Err(status) => self.refused(status, &refusals),
        }
    }

    fn registered_host(
        &mut self,
        number: usize,
        wish: &HostWish,
        reply: &RegisterOutput,
        (total, is_exact): (u64, bool),
    ) -> Agreement {
        let Some(handle) = self.handles.iter().find(|handle| handle.number == number) else {
            return Ok(());
        };
        let (file, got) = (handle.opened, reply.length.0);
        let least = if is_exact { total } else { wish.minimum() };
        if got < least || got > total || !got.is_multiple_of(PAGE_SIZE) {
            return Err(format!("gets {got} bytes, has to be {least} to {total}"));
        }
        let flags = flags(wish);
        let pieces = pieces(handle, reply, flags)?;
        let alignment = wish.alignment.max(1) * PAGE_SIZE;
        for piece in &pieces {
            let misplaced = !piece.device.is_multiple_of(alignment)
                || piece.device + piece.length > 1 << 32
                || (piece.user != 0) != wish.map;
            if misplaced {
                return Err(format!("does not lie as asked: {piece:x?}"));
            }
        }
        if pieces.len() > wish.ranges as usize {
            return Err(format!("has {} ranges", pieces.len()));
        }
        let charged = wire::statistics(&handle.file).file_bytes.0;
        let padding = charged.checked_sub(self.oracle.usage(Some(file)).bytes + got);
        let most = (alignment - PAGE_SIZE) * pieces.len() as u64;
        let padding = padding.filter(|padding| *padding <= most && padding.is_multiple_of(4096));
        let padding = padding.ok_or_else(|| format!("the file is charged for {charged} bytes"))?;
        if reply.handle.0 == 0 || self.oracle.knows(reply.handle.0) {
            return Err(format!("the handle {:#x} is not new", reply.handle.0));
        }
        self.oracle.made += 1;
        self.oracle.registrations.push(Registration {
            file,
            handle: reply.handle.0,
            kind: Kind::HostMemoryBuffer,
            flags,
            padding,
            mapped: wish.map,
            // Any of its ranges may come from the reserve, and only the first is told of.
            reserved: true,
            pieces,
            number: self.oracle.made,
            memory: Memory::Driver(vec![0; usize::try_from(got).unwrap_or(0)]),
        });
        self.look_at_newest(number)
    }
}

/// The flags of the registration.
fn flags(wish: &HostWish) -> u32 {
    let mut flags = RegisterFlags::ALLOW_PIECES;
    for (wanted, flag) in [
        (wish.map, RegisterFlags::MAP),
        (wish.reach == Reach::LowMemory, RegisterFlags::LOW_MEMORY),
        (wish.dump, RegisterFlags::DUMP),
    ] {
        flags = if wanted { flags.with(flag) } else { flags };
    }
    flags.bits()
}

fn input(wish: &HostWish) -> RegisterHostMemoryInput {
    let lowest = match wish.reach {
        Reach::OutOfReach => 1 << 32,
        Reach::Anywhere | Reach::LowMemory => 0,
    };
    let mut input = RegisterHostMemoryInput {
        header: Header::of::<RegisterHostMemoryInput>(),
        preferred: ByteCount(wish.preferred),
        minimum: ByteCount(wish.minimum()),
        lowest: AddressBound(lowest),
        highest: AddressBound(u64::MAX),
        alignment: AddressBound(wish.alignment * PAGE_SIZE),
        most_ranges: PieceIndex(wish.ranges),
        flags: Flags(flags(wish)),
        cache: Choice(CacheType::Cached.value()),
        node: NodeNumber(ANY_NODE),
        reserved: Reserved(0),
        reserved_end: Reserved(0),
    };
    match wish.flaw {
        None => (),
        Some(HostFlaw::Flag) => input.flags.0 |= 1 << 31,
        Some(HostFlaw::Empty) => input.preferred.0 = 0,
        Some(HostFlaw::Minimum) => input.minimum.0 = wish.preferred + PAGE_SIZE,
        Some(HostFlaw::NoRange) => input.most_ranges.0 = 0,
        Some(HostFlaw::Ranges) => input.most_ranges.0 = MOST_RANGES + 1,
        Some(HostFlaw::Alignment) => input.alignment.0 = 4097,
        Some(HostFlaw::Node) => input.node.0 = 64,
    }
    input
}
