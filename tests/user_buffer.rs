//! A provider registers memory that it has already: what the device gets of it, and what not.
//!
//! Cites san.md: R22-R26, R32-R36; storport-map.md: S13-S17; verifier-rules.md: V108, V122-V124, V149, V151, V153, V176.

use nt_host::{DmaConfig, Process, RegistryValue};
use nt_machine::{BusMaster, MachineConfig};
use sanproxy_abi::Error;
use sanproxy_provider::{Access, Kind, Method, Provider, Registration, Status, UserBufferOptions};
use sanproxy_tests::{
    channel::HostChannel,
    stage::{Setting, Stage},
    wire,
};

const PAGE: u64 = 4096;
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
    /// Memory of the process's own.
    fn memory(&self, length: u64) -> u64 {
        let length = usize::try_from(length).expect("a length");
        self.process.allocate(length).expect("memory")
    }

    fn register(
        &self,
        start: u64,
        length: u64,
        access: Access,
    ) -> Result<Registration<HostChannel>, Status> {
        let options = UserBufferOptions::new(start, length, access).allow_pieces();
        self.provider
            .register_user_buffer(&options)
            .map_err(|error| error.status().expect("the driver refuses"))
    }

    fn finish(self) {
        drop(self.provider);
        self.process.exit().expect("the process ends");
        let report = self.stage.finish().expect("the driver unloads");
        assert!(report.is_clean(), "{report}");
    }
}

/// Reads through the device, piece by piece.
fn device_read(nic: &BusMaster, registration: &Registration<HostChannel>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in registration.pieces() {
        let mut part = vec![0; usize::try_from(piece.length).expect("a length")];
        nic.read(piece.device_address, &mut part)
            .expect("the device reaches it");
        bytes.extend(part);
    }
    bytes
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 % 251) as u8).collect()
}

#[test]
fn device_reads_what_the_process_wrote_without_a_copy() {
    let scene = scene();
    let start = scene.memory(MIB) + 100;
    let mut bytes = pattern(300_000);
    scene.process.write(start, &bytes).expect("its own memory");
    let buffer = scene
        .register(start, 300_000, Access::Read)
        .expect("registered");
    assert_eq!(buffer.length(), 300_000);
    assert_eq!(buffer.kind(), Kind::UserBuffer);
    assert_eq!(device_read(&scene.nic, &buffer), bytes);
    // The same memory, not a copy of it at some moment.
    bytes[5000] ^= 0xFF;
    scene
        .process
        .write(start + 5000, &bytes[5000..5001])
        .expect("its own memory");
    assert_eq!(device_read(&scene.nic, &buffer), bytes);
    drop(buffer);
    scene.finish();
}

#[test]
fn process_reads_what_the_device_wrote_at_once() {
    let scene = scene();
    let start = scene.memory(MIB) + 4000;
    let buffer = scene
        .register(start, 5000, Access::Write)
        .expect("registered");
    let mut offset = 0;
    for piece in buffer.pieces() {
        nic_fill(&scene.nic, piece.device_address, piece.length, 0x5A);
        assert_eq!(piece.user_address, Some(start + offset));
        offset += piece.length;
    }
    let mut seen = vec![0; 5002];
    scene
        .process
        .read(start - 1, &mut seen)
        .expect("its own memory");
    assert_eq!((seen[0], seen[5001]), (0, 0));
    assert!(seen[1..5001].iter().all(|byte| *byte == 0x5A));
    drop(buffer);
    scene.finish();
}

fn nic_fill(nic: &BusMaster, address: u64, length: u64, byte: u8) {
    let bytes = vec![byte; usize::try_from(length).expect("a length")];
    nic.write(address, &bytes).expect("the device may write");
}

#[test]
fn read_only_registration_grants_the_device_no_write() {
    let scene = scene();
    let start = scene.memory(PAGE);
    let buffer = scene
        .register(start, PAGE, Access::Read)
        .expect("registered");
    let address = buffer.device_address();
    assert!(scene.nic.write(address, &[1]).is_err());
    assert_eq!(scene.nic.domain().take_faults().len(), 1);
    let mut seen = [9];
    scene
        .process
        .read(start, &mut seen)
        .expect("its own memory");
    assert_eq!(seen, [0]);
    drop(buffer);
    scene.finish();
}

#[test]
fn both_directions_are_granted_when_both_are_asked() {
    let scene = scene();
    let start = scene.memory(PAGE);
    let buffer = scene
        .register(start, 64, Access::ReadWrite)
        .expect("registered");
    nic_fill(&scene.nic, buffer.device_address(), 64, 3);
    assert_eq!(device_read(&scene.nic, &buffer), [3; 64]);
    drop(buffer);
    scene.finish();
}

#[test]
fn device_is_shut_out_as_soon_as_it_is_released() {
    let scene = scene();
    let start = scene.memory(PAGE);
    let buffer = scene
        .register(start, PAGE, Access::ReadWrite)
        .expect("registered");
    let address = buffer.device_address();
    buffer.release().expect("released");
    assert!(scene.nic.read(address, &mut [0]).is_err());
    assert_eq!(scene.nic.domain().take_faults().len(), 1);
    scene.finish();
}

#[test]
fn same_memory_is_registered_often_and_each_release_ends_one() {
    let scene = scene();
    let start = scene.memory(PAGE);
    let all: Vec<_> = (0..20)
        .map(|_| {
            scene
                .register(start, PAGE, Access::ReadWrite)
                .expect("registered")
        })
        .collect();
    for buffer in all {
        assert_eq!(device_read(&scene.nic, &buffer).len(), 4096);
        let found = scene
            .provider
            .lookup(buffer.device_address())
            .expect("an answer");
        assert_eq!(found.map(|found| found.handle), Some(buffer.handle()));
        drop(buffer);
    }
    scene.finish();
}

#[test]
fn same_memory_at_one_address_is_looked_up_until_the_last_is_released() {
    // Without an IOMMU each registration of a page has the same device address.
    let dma = DmaConfig {
        remapping: false,
        address_bits: 64,
        ..DmaConfig::default()
    };
    let width = RegistryValue::Dword(64);
    let scene = scene_of(
        Setting::default()
            .dma(dma)
            .parameter("DmaAddressWidth", width),
    );
    let start = scene.memory(PAGE);
    let first = scene
        .register(start, PAGE, Access::Read)
        .expect("registered");
    let second = scene
        .register(start, PAGE, Access::Read)
        .expect("registered");
    let address = first.device_address();
    assert_eq!(address, second.device_address());
    drop(first);
    let found = scene.provider.lookup(address).expect("an answer");
    assert_eq!(found.map(|found| found.handle), Some(second.handle()));
    drop(second);
    assert_eq!(scene.provider.lookup(address).expect("an answer"), None);
    scene.finish();
}

#[test]
fn every_byte_is_looked_up_with_its_offset() {
    let scene = scene();
    let start = scene.memory(MIB) + 1;
    let buffer = scene
        .register(start, 100_000, Access::Read)
        .expect("registered");
    let mut offset = 0;
    for piece in buffer.pieces() {
        let last = scene
            .provider
            .lookup(piece.device_address + piece.length - 1)
            .expect("an answer");
        offset += piece.length;
        assert_eq!(last.map(|found| found.offset), Some(offset - 1));
    }
    assert_eq!(offset, 100_000);
    drop(buffer);
    scene.finish();
}

#[test]
fn neighbours_are_one_piece() {
    let scene = scene();
    let start = scene.memory(16 * MIB);
    let buffer = scene
        .register(start, 16 * MIB, Access::ReadWrite)
        .expect("registered");
    for pair in buffer.pieces().windows(2) {
        assert_ne!(
            pair[0].device_address + pair[0].length,
            pair[1].device_address
        );
    }
    let report = buffer.query().expect("an answer");
    assert_eq!(report.pieces, buffer.pieces());
    drop(buffer);
    scene.finish();
}

#[test]
fn ranges_that_are_not_the_process_s_own_lock_nothing() {
    let scene = scene();
    let start = scene.memory(4 * PAGE);
    let (process, _) = scene.stage.provider().expect("another provider");
    let foreign = process.allocate(4096).expect("memory");
    let freed = scene.memory(PAGE);
    scene.process.free(freed).expect("freed");
    let ranges = [
        (start, 0),
        (start, u64::MAX),
        (start, u64::MAX - start),
        (u64::MAX, 1),
        (0, PAGE),
        (PAGE, PAGE),
        (start, 4 * PAGE + 1),
        (start + 4 * PAGE, 1),
        (freed, PAGE),
        (foreign, PAGE),
        (0xFFFF_8000_0000_0000, PAGE),
        (0xFFFF_F780_0000_0000, 8),
        (0x7FFF_FFFF_F000, 2 * PAGE),
    ];
    for (start, length) in ranges {
        let refused = scene.register(start, length, Access::Read).err();
        let known = [Status::ACCESS_VIOLATION, Status::QUOTA_EXCEEDED];
        assert!(
            refused.is_some_and(|status| known.contains(&status)),
            "{length:#x} bytes at {start:#x}: {refused:?}"
        );
    }
    let statistics = wire::statistics(scene.provider.channel().file());
    assert_eq!(
        (statistics.live_bytes.0, statistics.live_registrations.0),
        (0, 0)
    );
    assert!(wire::failures(&statistics, Error::UserRange) > 8);
    process.exit().expect("the other process ends");
    scene.finish();
}

#[test]
fn registration_counts_its_pages_and_is_gone_from_the_counters_afterwards() {
    let scene = scene();
    let start = scene.memory(MIB);
    let buffer = scene
        .register(start + 4095, 2, Access::Read)
        .expect("registered");
    let statistics = scene.provider.statistics().expect("counters");
    assert_eq!(statistics.live_bytes, 2 * PAGE);
    drop(buffer);
    let statistics = scene.provider.statistics().expect("counters");
    assert_eq!(statistics.live_bytes, 0);
    assert_eq!((statistics.made, statistics.released), (1, 1));
    scene.finish();
}

#[test]
fn quota_holds_for_the_pages() {
    let limit = RegistryValue::Qword(MIB);
    let scene = scene_of(Setting::default().parameter("MaximumBytesPerFile", limit));
    let start = scene.memory(2 * MIB);
    let refused = scene.register(start + 1, MIB, Access::Read).err();
    assert_eq!(refused, Some(Status::QUOTA_EXCEEDED));
    drop(
        scene
            .register(start, MIB, Access::Read)
            .expect("within the quota"),
    );
    scene.finish();
}

#[test]
fn process_that_ends_leaves_no_page_locked() {
    let scene = scene();
    let start = scene.memory(MIB);
    let kept = scene
        .register(start, MIB, Access::ReadWrite)
        .expect("registered");
    let address = kept.device_address();
    let _: sanproxy_provider::Handle = kept.into_handle();
    scene.process.exit().expect("the process ends");
    assert!(scene.nic.read(address, &mut [0]).is_err());
    assert_eq!(scene.nic.domain().take_faults().len(), 1);
    let report = scene.stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

#[test]
fn process_that_ends_while_its_file_lives_on_leaves_no_page_locked() {
    let scene = scene();
    let start = scene.memory(MIB);
    let buffer = scene
        .register(start, MIB, Access::ReadWrite)
        .expect("registered");
    let handle = buffer.into_handle();
    let other = scene
        .stage
        .host
        .create_process("other.exe")
        .expect("a process");
    let duplicate = scene
        .provider
        .channel()
        .file()
        .duplicate(&other)
        .expect("a duplicate");
    scene.process.exit().expect("the process ends");
    assert_eq!(
        wire::release(&duplicate, handle),
        Err(Status::INVALID_HANDLE)
    );
    let statistics = wire::statistics(&duplicate);
    assert_eq!((statistics.live_bytes.0, statistics.released.0), (0, 1));
    drop(duplicate);
    other.exit().expect("the other process ends");
    drop(scene.provider);
    let report = scene.stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

#[test]
fn release_in_another_process_unlocks_the_owner_s_pages() {
    let scene = scene();
    let start = scene.memory(MIB);
    let buffer = scene
        .register(start, MIB, Access::ReadWrite)
        .expect("registered");
    let handle = buffer.into_handle();
    let other = scene
        .stage
        .host
        .create_process("other.exe")
        .expect("a process");
    let file = scene.provider.channel().file();
    let duplicate = file.duplicate(&other).expect("a duplicate");
    assert_eq!(wire::release(&duplicate, handle), Ok(()));
    drop(duplicate);
    other.exit().expect("the other process ends");
    scene.finish();
}

#[test]
fn device_that_is_removed_gives_the_pages_back() {
    for surprise in [false, true] {
        let scene = scene();
        let start = scene.memory(MIB);
        let buffer = scene
            .register(start, MIB, Access::ReadWrite)
            .expect("registered");
        let _: sanproxy_provider::Handle = buffer.into_handle();
        if surprise {
            let gone = scene.stage.device.surprise_removal();
            assert!(gone.is_ok_and(|status| status.is_success()));
        }
        scene.finish();
    }
}

/// A machine whose processes get memory above 4 GiB, a device of 32 bits, and nobody to translate.
fn without_iommu() -> Setting {
    let dma = DmaConfig {
        remapping: false,
        ..DmaConfig::default()
    };
    Setting::default()
        .machine(MachineConfig::without_low_memory())
        .dma(dma)
}

#[test]
fn memory_beyond_the_device_s_reach_is_refused_rather_than_copied() {
    let scene = scene_of(without_iommu());
    let start = scene.memory(MIB);
    let refused = scene.register(start, MIB, Access::ReadWrite).err();
    assert_eq!(refused, Some(Status::CONFLICTING_ADDRESSES));
    scene.finish();
}

#[test]
fn bounds_and_one_piece_are_kept_or_the_buffer_is_refused() {
    let scene = scene();
    let start = scene.memory(MIB);
    let within = UserBufferOptions::new(start, PAGE, Access::Read).low_memory();
    let buffer = scene
        .provider
        .register_user_buffer(&within)
        .expect("registered");
    assert!(buffer.is_low() && buffer.pieces().len() == 1);
    drop(buffer);
    let nowhere = UserBufferOptions::new(start, PAGE, Access::Read).highest(0x1FFF);
    let refused = scene.provider.register_user_buffer(&nowhere).err();
    let status = refused.and_then(|error| error.status());
    assert_eq!(status, Some(Status::CONFLICTING_ADDRESSES));
    scene.finish();
}

fn with_table(interface_version: u32, table_size: u32, map_registers: u32) -> Setting {
    Setting::default().dma(DmaConfig {
        interface_version,
        table_size,
        map_registers,
        ..DmaConfig::default()
    })
}

#[test]
fn every_version_of_the_table_serves() {
    let tables = [
        (1, 0, Method::GetScatterGatherList),
        (2, 0, Method::GetScatterGatherList),
        (3, 152, Method::GetScatterGatherList),
        (3, 232, Method::GetScatterGatherListEx),
        (3, 320, Method::GetScatterGatherListEx),
    ];
    for (version, size, method) in tables {
        let scene = scene_of(with_table(version, size, 1 << 18));
        let start = scene.memory(MIB);
        let bytes = pattern(1 << 20);
        scene.process.write(start, &bytes).expect("its own memory");
        let buffer = scene
            .register(start, MIB, Access::Read)
            .expect("registered");
        assert_eq!(buffer.method(), method, "version {version}, {size} bytes");
        assert_eq!(device_read(&scene.nic, &buffer), bytes);
        drop(buffer);
        scene.finish();
    }
}

#[test]
fn buffer_longer_than_the_map_registers_is_registered_in_chunks() {
    for registers in [1, 2, 7] {
        let scene = scene_of(with_table(3, 0, registers));
        let start = scene.memory(MIB) + 5;
        let bytes = pattern(100_000);
        scene.process.write(start, &bytes).expect("its own memory");
        let buffer = scene
            .register(start, 100_000, Access::Read)
            .expect("registered");
        assert_eq!(device_read(&scene.nic, &buffer), bytes);
        drop(buffer);
        scene.finish();
    }
}

#[test]
fn device_without_an_adapter_offers_no_user_buffers() {
    let scene = scene_of(with_table(0, 0, 0));
    let kinds = scene.provider.capabilities().expect("an answer").kinds;
    assert!(!kinds.contains(Kind::UserBuffer));
    let start = scene.memory(PAGE);
    let refused = scene.register(start, PAGE, Access::Read).err();
    assert_eq!(refused, Some(Status::NOT_SUPPORTED));
    scene.finish();
}

#[test]
fn range_above_4_gib_is_registered_whole() {
    let bytes = RegistryValue::Qword(8 * GIB);
    let setting = Setting::default()
        .parameter("MaximumBytesPerFile", bytes.clone())
        .parameter("MaximumBytesPerDevice", bytes)
        .parameter("DmaAddressWidth", RegistryValue::Dword(40))
        .dma(DmaConfig {
            address_bits: 40,
            ..DmaConfig::default()
        });
    let scene = scene_of(setting);
    let length = 5 * GIB + 123;
    let start = scene.memory(length + PAGE) + 77;
    scene
        .process
        .write(start + length - 1, &[0x42])
        .expect("its own memory");
    let buffer = scene
        .register(start, length, Access::ReadWrite)
        .expect("registered");
    let last = buffer.pieces().last().expect("a piece");
    let mut seen = [0];
    scene
        .nic
        .read(last.device_address + last.length - 1, &mut seen)
        .expect("the device reaches it");
    assert_eq!(seen, [0x42]);
    assert_eq!(buffer.length(), length);
    drop(buffer);
    scene.finish();
}

#[test]
fn failure_at_any_call_leaves_nothing_locked() {
    let mut failed = 0;
    for number in 1..200 {
        let scene = scene_of(with_table(3, 0, 5));
        let start = scene.memory(MIB);
        scene.stage.host.faults().fail_nth(number);
        let result = scene.register(start + 9, 50_000, Access::ReadWrite);
        let spent = scene.stage.host.faults().seen() < number;
        scene.stage.host.faults().clear();
        failed += u32::from(result.is_err());
        if let Err(status) = &result {
            assert_eq!(*status, Status::INSUFFICIENT_RESOURCES, "call {number}");
        }
        drop(result);
        assert_eq!(scene.provider.statistics().expect("counters").live_bytes, 0);
        scene.finish();
        if spent {
            break;
        }
    }
    assert!(failed > 10, "only {failed} calls failed");
}
