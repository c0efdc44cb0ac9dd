//! What a file keeps between requests, and which request calls what.

use wdm::{
    control::Control,
    dma::{
        Adapter, BufferVector, CommonBuffer, DmaDomain, DomainMembership, Error, MapRegisters,
        Mapping, RegisterRequest, SharedBlock, TransferBuffer, TransferList,
    },
    irp::Completed,
    mutex::Mutex,
    pool::{Owned, Shared},
    status::Status,
};

use crate::{
    Published,
    cases::{common, domains, information, lists, packets, transfers},
    device::Device,
    request::{Input, Output},
};

/// What the requests of one file have made. Dropped in this order: the device loses memory before that is freed.
pub(crate) struct Bench {
    pub(crate) mapping: Option<Mapping>,
    pub(crate) list: Option<TransferList>,
    pub(crate) second_list: Option<TransferList>,
    pub(crate) request: Option<RegisterRequest>,
    pub(crate) registers: Option<MapRegisters>,
    pub(crate) buffer: Option<Shared<TransferBuffer>>,
    pub(crate) common: Option<CommonBuffer>,
    pub(crate) block: Option<SharedBlock>,
    pub(crate) vector: Option<BufferVector>,
    pub(crate) membership: Option<Shared<DomainMembership>>,
    pub(crate) domain: Option<Shared<DmaDomain>>,
    pub(crate) published: Shared<Published>,
    pub(crate) adapter: Shared<Adapter>,
}

/// An open of the device: its bench, unless a request has it.
pub(crate) struct File {
    bench: Mutex<Option<Owned<Bench>>>,
}

/// A request: its number, and what it does.
pub(crate) type Case = (
    u32,
    fn(&mut Bench, &Input, &mut Output) -> Result<(), Error>,
);

impl File {
    pub(crate) fn new(device: &Shared<Device>) -> Result<Self, Status> {
        let bench = Bench {
            mapping: None,
            list: None,
            second_list: None,
            request: None,
            registers: None,
            buffer: None,
            common: None,
            block: None,
            vector: None,
            membership: None,
            domain: None,
            published: device.published.clone(),
            adapter: device.adapter().ok_or(Status::DEVICE_NOT_READY)?,
        };
        Ok(Self {
            bench: Mutex::new(Some(Owned::new(bench)?)),
        })
    }

    pub(crate) fn answer(&self, request: Control) -> Completed {
        // Taken out meanwhile: a wrapper may wait, and nobody may with the lock.
        let Some(mut bench) = self.bench.lock().take() else {
            return request.complete(Err(Status::DEVICE_BUSY));
        };
        let result = answer(&mut bench, &request);
        *self.bench.lock() = Some(bench);
        match result {
            Ok(output) => request.complete(Ok(output.written())),
            Err(status) => request.complete(Err(status)),
        }
    }

    /// The last handle is closed: everything is given back.
    pub(crate) fn clear(&self) {
        let bench = self.bench.lock().take();
        drop(bench);
    }
}

fn answer(bench: &mut Bench, request: &Control) -> Result<Output, Status> {
    let input = Input::read(request)?;
    let mut output = Output::new()?;
    let function = request.code().checked_shr(2).unwrap_or(0) & 0xFFF;
    let families = [
        information::CASES,
        transfers::CASES,
        packets::CASES,
        lists::CASES,
        common::CASES,
        domains::CASES,
    ];
    let mut cases = families.into_iter().flatten();
    let case = cases.find(|(number, _)| *number == function);
    let (_, case) = case.ok_or(Status::INVALID_DEVICE_REQUEST)?;
    case(bench, &input, &mut output)?;
    Ok(output)
}

/// What a request needs that an earlier one has not made.
pub(crate) fn there<T>(value: Option<T>) -> Result<T, Error> {
    value.ok_or(Error::Refused(Status::INVALID_HANDLE))
}
