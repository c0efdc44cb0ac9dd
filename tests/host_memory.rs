//! Host memory buffers: as much as can be had, in as few ranges as that takes.
//!
//! Cites storport-map.md: S02, S09; san.md: R10, R16, R20, R35.

use nt_host::{DmaConfig, RegistryValue};
use sanproxy_abi::{
    ANY_NODE, AddressKind, CacheType, ControlCode, Error, Kind,
    wire::{
        AddressBound, ByteCount, Choice, Flags, Header, NodeNumber, PieceIndex,
        RegisterHostMemoryInput, RegisterOutput, Reserved,
    },
};
use sanproxy_provider::HostMemoryOptions;
use sanproxy_tests::{
    scene::{Scene, in_runs, scene, scene_of},
    stage::Setting,
    wire::{ask, statistics},
};

const MIB: u64 = 1 << 20;

#[test]
fn host_memory_that_fits_in_one_range_is_one_range_on_rung_0() {
    let scene = scene();
    let memory = scene
        .provider
        .register_host_memory(&HostMemoryOptions::new(64 * MIB, MIB))
        .expect("memory");
    assert_eq!(memory.kind(), Kind::HostMemoryBuffer);
    assert_eq!((memory.length(), memory.rung()), (64 * MIB, 0));
    assert_eq!(memory.pieces().len(), 1);
    drop(memory);
    scene.finish();
}

#[test]
fn host_memory_in_runs_takes_few_ranges_and_tells_the_rung() {
    let scene = scene_of(in_runs(16, 4 * MIB));
    let options = HostMemoryOptions::new(12 * MIB, MIB).map();
    let memory = scene
        .provider
        .register_host_memory(&options)
        .expect("memory");
    assert_eq!(memory.length(), 12 * MIB, "all of it");
    assert!(
        memory.rung() > 0 && memory.pieces().len() <= 8,
        "{:?}",
        memory.pieces()
    );
    // Every range is zeroed, mapped, and reached by the device.
    let mut offset = 0;
    for piece in memory.pieces() {
        let mut bytes = [1; 16];
        memory.read_at(offset, &mut bytes).expect("mapped");
        assert_eq!(bytes, [0; 16]);
        scene
            .nic
            .write(piece.device_address, &[7])
            .expect("reached");
        memory.read_at(offset, &mut bytes).expect("mapped");
        assert_eq!(bytes[0], 7);
        offset += piece.length;
    }
    drop(memory);
    scene.finish();
}

#[test]
fn host_memory_of_pieces_of_many_lengths_is_moved_and_looked_up_right() {
    let scene = scene_of(in_runs(3, 4 * MIB));
    let options = HostMemoryOptions::new(9 * MIB, 9 * MIB).map();
    let memory = scene
        .provider
        .register_host_memory(&options)
        .expect("memory");
    let lengths: std::collections::BTreeSet<u64> =
        memory.pieces().iter().map(|piece| piece.length).collect();
    assert!(lengths.len() > 1, "{:?}", memory.pieces());
    let mut start = 0;
    for piece in memory.pieces() {
        for offset in [0, 4096, piece.length - 1] {
            let found = scene
                .provider
                .lookup(piece.device_address + offset)
                .expect("looked up")
                .expect("found");
            assert_eq!(
                (found.handle, found.offset),
                (memory.handle(), start + offset)
            );
            let user = piece.user_address.map(|address| address + offset);
            assert_eq!(found.user_address, user);
        }
        start += piece.length;
    }
    // Copied across every border, up and down.
    let pattern: Vec<u8> = (0..3 * MIB).map(|at| (at % 251) as u8).collect();
    memory.write_at(0, &pattern).expect("mapped");
    let length = pattern.len() as u64;
    scene
        .provider
        .copy((&memory, 0), (&memory, 5 * MIB - 1), length)
        .expect("copied");
    let mut back = vec![0; pattern.len()];
    memory.read_at(5 * MIB - 1, &mut back).expect("mapped");
    assert!(back == pattern);
    scene
        .provider
        .copy((&memory, 5 * MIB - 1), (&memory, 4 * MIB + 3), length)
        .expect("copied downwards");
    memory.read_at(4 * MIB + 3, &mut back).expect("mapped");
    assert!(back == pattern);
    drop(memory);
    scene.finish();
}

#[test]
fn host_memory_gives_what_there_is_if_that_is_the_minimum() {
    let scene = scene_of(in_runs(4, 4 * MIB));
    let options = HostMemoryOptions::new(64 * MIB, 2 * MIB).most_ranges(2);
    let memory = scene
        .provider
        .register_host_memory(&options)
        .expect("memory");
    assert!(memory.length() >= 2 * MIB && memory.length() < 64 * MIB);
    assert!(memory.pieces().len() <= 2);
    let counters = scene.provider.statistics().expect("statistics");
    assert_eq!(
        counters.live_bytes,
        memory.length(),
        "what is not got is not charged"
    );
    drop(memory);
    scene.finish();
}

#[test]
fn host_memory_below_the_minimum_is_none_at_all() {
    let scene = scene_of(in_runs(4, 4 * MIB));
    let options = HostMemoryOptions::new(64 * MIB, 32 * MIB);
    let refused = scene
        .provider
        .register_host_memory(&options)
        .err()
        .expect("too much");
    assert_eq!(refused.status(), Some(Error::NoMemory.status()));
    let counters = scene.provider.statistics().expect("statistics");
    assert_eq!((counters.live_bytes, counters.live_registrations), (0, 0));
    scene.finish();
}

#[test]
fn host_memory_is_as_much_as_the_quota_lets_it_be() {
    let quota = RegistryValue::Dword(10 << 20);
    let scene = scene_of(Setting::default().parameter("MaximumBytesPerFile", quota));
    let memory = scene
        .provider
        .register_host_memory(&HostMemoryOptions::new(64 * MIB, MIB))
        .expect("memory");
    assert_eq!(memory.length(), 10 * MIB);
    let refused = scene
        .provider
        .register_host_memory(&HostMemoryOptions::new(MIB, MIB))
        .err()
        .expect("over it");
    assert_eq!(refused.status(), Some(Error::FileQuota.status()));
    drop(memory);
    scene.finish();
}

#[test]
fn host_memory_ranges_keep_alignment_bounds_and_low_memory() {
    let scene = scene();
    let options = HostMemoryOptions::new(3 * MIB, 3 * MIB)
        .alignment(2 * MIB)
        .low_memory()
        .lowest(256 * MIB);
    let memory = scene
        .provider
        .register_host_memory(&options)
        .expect("memory");
    assert!(memory.is_low());
    for piece in memory.pieces() {
        assert_eq!(piece.device_address % (2 * MIB), 0);
        assert!(piece.device_address >= 256 * MIB);
    }
    drop(memory);
    scene.finish();
}

#[test]
fn host_memory_without_an_adapter_is_physical() {
    let dma = DmaConfig {
        interface_version: 0,
        ..DmaConfig::default()
    };
    let scene = scene_of(Setting::default().dma(dma));
    let memory = scene
        .provider
        .register_host_memory(&HostMemoryOptions::new(4 * MIB, MIB))
        .expect("memory");
    assert_eq!(memory.address_kind(), AddressKind::Physical);
    drop(memory);
    scene.finish();
}

fn good() -> RegisterHostMemoryInput {
    RegisterHostMemoryInput {
        header: Header::of::<RegisterHostMemoryInput>(),
        preferred: ByteCount(MIB),
        minimum: ByteCount(4096),
        lowest: AddressBound(0),
        highest: AddressBound(u64::MAX),
        alignment: AddressBound(0),
        most_ranges: PieceIndex(8),
        flags: Flags(0),
        cache: Choice(CacheType::Cached.value()),
        node: NodeNumber(ANY_NODE),
        reserved: Reserved(0),
        reserved_end: Reserved(0),
    }
}

fn refused(scene: &Scene, change: impl FnOnce(&mut RegisterHostMemoryInput), error: Error) {
    let mut input = good();
    change(&mut input);
    let file = scene.provider.channel().file();
    let before = statistics(file).failures[error.index()].0;
    let reply = ask::<_, RegisterOutput>(file, ControlCode::RegisterHostMemory, &input);
    assert_eq!(reply.err(), Some(error.status()), "{input:?}");
    let after = statistics(file).failures[error.index()].0;
    assert_eq!(after, before + 1, "{error:?} is counted");
}

#[test]
fn host_memory_with_one_field_wrong_is_refused_for_it() {
    let scene = scene();
    let file = scene.provider.channel().file();
    ask::<_, RegisterOutput>(file, ControlCode::RegisterHostMemory, &good()).expect("the good one");
    refused(&scene, |i| i.preferred = ByteCount(0), Error::Length);
    refused(&scene, |i| i.preferred = ByteCount(u64::MAX), Error::Length);
    refused(&scene, |i| i.minimum = ByteCount(0), Error::Length);
    refused(
        &scene,
        |i| i.minimum = ByteCount(MIB + 1),
        Error::HostMemoryLimits,
    );
    refused(
        &scene,
        |i| i.most_ranges = PieceIndex(0),
        Error::HostMemoryLimits,
    );
    refused(
        &scene,
        |i| i.most_ranges = PieceIndex(4097),
        Error::HostMemoryLimits,
    );
    refused(&scene, |i| i.alignment = AddressBound(3), Error::Alignment);
    refused(&scene, |i| i.lowest = AddressBound(u64::MAX), Error::Bounds);
    refused(&scene, |i| i.highest = AddressBound(4094), Error::Bounds);
    refused(
        &scene,
        |i| i.flags = Flags(0x8000_0000),
        Error::ReservedBits,
    );
    refused(&scene, |i| i.reserved = Reserved(1), Error::ReservedBits);
    refused(
        &scene,
        |i| i.reserved_end = Reserved(1),
        Error::ReservedBits,
    );
    refused(&scene, |i| i.cache = Choice(3), Error::UnknownCacheType);
    refused(&scene, |i| i.node = NodeNumber(77), Error::UnknownNode);
    scene.finish();
}
