//! Memory lies where the provider asked for it to lie.
//!
//! Cites san.md: R10-R12, R14, R15, R20; storport-map.md: S01; dma.md section 5.

use nt_host::{DmaConfig, RegistryValue};
use sanproxy_abi::{AddressKind, CacheType, Error};
use sanproxy_provider::{RegisterOptions, Registration};
use sanproxy_tests::{
    channel::HostChannel,
    scene::{Scene, no_reserve, scene, scene_of},
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

#[test]
fn low_memory_is_below_4_gib_for_the_device_on_a_machine_without_any() {
    let scene = scene();
    for options in [
        RegisterOptions::common_buffer(16 * MIB),
        RegisterOptions::contiguous(16 * MIB),
    ] {
        let registration = scene
            .provider
            .register(&options.low_memory())
            .expect("low memory");
        assert!(registration.is_low());
        scene
            .nic
            .write(registration.device_address(), &[7])
            .expect("a 32-bit device reaches it");
    }
    scene.finish();
}

#[test]
fn low_memory_works_for_a_64_bit_device_that_gets_high_memory_otherwise() {
    let dma = DmaConfig {
        address_bits: 64,
        ..DmaConfig::default()
    };
    let setting = no_reserve()
        .dma(dma)
        .parameter("DmaAddressWidth", RegistryValue::Dword(64));
    let scene = scene_of(setting);
    let low = scene
        .provider
        .register(&RegisterOptions::common_buffer(MIB).low_memory())
        .expect("low memory");
    assert!(low.is_low(), "{:#x}", low.device_address());
    drop(low);
    scene.finish();
}

#[test]
fn low_memory_without_remapping_comes_from_below_4_gib() {
    let dma = DmaConfig {
        remapping: false,
        ..DmaConfig::default()
    };
    let scene = scene_of(no_reserve().dma(dma));
    let registration = scene
        .provider
        .register(&RegisterOptions::common_buffer(MIB).low_memory())
        .expect("low memory");
    assert!(registration.is_low());
    drop(registration);
    scene.finish();
}

#[test]
fn explicit_bounds_hold_for_common_buffers() {
    let scene = scene();
    let (lowest, highest) = (0x2000_0000, 0x3FFF_FFFF);
    let options = RegisterOptions::common_buffer(MIB)
        .lowest(lowest)
        .highest(highest);
    let registration = scene
        .provider
        .register(&options)
        .expect("memory within the bounds");
    assert!(registration.device_address() >= lowest);
    assert!(registration.device_address() + MIB - 1 <= highest);
    drop(registration);
    scene.finish();
}

#[test]
fn explicit_bounds_hold_for_contiguous_blocks() {
    let scene = scene();
    let (lowest, highest) = (0x2000_0000, 0x3FFF_FFFF);
    let options = RegisterOptions::contiguous(MIB)
        .lowest(lowest)
        .highest(highest);
    let registration = scene
        .provider
        .register(&options)
        .expect("memory within the bounds");
    assert!(registration.device_address() >= lowest);
    assert!(registration.device_address() + MIB - 1 <= highest);
    drop(registration);
    scene.finish();
}

#[test]
fn alignment_over_a_page_holds() {
    let scene = scene();
    for options in [
        RegisterOptions::common_buffer(64 * KIB),
        RegisterOptions::contiguous(64 * KIB),
    ] {
        let registration = scene
            .provider
            .register(&options.alignment(2 * MIB))
            .expect("aligned memory");
        assert_eq!(registration.device_address() % (2 * MIB), 0);
    }
    scene.finish();
}

#[test]
fn boundary_is_not_crossed() {
    let scene = scene();
    for round in 0..16 {
        let options =
            RegisterOptions::common_buffer((1 + round % 4) * 64 * KIB).boundary(256 * KIB);
        let registration = scene.provider.register(&options).expect("memory");
        let (first, last) = (
            registration.device_address(),
            registration.device_address() + registration.length() - 1,
        );
        assert_eq!(first / (256 * KIB), last / (256 * KIB));
    }
    scene.finish();
}

#[test]
fn effective_node_and_cache_type_are_told() {
    let scene = scene_of(no_reserve());
    let options = RegisterOptions::contiguous(MIB)
        .node(1)
        .cache(CacheType::NonCached);
    let registration = scene.provider.register(&options).expect("memory of node 1");
    assert_eq!(registration.node(), Some(1));
    assert_eq!(registration.cache(), CacheType::NonCached);
    drop(registration);
    scene.finish();
}

#[test]
fn length_is_rounded_up_to_whole_pages() {
    let scene = scene();
    let registration = scene
        .provider
        .register(&RegisterOptions::common_buffer(5000).map())
        .expect("memory");
    assert_eq!(registration.length(), 8192);
    drop(registration);
    scene.finish();
}

#[test]
fn address_kind_is_logical_with_an_adapter() {
    let scene = scene();
    for options in [
        RegisterOptions::common_buffer(MIB),
        RegisterOptions::contiguous(MIB),
    ] {
        let registration = scene.provider.register(&options).expect("memory");
        assert_eq!(registration.address_kind(), AddressKind::Logical);
    }
    scene.finish();
}

/// Asks for 4 MiB while the adapter has no such run; the reserve is smaller than that.
fn without_a_run(
    scene: &Scene,
    options: RegisterOptions,
) -> Result<Registration<HostChannel>, sanproxy_provider::Error> {
    scene
        .stage
        .host
        .faults()
        .fail_routine("AllocateCommonBufferWithBounds", 1);
    let outcome = scene.provider.register(&options);
    scene.stage.host.faults().clear();
    outcome
}

#[test]
fn ladder_is_climbed_down_if_the_caller_allows_it_and_the_rung_is_told() {
    let scene = scene();
    let options = RegisterOptions::common_buffer(4 * MIB).map().allow_pieces();
    let registration = without_a_run(&scene, options).expect("two halves");
    assert_eq!((registration.pieces().len(), registration.rung()), (2, 1));
    assert!(
        registration
            .pieces()
            .iter()
            .all(|piece| piece.length == 2 * MIB)
    );
    // Each piece is reached by the device and by the process.
    for (index, piece) in (0_u64..).zip(registration.pieces()) {
        scene
            .nic
            .write(piece.device_address, &[0x51])
            .expect("the NIC reaches it");
        let mut seen = [0];
        registration
            .read_at(index * 2 * MIB, &mut seen)
            .expect("mapped");
        assert_eq!(seen, [0x51]);
    }
    drop(registration);
    scene.finish();
}

#[test]
fn ladder_is_not_climbed_down_if_the_caller_does_not_allow_it() {
    let scene = scene();
    let refused = without_a_run(&scene, RegisterOptions::common_buffer(4 * MIB))
        .err()
        .expect("no run");
    assert_eq!(refused.status(), Some(Error::NoMemory.status()));
    scene.finish();
}

#[test]
fn other_node_is_tried_if_the_caller_allows_it() {
    let scene = scene();
    let options = RegisterOptions::common_buffer(4 * MIB)
        .node(1)
        .allow_other_node();
    let registration = without_a_run(&scene, options).expect("memory of another node");
    assert_eq!(registration.rung(), 1);
    drop(registration);
    scene.finish();
}
