//! What a peer may reach, from its descriptor to the bytes: the owner's transport asks the library, and the device does it.
//!
//! Cites san.md: R24, R26, R28-R31, R46, R47, R72.

use nt_host::{Process, SecureMemoryCacheCallback};
use nt_machine::BusMaster;
use sanproxy_provider::{
    Access, CacheLimits, ConnectionState, Descriptor, Error, Exposures, Provider,
    RegistrationCache, Unreachable, UserBuffers,
};
use sanproxy_tests::{
    channel::HostChannel,
    stage::{Setting, Stage},
};

const PAGE: u64 = 4096;
const LENGTH: u64 = 4 * PAGE;
const LIMITS: CacheLimits = CacheLimits {
    bytes: 64 * PAGE,
    entries: 8,
};

type Cache = RegistrationCache<UserBuffers<HostChannel>>;

/// The owner of the memory, with four pages of its own and one connection.
struct Owner {
    process: Process,
    provider: Provider<HostChannel>,
    cache: Cache,
    exposures: Exposures<UserBuffers<HostChannel>>,
    callback: SecureMemoryCacheCallback,
    nic: BusMaster,
    start: u64,
}

impl Owner {
    fn new(stage: &Stage) -> Self {
        let (process, provider) = stage.provider().expect("a provider");
        let cache = RegistrationCache::new(provider.user_buffers(), LIMITS);
        let told = cache.clone();
        let callback = process.add_secure_memory_cache_callback(move |start, length| {
            told.invalidate(start, length).has_unsecured()
        });
        let start = process.allocate(16384).expect("four pages");
        Self {
            exposures: Exposures::new(cache.clone()),
            nic: stage.device.bus_master(),
            process,
            provider,
            cache,
            callback,
            start,
        }
    }

    /// What the transport does with a write request of the peer.
    fn serve_write(
        &self,
        descriptor: &Descriptor,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Unreachable> {
        let length = bytes.len() as u64;
        let reach = self
            .exposures
            .reach(descriptor, Access::Write, offset, length)?;
        let mut rest = bytes;
        for (address, part) in reach.memory().part(reach.start(), reach.length()) {
            let (now, later) = rest.split_at(usize::try_from(part).expect("short"));
            self.nic.write(address, now).expect("the device reaches it");
            rest = later;
        }
        assert!(rest.is_empty());
        Ok(())
    }

    /// What the transport does with a read request of the peer.
    fn serve_read(
        &self,
        descriptor: &Descriptor,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, Unreachable> {
        let reach = self
            .exposures
            .reach(descriptor, Access::Read, offset, length)?;
        let mut all = Vec::new();
        for (address, part) in reach.memory().part(reach.start(), reach.length()) {
            let mut bytes = vec![0; usize::try_from(part).expect("short")];
            self.nic
                .read(address, &mut bytes)
                .expect("the device reaches it");
            all.append(&mut bytes);
        }
        Ok(all)
    }

    fn own_bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = self.process.read(self.start + offset, &mut bytes);
        read.expect("its own memory");
        bytes
    }

    fn end(self) {
        drop((self.exposures, self.callback, self.cache, self.provider));
        assert_eq!(self.process.secured(), []);
    }
}

fn started() -> Stage {
    Setting::default().started().expect("the device starts")
}

fn assert_clean(stage: Stage) {
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

#[test]
fn peer_writes_and_reads_what_was_exposed_by_the_descriptor_that_it_was_sent() {
    let stage = started();
    let owner = Owner::new(&stage);
    let (_, peer) = stage.provider().expect("another provider");
    let theirs = peer.endpoint().expect("an endpoint").own;
    let ours = owner.provider.connect(theirs).expect("named").own;
    let connected = peer.connect(ours).expect("connected");
    assert_eq!(connected.state, ConnectionState::Connected);

    let exposure = owner
        .exposures
        .expose(owner.start + 100, 8000, Access::ReadWrite)
        .expect("exposed");
    let mut room = [0; 64];
    let length = exposure.descriptor().store(&mut room).expect("room");
    owner.provider.send(&room[..length]).expect("sent");

    let mut message = [0; 64];
    let length = peer.receive(&mut message).expect("received");
    let descriptor = Descriptor::from_bytes(&message[..length]).expect("a descriptor");
    // The peer's request comes over the wire with the descriptor in it; here the call is the wire.
    assert_eq!(
        owner.serve_write(&descriptor, 4090, b"across pages"),
        Ok(())
    );
    assert_eq!(owner.own_bytes(100 + 4090, 12), b"across pages");
    assert_eq!(
        owner.serve_read(&descriptor, 4097, 5),
        Ok(b"pages".to_vec())
    );
    exposure.end().expect("nothing uses it");
    drop(peer);
    owner.end();
    assert_clean(stage);
}

#[test]
fn ended_exposure_is_reached_no_more_while_its_memory_stays_locked_and_secured() {
    let stage = started();
    let owner = Owner::new(&stage);
    let exposure = owner
        .exposures
        .expose(owner.start, LENGTH, Access::ReadWrite)
        .expect("exposed");
    let old = exposure.descriptor();
    assert_eq!(owner.serve_write(&old, 0, b"before"), Ok(()));
    let before = stage.host.calls();
    exposure.end().expect("nothing uses it");
    let refused = Err(Unreachable::Unknown);
    assert_eq!(owner.serve_write(&old, 0, b"after!"), refused);
    assert_eq!(owner.own_bytes(0, 6), b"before");
    assert_eq!(stage.host.calls(), before, "nothing was unlocked");
    assert_eq!(owner.process.secured(), [(owner.start, LENGTH)]);
    assert_eq!(owner.cache.idle().entries, 1);

    let again = owner
        .exposures
        .expose(owner.start, LENGTH, Access::ReadWrite)
        .expect("exposed again");
    assert_eq!(stage.host.calls(), before, "a hit asks the kernel nothing");
    assert_eq!(owner.cache.counters().hits, 1);
    assert_eq!(owner.serve_write(&again.descriptor(), 0, b"after!"), Ok(()));
    assert_eq!(owner.own_bytes(0, 6), b"after!");
    assert_eq!(owner.serve_write(&old, 0, b"stale."), refused);
    drop(again);
    owner.end();
    assert_clean(stage);
}

#[test]
fn memory_exposed_twice_is_one_registration_and_the_last_end_counts() {
    let stage = started();
    let owner = Owner::new(&stage);
    let expose = || {
        let exposed = owner
            .exposures
            .expose(owner.start, LENGTH, Access::ReadWrite);
        exposed.expect("exposed")
    };
    let (first, second) = (expose(), expose());
    assert_ne!(first.descriptor(), second.descriptor());
    let live = owner.provider.statistics().expect("statistics");
    // The other one is the secured range.
    assert_eq!(live.file_registrations, 2);
    first.end().expect("nothing uses it");
    assert_eq!(owner.serve_write(&second.descriptor(), 8, b"still"), Ok(()));
    assert_eq!(owner.cache.idle().entries, 0, "in use");
    second.end().expect("nothing uses it");
    assert_eq!(owner.cache.idle().entries, 1);
    owner.end();
    assert_clean(stage);
}

#[test]
fn exposure_in_a_transfer_cannot_be_ended_and_changes_nothing() {
    let stage = started();
    let owner = Owner::new(&stage);
    let exposure = owner
        .exposures
        .expose(owner.start, LENGTH, Access::Read)
        .expect("exposed");
    let descriptor = exposure.descriptor();
    let transfer = owner.exposures.reach(&descriptor, Access::Read, 0, 8);
    let exposure = exposure.end().expect_err("a transfer uses it");
    assert!(owner.serve_read(&descriptor, 0, 8).is_ok());
    drop(transfer);
    exposure.end().expect("nothing uses it any more");
    assert!(owner.serve_read(&descriptor, 0, 8).is_err());
    owner.end();
    assert_clean(stage);
}

#[test]
fn access_that_was_not_exposed_moves_no_byte() {
    let stage = started();
    let owner = Owner::new(&stage);
    for (granted, wanted) in [(Access::Read, Access::Write), (Access::Write, Access::Read)] {
        let exposure = owner
            .exposures
            .expose(owner.start, PAGE, granted)
            .expect("exposed");
        let refused = owner.exposures.reach(&exposure.descriptor(), wanted, 0, 1);
        let refused = refused.map(drop).expect_err("not that");
        assert_eq!(refused, Unreachable::Access { granted });
        assert_eq!(refused.winsock_error(), 10022);
    }
    owner.end();
    assert_clean(stage);
}

#[test]
fn range_beyond_the_exposed_memory_moves_no_byte() {
    let stage = started();
    let owner = Owner::new(&stage);
    let exposure = owner
        .exposures
        .expose(owner.start + 8, 100, Access::ReadWrite)
        .expect("exposed");
    for (offset, length) in [
        (0, 0),
        (0, 101),
        (100, 1),
        (99, 2),
        (u64::MAX, 2),
        (1, u64::MAX),
    ] {
        let refused = owner
            .exposures
            .reach(&exposure.descriptor(), Access::Read, offset, length);
        assert_eq!(
            refused.map(drop),
            Err(Unreachable::Range { available: 100 }),
            "{offset} {length}"
        );
    }
    drop(exposure);
    owner.end();
    assert_clean(stage);
}

#[test]
fn descriptor_with_any_changed_bit_or_of_another_connection_names_nothing() {
    let stage = started();
    let owner = Owner::new(&stage);
    let exposure = owner
        .exposures
        .expose(owner.start, LENGTH, Access::ReadWrite)
        .expect("exposed");
    let good = *exposure.descriptor().as_bytes();
    for bit in 0..good.len() * 8 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        let bad = Descriptor::from_bytes(&bad).expect("as long");
        assert_eq!(
            owner.serve_write(&bad, 0, b"x"),
            Err(Unreachable::Unknown),
            "bit {bit}"
        );
    }
    let other = Exposures::new(owner.cache.clone());
    let foreign = other.reach(&exposure.descriptor(), Access::Read, 0, 1);
    assert_eq!(foreign.map(drop), Err(Unreachable::Unknown));
    assert!(owner.serve_write(&exposure.descriptor(), 0, b"x").is_ok());
    drop((exposure, other));
    owner.end();
    assert_clean(stage);
}

#[test]
fn descriptor_holds_no_address_and_no_handle() {
    let stage = started();
    let owner = Owner::new(&stage);
    let exposure = owner
        .exposures
        .expose(owner.start, LENGTH, Access::ReadWrite)
        .expect("exposed");
    let reach = owner
        .exposures
        .reach(&exposure.descriptor(), Access::Read, 0, LENGTH);
    let device = reach.expect("exposed").memory().pieces[0].device_address;
    let bytes = exposure.descriptor();
    for half in bytes.as_bytes().chunks_exact(8) {
        let value = u64::from_le_bytes(half.try_into().expect("eight"));
        for known in [owner.start, device] {
            assert_ne!(value >> 12, known >> 12);
        }
    }
    let room = &mut [0; 15];
    assert_eq!(bytes.store(room), Err(16), "the length that is needed");
    assert_eq!(*room, [0; 15]);
    assert_eq!(Descriptor::from_bytes(room), None);
    drop(exposure);
    owner.end();
    assert_clean(stage);
}

#[test]
fn closed_connection_leaves_nothing_locked_secured_or_reachable() {
    let stage = started();
    let owner = Owner::new(&stage);
    let idle = owner.exposures.expose(owner.start, PAGE, Access::Read);
    idle.expect("exposed").end().expect("nothing uses it");
    let live = owner
        .exposures
        .expose(owner.start + PAGE, PAGE, Access::ReadWrite)
        .expect("exposed");
    owner.exposures.close();
    assert_eq!(owner.exposures.count(), 0);
    assert_eq!(owner.process.secured(), []);
    let now = owner.provider.statistics().expect("statistics");
    assert_eq!((now.file_registrations, now.file_bytes), (0, 0));
    let refused = owner.serve_write(&live.descriptor(), 0, b"x");
    assert_eq!(refused, Err(Unreachable::Unknown));
    let late = owner.exposures.expose(owner.start, PAGE, Access::Read);
    assert_eq!(late.map(drop), Err(Error::ConnectionClosed));
    drop(live);
    owner.end();
    assert_clean(stage);
}

#[test]
fn killed_owner_leaves_nothing_that_its_peer_could_reach() {
    let stage = started();
    let owner = Owner::new(&stage);
    let exposure = owner
        .exposures
        .expose(owner.start, LENGTH, Access::ReadWrite)
        .expect("exposed");
    let reach = owner
        .exposures
        .reach(&exposure.descriptor(), Access::Write, 0, 1)
        .expect("exposed");
    let address = reach.memory().part(reach.start(), 1)[0].0;
    owner.process.exit().expect("killed");
    let nic = stage.device.bus_master();
    assert!(nic.write(address, b"x").is_err(), "the device is kept out");
    // A killed process's library does nothing any more.
    std::mem::forget((reach, exposure, owner));
    // That was the test's own doing.
    assert_eq!(nic.domain().take_faults().len(), 1);
    assert_clean(stage);
}
