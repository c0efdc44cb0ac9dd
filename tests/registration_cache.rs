//! The registration cache on the shipped driver: no stale page, whatever the program frees.
//!
//! Cites san.md: R36, R37, R43, R47, R48.

use nt_host::{NtStatus, Process, SecureMemoryCacheCallback};
use sanproxy_provider::{Access, CacheLimits, Lease, Provider, RegistrationCache, UserBuffers};
use sanproxy_tests::{
    channel::HostChannel,
    stage::{Setting, Stage},
};

const PAGE: u64 = 4096;
const LENGTH: u64 = 4 * PAGE;
const OFF: CacheLimits = CacheLimits {
    bytes: 0,
    entries: 0,
};
const ON: CacheLimits = CacheLimits {
    bytes: 64 * PAGE,
    entries: 8,
};

type Cache = RegistrationCache<UserBuffers<HostChannel>>;

/// A provider with a cache that the process tells of memory that is freed.
struct Program {
    stage: Stage,
    process: Process,
    provider: Provider<HostChannel>,
    cache: Cache,
    callback: SecureMemoryCacheCallback,
}

impl Program {
    fn new(limits: CacheLimits) -> Self {
        let stage = Setting::default().started().expect("the device starts");
        let (process, provider) = stage.provider().expect("a provider");
        let cache = RegistrationCache::new(provider.user_buffers(), limits);
        let told = cache.clone();
        let callback = process.add_secure_memory_cache_callback(move |start, length| {
            told.invalidate(start, length).has_unsecured()
        });
        Self {
            stage,
            process,
            provider,
            cache,
            callback,
        }
    }

    fn lease(&self, start: u64, length: u64) -> Lease<UserBuffers<HostChannel>> {
        let lease = self.cache.register(start, length, Access::ReadWrite);
        lease.expect("registered")
    }

    /// The device writes the whole lease.
    fn device_writes(&self, lease: &Lease<UserBuffers<HostChannel>>, value: u8) {
        let nic = self.stage.device.bus_master();
        let part = lease.memory().part(lease.start(), lease.length());
        assert!(!part.is_empty());
        for (address, length) in part {
            let bytes = vec![value; usize::try_from(length).expect("short")];
            nic.write(address, &bytes).expect("the device reaches it");
        }
    }

    /// The device reads the whole lease.
    fn device_reads(&self, lease: &Lease<UserBuffers<HostChannel>>) -> Vec<u8> {
        let nic = self.stage.device.bus_master();
        let mut all = Vec::new();
        for (address, length) in lease.memory().part(lease.start(), lease.length()) {
            let mut bytes = vec![0; usize::try_from(length).expect("short")];
            nic.read(address, &mut bytes)
                .expect("the device reaches it");
            all.append(&mut bytes);
        }
        all
    }

    fn read(&self, start: u64, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(length).expect("short")];
        self.process
            .read(start, &mut bytes)
            .expect("its own memory");
        bytes
    }

    fn finish(self) {
        drop((self.callback, self.cache, self.provider));
        assert_eq!(self.process.secured(), []);
        let report = self.stage.finish().expect("the driver unloads");
        assert!(report.is_clean(), "{report}");
    }
}

#[test]
fn hit_asks_the_kernel_nothing() {
    let program = Program::new(ON);
    let start = program.process.allocate(16384).expect("memory");
    drop(program.lease(start, LENGTH));
    let before = program.stage.host.calls();
    let hit = program.lease(start + 100, PAGE);
    assert_eq!(program.stage.host.calls(), before);
    program.device_writes(&hit, 9);
    assert_eq!(program.read(start + 100, PAGE), vec![9; 4096]);
    assert_eq!(program.read(start, 100), vec![0; 100]);
    drop(hit);
    program.finish();
}

#[test]
fn memory_freed_and_allocated_at_the_same_address_is_never_reached_by_its_old_pages() {
    let program = Program::new(ON);
    let start = program.process.allocate(16384).expect("memory");
    drop(program.lease(start, LENGTH));
    assert_eq!(program.process.secured(), [(start, LENGTH)]);
    program
        .process
        .replace(start)
        .expect("freed: the cache is told");
    assert_eq!(program.process.secured(), []);
    let anew = program.lease(start, LENGTH);
    program.device_writes(&anew, 5);
    assert_eq!(program.read(start, LENGTH), vec![5; 16384]);
    drop(anew);
    program.finish();
}

#[test]
fn memory_in_use_is_not_freed_and_goes_with_its_last_user() {
    let program = Program::new(ON);
    let start = program.process.allocate(16384).expect("memory");
    let busy = program.lease(start, PAGE);
    let refused = program.process.free(start);
    assert_eq!(refused, Err(NtStatus::INVALID_PAGE_PROTECTION));
    program.device_writes(&busy, 3);
    drop(busy);
    assert_eq!(program.process.secured(), [], "not kept after that");
    program.process.free(start).expect("freed");
    program.finish();
}

#[test]
fn killed_process_leaves_nothing_cached() {
    let program = Program::new(ON);
    let start = program.process.allocate(16384).expect("memory");
    drop(program.lease(start, LENGTH));
    let Program {
        stage,
        process,
        provider,
        cache,
        callback,
    } = program;
    process.exit().expect("killed");
    // A killed process's library does nothing any more.
    std::mem::forget((provider, cache, callback));
    assert_eq!(process.secured(), []);
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

/// The next number of a history.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed >> 11
}

/// What the program and the device see, step by step, in a history: allocate, free, remap,
/// register, transfer.
fn history(seed: u64, limits: CacheLimits) -> (Vec<Vec<u8>>, u64) {
    let program = Program::new(limits);
    let mut seed = seed;
    let length = usize::try_from(LENGTH).expect("short");
    let allocate = || program.process.allocate(length).expect("memory");
    let mut regions: Vec<u64> = (0..6).map(|_| allocate()).collect();
    let mut expected = vec![vec![0_u8; length]; regions.len()];
    let mut seen = Vec::new();
    for step in 0..300_u32 {
        let which = usize::try_from(next(&mut seed)).expect("64 bits") % regions.len();
        let start = regions[which];
        let from = next(&mut seed) % LENGTH;
        let bytes = 1 + next(&mut seed) % (LENGTH - from);
        let range =
            usize::try_from(from).expect("short")..usize::try_from(from + bytes).expect("short");
        let value = u8::try_from(step % 251).expect("short");
        match next(&mut seed) % 8 {
            0 => {
                program.process.free(start).expect("freed");
                regions[which] = allocate();
                expected[which].fill(0);
            }
            1 => {
                program.process.replace(start).expect("replaced");
                expected[which].fill(0);
            }
            2 => {
                let own = vec![value; range.len()];
                program.process.write(start + from, &own).expect("written");
                expected[which][range].fill(value);
            }
            3 | 4 => {
                let lease = program.lease(start, LENGTH);
                seen.push(program.device_reads(&lease));
                assert_eq!(seen.last(), Some(&expected[which]), "step {step}");
            }
            _ => {
                let lease = program.lease(start + from, bytes);
                program.device_writes(&lease, value);
                expected[which][range].fill(value);
            }
        }
        let now = program.read(regions[which], LENGTH);
        assert_eq!(now, expected[which], "step {step}");
        seen.push(now);
    }
    let hits = program.cache.counters().hits;
    program.finish();
    (seen, hits)
}

#[test]
fn history_shows_the_same_bytes_with_and_without_the_cache() {
    for seed in [0x9E37_79B9_7F4A_7C15, 0x1234_5678_9ABC_DEF1] {
        let (with, hits) = history(seed, ON);
        let (without, none) = history(seed, OFF);
        assert_eq!(with, without);
        assert!(hits > 20 && none == 0, "{hits} hits, and {none} without");
    }
}
