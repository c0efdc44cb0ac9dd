//! What programs ask of the device.

use sanproxy_abi::{
    ANY_NODE, ControlCode, Error, Kind, Method, RegisterFlags, Status,
    wire::{
        AddressBound, ByteCount, CapabilitiesOutput, Choice, DeviceAddress, Flags, Header,
        LookupInput, LookupOutput, MoveInput, NodeNumber, PieceIndex, QueryRegistrationInput,
        QueryRegistrationOutput, RegisterInput, RegisterOutput, Reserved,
    },
};
use zerocopy::IntoBytes;

use super::{
    operation::{Flaw, Malformation, Offset, Pick, Reach, Shortage, Splash, Target, Wish},
    oracle::{
        BOUNDARY,
        accounts::Amount,
        registration::{Memory, Piece, Registration},
    },
    world::{Agreement, Handle, World, same},
};
use crate::wire;

impl World {
    /// Registers, perhaps while the system fails one of its calls.
    pub fn register(&mut self, pick: Pick, wish: &Wish, shortage: Option<Shortage>) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file, process) = (handle.number, handle.opened, handle.process);
        let mut expectation = self.oracle.expect(file, process, wish);
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let input = input(wish);
        let faults = self.host.faults();
        match shortage {
            Some(Shortage::Call(call)) => faults.fail_nth(u64::from(call)),
            Some(Shortage::CommonBuffer(call)) => {
                faults.fail_routine("AllocateCommonBufferWithBounds", u64::from(call));
            }
            None => (),
        }
        let reply = wire::register(&handle.file, &input);
        faults.clear();
        let charged = expectation.success || expectation.refusals.contains(&Error::NoMemory);
        if shortage.is_some() && charged {
            expectation.refusals.extend([
                Error::NoMemory,
                Error::MappingFailed,
                Error::FileQuota,
                Error::DeviceQuota,
            ]);
            // Smaller pieces may be tried, and the last of them be longer than what is left.
            expectation.padding += input.length.0 * 2;
        }
        if charged && wish.dump && !self.is_administrator(process) {
            expectation.success = false;
            expectation.refusals.push(Error::NotAdministrator);
        }
        self.tell(format!(
            "handle {number}: register {wish:?}{}",
            shortage.map_or(String::new(), |shortage| format!(", short of {shortage:?}"))
        ));
        if charged {
            let base = Amount::new(1, wish.rounded());
            self.oracle
                .may_have_charged(file, base, expectation.padding);
        }
        match reply {
            Ok(reply) if expectation.success => {
                self.registered(number, wish, &input, &reply, expectation.padding)
            }
            Ok(_) => Err(format!("succeeds, has to fail: {:?}", expectation.refusals)),
            Err(status) => self.refused(status, &expectation.refusals),
        }
    }

    /// Finds out from the counters which of several causes with one status it was.
    pub fn refused(&mut self, status: Status, refusals: &[Error]) -> Agreement {
        let mut causes: Vec<Error> = refusals.to_vec();
        causes.retain(|error| error.status() == status);
        causes.dedup();
        let Some(first) = causes.first() else {
            return Err(format!("fails with {status:?}, has to be {refusals:?}"));
        };
        let known = self.oracle.gate().ok().and_then(|()| self.handles.first());
        let cause = known.and_then(|handle| {
            let statistics = wire::statistics(&handle.file);
            let more = |error: &&Error| {
                let before = self.oracle.failures.get(error).copied().unwrap_or(0);
                wire::failures(&statistics, **error) > before
            };
            causes.iter().find(more).copied()
        });
        self.oracle.fail(cause.unwrap_or(*first));
        Ok(())
    }

    fn registered(
        &mut self,
        number: usize,
        wish: &Wish,
        input: &RegisterInput,
        reply: &RegisterOutput,
        padding: u64,
    ) -> Agreement {
        let Some(handle) = self.handles.iter().find(|handle| handle.number == number) else {
            return Ok(());
        };
        same("length", &reply.length.0, &wish.rounded())?;
        let pieces = pieces(handle, reply, input.flags.0)?;
        let mapped = input.flags.0 & RegisterFlags::MAP.bits() != 0;
        if pieces.iter().any(|piece| (piece.user != 0) != mapped) {
            return Err(format!("mapped otherwise than asked: {pieces:x?}"));
        }
        let file = handle.opened;
        let charged = wire::statistics(&handle.file).file_bytes.0;
        let extra = charged.checked_sub(self.oracle.usage(Some(file)).bytes + wish.rounded());
        let extra = extra.filter(|extra| *extra <= padding && extra.is_multiple_of(4096));
        let extra = extra.ok_or_else(|| format!("the file is charged for {charged} bytes"))?;
        for piece in &pieces {
            lies_as_asked(wish, piece)?;
        }
        if reply.handle.0 == 0 || self.oracle.knows(reply.handle.0) {
            return Err(format!("the handle {:#x} is not new", reply.handle.0));
        }
        let reserved = reply.method.0 == Method::Reserve.value() || pieces.len() > 1;
        self.oracle.made += 1;
        self.oracle.registrations.push(Registration {
            file,
            handle: reply.handle.0,
            kind: wish.kind,
            flags: input.flags.0,
            padding: extra,
            mapped: wish.map,
            reserved,
            pieces,
            number: self.oracle.made,
            memory: Memory::Driver(vec![0; usize::try_from(wish.rounded()).unwrap_or(0)]),
        });
        self.look_at_newest(number)
    }

    /// Looks at what has just been made: each piece is found from its first byte to its last, and several pieces are one memory to
    /// a copy within.
    pub fn look_at_newest(&mut self, number: usize) -> Agreement {
        let place = self
            .handles
            .iter()
            .position(|handle| handle.number == number);
        let pick = place.and_then(|place| Pick::try_from(place).ok());
        let (Some(pick), Some(own)) = (pick, self.oracle.registrations.last()) else {
            return Ok(());
        };
        let (target, is_own) = (Target::Guess(own.handle), own.is_own());
        let count = Pick::try_from(own.pieces.len()).unwrap_or(Pick::MAX);
        for piece in 0..count.min(8) {
            self.lookup(pick, target, piece, Offset::At(0))?;
            self.lookup(pick, target, piece, Offset::BeforeEnd(1))?;
        }
        if count > 1 && !is_own {
            let length = own_length(&self.oracle.registrations);
            self.write_by_device(Splash {
                registration: Pick::try_from(self.oracle.registrations.len() - 1).unwrap_or(0),
                offset: 0,
                length: u16::MAX,
                seed: count,
            })?;
            for places in [[0, 100], [100, 0]] {
                let offsets = places.map(Offset::At);
                self.copy(pick, [target; 2], offsets, length - 100)?;
            }
        }
        Ok(())
    }

    /// Releases.
    pub fn release(&mut self, pick: Pick, target: Target) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file) = (handle.number, handle.opened);
        let named = self.resolve(file, target, false);
        let actual = wire::release(&handle.file, sanproxy_abi::wire::Handle(named));
        self.tell(format!("handle {number}: release {named:#x} ({target:?})"));
        let expected = self.oracle.release(file, named);
        self.agree("release", actual, expected)
    }

    /// Asks for pieces.
    pub fn query(&mut self, pick: Pick, target: Target, first: u32) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file) = (handle.number, handle.opened);
        let named = self.resolve(file, target, false);
        let actual = ask_pieces(handle, named, first).map(|reply| {
            let returned = usize::try_from(reply.returned.0).unwrap_or(usize::MAX);
            let facts = [reply.kind.0, reply.flags.0, reply.total.0];
            let pieces = reply.pieces.iter().take(returned).map(piece).collect();
            (facts, reply.length.0, pieces)
        });
        self.tell(format!(
            "handle {number}: query {named:#x} ({target:?}) from piece {first}"
        ));
        let expected = self.expect_pieces(file, named, first);
        self.agree("query", actual, expected)
    }

    fn expect_pieces(
        &self,
        file: usize,
        named: u64,
        first: u32,
    ) -> Result<([u32; 3], u64, Vec<Piece>), Error> {
        self.oracle.gate()?;
        let own = &self.oracle.registrations[self.oracle.find(file, named)?];
        let first = usize::try_from(first).map_err(|_| Error::OutOfRange)?;
        if first >= own.pieces.len() {
            return Err(Error::OutOfRange);
        }
        let total = u32::try_from(own.pieces.len()).unwrap_or(u32::MAX);
        let seen = |piece: &Piece| Piece {
            user: if own.mapped { piece.user } else { 0 },
            ..*piece
        };
        let pieces = own.pieces.iter().skip(first).take(32).map(seen).collect();
        Ok(([own.kind.value(), own.flags, total], own.length(), pieces))
    }

    /// Looks an address up.
    pub fn lookup(&mut self, pick: Pick, target: Target, piece: Pick, offset: Offset) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file) = (handle.number, handle.opened);
        let named = self.resolve(file, target, false);
        let found = self.oracle.piece_of(named, piece);
        let address = found.map_or(named, |(start, length)| start + offset.within(length));
        let input = LookupInput {
            header: Header::of::<LookupInput>(),
            device_address: DeviceAddress(address),
        };
        let actual = wire::ask::<_, LookupOutput>(&handle.file, ControlCode::Lookup, &input)
            .map(|reply| (reply.handle.0, reply.offset.0, reply.user_address.0));
        self.tell(format!(
            "handle {number}: look {address:#x} up ({target:?})"
        ));
        let expected = self.oracle.lookup(file, address);
        self.agree("lookup", actual, expected)
    }

    /// Copies.
    pub fn copy(
        &mut self,
        pick: Pick,
        targets: [Target; 2],
        offsets: [Offset; 2],
        length: u64,
    ) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file) = (handle.number, handle.opened);
        let named = targets.map(|target| self.resolve(file, target, false));
        let length_of = |handle: u64| {
            let found = self.oracle.find(file, handle).ok();
            found.map_or(0, |index| self.oracle.registrations[index].length())
        };
        let places = [0, 1].map(|side| offsets[side].within(length_of(named[side])));
        let numbers = [places[0], places[1], length];
        if self.oracle.overlaps(file, named, numbers) {
            return Ok(());
        }
        let input = MoveInput {
            header: Header::of::<MoveInput>(),
            source: sanproxy_abi::wire::Handle(named[0]),
            source_offset: ByteCount(numbers[0]),
            destination: sanproxy_abi::wire::Handle(named[1]),
            destination_offset: ByteCount(numbers[1]),
            length: ByteCount(numbers[2]),
        };
        let actual = wire::ask::<_, Header>(&handle.file, ControlCode::Move, &input).map(drop);
        self.tell(format!(
            "handle {number}: copy {} bytes from {:#x}+{} to {:#x}+{}",
            numbers[2], named[0], numbers[0], named[1], numbers[1]
        ));
        let expected = self.oracle.copy(file, named, numbers);
        self.agree("copy", actual, expected)
    }

    /// Asks what the device offers.
    pub fn capabilities(&mut self, pick: Pick) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let number = handle.number;
        let actual = wire::ask::<_, CapabilitiesOutput>(
            &handle.file,
            ControlCode::QueryCapabilities,
            &Header::of::<Header>(),
        );
        self.tell(format!("handle {number}: capabilities"));
        let actual = actual.map(|told| {
            let file = Amount::new(told.count_per_file.0, told.bytes_per_file.0);
            let device = Amount::new(told.count_per_device.0, told.bytes_per_device.0);
            [file, device]
        });
        let quotas = [self.oracle.per_file, self.oracle.per_device];
        let expected = self.oracle.gate().map(|()| quotas);
        self.agree("capabilities", actual, expected)
    }

    /// Sends what is no request.
    pub fn malformed(&mut self, pick: Pick, what: Malformation) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let number = handle.number;
        let mut code = ControlCode::Lookup.value();
        let mut output = size_of::<LookupOutput>();
        let mut input = LookupInput {
            header: Header::of::<LookupInput>(),
            device_address: DeviceAddress(0),
        };
        let mut length = size_of::<LookupInput>();
        let error = match what {
            Malformation::Code => {
                code ^= 1 << 30;
                Error::UnknownCode
            }
            Malformation::ShortInput => {
                length -= 1;
                Error::InputLength
            }
            Malformation::LongInput => {
                length += 1;
                Error::InputLength
            }
            Malformation::ShortOutput => {
                output -= 1;
                Error::OutputLength
            }
            Malformation::HeaderSize => {
                input.header.size += 8;
                Error::HeaderSize
            }
            Malformation::HeaderVersion => {
                input.header.version += 1;
                Error::HeaderVersion
            }
            Malformation::Reserved => {
                input.header.reserved = 1;
                Error::ReservedBits
            }
        };
        let mut bytes = input.as_bytes().to_vec();
        bytes.resize(length, 0);
        let reply = wire::send(&handle.file, code, &bytes, output);
        self.tell(format!("handle {number}: malformed ({what:?})"));
        let actual = if reply.status.is_success() {
            Ok(())
        } else {
            Err(reply.status)
        };
        self.agree("malformed", actual, Err(error))
    }
}

/// How long the newest registration is.
fn own_length(all: &[Registration]) -> u64 {
    all.last().map_or(0, Registration::length)
}

/// The request for a wish, with its flaw.
fn input(wish: &Wish) -> RegisterInput {
    let mut flags = RegisterFlags::NONE;
    for (wanted, flag) in [
        (wish.map, RegisterFlags::MAP),
        (wish.pieces, RegisterFlags::ALLOW_PIECES),
        (wish.reach == Reach::LowMemory, RegisterFlags::LOW_MEMORY),
        (wish.dump, RegisterFlags::DUMP),
    ] {
        flags = if wanted { flags.with(flag) } else { flags };
    }
    let lowest = match wish.reach {
        Reach::OutOfReach => 1 << 32,
        Reach::Anywhere | Reach::LowMemory => 0,
    };
    let mut input = RegisterInput {
        header: Header::of::<RegisterInput>(),
        kind: Choice(wish.kind.value()),
        flags: Flags(flags.bits()),
        length: ByteCount(wish.length),
        lowest: AddressBound(lowest),
        highest: AddressBound(u64::MAX),
        boundary: AddressBound(if wish.boundary { BOUNDARY } else { 0 }),
        alignment: AddressBound(wish.alignment * 4096),
        cache: Choice(wish.cache.value()),
        node: NodeNumber(wish.node.unwrap_or(ANY_NODE)),
    };
    match wish.flaw {
        None => (),
        Some(Flaw::Size) => input.header.size -= 8,
        Some(Flaw::Version) => input.header.version = 0,
        Some(Flaw::Flag) => input.flags.0 |= 1 << 31,
        Some(Flaw::Kind) => input.kind.0 = 99,
        Some(Flaw::OtherKind) => input.kind.0 = Kind::UserBuffer.value(),
        Some(Flaw::Empty) => input.length.0 = 0,
        Some(Flaw::TooLong) => {
            // Whatever else is asked for leaves room for it.
            input.length.0 = (1 << 30) + 1;
            input.boundary.0 = 0;
            (input.lowest.0, input.highest.0) = (0, u64::MAX);
        }
        Some(Flaw::Boundary) => input.boundary.0 = 3 << 20,
        Some(Flaw::Alignment) => input.alignment.0 = 4097,
        Some(Flaw::Bounds) => (input.lowest.0, input.highest.0) = (8192, 8192),
        Some(Flaw::Cache) => input.cache.0 = 3,
        Some(Flaw::Node) => input.node.0 = 64,
    }
    input
}

fn ask_pieces(handle: &Handle, named: u64, first: u32) -> Result<QueryRegistrationOutput, Status> {
    let input = QueryRegistrationInput {
        header: Header::of::<QueryRegistrationInput>(),
        handle: sanproxy_abi::wire::Handle(named),
        first_piece: PieceIndex(first),
        reserved: Reserved(0),
    };
    wire::ask(&handle.file, ControlCode::QueryRegistration, &input)
}

fn piece(piece: &sanproxy_abi::wire::Piece) -> Piece {
    Piece {
        device: piece.device_address.0,
        length: piece.length.0,
        user: piece.user_address.0,
    }
}

/// All pieces of a new registration, which make it up.
pub(super) fn pieces(
    handle: &Handle,
    reply: &RegisterOutput,
    flags: u32,
) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    loop {
        let first = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        let next = ask_pieces(handle, reply.handle.0, first)
            .map_err(|status| format!("its pieces are refused: {status:?}"))?;
        let returned = usize::try_from(next.returned.0).unwrap_or(0);
        pieces.extend(next.pieces.iter().take(returned).map(piece));
        if returned == 0 || first + next.returned.0 >= next.total.0 {
            break;
        }
    }
    let allowed = flags & RegisterFlags::ALLOW_PIECES.bits() != 0;
    if pieces.len() > 1 && !allowed {
        return Err(format!("has {} pieces", pieces.len()));
    }
    let total: u64 = pieces.iter().map(|piece| piece.length).sum();
    same("the pieces' length", &total, &reply.length.0)?;
    Ok(pieces)
}

fn lies_as_asked(wish: &Wish, piece: &Piece) -> Agreement {
    let last = piece.device + piece.length - 1;
    let alignment = wish.alignment.max(1) * 4096;
    let crosses = wish.boundary && piece.device / BOUNDARY != last / BOUNDARY;
    let too_high = last > u64::from(u32::MAX);
    if !piece.device.is_multiple_of(alignment) || crosses || too_high {
        return Err(format!("does not lie as asked: {piece:x?}"));
    }
    Ok(())
}
