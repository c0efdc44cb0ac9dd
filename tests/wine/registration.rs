//! Registering memory and using it.

use sanproxy_provider::{AddressKind, Method, Provider, RegisterOptions};

use crate::{Outcome, probe::Probe, session::Session};

const PAGE: u64 = 4096;
const LENGTH: u64 = 3 * PAGE;
/// `MEM_COMMIT`, `PAGE_READWRITE`, `MEM_MAPPED`.
const MAPPED_READ_WRITE: &str = "1000 4 40000";
/// The companion of Wine's kernel gives the first MiB of device addresses to the first buffer: the driver's reserve.
const HIGHEST_OF_RESERVE: u64 = 0x8F_FFFF;
/// `MEM_FREE`: no memory is there.
const FREE: &str = "10000";

fn pattern(length: u64) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from(at % 251).unwrap_or(0))
        .collect()
}

/// Registers, looks at fresh memory, writes, reads, releases; then the memory is gone from the process.
fn round_trip(options: &RegisterOptions) -> Outcome {
    let session = Session::with_driver()?;
    let provider = Provider::open(session.client()?)?;
    let memory = provider.register(options)?;
    let length = memory.length();
    let size = usize::try_from(length)?;
    let address = memory.user_address().ok_or("it is not mapped")?;
    let mut read = vec![1; size];
    memory.read_at(0, &mut read)?;
    assert!(
        read.iter().all(|byte| *byte == 0),
        "fresh memory is not zeroed"
    );
    let protection = provider.channel().ask(&format!("protection {address:x}"))?;
    assert_eq!(protection, MAPPED_READ_WRITE);
    memory.write_at(0, &pattern(length))?;
    memory.read_at(0, &mut read)?;
    assert_eq!(read, pattern(length));
    memory.release()?;
    assert!(is_free(provider.channel(), address)?, "it is still mapped");
    assert_eq!(provider.statistics()?.file_registrations, 0);
    Ok(())
}

fn is_free(probe: &Probe, address: u64) -> Result<bool, crate::Failure> {
    let answer = probe.ask(&format!("protection {address:x}"))?;
    Ok(answer.split(' ').next() == Some(FREE))
}

#[test]
fn common_buffer_written_and_read_back_is_the_same() -> Outcome {
    round_trip(&RegisterOptions::common_buffer(LENGTH).map())
}

#[test]
fn large_common_buffer_written_and_read_back_is_the_same() -> Outcome {
    // Longer than a view's granule, and not from the reserve's first page.
    round_trip(&RegisterOptions::common_buffer(80 * PAGE).map())
}

#[test]
fn contiguous_memory_written_and_read_back_is_the_same() -> Outcome {
    round_trip(&RegisterOptions::contiguous(LENGTH).map())
}

#[test]
fn common_buffer_lies_low_for_the_device_however_high_the_memory_lies() -> Outcome {
    let session = Session::with_driver()?;
    let provider = Provider::open(session.client()?)?;
    let memory = provider.register(&RegisterOptions::common_buffer(4 << 20).low_memory())?;
    assert_eq!(memory.address_kind(), AddressKind::Logical);
    assert_eq!(memory.method(), Method::AllocateCommonBufferWithBounds);
    assert!(memory.is_low());
    assert_eq!(memory.user_address(), None);
    Ok(())
}

#[test]
fn memory_copied_by_the_driver_arrives_in_another_mapping() -> Outcome {
    let session = Session::with_driver()?;
    let provider = Provider::open(session.client()?)?;
    let source = provider.register(&RegisterOptions::common_buffer(LENGTH).map())?;
    let destination = provider.register(&RegisterOptions::contiguous(LENGTH).map())?;
    source.write_at(0, &pattern(LENGTH))?;
    provider.copy((&source, 1), (&destination, PAGE), PAGE)?;
    let mut read = vec![0; usize::try_from(PAGE)?];
    destination.read_at(PAGE, &mut read)?;
    assert_eq!(
        Some(read.as_slice()),
        pattern(LENGTH).get(1..=usize::try_from(PAGE)?)
    );
    Ok(())
}

#[test]
fn device_address_looked_up_is_found_with_its_offset() -> Outcome {
    let session = Session::with_driver()?;
    let provider = Provider::open(session.client()?)?;
    let memory = provider.register(&RegisterOptions::common_buffer(LENGTH))?;
    let address = memory.device_address().saturating_add(PAGE + 5);
    let location = provider.lookup(address)?.ok_or("it is not found")?;
    assert_eq!(
        (location.handle, location.offset),
        (memory.handle(), PAGE + 5)
    );
    Ok(())
}

#[test]
fn two_mappings_out_of_one_granule_show_each_its_own_page_alone() -> Outcome {
    let session = Session::with_driver()?;
    let provider = Provider::open(session.client()?)?;
    let options = RegisterOptions::common_buffer(PAGE)
        .highest(HIGHEST_OF_RESERVE)
        .map();
    let first = provider.register(&options)?;
    let second = provider.register(&options)?;
    assert_eq!(
        (first.method(), second.method()),
        (Method::Reserve, Method::Reserve)
    );
    first.write_at(0, &[0x11; 16])?;
    second.write_at(0, &[0x22; 16])?;
    let mut read = [0; 16];
    first.read_at(0, &mut read)?;
    assert_eq!(read, [0x11; 16]);
    let address = second.user_address().ok_or("it is not mapped")?;
    let before = provider
        .channel()
        .ask(&format!("read {:x} 1", address.saturating_sub(1)));
    let after = provider
        .channel()
        .ask(&format!("read {:x} 1", address.saturating_add(PAGE)));
    assert!(before.is_err() && after.is_err(), "{before:?} {after:?}");
    Ok(())
}
