//! Scatter/gather lists.

use wdm::dma::{Error, ListMember, TransferList};

use crate::{
    bench::{Bench, Case, there},
    request::{Input, Output},
};

pub(crate) const CASES: &[Case] = &[
    (0x840, list),
    (0x841, second_list),
    (0x842, put),
    (0x843, view),
];

/// Offset, length, direction, member. Tells the elements.
fn make(bench: &Bench, input: &Input, output: &mut Output) -> Result<TransferList, Error> {
    let member = match input.number(3) {
        0 => ListMember::Get,
        1 => ListMember::Build,
        2 => ListMember::GetEx,
        _ => ListMember::BuildEx,
    };
    let buffer = there(bench.buffer.as_ref())?;
    let range = (input.size(0)?, input.size(1)?);
    let direction = input.direction(2);
    let list = TransferList::new(&bench.adapter, buffer, range, direction, member)?;
    output.push_all(list.elements())?;
    Ok(list)
}

fn list(bench: &mut Bench, input: &Input, output: &mut Output) -> Result<(), Error> {
    bench.list = Some(make(bench, input, output)?);
    Ok(())
}

fn second_list(bench: &mut Bench, input: &Input, output: &mut Output) -> Result<(), Error> {
    bench.second_list = Some(make(bench, input, output)?);
    Ok(())
}

fn put(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    drop(there(bench.list.take())?);
    Ok(())
}

/// Tells whether the device has a copy.
fn view(bench: &mut Bench, _: &Input, output: &mut Output) -> Result<(), Error> {
    let view = there(bench.list.as_ref())?.device_view()?;
    output.push(view.is_copy())
}
