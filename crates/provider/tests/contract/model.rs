//! A driver in a few lines, kept to the contract, whose replies can be spoilt on the way.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use sanproxy_abi::wire::{
    ByteCount, CapabilitiesOutput, Choice, Count, DeviceAddress, EnumerateOutput, Flags, Handle,
    Header, InterfaceOutput, LookupOutput, MapStatusPageOutput, Message, NodeNumber, Piece,
    PieceIndex, QueryRegistrationOutput, RegisterOutput, Reserved, SecureOutput, Serial,
    StatisticsOutput, StatusPage, UserAddress,
};
use sanproxy_abi::{
    ANY_NODE, AddressKind, ControlCode, DeviceState, Error, Kind, Kinds, Method, PIECES_PER_REPLY,
    Place, QuotaRequest, RegisterFlags, RegisterRequest, Request, Status,
};
use sanproxy_provider::{Channel, MemoryFault};
use zerocopy::IntoBytes;

/// Where the model maps memory, and how far the device address is from it.
const MAPPING: u64 = 0x1_0000_0000;
const DEVICE: u64 = 0x100_0000;
/// Where it maps the status page.
const STATUS_PAGE: u64 = 0x7000_0000;

struct Memory {
    request: RegisterRequest,
    place: u64,
    bytes: Vec<u8>,
}

/// Spoils a reply: gets the code, the buffer and the number of bytes, gives the number to tell.
pub(crate) type Spoil = Box<dyn Fn(u32, &mut [u8], usize) -> usize>;

#[derive(Default)]
pub(crate) struct Driver {
    live: RefCell<BTreeMap<u64, Memory>>,
    pub(crate) secured: RefCell<BTreeSet<u64>>,
    next: Cell<u64>,
    failures: RefCell<BTreeMap<usize, u64>>,
    pub(crate) spoil: RefCell<Option<Spoil>>,
    /// How many pieces a registration has that allows several.
    pub(crate) pieces: Cell<u32>,
    pub(crate) calls: RefCell<Vec<ControlCode>>,
    /// How many looks at the status page find it being changed.
    pub(crate) torn: Cell<u32>,
    /// The quotas set last.
    pub(crate) quotas: RefCell<Option<QuotaRequest>>,
}

impl Driver {
    pub(crate) fn live(&self) -> usize {
        self.live.borrow().len()
    }

    /// Spoils every later reply to one request.
    pub(crate) fn spoil_reply<O: Message>(
        &self,
        code: ControlCode,
        change: impl Fn(&mut O) + 'static,
    ) {
        *self.spoil.borrow_mut() = Some(Box::new(move |value, output, length| {
            if value == code.value() {
                let mut reply = O::read_from_bytes(output).unwrap();
                change(&mut reply);
                reply.write_to(output).unwrap();
            }
            length
        }));
    }

    fn answer(&self, request: Request, output: &mut [u8]) -> Result<(), Error> {
        let header = Header::of::<Header>();
        match request {
            Request::QueryInterface => put(output, &interface()),
            Request::QueryCapabilities => put(output, &capabilities()),
            Request::Register(request) => put(output, &self.register(request)),
            Request::QueryRegistration(query) => {
                put(output, &self.query(query.handle, query.first_piece)?);
            }
            Request::Release(Handle(handle)) => {
                self.live
                    .borrow_mut()
                    .remove(&handle)
                    .ok_or(Error::UnknownHandle)?;
                put(output, &header);
            }
            Request::Statistics => put(output, &self.statistics()),
            Request::Lookup(DeviceAddress(address)) => put(output, &self.lookup(address)?),
            Request::Secure(_) => {
                let number = self.next.get() + 1;
                self.next.set(number);
                self.secured.borrow_mut().insert(number);
                let header = Header::of::<SecureOutput>();
                let handle = Handle(number);
                put(output, &SecureOutput { header, handle });
            }
            Request::Unsecure(Handle(handle)) => {
                let known = self.secured.borrow_mut().remove(&handle);
                known.then_some(()).ok_or(Error::UnknownHandle)?;
                put(output, &header);
            }
            // A model of the machine's memory would be more than a model of the contract.
            Request::RegisterUserBuffer(_) => return Err(Error::KindNotOffered),
            // This driver tells nothing by itself, and knows of no other file.
            Request::WaitEvent
            | Request::Exchange(_)
            | Request::Connect(_)
            | Request::Disconnect => return Err(Error::UnknownCode),
            Request::Move(request) => {
                let bytes = self.range(request.source)?;
                let Place { .. } = request.destination;
                self.range(request.destination)?;
                let mut live = self.live.borrow_mut();
                let memory = live.get_mut(&request.destination.handle().0).unwrap();
                let start = usize::try_from(request.destination.offset()).unwrap();
                memory.bytes[start..start + bytes.len()].copy_from_slice(&bytes);
                put(output, &header);
            }
            Request::Synchronize(request) => {
                // It has no user buffers: nothing is ever out of date.
                self.range(request.place)?;
                put(output, &header);
            }
            Request::MapStatusPage => put(output, &map_status_page()),
            Request::Enumerate(after) => put(output, &self.enumerate(after)),
            Request::EnumeratePieces(serial, first) => {
                // It numbers registrations by their handles.
                let told = self.query(Handle(serial.0), first.0);
                let mut told = told.map_err(|_| Error::UnknownSerial)?;
                for piece in &mut told.pieces {
                    piece.user_address = UserAddress(0);
                }
                put(output, &told);
            }
            Request::SetQuota(quotas) => {
                *self.quotas.borrow_mut() = Some(quotas);
                put(output, &header);
            }
            Request::RegisterHostMemory(request) => {
                put(output, &self.register(request.wanted));
            }
        }
        Ok(())
    }

    /// The live registrations, with their handles for numbers.
    fn enumerate(&self, after: Serial) -> EnumerateOutput {
        let live = self.live.borrow();
        let mut reply = EnumerateOutput {
            header: Header::of::<EnumerateOutput>(),
            total: Count(u64::try_from(live.len()).unwrap()),
            last: after,
            ..zero()
        };
        let mut numbers: Vec<u64> = live.keys().copied().filter(|n| *n > after.0).collect();
        numbers.sort_unstable();
        for (place, number) in reply.registrations.iter_mut().zip(numbers) {
            let memory = &live[&number];
            place.serial = Serial(number);
            place.length = ByteCount(memory.request.length.bytes());
            place.kind = Choice(memory.request.kind.value());
            reply.last = Serial(number);
            reply.returned.0 += 1;
        }
        reply
    }

    /// The status page, if that is what lies there: torn as often as it is told to be.
    fn read_page(&self, address: u64, bytes: &mut [u8]) -> Option<()> {
        let start = usize::try_from(address.checked_sub(STATUS_PAGE)?).ok()?;
        let mut page = StatusPage {
            header: Header::of::<StatusPage>(),
            sequence: Count(8),
            state: Choice(DeviceState::Started.value()),
            made: Count(7),
            ..zero()
        };
        let torn = self.torn.get();
        if torn > 0 {
            self.torn.set(torn - 1);
            // Either being changed, or changed between one look and the next.
            page.sequence = Count(u64::from(torn));
            page.made = Count(99);
        }
        let end = start.checked_add(bytes.len())?;
        bytes.copy_from_slice(page.as_bytes().get(start..end)?);
        Some(())
    }

    fn range(&self, place: Place) -> Result<Vec<u8>, Error> {
        let live = self.live.borrow();
        let memory = live.get(&place.handle().0).ok_or(Error::UnknownHandle)?;
        let place = place.within(memory.request.length.bytes())?;
        let start = usize::try_from(place.offset()).unwrap();
        let end = start + usize::try_from(place.length()).unwrap();
        Ok(memory.bytes[start..end].to_vec())
    }

    fn register(&self, request: RegisterRequest) -> RegisterOutput {
        let number = self.next.get() + 1;
        self.next.set(number);
        let place = number << 20;
        let bytes = vec![0; usize::try_from(request.length.bytes()).unwrap()];
        let pieces = self.split(&request);
        let user = if request.flags.contains(RegisterFlags::MAP) {
            MAPPING + place
        } else {
            0
        };
        self.live.borrow_mut().insert(
            number,
            Memory {
                request,
                place,
                bytes,
            },
        );
        let method = match request.kind {
            Kind::CommonBuffer => Method::AllocateCommonBufferEx,
            _ => Method::ContiguousNode,
        };
        RegisterOutput {
            header: Header::of::<RegisterOutput>(),
            handle: Handle(number),
            length: ByteCount(request.length.bytes()),
            device_address: DeviceAddress(DEVICE + place),
            user_address: UserAddress(user),
            pieces: PieceIndex(pieces),
            method: Choice(method.value()),
            cache: Choice(request.cache.value()),
            node: NodeNumber(request.node.map_or(ANY_NODE, sanproxy_abi::Node::number)),
            address_kind: Choice(AddressKind::Logical.value()),
            rung: u32::from(pieces > 1),
        }
    }

    fn split(&self, request: &RegisterRequest) -> u32 {
        if request.flags.contains(RegisterFlags::ALLOW_PIECES) {
            self.pieces.get().max(1)
        } else {
            1
        }
    }

    fn query(&self, handle: Handle, first: u32) -> Result<QueryRegistrationOutput, Error> {
        let live = self.live.borrow();
        let memory = live.get(&handle.0).ok_or(Error::UnknownHandle)?;
        let total = self.split(&memory.request);
        let length = memory.request.length.bytes() / u64::from(total);
        let mut pieces = [Piece {
            device_address: DeviceAddress(0),
            length: ByteCount(0),
            user_address: UserAddress(0),
        }; PIECES_PER_REPLY];
        let mapped = memory.request.flags.contains(RegisterFlags::MAP);
        let mut returned = 0;
        for (piece, index) in pieces.iter_mut().zip(first..total) {
            let start = memory.place + u64::from(index) * length;
            piece.device_address = DeviceAddress(DEVICE + start);
            piece.length = ByteCount(length);
            piece.user_address = UserAddress(if mapped { MAPPING + start } else { 0 });
            returned += 1;
        }
        Ok(QueryRegistrationOutput {
            header: Header::of::<QueryRegistrationOutput>(),
            total: PieceIndex(total),
            returned: PieceIndex(returned),
            kind: Choice(memory.request.kind.value()),
            flags: Flags(memory.request.flags.bits()),
            length: ByteCount(memory.request.length.bytes()),
            pieces,
        })
    }

    fn lookup(&self, address: u64) -> Result<LookupOutput, Error> {
        let live = self.live.borrow();
        let hit = live.iter().find_map(|(number, memory)| {
            let offset = address.checked_sub(DEVICE + memory.place)?;
            (offset < memory.request.length.bytes()).then_some((*number, offset))
        });
        let (number, offset) = hit.ok_or(Error::AddressNotFound)?;
        let (handle, offset) = (Handle(number), ByteCount(offset));
        Ok(LookupOutput {
            header: Header::of::<LookupOutput>(),
            handle,
            offset,
            user_address: UserAddress(0),
        })
    }

    fn statistics(&self) -> StatisticsOutput {
        let mut reply = StatisticsOutput {
            header: Header::of::<StatisticsOutput>(),
            live_registrations: Count(u64::try_from(self.live()).unwrap()),
            ..zero()
        };
        for (index, count) in &*self.failures.borrow() {
            reply.failures[*index] = Count(*count);
        }
        reply
    }

    fn with_memory(
        &self,
        address: u64,
        length: usize,
        action: impl FnOnce(&mut [u8]),
    ) -> Result<(), MemoryFault> {
        let mut live = self.live.borrow_mut();
        let fault = MemoryFault { address };
        let memory = live.values_mut().find_map(|memory| {
            let start = usize::try_from(address.checked_sub(MAPPING + memory.place)?).ok()?;
            memory.bytes.get_mut(start..start.checked_add(length)?)
        });
        action(memory.ok_or(fault)?);
        Ok(())
    }
}

impl Channel for Driver {
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<usize, Status> {
        self.calls
            .borrow_mut()
            .extend(ControlCode::from_value(code));
        let result = Request::parse(code, input, output.len())
            .and_then(|request| self.answer(request, output));
        if let Err(error) = result {
            *self.failures.borrow_mut().entry(error.index()).or_default() += 1;
            return Err(error.status());
        }
        let length = output.len();
        Ok(self
            .spoil
            .borrow()
            .as_ref()
            .map_or(length, |spoil| spoil(code, output, length)))
    }

    fn read_memory(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryFault> {
        if self.read_page(address, bytes).is_some() {
            return Ok(());
        }
        self.with_memory(address, bytes.len(), |memory| bytes.copy_from_slice(memory))
    }

    fn write_memory(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
        self.with_memory(address, bytes.len(), |memory| memory.copy_from_slice(bytes))
    }
}

fn put<O: Message>(output: &mut [u8], reply: &O) {
    reply.write_to(output).unwrap();
}

fn zero<O: Message>() -> O {
    O::new_zeroed()
}

fn map_status_page() -> MapStatusPageOutput {
    MapStatusPageOutput {
        header: Header::of::<MapStatusPageOutput>(),
        user_address: UserAddress(STATUS_PAGE),
        length: ByteCount(4096),
        device_address: DeviceAddress(0),
    }
}

fn interface() -> InterfaceOutput {
    InterfaceOutput {
        header: Header::of::<InterfaceOutput>(),
        interface_major: 1,
        interface_minor: 0,
        driver_minor: 1,
        ..zero()
    }
}

fn capabilities() -> CapabilitiesOutput {
    CapabilitiesOutput {
        header: Header::of::<CapabilitiesOutput>(),
        kinds: Flags(
            Kinds::NONE
                .with(Kind::CommonBuffer)
                .with(Kind::Contiguous)
                .bits(),
        ),
        dma_version: 3,
        address_width: 32,
        dma_operations_size: 320,
        common_buffer_method: Choice(Method::AllocateCommonBufferEx.value()),
        map_registers: 64,
        highest_node: NodeNumber(1),
        page_size: 4096,
        longest_registration: ByteCount(1 << 30),
        reserved: Reserved(0),
        ..zero()
    }
}
