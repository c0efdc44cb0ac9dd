//! The examples in docs/contract.md and docs/library.md, as they stand there: run on the shipped driver.
//!
//! What lies between `// example: NAME` and `// end` is in the book, word for word (`tests/docs.rs`).

use std::{thread, time::Duration};

use sanproxy_abi::EventKind;
use sanproxy_provider::{
    Access, CacheLimits, Descriptor, Error, Exposures, HostMemoryOptions, Kind, Provider, Quotas,
    RegisterOptions, RegistrationCache, Side, UserBufferOptions,
};
use sanproxy_tests::{
    channel::HostChannel,
    stage::{INTERFACE, Setting, Stage, StageError, accepted},
};

type Outcome = Result<(), StageError>;

fn started() -> Result<Stage, StageError> {
    Ok(Setting::default().started()?)
}

fn finish(stage: Stage) -> Outcome {
    let report = stage.finish()?;
    assert!(report.is_clean(), "{report}");
    Ok(())
}

/// A piece of the program's own memory: where it begins, and its length.
fn own_memory(provider: &Provider<HostChannel>) -> (u64, u64) {
    let process = provider.channel().process();
    (process.allocate(16384).expect("memory"), 16384)
}

#[test]
fn query_interface_tells_the_versions() -> Outcome {
    let stage = started()?;
    let process = stage.host.create_process("provider.exe")?;
    let channel = HostChannel::new(process.clone(), process.open(&INTERFACE)?);
    // example: IOCTL_SANPROXY_QUERY_INTERFACE
    let provider = Provider::open(channel)?; // asks first of all, and refuses another major version
    let [major, minor, patch] = provider.interface().driver;
    println!("driver {major}.{minor}.{patch}");
    // end
    assert_eq!([major, minor, patch], [0, 1, 0]);
    drop(provider);
    finish(stage)
}

#[test]
fn query_capabilities_tells_what_is_offered() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    // example: IOCTL_SANPROXY_QUERY_CAPABILITIES
    let offered = provider.capabilities()?;
    if offered.kinds.contains(Kind::UserBuffer) {
        println!("one file can register {} bytes", offered.bytes_per_file);
    }
    // end
    assert_eq!(offered.bytes_per_file, 1 << 30);
    drop(provider);
    finish(stage)
}

#[test]
fn register_query_look_up_and_release() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    // example: IOCTL_SANPROXY_REGISTER
    let wish = RegisterOptions::common_buffer(64 << 10).low_memory().map();
    let memory = provider.register(&wish)?;
    memory.write_at(0, b"for the device")?;
    println!("the device finds it at {:#x}", memory.device_address());
    // end
    // example: IOCTL_SANPROXY_QUERY_REGISTRATION
    let report = memory.query()?; // asks again and again if there are many pieces
    for piece in &report.pieces {
        println!("{} bytes at {:#x}", piece.length, piece.device_address);
    }
    // end
    assert_eq!(report.pieces.len(), 1);
    let address = memory.device_address() + 4096;
    // example: IOCTL_SANPROXY_LOOKUP
    if let Some(found) = provider.lookup(address)? {
        println!("byte {} of a registration of this file", found.offset);
    }
    // end
    assert_eq!(provider.lookup(address)?.map(|it| it.offset), Some(4096));
    // example: IOCTL_SANPROXY_RELEASE
    memory.release()?; // dropping it does the same, and tells nobody of a failure
    // end
    drop(provider);
    finish(stage)
}

#[test]
fn statistics_count() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    assert!(
        provider
            .register(&RegisterOptions::common_buffer(0))
            .is_err()
    );
    // example: IOCTL_SANPROXY_STATISTICS
    let counted = provider.statistics()?;
    println!("{} bytes are registered now", counted.live_bytes);
    for (cause, count) in counted.failures() {
        println!("{count} times: {cause}");
    }
    // end
    assert_eq!(counted.failures().count(), 1);
    drop(provider);
    finish(stage)
}

#[test]
fn move_copies() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    let page = RegisterOptions::common_buffer(4096).map();
    let (source, destination) = (provider.register(&page)?, provider.register(&page)?);
    source.write_at(0, b"moved")?;
    // example: IOCTL_SANPROXY_MOVE
    provider.copy((&source, 0), (&destination, 1024), 512)?; // neither has to be mapped
    // end
    let mut seen = [0; 5];
    destination.read_at(1024, &mut seen)?;
    assert_eq!(&seen, b"moved");
    drop((source, destination, provider));
    finish(stage)
}

#[test]
fn secured_memory_is_not_freed() -> Outcome {
    let stage = started()?;
    let (process, provider) = stage.provider()?;
    let (start, length) = own_memory(&provider);
    // example: IOCTL_SANPROXY_SECURE
    let secured = provider.secure(start, length, Access::ReadWrite)?;
    // Freeing it, or taking the access away, fails from here on, unless a callback unsecures it.
    // end
    assert!(process.free(start).is_err());
    // example: IOCTL_SANPROXY_UNSECURE
    secured.unsecure()?; // dropping it does the same, and tells nobody of a failure
    // end
    assert!(process.free(start).is_ok());
    drop(provider);
    finish(stage)
}

#[test]
fn wait_event_tells_what_has_happened() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    let (_, other) = stage.provider()?;
    thread::scope(|scope| {
        let listening = scope.spawn(|| -> Result<u64, Error> {
            let mut gone = 0;
            // example: IOCTL_SANPROXY_WAIT_EVENT
            // In a thread of its own; provider.cancel() in another one ends the wait.
            let events = provider.wait_event()?;
            for (kind, count) in events.iter() {
                println!("{count} times: {kind:?}");
            }
            gone += events.count(EventKind::Connected);
            // end
            Ok(gone)
        });
        let own = provider.endpoint()?.own;
        // Whoever has named the other one first is told.
        provider.connect(other.endpoint()?.own)?;
        other.connect(own)?;
        assert_eq!(listening.join().expect("it ends"), Ok(1));
        Ok::<(), Error>(())
    })?;
    drop((provider, other));
    finish(stage)
}

#[test]
fn connected_files_exchange_messages() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    let (_, other) = stage.provider()?;
    let number_of_the_other = other.endpoint()?.own;
    // example: IOCTL_SANPROXY_CONNECT
    let own = provider.endpoint()?.own; // for the other side to name
    let connection = provider.connect(number_of_the_other)?;
    println!("endpoint {} is {:?} now", own.0, connection.state);
    // end
    other.connect(own)?;
    other.send(b"answer")?;
    // example: IOCTL_SANPROXY_EXCHANGE
    let mut room = vec![0; 4096];
    let length = provider.exchange(b"question", &mut room)?; // try_exchange does not wait for room
    println!("{} bytes came", length);
    // end
    assert_eq!(&room[..length], b"answer");
    assert_eq!(other.receive(&mut room)?, 8);
    // example: IOCTL_SANPROXY_DISCONNECT
    provider.disconnect()?; // what was sent before is still received
    // end
    drop((provider, other));
    finish(stage)
}

#[test]
fn status_page_is_read_without_asking() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    // example: IOCTL_SANPROXY_MAP_STATUS_PAGE
    let page = provider.status_page()?; // one request; reading it takes none
    let now = page.read()?;
    println!("{:?}: {} bytes registered", now.state, now.live_bytes);
    // end
    let memory = provider.register(&RegisterOptions::common_buffer(4096))?;
    let before = stage.host.calls();
    assert_eq!(page.read()?.live_bytes, 4096);
    assert_eq!(stage.host.calls(), before);
    drop((memory, page, provider));
    finish(stage)
}

#[test]
fn administrators_see_and_set() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    let memory = provider.register(&RegisterOptions::common_buffer(4096))?;
    // example: IOCTL_SANPROXY_ENUMERATE
    for one in provider.enumerate()? {
        let kind = one.kind.map_or("a secured range", Kind::name);
        println!("process {}: {} bytes, {kind}", one.process, one.length);
    }
    // end
    assert_eq!(provider.enumerate()?.len(), 1);
    // example: IOCTL_SANPROXY_ENUMERATE_PIECES
    for one in provider.enumerate()? {
        let pieces = provider.enumerate_pieces(one.serial)?;
        println!("number {}: {} pieces", one.serial, pieces.len());
    }
    // end
    let offered = provider.capabilities()?;
    // example: IOCTL_SANPROXY_SET_QUOTA
    provider.set_quotas(&Quotas {
        bytes_per_file: 2 << 30,
        count_per_file: 1000,
        bytes_per_device: offered.bytes_per_device,
        count_per_device: offered.count_per_device,
    })?;
    // end
    assert_eq!(provider.capabilities()?.count_per_file, 1000);
    drop((memory, provider));
    finish(stage)
}

#[test]
fn own_memory_is_registered_where_it_lies() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    let (start, length) = own_memory(&provider);
    // example: IOCTL_SANPROXY_REGISTER_USER_BUFFER
    let wish = UserBufferOptions::new(start, length, Access::Write).allow_pieces();
    let memory = provider.register_user_buffer(&wish)?; // locked until it is released
    for piece in memory.pieces() {
        println!("{} bytes at {:#x}", piece.length, piece.device_address);
    }
    // end
    assert_eq!(memory.length(), length);
    drop((memory, provider));
    finish(stage)
}

#[test]
fn user_buffer_is_synchronised() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    let (start, length) = own_memory(&provider);
    // example: IOCTL_SANPROXY_SYNCHRONIZE
    let wish = UserBufferOptions::new(start, length, Access::ReadWrite).allow_pieces();
    let memory = provider.register_user_buffer(&wish.allow_copy())?;
    println!("a copy: {}", memory.is_copy());
    memory.synchronize(Side::Device, 0, 512)?; // the device sees what was written
    memory.synchronize(Side::Processor, 0, 512)?; // and the process what the device wrote
    // end
    assert!(!memory.is_copy());
    drop((memory, provider));
    finish(stage)
}

#[test]
fn host_memory_is_what_there_is() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    // example: IOCTL_SANPROXY_REGISTER_HOST_MEMORY
    let wish = HostMemoryOptions::new(64 << 20, 1 << 20).most_ranges(16);
    let memory = provider.register_host_memory(&wish)?; // 1 to 64 MiB
    println!(
        "{} bytes in {} ranges",
        memory.length(),
        memory.pieces().len()
    );
    // end
    assert!(memory.length() >= 1 << 20);
    drop((memory, provider));
    finish(stage)
}

#[test]
fn cache_keeps_memory_registered_until_it_is_freed() -> Outcome {
    let stage = started()?;
    let (process, provider) = stage.provider()?;
    let (start, length) = own_memory(&provider);
    // example: cache
    let limits = CacheLimits {
        bytes: 64 << 20,
        entries: 1024,
    };
    let cache = RegistrationCache::new(provider.user_buffers(), limits);
    {
        let lease = cache.register(start, length, Access::ReadWrite)?;
        for (address, bytes) in lease.memory().part(lease.start(), lease.length()) {
            println!("the device finds {bytes} bytes at {address:#x}");
        }
    } // given back: still registered, for the next one
    let again = cache.register(start, 100, Access::ReadWrite)?; // asks the driver nothing
    // end
    assert_eq!(cache.counters().hits, 1);
    drop(again);
    let told = cache.clone();
    let callback = process.add_secure_memory_cache_callback(move |start, length| {
        told.invalidate(start, length).has_unsecured()
    });
    process.free(start).expect("the cache gives it up");
    drop((callback, cache, provider));
    finish(stage)
}

#[test]
fn exposure_is_reached_by_its_descriptor() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    let (start, length) = own_memory(&provider);
    let limits = CacheLimits {
        bytes: 64 << 20,
        entries: 1024,
    };
    let cache = RegistrationCache::new(provider.user_buffers(), limits);
    // example: exposures
    let exposures = Exposures::new(cache.clone()); // one for each connection
    let exposure = exposures.expose(start, length, Access::Write)?;
    let name = *exposure.descriptor().as_bytes(); // sent to the peer, and comes back in its requests
    let descriptor = Descriptor::from_bytes(&name).expect("16 bytes");
    match exposures.reach(&descriptor, Access::Write, 4096, 512) {
        Ok(reach) => {
            let places = reach.memory().part(reach.start(), reach.length());
            println!("the device may write at {places:x?}");
        }
        Err(refused) => println!("no byte is moved: {refused}"),
    }
    drop(exposure); // reached no more; the memory stays locked for the next time
    // end
    assert!(exposures.reach(&descriptor, Access::Write, 0, 1).is_err());
    assert_eq!(cache.idle().entries, 1);
    exposures.close();
    drop((exposures, cache, provider));
    finish(stage)
}

#[test]
fn events_are_heard_in_a_thread_of_their_own() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    let stop = || {
        accepted(stage.device.query_stop())?;
        accepted(stage.device.stop())?;
        accepted(stage.device.start())
    };
    // example: events
    thread::scope(|scope| {
        let listening = scope.spawn(|| {
            while let Ok(events) = provider.wait_event() {
                for (kind, count) in events.iter() {
                    println!("{count} times: {kind:?}");
                }
            }
        });
        // ... what the program does ...
        while !listening.is_finished() {
            provider.cancel(); // it may not have come to the driver yet: so again
            thread::sleep(Duration::from_millis(1));
        }
    });
    // end
    stop()?;
    let events = provider.wait_event()?;
    assert_eq!(events.iter().count(), 2);
    drop(provider);
    finish(stage)
}

#[test]
fn wait_that_is_cancelled_ends() -> Outcome {
    let stage = started()?;
    let (_, provider) = stage.provider()?;
    thread::scope(|scope| {
        let waiting = scope.spawn(|| provider.wait_event());
        while !waiting.is_finished() {
            provider.cancel();
            thread::sleep(Duration::from_millis(1));
        }
        assert!(waiting.join().expect("it ends").is_err());
    });
    drop(provider);
    finish(stage)
}
