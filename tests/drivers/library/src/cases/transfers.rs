//! Memory for transfers.

use wdm::{
    contiguous::{ContiguousMemory, Wanted},
    dma::{Error, TransferBuffer},
    locked_pages::{Access, LockedPages},
    memory::CacheType,
    node::Node,
    pool::Shared,
    process::Process,
    status::Status,
};

use crate::{
    bench::{Bench, Case, there},
    request::{Input, Output},
};

pub(crate) const CASES: &[Case] = &[
    (0x810, in_pool),
    (0x811, contiguous),
    (0x812, of_process),
    (0x813, write),
    (0x814, read),
    (0x815, free),
    (0x816, synchronise),
];

fn keep(bench: &mut Bench, buffer: TransferBuffer) -> Result<(), Error> {
    bench.buffer = Some(Shared::new(buffer)?);
    Ok(())
}

/// Length, then what is in it.
fn in_pool(bench: &mut Bench, input: &Input, _: &mut Output) -> Result<(), Error> {
    let buffer = TransferBuffer::in_pool(input.size(0)?)?;
    buffer.write(0, input.bytes())?;
    keep(bench, buffer)
}

/// Length, lowest and highest physical address, then what is in it.
fn contiguous(bench: &mut Bench, input: &Input, _: &mut Output) -> Result<(), Error> {
    let memory = ContiguousMemory::new(&Wanted {
        length: input.size(0)?,
        lowest: input.number(1),
        highest: input.number(2),
        boundary: 0,
        cache: CacheType::Cached,
        node: Node::Any,
    })?;
    let buffer = TransferBuffer::contiguous(memory)?;
    buffer.write(0, input.bytes())?;
    keep(bench, buffer)
}

/// Address and length in the calling process, which the device may read and write.
fn of_process(bench: &mut Bench, input: &Input, _: &mut Output) -> Result<(), Error> {
    let process = Process::current().map_err(Error::Refused)?;
    let pages = LockedPages::new(input.number(0), input.size(1)?, Access::Both, &process)
        .map_err(|_| Error::Refused(Status::INVALID_USER_BUFFER))?;
    keep(bench, TransferBuffer::from(pages))
}

/// Offset, then the bytes.
fn write(bench: &mut Bench, input: &Input, _: &mut Output) -> Result<(), Error> {
    there(bench.buffer.as_ref())?.write(input.size(0)?, input.bytes())
}

/// Offset, length.
fn read(bench: &mut Bench, input: &Input, output: &mut Output) -> Result<(), Error> {
    let buffer = there(bench.buffer.as_ref())?;
    buffer.read(input.size(0)?, output.room(input.size(1)?)?)
}

fn free(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    drop(there(bench.buffer.take())?);
    Ok(())
}

/// Direction: of the mapping, or else of the list.
fn synchronise(bench: &mut Bench, input: &Input, _: &mut Output) -> Result<(), Error> {
    match &bench.mapping {
        Some(mapping) => mapping.synchronise(input.direction(0)),
        None => there(bench.list.as_ref())?.synchronise(input.direction(0)),
    }
}
