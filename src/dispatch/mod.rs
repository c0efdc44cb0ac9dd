//! Control codes: from bytes to a handler, and from its result to the completion.
//!
//! | family | codes |
//! | --- | --- |
//! | [`query`] | interface, capabilities, statistics, the status page |
//! | [`administration`] | all registrations of the device, its quotas |
//! | [`register`] | register, release |
//! | [`pieces`] | the pieces of a registration, and whose an address is |
//! | [`transfer`] | moving bytes, and bringing them up to date |
//! | [`secure`] | securing memory of the caller's own |
//! | [`messages`] | events; connecting, sending and receiving, also by read and write requests |

mod administration;
mod messages;
mod pieces;
mod query;
mod register;
mod secure;
mod transfer;

use sanproxy_abi::{ControlCode, Error, ExchangeRequest, QuotaRequest, Request, wire::Message};
use wdm::{
    clock, control::Control, direct::Transfer, irp::Completed, pool::Shared, status::Status,
};

use crate::{
    device::Using,
    file::File,
    messages::{connect, disconnect},
    trace,
};

/// Room for the longest input and a bit: so one that is too long is seen to be.
const INPUT_ROOM: usize = 80;

/// The one place where an error becomes a status.
pub(crate) const fn status(error: Error) -> Status {
    Status::error(error.status().0)
}

/// Answers a request.
pub(crate) fn answer(file: &Shared<File>, control: Control) -> Completed {
    let mut room = [0; INPUT_ROOM];
    let request = parse(&control, &mut room);
    if matches!(request, Ok(Request::WaitEvent)) {
        return messages::wait(file, control);
    }
    if let Ok(Request::SetQuota(quotas)) = request {
        // Waits for a thread of the system, as long as that takes: without the device.
        return set_quota(file, control, quotas);
    }
    // Left only when the request is done with: so the device is not cleared away under it.
    let using = request.and_then(|request| Ok((request, file.device().enter()?)));
    match using {
        Ok((request, using)) => handle(file, control, request, &using),
        Err(error) => fail(file, control, error),
    }
}

/// Answers a read or write request.
pub(crate) fn transfer(file: &Shared<File>, transfer: Transfer) -> Completed {
    // As for control requests. A request that waits does not keep the device.
    match file.device().enter() {
        Ok(_using) => messages::transfer(file, transfer),
        Err(error) => transfer.fail(file.device().fail(error)),
    }
}

/// Refuses a request that came when its device was going.
pub(crate) fn refuse(file: &Shared<File>, control: Control) -> Completed {
    let mut room = [0; INPUT_ROOM];
    let error = parse(&control, &mut room).err().unwrap_or(Error::Removed);
    fail(file, control, error)
}

fn parse(control: &Control, room: &mut [u8; INPUT_ROOM]) -> Result<Request, Error> {
    let (input_length, output_length) = (control.input_length(), control.output_length());
    let input = control.copy_input(room);
    if control.code() == ControlCode::Exchange.value() {
        // Only its beginning is here: the rest is the message.
        let request = ExchangeRequest::parse(input, input_length, output_length)?;
        return Ok(Request::Exchange(request));
    }
    Request::parse(control.code(), input, output_length)
}

fn handle(file: &File, control: Control, request: Request, using: &Using) -> Completed {
    match request {
        Request::QueryInterface => reply(file, control, || Ok(query::interface())),
        Request::QueryCapabilities => reply(file, control, || Ok(query::capabilities(file, using))),
        Request::Statistics => reply(file, control, || Ok(query::statistics(file))),
        Request::Register(request) => reply(file, control, || {
            timed(file, || register::register(file, using, &request))
        }),
        Request::RegisterHostMemory(request) => reply(file, control, || {
            timed(file, || {
                register::register_host_memory(file, using, &request)
            })
        }),
        Request::Release(handle) => reply(file, control, || register::release(file, handle)),
        Request::QueryRegistration(request) => {
            reply(file, control, || pieces::query(file, request))
        }
        Request::Lookup(address) => reply(file, control, || pieces::lookup(file, address)),
        Request::MapStatusPage => reply(file, control, || query::status_page(file)),
        Request::Enumerate(after) => {
            reply(file, control, || administration::enumerate(file, after))
        }
        Request::EnumeratePieces(serial, first) => reply(file, control, || {
            administration::enumerate_pieces(file, serial, first)
        }),
        Request::SetQuota(quotas) => set_quota(file, control, quotas),
        Request::Move(request) => reply(file, control, || transfer::copy(file, &request)),
        Request::Synchronize(request) => {
            reply(file, control, || transfer::synchronize(file, &request))
        }
        Request::Secure(request) => reply(file, control, || {
            timed(file, || secure::secure(file, &request))
        }),
        Request::Unsecure(handle) => reply(file, control, || secure::unsecure(file, handle)),
        Request::RegisterUserBuffer(request) => reply(file, control, || {
            timed(file, || {
                register::register_user_buffer(file, using, &request)
            })
        }),
        Request::WaitEvent => messages::wait(file, control),
        Request::Exchange(request) => messages::exchange(file, control, request),
        Request::Connect(peer) => reply(file, control, || connect(file, peer)),
        Request::Disconnect => reply(file, control, || disconnect(file)),
    }
}

fn set_quota(file: &File, control: Control, quotas: QuotaRequest) -> Completed {
    reply(file, control, || administration::set_quota(file, quotas))
}

/// Makes a registration, and counts how long it took.
fn timed<T>(file: &File, make: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let start = clock::now();
    let made = make()?;
    let units = clock::now().saturating_sub(start);
    file.device().statistics().count_latency(units);
    Ok(made)
}

/// Completes a request with what its handler makes of it.
///
/// Each handler has a stack frame of its own: all in one would be large for a kernel stack.
#[inline(never)]
fn reply<T: Message>(
    file: &File,
    control: Control,
    handler: impl FnOnce() -> Result<T, Error>,
) -> Completed {
    match handler() {
        Ok(reply) => control.complete(Ok(reply.as_bytes())),
        Err(error) => fail(file, control, error),
    }
}

fn fail(file: &File, control: Control, error: Error) -> Completed {
    trace::limited(file, error);
    let status = file.device().fail(error);
    control.complete(Err(status))
}
