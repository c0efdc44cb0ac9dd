//! What adapters tell.

use wdm::dma::Error;

use crate::{
    bench::{Bench, Case, there},
    request::{Input, Output},
};

pub(crate) const CASES: &[Case] = &[
    (0x801, adapter),
    (0x802, alignment),
    (0x803, info),
    (0x804, transfer_info),
    (0x805, list_size),
    (0x806, configure),
];

fn adapter(bench: &mut Bench, _: &Input, output: &mut Output) -> Result<(), Error> {
    let adapter = &bench.adapter;
    output.push(adapter.version())?;
    output.push(u64::try_from(adapter.operations_size()).unwrap_or(0))?;
    output.push(adapter.map_registers())?;
    output.push(adapter.address_width())?;
    output.push(adapter.translates())
}

fn alignment(bench: &mut Bench, _: &Input, output: &mut Output) -> Result<(), Error> {
    output.push(bench.adapter.alignment()?)
}

fn info(bench: &mut Bench, _: &Input, output: &mut Output) -> Result<(), Error> {
    let info = bench.adapter.info()?;
    output.push(info.counter_available)?;
    output.push(info.scatter_gather_limit)?;
    output.push(info.address_width)?;
    output.push(info.flags)?;
    output.push(info.minimum_transfer_unit)
}

/// Offset, length, direction.
fn transfer_info(bench: &mut Bench, input: &Input, output: &mut Output) -> Result<(), Error> {
    let buffer = there(bench.buffer.as_ref())?;
    let (offset, length) = (input.size(0)?, input.size(1)?);
    let adapter = &bench.adapter;
    let info = adapter.transfer_info(buffer, offset, length, input.direction(2))?;
    output.push(info.map_registers)?;
    output.push(info.elements)?;
    output.push(info.list_size)?;
    output.push(info.logical_pages.unwrap_or(u32::MAX))
}

/// Offset, length.
fn list_size(bench: &mut Bench, input: &Input, output: &mut Output) -> Result<(), Error> {
    let buffer = there(bench.buffer.as_ref())?;
    let size = bench
        .adapter
        .list_size(buffer, input.size(0)?, input.size(1)?)?;
    output.push(size.bytes)?;
    output.push(size.map_registers)
}

/// Number of the function, and the number that it is given. Tells what became of that.
fn configure(bench: &mut Bench, input: &Input, output: &mut Output) -> Result<(), Error> {
    let (function, mut number) = (input.count(0)?, input.count(1)?);
    #[expect(unsafe_code, reason = "only the controller knows its parameters")]
    // SAFETY: the controller's functions work on a number of 32 bits, which outlives the call.
    unsafe {
        let number = (&raw mut number).cast();
        bench.adapter.configure_channel(function, number)
    }?;
    output.push(number)
}
