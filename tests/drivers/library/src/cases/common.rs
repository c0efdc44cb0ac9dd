//! Common buffers, vectors of them, and memory of ours made one.

use wdm::{
    contiguous::{ContiguousMemory, Wanted},
    dma::{BufferVector, BufferWanted, CommonBuffer, Error, SharedBlock},
    memory::CacheType,
    node::Node,
    pool::Shared,
};

use crate::{
    bench::{Bench, Case, there},
    request::{Input, Output},
};

pub(crate) const CASES: &[Case] = &[
    (0x850, common),
    (0x851, free_common),
    (0x852, vector),
    (0x853, shrink),
    (0x854, free_vector),
    (0x855, share),
    (0x856, unshare),
    (0x857, share_vector),
];

/// Length, lowest and highest address.
pub(crate) fn wanted(input: &Input) -> Result<BufferWanted, Error> {
    Ok(BufferWanted {
        length: input.size(0)?,
        lowest: input.number(1),
        highest: input.number(2),
        cache: CacheType::Cached,
        node: Node::Any,
    })
}

fn common(bench: &mut Bench, input: &Input, output: &mut Output) -> Result<(), Error> {
    let buffer = CommonBuffer::new(&bench.adapter, &wanted(input)?)?;
    output.push(buffer.logical_address())?;
    bench.common = Some(buffer);
    Ok(())
}

fn free_common(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    drop(there(bench.common.take())?);
    Ok(())
}

/// Length of each, lowest and highest address, how many.
fn vector(bench: &mut Bench, input: &Input, _: &mut Output) -> Result<(), Error> {
    let vector = BufferVector::new(&bench.adapter, &wanted(input)?, input.count(3)?)?;
    bench.vector = Some(vector);
    Ok(())
}

/// How many are to be left.
fn shrink(bench: &mut Bench, input: &Input, output: &mut Output) -> Result<(), Error> {
    let vector = there(bench.vector.as_mut())?;
    vector.shrink(input.count(0)?)?;
    output.push(vector.count())
}

/// Tells where its elements lie, and gives it back with them.
fn share_vector(bench: &mut Bench, _: &Input, output: &mut Output) -> Result<(), Error> {
    let vector = Shared::new(there(bench.vector.take())?)?;
    for index in 0..vector.count() {
        let element = there(BufferVector::element(&vector, index))?;
        output.push(element.logical_address())?;
    }
    Ok(())
}

fn free_vector(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    drop(there(bench.vector.take())?);
    Ok(())
}

/// Length, lowest and highest address for the device.
fn share(bench: &mut Bench, input: &Input, output: &mut Output) -> Result<(), Error> {
    let memory = ContiguousMemory::new(&Wanted {
        length: input.size(0)?,
        lowest: 0,
        highest: u64::MAX,
        boundary: 0,
        cache: CacheType::Cached,
        node: Node::Any,
    })?;
    let block = SharedBlock::new(&bench.adapter, memory, input.number(1), input.number(2))?;
    output.push(block.logical_address())?;
    bench.block = Some(block);
    Ok(())
}

fn unshare(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    drop(there(bench.block.take())?);
    Ok(())
}
