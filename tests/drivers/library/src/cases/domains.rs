//! DMA domains.

use wdm::{
    dma::{CommonBuffer, DmaDomain, DomainMembership, Error},
    pool::Shared,
    status::Status,
};

use super::common::wanted;
use crate::{
    bench::{Bench, Case, there},
    request::{Input, Output},
};

pub(crate) const CASES: &[Case] = &[
    (0x860, domain),
    (0x861, publish),
    (0x862, withdraw),
    (0x863, join),
    (0x864, leave),
    (0x865, forget),
    (0x866, buffer),
];

/// The adapter's own domain.
fn domain(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    bench.domain = Some(Shared::new(DmaDomain::of(&bench.adapter)?)?);
    Ok(())
}

/// Shows it to the other devices.
fn publish(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    let own = there(bench.domain.clone())?;
    let old = bench.published.lock().replace(own);
    drop(old);
    Ok(())
}

fn withdraw(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    let old = bench.published.lock().take();
    drop(there(old)?);
    Ok(())
}

/// Joins the domain that another device shows.
fn join(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    let shown = there(bench.published.lock().clone())?;
    let membership = DomainMembership::join(&bench.adapter, &shown)?;
    bench.membership = Some(Shared::new(membership)?);
    Ok(())
}

/// Drops the membership.
fn leave(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    drop(there(bench.membership.take())?);
    Ok(())
}

fn forget(bench: &mut Bench, _: &Input, _: &mut Output) -> Result<(), Error> {
    drop(there(bench.domain.take())?);
    Ok(())
}

/// Length, 0, highest address: in the domain that was joined, or else the adapter's own.
fn buffer(bench: &mut Bench, input: &Input, output: &mut Output) -> Result<(), Error> {
    let wanted = wanted(input)?;
    let buffer = match (&bench.membership, &bench.domain) {
        (Some(membership), _) => CommonBuffer::in_joined_domain(membership, &wanted)?,
        (None, Some(domain)) => CommonBuffer::in_own_domain(domain, &wanted)?,
        (None, None) => return Err(Error::Refused(Status::INVALID_HANDLE)),
    };
    output.push(buffer.logical_address())?;
    bench.common = Some(buffer);
    Ok(())
}
