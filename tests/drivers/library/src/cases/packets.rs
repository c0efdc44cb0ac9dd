//! Map registers, and transfers packet by packet.

use wdm::dma::{Error, MapRegisters, RegisterRequest};

use crate::{
    bench::{Bench, Case, there},
    request::{Input, Output},
};

pub(crate) const CASES: &[Case] = &[
    (0x820, wait_for),
    (0x821, take),
    (0x822, request),
    (0x823, wait),
    (0x824, cancel_request),
    (0x825, without_object),
    (0x826, give_back),
    (0x827, forget_request),
    (0x830, map),
    (0x831, flush),
    (0x832, drop_mapping),
    (0x833, cancel),
    (0x834, remaining),
];

/// How many.
fn wait_for(bench: &mut Bench, input: &Input, _: &mut Output) -> Result<(), Error> {
    bench.registers = Some(MapRegisters::wait_for(&bench.adapter, input.count(0)?)?);
    Ok(())
}

/// How many.
fn take(bench: &mut Bench, input: &Input, _: &mut Output) -> Result<(), Error> {
    bench.registers = Some(MapRegisters::take(&bench.adapter, input.count(0)?)?);
    Ok(())
}

/// How many.
fn request(bench: &mut Bench, input: &Input, _: &mut Output) -> Result<(), Error> {
    bench.request = Some(RegisterRequest::new(&bench.adapter, input.count(0)?)?);
    Ok(())
}

fn wait(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    bench.registers = there(bench.request.take())?.wait();
    Ok(())
}

/// Tells whether the registers came all the same.
fn cancel_request(bench: &mut Bench, _: &Input, output: &mut Output) -> Result<(), Error> {
    bench.registers = there(bench.request.take())?.cancel();
    output.push(bench.registers.is_some())
}

fn forget_request(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    drop(there(bench.request.take())?);
    Ok(())
}

fn without_object(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    bench.registers = Some(there(bench.registers.take())?.without_object());
    Ok(())
}

fn give_back(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    drop(there(bench.registers.take())?);
    Ok(())
}

/// Offset, length, direction. Tells how much is mapped, and where.
fn map(bench: &mut Bench, input: &Input, output: &mut Output) -> Result<(), Error> {
    let (offset, length) = (input.size(0)?, input.size(1)?);
    let buffer = there(bench.buffer.clone())?;
    let registers = there(bench.registers.take())?;
    match registers.map(&buffer, offset, length, input.direction(2)) {
        Ok(mapping) => {
            output.push(u64::try_from(mapping.length()).unwrap_or(0))?;
            output.push_all(mapping.elements())?;
            bench.mapping = Some(mapping);
            Ok(())
        }
        Err((registers, error)) => {
            bench.registers = Some(registers);
            Err(error)
        }
    }
}

fn flush(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    match there(bench.mapping.take())?.flush() {
        Ok(registers) => {
            bench.registers = Some(registers);
            Ok(())
        }
        Err((registers, error)) => {
            bench.registers = Some(registers);
            Err(error)
        }
    }
}

fn drop_mapping(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    drop(there(bench.mapping.take())?);
    Ok(())
}

fn cancel(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    there(bench.mapping.as_ref())?.cancel()
}

fn remaining(bench: &mut Bench, _: &Input, output: &mut Output) -> Result<(), Error> {
    output.push(there(bench.mapping.as_ref())?.remaining()?)
}
