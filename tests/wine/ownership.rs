//! Who owns a registration, and what happens when its owner is gone.

use std::{
    thread,
    time::{Duration, Instant},
};

use sanproxy_abi::RegisterFlags;
use sanproxy_provider::{Provider, RegisterOptions, Statistics, Status, win32_of_status};

use crate::{
    Failure, Outcome,
    probe::Probe,
    refusals::{Request, registering, release},
    session::Session,
};

const PAGE: u64 = 4096;
const LIMIT: Duration = Duration::from_secs(10);

/// The statistics as soon as they are as wanted, or the last ones.
fn statistics_when(
    provider: &Provider<Probe>,
    wanted: impl Fn(&Statistics) -> bool,
) -> Result<Statistics, Failure> {
    let begin = Instant::now();
    loop {
        let statistics = provider.statistics()?;
        if wanted(&statistics) || begin.elapsed() > LIMIT {
            return Ok(statistics);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn killed_process_loses_nothing() -> Outcome {
    let session = Session::with_driver()?;
    let watcher = Provider::open(session.client()?)?;
    let before = watcher.statistics()?;
    let owner = Provider::open(session.client()?)?;
    let options = [
        RegisterOptions::common_buffer(PAGE).map(),
        RegisterOptions::common_buffer(1 << 20).map(),
        RegisterOptions::contiguous(5 * PAGE).map(),
        RegisterOptions::contiguous(PAGE),
    ];
    let handles = options
        .iter()
        .map(|options| {
            owner
                .register(options)
                .map(sanproxy_provider::Registration::into_handle)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let during = watcher.statistics()?;
    assert_eq!(
        during
            .live_registrations
            .saturating_sub(before.live_registrations),
        u64::try_from(handles.len())?
    );
    owner.channel().kill()?;
    let after = statistics_when(&watcher, |now| {
        now.live_registrations == before.live_registrations
    })?;
    assert_eq!(
        (after.live_registrations, after.live_bytes),
        (before.live_registrations, before.live_bytes)
    );
    Ok(())
}

#[test]
fn closed_file_takes_its_registrations_and_mappings_along() -> Outcome {
    let session = Session::with_driver()?;
    let watcher = Provider::open(session.client()?)?;
    let before = watcher.statistics()?;
    let owner = Provider::open(session.client()?)?;
    let memory = owner.register(&RegisterOptions::common_buffer(PAGE).map())?;
    let address = memory.user_address().ok_or("it is not mapped")?;
    let _kept = memory.into_handle();
    owner.channel().ask("close")?;
    let after = statistics_when(&watcher, |now| {
        now.live_registrations == before.live_registrations
    })?;
    assert_eq!(after.live_bytes, before.live_bytes);
    let read = owner.channel().ask(&format!("read {address:x} 1"));
    assert!(read.is_err(), "it is still mapped: {read:?}");
    Ok(())
}

#[test]
fn handle_of_another_process_is_invalid() -> Outcome {
    let session = Session::with_driver()?;
    let owner = Provider::open(session.client()?)?;
    let stranger = Provider::open(session.client()?)?;
    let memory = owner.register(&RegisterOptions::common_buffer(PAGE).map())?;
    memory.write_at(0, b"mine")?;
    let request = release(memory.handle());
    let error = stranger
        .channel()
        .control_raw(request.code, &request.input, request.room);
    let error = error.err().ok_or("a stranger can release it")?;
    assert_eq!(Some(error.0), win32_of_status(Status::INVALID_HANDLE));
    assert_eq!(stranger.lookup(memory.device_address())?, None);
    let mut read = [0; 4];
    memory.read_at(0, &mut read)?;
    assert_eq!(&read, b"mine");
    memory.release()?;
    Ok(())
}

#[test]
fn duplicated_handle_maps_nothing_and_outlives_the_process_that_opened_it() -> Outcome {
    let session = Session::with_driver()?;
    let opener = session.client()?;
    let taker = session.probe()?;
    taker.ask(&format!("take {}", opener.ask("process")?))?;
    let opener = Provider::open(opener)?;
    let taker = Provider::open(taker)?;
    let memory = opener.register(&RegisterOptions::common_buffer(PAGE).map())?;
    let _kept = memory.into_handle();
    let Request { code, input, room } =
        registering(|input| input.flags.0 = RegisterFlags::MAP.bits());
    let refused = taker.channel().control_raw(code, &input, room);
    let expected = win32_of_status(Status::ACCESS_DENIED);
    assert_eq!(refused.err().map(|error| error.0), expected);
    // The file stays open, so its registrations stay too.
    opener.channel().kill()?;
    thread::sleep(Duration::from_millis(200));
    assert_eq!(taker.statistics()?.file_registrations, 1);
    let other = Provider::open(session.client()?)?;
    let before = other.statistics()?.live_registrations;
    taker.channel().ask("close")?;
    let after = statistics_when(&other, |now| now.live_registrations < before)?;
    assert_eq!(after.live_registrations, before.saturating_sub(1));
    Ok(())
}
