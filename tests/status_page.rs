//! The status page: what a provider sees without asking.
//!
//! Cites storport-map.md: S20, S21; security.md: C30; san.md: R19.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use nt_host::{DmaConfig, NtStatus};
use sanproxy_abi::{DeviceState, Error, EventKind};
use sanproxy_provider::{Provider, RegisterOptions};
use sanproxy_tests::{
    channel::HostChannel,
    scene::{scene, scene_of},
    stage::{Setting, accepted},
    wire::statistics,
};

#[test]
fn status_page_counts_without_being_asked() {
    let scene = scene();
    let page = scene.provider.status_page().expect("mapped");
    let calls = scene.stage.host.calls();
    let before = page.read().expect("read");
    assert_eq!(scene.stage.host.calls(), calls, "no call of the driver");
    assert_eq!((before.state, before.generation), (DeviceState::Started, 1));
    assert_eq!((before.live_registrations, before.live_bytes), (0, 0));
    let memory = scene
        .provider
        .register(&RegisterOptions::common_buffer(8192))
        .expect("memory");
    let during = page.read().expect("read");
    assert_eq!((during.live_registrations, during.live_bytes), (1, 8192));
    assert_eq!((during.made, during.released), (1, 0));
    assert!(during.sequence > before.sequence);
    drop(memory);
    let refused = scene.provider.register(&RegisterOptions::common_buffer(0));
    assert!(refused.is_err());
    let after = page.read().expect("read");
    assert_eq!((after.live_registrations, after.live_bytes), (0, 0));
    assert_eq!((after.made, after.released, after.peak_bytes), (1, 1, 8192));
    assert_eq!(after.failures, before.failures + 1);
    drop(page);
    scene.finish();
}

#[test]
fn status_page_agrees_with_the_statistics() {
    let scene = scene();
    let page = scene.provider.status_page().expect("mapped");
    let mut kept = Vec::new();
    for pages in 1..20 {
        let options = RegisterOptions::contiguous(4096 * pages);
        kept.push(scene.provider.register(&options).expect("memory"));
        if pages % 3 == 0 {
            kept.remove(0);
        }
        let told = statistics(scene.provider.channel().file());
        let seen = page.read().expect("read");
        assert_eq!(seen.live_registrations, told.live_registrations.0);
        assert_eq!(seen.live_bytes, told.live_bytes.0);
        assert_eq!((seen.made, seen.released), (told.made.0, told.released.0));
        assert_eq!(seen.peak_bytes, told.peak_bytes.0);
        let failures: u64 = told.failures.iter().map(|count| count.0).sum();
        assert_eq!(seen.failures, failures);
    }
    drop(kept);
    drop(page);
    scene.finish();
}

#[test]
fn status_page_counts_the_events_that_files_are_told_of() {
    let scene = scene();
    let page = scene.provider.status_page().expect("mapped");
    let (_, other) = scene.stage.provider().expect("a second provider");
    let (one, two) = (&scene.provider, &other);
    one.connect(two.endpoint().expect("told").own)
        .expect("named");
    let waiting = page.read().expect("read");
    assert_eq!(waiting.events(EventKind::Connected), 0);
    two.connect(one.endpoint().expect("told").own)
        .expect("named");
    // Nobody has waited for the event yet: the page is how to know that it pays.
    let connected = page.read().expect("read");
    assert_eq!(connected.events(EventKind::Connected), 1);
    assert_eq!(
        one.wait_event().expect("told").count(EventKind::Connected),
        1
    );
    accepted(scene.stage.device.query_stop()).expect("agreed");
    accepted(scene.stage.device.stop()).expect("stopped");
    accepted(scene.stage.device.start()).expect("started");
    drop(page);
    let page = scene.provider.status_page().expect("mapped");
    let started = page.read().expect("read");
    // One for each of the two files.
    assert_eq!(started.events(EventKind::DeviceStopped), 2);
    assert_eq!(started.events(EventKind::DeviceStarted), 2);
    assert_eq!(started.events(EventKind::DeviceRemoved), 0);
    drop(page);
    drop(other);
    scene.finish();
}

#[test]
fn status_page_cannot_be_written_by_a_process() {
    let scene = scene();
    let page = scene.provider.status_page().expect("mapped");
    let written = scene.process.write(page.user_address(), &[0xFF]);
    assert_eq!(written, Err(NtStatus::ACCESS_VIOLATION));
    let mut rest = [0xFF; 4096 - 144];
    scene
        .process
        .read(page.user_address() + 144, &mut rest)
        .expect("a whole page");
    assert!(rest.iter().all(|byte| *byte == 0), "nothing else is shown");
    drop(page);
    scene.finish();
}

#[test]
fn status_page_is_mapped_once_for_each_file() {
    let scene = scene();
    let first = scene.provider.status_page().expect("mapped");
    let again = scene.provider.status_page().expect("mapped");
    assert_eq!(first.user_address(), again.user_address());
    assert_eq!(scene.process.mappings().len(), 1);
    let (process, other) = scene.stage.provider().expect("a second provider");
    let theirs = other.status_page().expect("mapped");
    assert_eq!(theirs.device_address(), first.device_address(), "one page");
    let memory = other
        .register(&RegisterOptions::common_buffer(4096))
        .expect("memory");
    assert_eq!(first.read().expect("read"), theirs.read().expect("read"));
    drop(memory);
    drop((other, theirs));
    assert_eq!(process.mappings(), [], "gone with the file");
    drop((first, again));
    scene.finish();
}

#[test]
fn status_page_goes_with_its_process() {
    let scene = scene();
    let (process, provider) = scene.stage.provider().expect("a second provider");
    let page = provider.status_page().expect("mapped");
    process.exit().expect("killed");
    assert!(page.read().is_err());
    drop((page, provider));
    scene.finish();
}

#[test]
fn status_page_of_a_file_in_another_process_is_denied() {
    let scene = scene();
    let (owner, file) = scene.stage.open().expect("a file");
    let thief = scene
        .stage
        .host
        .create_process("other.exe")
        .expect("a process");
    let copy = file.duplicate(&thief).expect("a duplicate");
    let provider = Provider::open(HostChannel::new(thief, copy)).expect("a provider");
    let refused = provider.status_page().err().expect("denied");
    assert_eq!(refused.status(), Some(Error::WrongProcess.status()));
    assert_eq!(owner.mappings(), []);
    drop((file, provider));
    scene.finish();
}

#[test]
fn status_page_is_gone_when_the_device_stops_and_there_again_when_it_starts() {
    let scene = scene();
    let page = scene.provider.status_page().expect("mapped");
    accepted(scene.stage.device.query_stop()).expect("a page is no registration");
    accepted(scene.stage.device.stop()).expect("a stop");
    assert!(page.read().is_err(), "its memory was the adapter's");
    assert_eq!(scene.process.mappings(), []);
    accepted(scene.stage.device.start()).expect("a second start");
    drop(page);
    let page = scene.provider.status_page().expect("mapped again");
    assert_eq!(page.read().expect("read").generation, 2);
    drop(page);
    scene.finish();
}

#[test]
fn status_page_is_gone_after_surprise_removal() {
    let scene = scene();
    let page = scene.provider.status_page().expect("mapped");
    accepted(scene.stage.device.surprise_removal()).expect("gone");
    assert!(page.read().is_err());
    assert_eq!(scene.process.mappings(), []);
    drop(page);
    scene.finish();
}

#[test]
fn status_page_is_looked_up_by_its_device_address() {
    let scene = scene();
    // Without a view of it the file knows nothing of the page.
    let (_, other) = scene.stage.provider().expect("a second provider");
    let page = scene.provider.status_page().expect("mapped");
    let address = page.device_address().expect("the device reaches it");
    let found = scene.provider.lookup(address + 40).expect("looked up");
    let found = found.expect("found");
    assert!(found.is_status_page());
    assert_eq!(
        (found.offset, found.user_address),
        (40, Some(page.user_address() + 40))
    );
    assert_eq!(
        scene.provider.lookup(address + 4096).expect("looked up"),
        None
    );
    assert_eq!(other.lookup(address).expect("looked up"), None);
    let mut seen = [0; 8];
    scene
        .nic
        .read(address + 24, &mut seen)
        .expect("the device sees it too");
    assert_eq!(u64::from_le_bytes(seen), 1, "the generation");
    drop(other);
    drop(page);
    scene.finish();
}

#[test]
fn status_page_without_an_adapter_is_for_programs_alone() {
    let dma = DmaConfig {
        interface_version: 0,
        ..DmaConfig::default()
    };
    let scene = scene_of(Setting::default().dma(dma));
    let page = scene.provider.status_page().expect("mapped");
    assert_eq!(page.device_address(), None);
    assert_eq!(page.read().expect("read").state, DeviceState::Started);
    drop(page);
    scene.finish();
}

#[test]
fn status_page_read_while_others_register_is_never_torn() {
    let scene = scene();
    let page = scene.provider.status_page().expect("mapped");
    let done = AtomicBool::new(false);
    let providers: Vec<_> = (0..2)
        .map(|_| scene.stage.provider().expect("a provider"))
        .collect();
    thread::scope(|scope| {
        let workers: Vec<_> = providers
            .iter()
            .map(|(_, provider)| {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let options = RegisterOptions::common_buffer(4096);
                        drop(provider.register(&options).expect("memory"));
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let (mut last, mut reads) = (page.read().expect("read"), 0_u64);
            while !done.load(Ordering::Acquire) {
                let now = page.read().expect("read");
                // Of one moment: a page never counts more released than made, nor goes back.
                assert!(now.made >= now.released, "{now:?}");
                assert_eq!(now.live_bytes % 4096, 0);
                assert!(now.sequence >= last.sequence && now.made >= last.made);
                (last, reads) = (now, reads + 1);
            }
            reads
        });
        for worker in workers {
            worker.join().expect("no panic");
        }
        done.store(true, Ordering::Release);
        assert!(reader.join().expect("no panic") > 0);
    });
    let last = page.read().expect("read");
    assert_eq!((last.made, last.released, last.live_bytes), (600, 600, 0));
    drop(providers);
    drop(page);
    scene.finish();
}
