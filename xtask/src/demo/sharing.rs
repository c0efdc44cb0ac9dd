//! What the demonstration does with memory that a program has already, with a peer, and with what is told of the whole device.

use anyhow::{Context, Result, ensure};
use nt_host::Process;
use nt_machine::BusMaster;
use sanproxy_provider::{
    Access, CacheLimits, Descriptor, Exposures, HostMemoryOptions, Provider, RegistrationCache,
    UserBuffer, UserBuffers,
};
use sanproxy_tests::{channel::HostChannel, stage::Stage};

use super::{memory::out_of_reach, report::bytes};

const LENGTH: u64 = 1 << 20;
const LIMITS: CacheLimits = CacheLimits {
    bytes: 64 << 20,
    entries: 64,
};

type Cache = RegistrationCache<UserBuffers<HostChannel>>;

/// Fills a range of the program's own memory through the NIC.
fn fill(nic: &BusMaster, memory: &UserBuffer, start: u64, length: u64, value: u8) -> Result<u64> {
    let mut places = 0;
    for (address, part) in memory.part(start, length) {
        nic.write(address, &vec![value; usize::try_from(part)?])
            .with_context(|| format!("the NIC cannot write {address:#x}"))?;
        places += 1;
    }
    ensure!(places > 0, "the NIC finds the memory nowhere");
    Ok(places)
}

fn holds(process: &Process, start: u64, length: u64, value: u8) -> Result<()> {
    let mut seen = vec![0; usize::try_from(length)?];
    let read = process.read(start, &mut seen);
    ensure!(read.is_ok(), "the program cannot read its own memory");
    ensure!(
        seen.iter().all(|byte| *byte == value),
        "the program sees other bytes than the NIC wrote"
    );
    Ok(())
}

/// Registers memory of the program's own where it lies, again from the cache, and frees it.
pub(crate) fn own_memory(
    stage: &Stage,
    process: &Process,
    provider: &Provider<HostChannel>,
    seen: &mut Vec<String>,
) -> Result<()> {
    let nic = stage.device.bus_master();
    let cache: Cache = RegistrationCache::new(provider.user_buffers(), LIMITS);
    let told = cache.clone();
    let _callback = process.add_secure_memory_cache_callback(move |start, length| {
        told.invalidate(start, length).has_unsecured()
    });
    let allocated = process.allocate(usize::try_from(LENGTH)?);
    let start = allocated.map_err(|status| anyhow::anyhow!("no memory: {status:?}"))?;
    let lease = cache.register(start, LENGTH, Access::ReadWrite)?;
    let places = fill(&nic, lease.memory(), start, LENGTH, 7)?;
    holds(process, start, LENGTH, 7)?;
    let address = lease
        .memory()
        .pieces
        .first()
        .context("no piece")?
        .device_address;
    drop(lease);
    seen.push(format!(
        "{} locked where they lie, {places} pieces; what the NIC wrote the program reads, nothing is copied",
        bytes(LENGTH)
    ));
    let before = stage.host.calls();
    let again = cache.register(start + 5000, 100, Access::ReadWrite)?;
    ensure!(stage.host.calls() == before, "a hit asks the kernel");
    fill(&nic, again.memory(), start + 5000, 100, 8)?;
    holds(process, start + 5000, 100, 8)?;
    drop(again);
    seen.push("a part of it again from the registration cache: 0 kernel calls".to_string());
    process
        .free(start)
        .map_err(|status| anyhow::anyhow!("it cannot be freed: {status:?}"))?;
    out_of_reach(&nic, address)?;
    seen.push(
        "freed: the cache was told and gave it up; the NIC cannot reach it any more".to_string(),
    );
    Ok(())
}

/// A second program sends a request by a descriptor that it was sent.
pub(crate) fn peer(
    stage: &Stage,
    process: &Process,
    provider: &Provider<HostChannel>,
    seen: &mut Vec<String>,
) -> Result<()> {
    let (_, peer) = stage.provider()?;
    let ours = provider.connect(peer.endpoint()?.own)?.own;
    peer.connect(ours)?;
    let events = provider.wait_event()?;
    ensure!(events.iter().count() == 1, "{events:?}");
    seen.push(format!(
        "endpoints {} and {} have named each other; an event tells it",
        ours.0,
        peer.endpoint()?.own.0
    ));

    let cache: Cache = RegistrationCache::new(provider.user_buffers(), LIMITS);
    let exposures = Exposures::new(cache);
    let allocated = process.allocate(16384);
    let start = allocated.map_err(|status| anyhow::anyhow!("no memory: {status:?}"))?;
    let exposure = exposures.expose(start, 16384, Access::Write)?;
    provider.send(exposure.descriptor().as_bytes())?;
    let mut message = [0; 64];
    let length = peer.receive(&mut message)?;
    let descriptor = message.get(..length).and_then(Descriptor::from_bytes);
    let descriptor = descriptor.context("what came is no descriptor")?;
    let reach = exposures.reach(&descriptor, Access::Write, 4000, 200)?;
    fill(
        &stage.device.bus_master(),
        reach.memory(),
        reach.start(),
        reach.length(),
        9,
    )?;
    drop(reach);
    holds(process, start + 4000, 200, 9)?;
    seen.push(
        "a descriptor of 16 bytes sent; by it the peer's bytes came into exposed memory"
            .to_string(),
    );
    let read = exposures.reach(&descriptor, Access::Read, 0, 1);
    ensure!(
        read.is_err(),
        "the peer may read what was exposed for writing"
    );
    drop(exposure);
    let late = exposures.reach(&descriptor, Access::Write, 0, 1);
    ensure!(late.is_err(), "the peer reaches what is exposed no more");
    exposures.close();
    provider.disconnect()?;
    seen.push("refused: reading it, and writing after its end".to_string());
    Ok(())
}

/// The status page, a host memory buffer, and the administrator's list.
pub(crate) fn device(
    stage: &Stage,
    provider: &Provider<HostChannel>,
    seen: &mut Vec<String>,
) -> Result<()> {
    let page = provider.status_page()?;
    let options = HostMemoryOptions::new(4 << 20, 1 << 20).most_ranges(8);
    let memory = provider.register_host_memory(&options)?;
    let before = stage.host.calls();
    let status = page.read()?;
    ensure!(stage.host.calls() == before, "polling asks the kernel");
    let counted = provider.statistics()?;
    ensure!(
        (status.live_bytes, status.made) == (counted.live_bytes, counted.made),
        "the status page says something else than the statistics"
    );
    seen.push(format!(
        "a host memory buffer of {} (ranges: {}); the status page, with 0 kernel calls: {} registered",
        bytes(memory.length()),
        memory.pieces().len(),
        bytes(status.live_bytes)
    ));
    let listed = provider.enumerate()?;
    ensure!(
        u64::try_from(listed.len())? == counted.live_registrations,
        "the list has {} registrations",
        listed.len()
    );
    let owners: std::collections::BTreeSet<_> = listed.iter().map(|one| one.process).collect();
    seen.push(format!(
        "the administrator's list: {} registrations (processes: {})",
        listed.len(),
        owners.len()
    ));
    Ok(memory.release()?)
}
