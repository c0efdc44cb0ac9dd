//! What a provider gets when it registers memory, as it asked for it, through the provider library.
//!
//! Cites san.md: R09-R12, R14-R21; storport-map.md: S01, S03, S06-S08, S10, S15, S18, S20, S21, S23; security.md: C12-C14,
//! C23, C24, C34, C37; dma.md section 5.

use nt_host::{Process, RegistryValue};
use nt_machine::BusMaster;
use sanproxy_abi::{AddressKind, CacheType, Method};
use sanproxy_provider::{Provider, RegisterOptions, Registration};
use sanproxy_tests::{
    channel::HostChannel,
    stage::{Setting, Stage},
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

struct Scene {
    stage: Stage,
    process: Process,
    provider: Provider<HostChannel>,
    nic: BusMaster,
}

fn scene() -> Scene {
    scene_of(Setting::default())
}

fn scene_of(setting: Setting) -> Scene {
    let stage = setting.started().expect("the device starts");
    let (process, provider) = stage.provider().expect("a provider");
    let nic = stage.device.bus_master();
    Scene {
        stage,
        process,
        provider,
        nic,
    }
}

impl Scene {
    fn finish(self) {
        drop(self.provider);
        let report = self.stage.finish().expect("the driver unloads");
        assert!(report.is_clean(), "{report}");
    }
}

/// A setting without a reserve, so that each registration comes from the system.
fn no_reserve() -> Setting {
    Setting::default().parameter("ReserveBytes", RegistryValue::Dword(0))
}

#[test]
fn common_buffer_is_zero_when_first_seen() {
    let scene = scene();
    let registration = scene
        .provider
        .register(&RegisterOptions::common_buffer(256 * KIB).map())
        .expect("memory");
    let mut seen = vec![0xFF; 256 << 10];
    registration.read_at(0, &mut seen).expect("mapped");
    assert!(seen.iter().all(|byte| *byte == 0));
    drop(registration);
    scene.finish();
}

#[test]
fn contiguous_block_is_zero_when_first_seen() {
    let scene = scene();
    let registration = scene
        .provider
        .register(&RegisterOptions::contiguous(256 * KIB).map())
        .expect("memory");
    let mut seen = vec![0xFF; 256 << 10];
    registration.read_at(0, &mut seen).expect("mapped");
    assert!(seen.iter().all(|byte| *byte == 0));
    drop(registration);
    scene.finish();
}

/// Registers a page while the adapter has no memory.
fn from_the_reserve(scene: &Scene) -> Registration<HostChannel> {
    scene
        .stage
        .host
        .faults()
        .fail_routine("AllocateCommonBufferWithBounds", 1);
    let options = RegisterOptions::common_buffer(4 * KIB).map();
    let registration = scene
        .provider
        .register(&options)
        .expect("the reserve has a page");
    scene.stage.host.faults().clear();
    assert_eq!(registration.method(), Method::Reserve);
    registration
}

#[test]
fn reserve_serves_when_the_system_has_no_memory() {
    let scene = scene();
    let registration = from_the_reserve(&scene);
    scene
        .nic
        .write(registration.device_address(), &[3])
        .expect("the NIC reaches it");
    let mut seen = [0];
    registration.read_at(0, &mut seen).expect("mapped");
    assert_eq!(seen, [3]);
    drop(registration);
    scene.finish();
}

#[test]
fn reserve_page_is_zero_again_for_the_next_owner() {
    let scene = scene();
    let first = from_the_reserve(&scene);
    let address = first.device_address();
    first.write_at(0, &[0xEE; 4096]).expect("mapped");
    first.release().expect("released");
    // The device is late: the reserve stays within its reach.
    scene
        .nic
        .write(address, &[0xDD; 64])
        .expect("the reserve is reachable at all times");
    // The whole reserve: the page of before is among them.
    let all: Vec<_> = (0..256).map(|_| from_the_reserve(&scene)).collect();
    assert!(
        all.iter()
            .any(|registration| registration.device_address() == address)
    );
    for registration in &all {
        let mut seen = vec![0xFF; 4096];
        registration.read_at(0, &mut seen).expect("mapped");
        assert!(seen.iter().all(|byte| *byte == 0));
    }
    drop(all);
    scene.finish();
}

#[test]
fn nic_and_provider_see_the_same_bytes() {
    let scene = scene();
    let registration = scene
        .provider
        .register(&RegisterOptions::common_buffer(2 * MIB).map())
        .expect("memory");
    let last = registration.device_address() + 2 * MIB - 4;
    scene
        .nic
        .write(last, &[1, 2, 3, 4])
        .expect("the NIC reaches it");
    let mut seen = [0; 4];
    registration
        .read_at(2 * MIB - 4, &mut seen)
        .expect("mapped");
    assert_eq!(seen, [1, 2, 3, 4]);
    registration.write_at(0, &[5, 6]).expect("mapped");
    let mut seen = [0; 2];
    scene
        .nic
        .read(registration.device_address(), &mut seen)
        .expect("the NIC reaches it");
    assert_eq!(seen, [5, 6]);
    drop(registration);
    scene.finish();
}

#[test]
fn released_memory_faults_in_the_iommu() {
    let scene = scene();
    for options in [
        RegisterOptions::common_buffer(4 * KIB),
        RegisterOptions::contiguous(64 * KIB),
    ] {
        let registration = scene.provider.register(&options).expect("memory");
        let address = registration.device_address();
        scene.nic.write(address, &[1]).expect("while registered");
        registration.release().expect("released");
        assert!(scene.nic.write(address, &[1]).is_err());
        assert!(scene.nic.read(address, &mut [0]).is_err());
    }
    // They were the test's own doing.
    assert_eq!(scene.nic.domain().take_faults().len(), 4);
    scene.finish();
}

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
    let dma = nt_host::DmaConfig {
        address_bits: 64,
        ..nt_host::DmaConfig::default()
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
    let dma = nt_host::DmaConfig {
        remapping: false,
        ..nt_host::DmaConfig::default()
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
fn registration_without_map_leaves_the_process_as_it_was() {
    let scene = scene();
    let before = scene.process.mappings();
    let registration = scene
        .provider
        .register(&RegisterOptions::common_buffer(64 * KIB))
        .expect("memory");
    assert_eq!(scene.process.mappings(), before);
    drop(registration);
    scene.finish();
}

#[test]
fn mapping_is_gone_after_release() {
    let scene = scene();
    let registration = scene
        .provider
        .register(&RegisterOptions::contiguous(64 * KIB).map())
        .expect("memory");
    let address = registration.user_address().expect("mapped");
    scene.process.read(address, &mut [0]).expect("mapped");
    registration.release().expect("released");
    assert!(scene.process.read(address, &mut [0]).is_err());
    scene.finish();
}

#[test]
fn query_tells_the_pieces_that_register_told() {
    let scene = scene();
    let registration = scene
        .provider
        .register(&RegisterOptions::common_buffer(64 * KIB).map())
        .expect("memory");
    let report = registration.query().expect("a report");
    assert_eq!(report.pieces, registration.pieces());
    assert_eq!(report.length, 64 * KIB);
    drop(registration);
    scene.finish();
}

#[test]
fn lookup_finds_the_registration_and_the_offset() {
    let scene = scene();
    let first = scene
        .provider
        .register(&RegisterOptions::common_buffer(64 * KIB))
        .expect("memory");
    let second = scene
        .provider
        .register(&RegisterOptions::common_buffer(MIB))
        .expect("memory");
    let found = scene
        .provider
        .lookup(second.device_address() + 12345)
        .expect("an answer")
        .expect("a hit");
    assert_eq!((found.handle, found.offset), (second.handle(), 12345));
    let found = scene
        .provider
        .lookup(first.device_address())
        .expect("an answer")
        .expect("a hit");
    assert_eq!((found.handle, found.offset), (first.handle(), 0));
    drop((first, second));
    scene.finish();
}

#[test]
fn lookup_of_a_released_address_finds_nothing() {
    let scene = scene();
    let registration = scene
        .provider
        .register(&RegisterOptions::common_buffer(64 * KIB))
        .expect("memory");
    let address = registration.device_address();
    registration.release().expect("released");
    assert_eq!(scene.provider.lookup(address).expect("an answer"), None);
    scene.finish();
}

#[test]
fn move_copies_between_registrations() {
    let scene = scene();
    let from = scene
        .provider
        .register(&RegisterOptions::common_buffer(64 * KIB).map())
        .expect("memory");
    let to = scene
        .provider
        .register(&RegisterOptions::contiguous(64 * KIB).map())
        .expect("memory");
    from.write_at(100, b"over the kernel").expect("mapped");
    scene
        .provider
        .copy((&from, 100), (&to, 65000), 15)
        .expect("copied");
    let mut seen = [0; 15];
    to.read_at(65000, &mut seen).expect("mapped");
    assert_eq!(&seen, b"over the kernel");
    drop((from, to));
    scene.finish();
}

#[test]
fn move_within_one_registration_may_overlap() {
    let scene = scene();
    let memory = scene
        .provider
        .register(&RegisterOptions::common_buffer(8 * KIB).map())
        .expect("memory");
    let bytes: Vec<u8> = (0..=255).cycle().take(6000).collect();
    memory.write_at(0, &bytes).expect("mapped");
    scene
        .provider
        .copy((&memory, 0), (&memory, 1000), 6000)
        .expect("copied");
    let mut seen = vec![0; 6000];
    memory.read_at(1000, &mut seen).expect("mapped");
    assert_eq!(seen, bytes);
    drop(memory);
    scene.finish();
}

#[test]
fn largest_registration_works_and_is_scrubbed_and_freed() {
    let scene = scene();
    let registration = scene
        .provider
        .register(&RegisterOptions::common_buffer(64 * MIB).map())
        .expect("64 MiB");
    registration.write_at(64 * MIB - 1, &[1]).expect("mapped");
    drop(registration);
    scene.finish();
}

#[test]
fn quota_of_bytes_per_file_is_kept_to_the_byte() {
    let scene = scene_of(
        Setting::default().parameter("MaximumBytesPerFile", RegistryValue::Dword(64 << 10)),
    );
    let first = scene
        .provider
        .register(&RegisterOptions::common_buffer(60 * KIB))
        .expect("within the quota");
    let over = scene
        .provider
        .register(&RegisterOptions::common_buffer(8 * KIB))
        .err()
        .expect("over it");
    assert_eq!(over.status(), Some(sanproxy_abi::Error::FileQuota.status()));
    let exact = scene
        .provider
        .register(&RegisterOptions::common_buffer(4 * KIB))
        .expect("exactly it");
    drop(first);
    let again = scene
        .provider
        .register(&RegisterOptions::common_buffer(60 * KIB))
        .expect("room returns");
    drop((exact, again));
    scene.finish();
}

#[test]
fn quota_counts_what_an_alignment_makes_the_driver_hold() {
    let quota = RegistryValue::Dword(64 << 10);
    let scene = scene_of(Setting::default().parameter("MaximumBytesPerFile", quota));
    let options = RegisterOptions::common_buffer(4 * KIB).alignment(GIB);
    // A page that happens to lie at a multiple of 1 GiB costs a page; any other costs up to 1 GiB more.
    let refused = (0..8)
        .find_map(|_| scene.provider.register(&options).err())
        .expect("not eight such pages");
    assert_eq!(
        refused.status(),
        Some(sanproxy_abi::Error::FileQuota.status())
    );
    assert_eq!(
        scene.provider.statistics().expect("statistics").file_bytes,
        0,
        "nothing stays charged"
    );
    scene.finish();
}

#[test]
fn what_an_alignment_makes_the_driver_hold_is_given_back() {
    let scene = scene();
    let options = RegisterOptions::common_buffer(64 * KIB).alignment(2 * MIB);
    let registration = scene.provider.register(&options).expect("aligned memory");
    let held = scene.provider.statistics().expect("statistics").live_bytes;
    assert!(
        [64 * KIB, 64 * KIB + 2 * MIB - 4 * KIB].contains(&held),
        "{held}"
    );
    drop(registration);
    assert_eq!(
        scene.provider.statistics().expect("statistics").live_bytes,
        0
    );
    scene.finish();
}

#[test]
fn quota_of_count_per_file_is_kept() {
    let scene =
        scene_of(Setting::default().parameter("MaximumCountPerFile", RegistryValue::Dword(3)));
    let page = RegisterOptions::common_buffer(4 * KIB);
    let three: Vec<_> = (0..3)
        .map(|_| scene.provider.register(&page).expect("within the quota"))
        .collect();
    let over = scene.provider.register(&page).err().expect("over it");
    assert_eq!(over.status(), Some(sanproxy_abi::Error::FileQuota.status()));
    drop(three);
    scene.finish();
}

#[test]
fn quota_of_the_device_holds_over_several_files() {
    let scene =
        scene_of(Setting::default().parameter("MaximumCountPerDevice", RegistryValue::Dword(3)));
    let page = RegisterOptions::common_buffer(4 * KIB);
    let (_, other) = scene.stage.provider().expect("a second provider");
    let two: Vec<_> = (0..2)
        .map(|_| scene.provider.register(&page).expect("within the quota"))
        .collect();
    let third = other.register(&page).expect("within the quota");
    let over = other.register(&page).err().expect("over it");
    assert_eq!(
        over.status(),
        Some(sanproxy_abi::Error::DeviceQuota.status())
    );
    drop((two, third, other));
    scene.finish();
}

#[test]
fn ladder_gives_pieces_when_memory_is_in_pieces_and_the_caller_allows_it() {
    // No block of 1 GiB lies within the bounds, but halves of it do.
    let scene = scene_of(no_reserve());
    let options = RegisterOptions::common_buffer(512 * MIB).highest(GIB - 1);
    let mut held = Vec::new();
    // Fill the range but for holes of 64 MiB.
    for index in 0..8 {
        let lowest = index * 128 * MIB;
        let block = RegisterOptions::common_buffer(64 * MIB)
            .lowest(lowest)
            .highest(lowest + 64 * MIB - 1);
        held.extend(scene.provider.register(&block).ok());
    }
    if scene.provider.register(&options).is_err() {
        let registration = scene.provider.register(&options.allow_pieces());
        if let Ok(registration) = &registration {
            assert!(registration.pieces().len() > 1);
            assert!(registration.rung() > 0);
        }
    }
    drop(held);
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
