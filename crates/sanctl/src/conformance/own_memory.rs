//! Memory of a program's own: registered where it lies, and secured.

use sanproxy_provider::{Access, Kind, Provider, Side, Status, UserBufferOptions};

use super::{Check, Finding, Ground, Named, ensure, words};
use crate::system::{Pages, System};

const PAGE: u64 = 4096;
const LENGTH: u64 = 4 * PAGE;

/// All of them.
pub(super) fn checks<S: System>() -> Vec<Check<S>> {
    let checks: [Named<S>; 7] = [
        ("own_memory_is_registered_where_it_lies", registered),
        ("own_memory_is_registered_more_than_once", twice),
        ("secured_memory_is_not_freed_until_it_is_unsecured", secured),
        ("range_that_is_not_ones_own_is_refused", not_ones_own),
        ("own_memory_goes_with_its_file", closing),
        ("own_memory_is_synchronized_as_it_is_granted", synchronized),
        (
            "own_memory_is_had_in_one_low_piece_if_a_copy_will_do",
            copied,
        ),
    ];
    let checks = checks.into_iter();
    checks.map(|(name, run)| Check { name, run }).collect()
}

/// An open file, and memory.
type Place<S> = (Provider<<S as System>::Channel>, <S as System>::Pages);

fn memory<S: System>(ground: &Ground<'_, S>) -> Result<Place<S>, String> {
    let provider = ground.open()?;
    let pages = ground.system.allocate(provider.channel(), LENGTH);
    Ok((provider, pages.map_err(words)?))
}

fn registered<S: System>(ground: &Ground<'_, S>) -> Finding {
    let (provider, pages) = memory(ground)?;
    let (start, length) = (pages.start().saturating_add(10), 5000);
    let options = UserBufferOptions::new(start, length, Access::ReadWrite).allow_pieces();
    let made = provider.register_user_buffer(&options).map_err(words)?;
    ensure(made.kind() == Kind::UserBuffer, || {
        made.kind().name().to_owned()
    })?;
    let sum = made.pieces().iter().map(|piece| piece.length).sum::<u64>();
    ensure(sum == length, || format!("the pieces have {sum} bytes"))?;
    let found = provider.lookup(made.device_address()).map_err(words)?;
    let found = found.map(|found| (found.handle, found.offset));
    ensure(found == Some((made.handle(), 0)), || format!("{found:?}"))?;
    let beyond = made.write_at(4990, b"where it is");
    ensure(beyond.is_err(), || "written beyond the end".to_owned())?;
    made.write_at(4989, b"where it is").map_err(words)?;
    let mut seen = [0; 11];
    made.read_at(4989, &mut seen).map_err(words)?;
    ensure(&seen == b"where it is", || format!("{seen:?}"))?;
    made.release().map_err(words)?;
    pages.free().map_err(|(_, error)| words(error))
}

fn twice<S: System>(ground: &Ground<'_, S>) -> Finding {
    let (provider, pages) = memory(ground)?;
    let options = UserBufferOptions::new(pages.start(), LENGTH, Access::ReadWrite).allow_pieces();
    let first = provider.register_user_buffer(&options).map_err(words)?;
    let second = provider.register_user_buffer(&options).map_err(words)?;
    ensure(first.handle() != second.handle(), || {
        "one handle".to_owned()
    })?;
    first.release().map_err(words)?;
    second.query().map_err(words)?;
    second.release().map_err(words)
}

fn secured<S: System>(ground: &Ground<'_, S>) -> Finding {
    let (provider, pages) = memory(ground)?;
    let start = pages.start().saturating_add(PAGE);
    let secured = provider.secure(start, 10, Access::Read).map_err(words)?;
    let Err((pages, _)) = pages.free() else {
        return Err("it was freed while it was secured".to_owned());
    };
    secured.unsecure().map_err(words)?;
    pages.free().map_err(|(_, error)| words(error))
}

fn not_ones_own<S: System>(ground: &Ground<'_, S>) -> Finding {
    let (provider, pages) = memory(ground)?;
    let start = pages.start();
    // Empty; around the end of all addresses; of the kernel.
    for (start, length) in [(start, 0), (u64::MAX, 2), (0xFFFF_8000_0000_0000, PAGE)] {
        let options = UserBufferOptions::new(start, length, Access::Read).allow_pieces();
        let refused = provider.register_user_buffer(&options).err();
        let secured = provider.secure(start, length, Access::Read).err();
        for error in [refused, secured] {
            let status = error.and_then(|error| error.status());
            ensure(status == Some(Status::ACCESS_VIOLATION), || {
                format!("{length} bytes at {start:#x}: {status:?}")
            })?;
        }
    }
    Ok(())
}

fn closing<S: System>(ground: &Ground<'_, S>) -> Finding {
    let witness = ground.open()?;
    let (provider, pages) = memory(ground)?;
    let options = UserBufferOptions::new(pages.start(), LENGTH, Access::Read).allow_pieces();
    let made = provider.register_user_buffer(&options).map_err(words)?;
    let _ = made.into_handle();
    let before = witness.statistics().map_err(words)?;
    drop(provider);
    let after = witness.statistics().map_err(words)?;
    let gone = before
        .live_registrations
        .checked_sub(after.live_registrations);
    ensure(gone == Some(1), || format!("{gone:?} went"))?;
    pages.free().map_err(|(_, error)| words(error))
}

/// Synchronising is for what the device may do; where the adapter cannot, it says so.
fn synchronized<S: System>(ground: &Ground<'_, S>) -> Finding {
    let (provider, pages) = memory(ground)?;
    let options = UserBufferOptions::new(pages.start(), LENGTH, Access::Read).allow_pieces();
    let made = provider.register_user_buffer(&options).map_err(words)?;
    let done = made.synchronize(Side::Device, 100, 1000);
    let status = done.err().and_then(|error| error.status());
    ensure(matches!(status, None | Some(Status::NOT_SUPPORTED)), || {
        format!("for the device: {status:?}")
    })?;
    let refused = made.synchronize(Side::Processor, 0, 1);
    let status = refused.err().and_then(|error| error.status());
    ensure(status == Some(Status::INVALID_PARAMETER), || {
        format!("for the processor: {status:?}")
    })?;
    made.release().map_err(words)
}

/// In one piece below 4 GiB the device is given a copy, or, on some machines, the memory itself.
fn copied<S: System>(ground: &Ground<'_, S>) -> Finding {
    let (provider, pages) = memory(ground)?;
    let options = UserBufferOptions::new(pages.start(), LENGTH, Access::ReadWrite);
    let options = options.low_memory().allow_copy();
    let made = provider.register_user_buffer(&options).map_err(words)?;
    ensure(made.pieces().len() == 1, || "in pieces".to_owned())?;
    made.write_at(0, b"written by the program").map_err(words)?;
    made.synchronize(Side::Device, 0, LENGTH)
        .or_else(|error| match error.status() {
            Some(Status::NOT_SUPPORTED) if !made.is_copy() => Ok(()),
            _ => Err(words(error)),
        })?;
    // What it wrote is what it reads again, through either side.
    let mut seen = [0; 22];
    made.read_at(0, &mut seen).map_err(words)?;
    ensure(&seen == b"written by the program", || format!("{seen:?}"))?;
    made.release().map_err(words)
}
