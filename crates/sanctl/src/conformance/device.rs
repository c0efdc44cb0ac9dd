//! What is told of the whole device, host memory buffers, events and messages.

use sanproxy_abi::wire::{
    ByteCount, Count, EnumerateInput, EnumerateOutput, Header, Serial, SetQuotaInput,
};
use sanproxy_abi::{ControlCode, Error, EventKind};
use sanproxy_provider::{
    Channel, ConnectionState, DeviceState, EndpointId, HostMemoryOptions, Provider,
    RegisterOptions, Status,
};
use zerocopy::IntoBytes;

use super::{Check, Finding, Ground, Named, ensure, words};
use crate::system::System;

/// All of them.
pub(super) fn checks<S: System>() -> Vec<Check<S>> {
    let checks: [Named<S>; 10] = [
        ("status_page_follows_the_counters", status_page),
        (
            "status_page_cannot_be_mapped_with_a_short_reply",
            |ground| {
                let header = Header::of::<Header>();
                let code = ControlCode::MapStatusPage.value();
                super::requests::refused(ground, code, header.as_bytes(), 8, Error::OutputLength)
            },
        ),
        ("enumeration_has_what_is_registered", enumeration),
        ("enumeration_after_the_last_number_is_empty", |ground| {
            let input = EnumerateInput {
                header: Header::of::<EnumerateInput>(),
                after: Serial(u64::MAX),
            };
            let mut output = [0; size_of::<EnumerateOutput>()];
            let code = ControlCode::Enumerate.value();
            let provider = ground.open()?;
            let told = provider
                .channel()
                .control(code, input.as_bytes(), &mut output);
            told.map_err(words)?;
            ensure(output.get(24) == Some(&0), || "something came".to_owned())
        }),
        ("quota_beyond_its_range_is_refused", quota),
        ("host_memory_is_between_minimum_and_preferred", host_memory),
        ("host_memory_limits_are_refused", host_memory_limits),
        ("memory_for_crash_dumps_is_registered", |ground| {
            let options = RegisterOptions::common_buffer(4096).dump();
            match ground.open()?.register(&options) {
                Ok(made) => made.release().map_err(words),
                // The system does not ask the driver what to put into them.
                Err(error) if error.status() == Some(Status::NOT_SUPPORTED) => Ok(()),
                Err(error) => Err(words(error)),
            }
        }),
        (
            "messages_go_between_two_files_that_name_each_other",
            messages,
        ),
        ("messages_without_a_connection_are_refused", |ground| {
            let provider = ground.open()?;
            let own = provider.endpoint().map_err(words)?.own;
            ensure(own.0 != 0, || "no endpoint".to_owned())?;
            is(provider.send(b"x"), Status::CONNECTION_INVALID)?;
            is(
                provider.exchange(b"x", &mut [0; 8]),
                Status::CONNECTION_INVALID,
            )?;
            is(provider.connect(EndpointId(u64::MAX)), Status::NOT_FOUND)?;
            is(provider.disconnect(), Status::CONNECTION_INVALID)
        }),
    ];
    let checks = checks.into_iter();
    checks.map(|(name, run)| Check { name, run }).collect()
}

/// Fails unless a request was refused with that status.
fn is<T>(result: Result<T, sanproxy_provider::Error>, expected: Status) -> Finding {
    let status = result.err().and_then(|error| error.status());
    ensure(status == Some(expected), || {
        format!("got {status:?}, not {expected}")
    })
}

fn status_page<S: System>(ground: &Ground<'_, S>) -> Finding {
    let provider = ground.open()?;
    let page = provider.status_page().map_err(words)?;
    let before = page.read().map_err(words)?;
    ensure(before.state == DeviceState::Started, || {
        format!("{before:?}")
    })?;
    let memory = provider.register(&RegisterOptions::common_buffer(8192));
    let memory = memory.map_err(words)?;
    let during = page.read().map_err(words)?;
    let counted = provider.statistics().map_err(words)?;
    let same = (during.live_registrations, during.live_bytes, during.made)
        == (counted.live_registrations, counted.live_bytes, counted.made);
    ensure(same, || format!("{during:?}, but {counted:?}"))?;
    memory.release().map_err(words)?;
    let after = page.read().map_err(words)?;
    let gone = after.released.checked_sub(during.released);
    ensure(gone == Some(1), || format!("{during:?}, then {after:?}"))
}

fn enumeration<S: System>(ground: &Ground<'_, S>) -> Finding {
    let (owner, other) = (ground.open()?, ground.open()?);
    let memory = owner.register(&RegisterOptions::common_buffer(12288));
    let memory = memory.map_err(words)?;
    let listed = other.enumerate().map_err(words)?;
    let found = listed
        .iter()
        .find(|one| one.device_address == memory.device_address() && one.length == 12288);
    ensure(
        found.is_some_and(|one| one.kind == Some(memory.kind())),
        || format!("{found:?} of {}", listed.len()),
    )
}

fn quota<S: System>(ground: &Ground<'_, S>) -> Finding {
    let input = SetQuotaInput {
        header: Header::of::<SetQuotaInput>(),
        bytes_per_file: ByteCount(0),
        count_per_file: Count(0),
        bytes_per_device: ByteCount(u64::MAX),
        count_per_device: Count(u64::MAX),
    };
    let code = ControlCode::SetQuota.value();
    super::requests::refused(ground, code, input.as_bytes(), 8, Error::QuotaRange)
}

fn host_memory<S: System>(ground: &Ground<'_, S>) -> Finding {
    let provider = ground.open()?;
    let (preferred, minimum) = (1 << 20, 4096);
    let options = HostMemoryOptions::new(preferred, minimum).most_ranges(64);
    let made = provider.register_host_memory(&options).map_err(words)?;
    let length = made.length();
    ensure((minimum..=preferred).contains(&length), || {
        format!("{length} bytes")
    })?;
    let sum = made.pieces().iter().map(|piece| piece.length).sum::<u64>();
    ensure(sum == length && made.pieces().len() <= 64, || {
        format!("{} pieces with {sum} bytes", made.pieces().len())
    })?;
    made.release().map_err(words)
}

fn host_memory_limits<S: System>(ground: &Ground<'_, S>) -> Finding {
    let provider = ground.open()?;
    for options in [
        HostMemoryOptions::new(4096, 8192),
        HostMemoryOptions::new(8192, 4096).most_ranges(0),
        HostMemoryOptions::new(8192, 4096).most_ranges(4097),
    ] {
        is(
            provider.register_host_memory(&options),
            Status::INVALID_PARAMETER,
        )?;
    }
    Ok(())
}

/// Two open files.
type Pair<S> = (
    Provider<<S as System>::Channel>,
    Provider<<S as System>::Channel>,
);

/// Two files that have named each other.
fn pair<S: System>(ground: &Ground<'_, S>) -> Result<Pair<S>, String> {
    let (one, other) = (ground.open()?, ground.open()?);
    let theirs = other.endpoint().map_err(words)?.own;
    let waiting = one.connect(theirs).map_err(words)?;
    let connected = other.connect(waiting.own).map_err(words)?;
    if connected.state == ConnectionState::Connected {
        Ok((one, other))
    } else {
        Err(format!("{connected:?}"))
    }
}

fn messages<S: System>(ground: &Ground<'_, S>) -> Finding {
    let (one, other) = pair(ground)?;
    let told = one.wait_event().map_err(words)?;
    ensure(told.count(EventKind::Connected) == 1, || {
        format!("{told:?}")
    })?;
    one.send(b"first").map_err(words)?;
    one.send(b"second").map_err(words)?;
    let mut room = [0; 16];
    for expected in [&b"first"[..], b"second"] {
        let length = other.receive(&mut room).map_err(words)?;
        let same = room.get(..length) == Some(expected);
        ensure(same, || format!("{:?} came", room.get(..length)))?;
    }
    other.send(b"answer").map_err(words)?;
    let length = one.exchange(b"question", &mut room).map_err(words)?;
    ensure(room.get(..length) == Some(b"answer"), || {
        "no answer".to_owned()
    })?;
    other.disconnect().map_err(words)?;
    let told = one.wait_event().map_err(words)?;
    ensure(told.count(EventKind::Disconnected) == 1, || {
        format!("{told:?}")
    })
}
