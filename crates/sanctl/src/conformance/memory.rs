//! Memory is what was asked for, zeroed, reachable, and its own.

use sanproxy_provider::{AddressKind, Channel, Kind, Provider, RegisterOptions, Registration};

use super::{Check, Finding, Ground, Named, ensure, words};
use crate::system::System;

/// All of them.
pub(super) fn checks<S: System>() -> Vec<Check<S>> {
    let checks: [Named<S>; 9] = [
        ("capabilities_are_consistent", capabilities),
        ("low_memory_lies_below_4_gib", low_memory),
        ("length_is_rounded_to_whole_pages", |ground| {
            let provider = ground.open()?;
            let length = provider.register(&common(1)).map_err(words)?.length();
            ensure(length == 4096, || format!("one byte became {length}"))
        }),
        ("new_memory_is_zero_though_old_memory_was_not", zeroed),
        ("mapped_memory_keeps_what_is_written", written),
        ("alignment_and_boundary_are_kept", alignment),
        ("registrations_do_not_overlap", overlap),
        ("lookup_finds_the_first_and_the_last_byte", lookup),
        ("move_copies_between_registrations_and_within_one", moves),
    ];
    let checks = checks.into_iter();
    checks.map(|(name, run)| Check { name, run }).collect()
}

fn common(length: u64) -> RegisterOptions {
    RegisterOptions::common_buffer(length)
}

fn register<C: Channel>(
    provider: &Provider<C>,
    options: &RegisterOptions,
) -> Result<Registration<C>, String> {
    provider.register(options).map_err(words)
}

fn capabilities<S: System>(ground: &Ground<'_, S>) -> Finding {
    let offered = ground.open()?.capabilities().map_err(words)?;
    let has_adapter = offered.dma_version.is_some();
    let has_common = offered.kinds.contains(Kind::CommonBuffer);
    ensure(has_adapter == has_common, || {
        "common buffers without an adapter, or none with one".to_owned()
    })?;
    let file = offered.bytes_per_file <= offered.bytes_per_device;
    ensure(file || offered.bytes_per_device > 0, || {
        "no room for any registration".to_owned()
    })
}

fn low_memory<S: System>(ground: &Ground<'_, S>) -> Finding {
    let provider = ground.open()?;
    let memory = register(&provider, &common(64 << 10).low_memory())?;
    let address = memory.device_address();
    ensure(memory.is_low(), || format!("it lies at {address:#x}"))
}

fn zeroed<S: System>(ground: &Ground<'_, S>) -> Finding {
    let provider = ground.open()?;
    for round in 0..8_u8 {
        let memory = register(&provider, &common(64 << 10).map())?;
        let mut seen = vec![1; 64 << 10];
        memory.read_at(0, &mut seen).map_err(words)?;
        let dirty = seen.iter().filter(|byte| **byte != 0).count();
        ensure(dirty == 0, || {
            format!("{dirty} bytes were not zero in round {round}")
        })?;
        memory.write_at(0, &vec![0xEE; 64 << 10]).map_err(words)?;
        memory.release().map_err(words)?;
    }
    Ok(())
}

fn written<S: System>(ground: &Ground<'_, S>) -> Finding {
    let provider = ground.open()?;
    let memory = register(&provider, &common(16 << 10).map())?;
    let text: Vec<u8> = (0..=u8::MAX).cycle().take(16 << 10).collect();
    memory.write_at(0, &text).map_err(words)?;
    let mut seen = vec![0; 16 << 10];
    memory.read_at(0, &mut seen).map_err(words)?;
    ensure(seen == text, || "it reads differently".to_owned())?;
    let beyond = memory.read_at(16 << 10, &mut [0]);
    ensure(beyond.is_err(), || {
        "the byte after the end can be read".to_owned()
    })
}

fn alignment<S: System>(ground: &Ground<'_, S>) -> Finding {
    let provider = ground.open()?;
    // The library holds the reply against the request; what it finds is the finding.
    drop(register(&provider, &common(4096).alignment(64 << 10))?);
    drop(register(&provider, &common(32 << 10).boundary(64 << 10))?);
    Ok(())
}

fn overlap<S: System>(ground: &Ground<'_, S>) -> Finding {
    let (one, other) = (ground.open()?, ground.open()?);
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(register(&one, &common(8192))?);
        held.push(register(&other, &common(4096))?);
    }
    if held
        .iter()
        .any(|memory| memory.address_kind() == AddressKind::None)
    {
        return Ok(());
    }
    let mut ranges: Vec<(u64, u64)> = held
        .iter()
        .map(|memory| (memory.device_address(), memory.length()))
        .collect();
    ranges.sort_unstable();
    let apart = ranges.windows(2).all(|pair| match pair {
        [(start, length), (next, _)] => start.saturating_add(*length) <= *next,
        _ => true,
    });
    ensure(apart, || format!("{ranges:x?}"))
}

fn lookup<S: System>(ground: &Ground<'_, S>) -> Finding {
    let provider = ground.open()?;
    let memory = register(&provider, &common(8192))?;
    let start = memory.device_address();
    for (address, offset) in [(start, 0), (start.saturating_add(8191), 8191)] {
        let found = provider.lookup(address).map_err(words)?;
        let right =
            found.is_some_and(|found| found.handle == memory.handle() && found.offset == offset);
        ensure(right, || format!("{address:#x} gives {found:?}"))?;
    }
    memory.release().map_err(words)?;
    let found = provider.lookup(start).map_err(words)?;
    ensure(found.is_none(), || {
        "released memory is still found".to_owned()
    })
}

fn moves<S: System>(ground: &Ground<'_, S>) -> Finding {
    let provider = ground.open()?;
    let source = register(&provider, &common(4096).map())?;
    let target = register(&provider, &common(4096).map())?;
    source.write_at(0, b"abcdefgh").map_err(words)?;
    provider
        .copy((&source, 0), (&target, 100), 8)
        .map_err(words)?;
    // Overlapping, as memmove does it.
    provider
        .copy((&target, 100), (&target, 102), 8)
        .map_err(words)?;
    let mut seen = [0; 10];
    target.read_at(100, &mut seen).map_err(words)?;
    ensure(&seen == b"ababcdefgh", || {
        String::from_utf8_lossy(&seen).into_owned()
    })
}
