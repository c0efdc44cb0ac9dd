//! What a provider gets when it registers memory: clean, its own, and reached by the device as long as it is registered.
//!
//! Cites san.md: R09, R16, R19; storport-map.md: S15, S18, S20, S21, S23; security.md: C12-C14, C23, C24, C34, C37.

use sanproxy_provider::RegisterOptions;
use sanproxy_tests::scene::scene;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

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
