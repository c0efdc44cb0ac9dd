//! The story that the demonstration tells, step by step.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use nt_host::{DmaConfig, Host};
use nt_machine::{BusMaster, MachineConfig};
use sanproxy_provider::Provider;
use sanproxy_tests::{
    channel::HostChannel,
    stage::{INTERFACE, Stage, accepted},
};

use super::{
    memory::{self, HostRegistration, WISHES},
    report::{Report, Row, Step, bytes},
    sharing, timeline,
};

/// Runs the story with the image at `image`; with `live`, prints each step as it ends;
/// with `trace`, listens to the driver's events.
pub(crate) fn tell(image: &Path, live: bool, trace: bool) -> Report {
    let mut teller = Teller {
        report: Report::default(),
        live,
        trace,
    };
    if let Err(error) = run(&mut teller, image) {
        teller.report.error = Some(format!("{error:#}"));
    }
    let Teller { mut report, .. } = teller;
    report.passed = report.error.is_none()
        && report
            .verdict
            .as_ref()
            .is_some_and(nt_host::Report::is_clean);
    report
}

/// Keeps the report while the story goes on.
struct Teller {
    report: Report,
    live: bool,
    trace: bool,
}

impl Teller {
    /// Does a step and notes what was seen.
    fn step<T>(
        &mut self,
        title: &str,
        work: impl FnOnce(&mut Vec<String>) -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let mut details = Vec::new();
        let result = work(&mut details).with_context(|| title.to_string());
        let step = Step {
            title: title.to_string(),
            details,
            milliseconds: start.elapsed().as_secs_f64() * 1000.0,
        };
        if self.live {
            step.print(self.report.steps.len() + 1);
        }
        self.report.steps.push(step);
        result
    }
}

fn run(teller: &mut Teller, image: &Path) -> Result<()> {
    let listen = teller.trace;
    let stage = teller.step(
        "Boot the embedded host, load the driver, start its device",
        |seen| start(image, listen, seen),
    )?;
    let nic = stage.device.bus_master();
    let (process, provider) = teller.step(
        "Open the device by its interface, ask for its capabilities",
        |seen| {
            let process = stage.host.create_process("provider.exe")?;
            let file = process.open(&INTERFACE)?;
            let provider = Provider::open(HostChannel::new(process.clone(), file))?;
            describe(&provider, seen)?;
            Ok((process, provider))
        },
    )?;
    let mut rows = Vec::new();
    let registered = teller.step("Register memory", |seen| {
        register(&stage, &provider, &mut rows, seen)
    })?;
    teller.report.registrations = rows;
    teller.step(
        "The NIC and the provider write and read it, by logical address and by mapping",
        |seen| exchange(&nic, &provider, &registered, seen),
    )?;
    teller.step(
        "Addresses that are not registered fault in the IOMMU",
        |seen| faults(&nic, &registered, seen),
    )?;
    teller.step(
        "Register memory of the program's own, use it from the cache, free it",
        |seen| sharing::own_memory(&stage, &process, &provider, seen),
    )?;
    teller.step(
        "A second program: a message, and a write by descriptor",
        |seen| sharing::peer(&stage, &process, &provider, seen),
    )?;
    teller.step("Look at the whole device", |seen| {
        sharing::device(&stage, &provider, seen)
    })?;
    let released = registered.len() / 2;
    teller.step("Release some of it", |seen| {
        release(&nic, registered, released, seen)
    })?;
    teller.step(
        "Close the handle with the rest still open, end the process",
        |seen| {
            let before = provider.statistics()?;
            ensure!(before.live_registrations > 0, "nothing is left open");
            drop(provider);
            process.exit()?;
            let (_, witness) = stage.provider()?;
            let after = witness.statistics()?;
            ensure!(
                after.live_registrations == 0,
                "{} registrations outlive their owner",
                after.live_registrations
            );
            seen.push(format!(
                "{} registrations were open, none is left",
                before.live_registrations
            ));
            Ok(())
        },
    )?;
    finish(teller, stage)
}

fn start(image: &Path, listen: bool, seen: &mut Vec<String>) -> Result<Stage> {
    let file = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let machine = MachineConfig::without_low_memory();
    let dma = DmaConfig {
        address_bits: 32,
        remapping: true,
        ..DmaConfig::default()
    };
    let host = Host::builder().machine(machine).dma(dma).build()?;
    seen.push(format!(
        "a simulated machine of {} in {} NUMA nodes, no ordinary memory below 4 GiB (NOLOWMEM), IOMMU on, a 32-bit NIC",
        bytes(64 << 30),
        host.machine().nodes()
    ));
    if listen {
        timeline::listen(&host)?;
    }
    let driver = host.load("sanproxy", &file)?;
    seen.push(format!(
        "sanproxy.sys, {} bytes, loaded; DriverEntry succeeded",
        file.len()
    ));
    let device = driver.add_device()?;
    accepted(device.start())?;
    seen.push("AddDevice and IRP_MN_START_DEVICE succeeded".to_string());
    Ok(Stage {
        host,
        driver,
        device,
    })
}

fn describe(provider: &Provider<HostChannel>, seen: &mut Vec<String>) -> Result<()> {
    let interface = provider.interface();
    let [major, minor, patch] = interface.driver;
    seen.push(format!(
        "interface {}.{}, driver {major}.{minor}.{patch}",
        interface.major, interface.minor
    ));
    let offered = provider.capabilities()?;
    let version = offered
        .dma_version
        .context("the device has no DMA adapter")?;
    seen.push(format!(
        "DMA interface version {version}, table of {} bytes, common buffers by {}",
        offered.dma_operations_size,
        offered.common_buffer_method.name()
    ));
    seen.push(format!(
        "at most {} in one registration, {} and {} registrations per file, a reserve of {}",
        bytes(offered.longest_registration),
        bytes(offered.bytes_per_file),
        offered.count_per_file,
        bytes(offered.reserve_bytes)
    ));
    Ok(())
}

fn register(
    stage: &Stage,
    provider: &Provider<HostChannel>,
    rows: &mut Vec<Row>,
    seen: &mut Vec<String>,
) -> Result<Vec<HostRegistration>> {
    let mut registered = Vec::new();
    for wish in &WISHES {
        let before: u64 = stage.host.calls().values().sum();
        let registration = provider
            .register(wish)
            .with_context(|| format!("{wish:?}"))?;
        let calls = stage.host.calls().values().sum::<u64>() - before;
        let first = registration.device_address();
        rows.push(Row {
            kind: registration.kind().name().to_string(),
            method: registration.method().name().to_string(),
            bytes: registration.length(),
            first,
            last: first + registration.length() - 1,
            below_4_gib: registration.is_low(),
            pieces: registration.pieces().len(),
            mapped: registration.user_address().is_some(),
            kernel_calls: calls,
        });
        ensure!(
            registration.is_low(),
            "a 32-bit device cannot reach {first:#x}"
        );
        registered.push(registration);
    }
    let total: u64 = registered.iter().map(HostRegistration::length).sum();
    seen.push(format!(
        "{} registrations, {}",
        registered.len(),
        bytes(total)
    ));
    Ok(registered)
}

fn exchange(
    nic: &BusMaster,
    provider: &Provider<HostChannel>,
    registered: &[HostRegistration],
    seen: &mut Vec<String>,
) -> Result<()> {
    let window = registered.first().context("nothing is registered")?;
    let mut moved = 0;
    for registration in registered {
        moved += memory::exchange(nic, provider, registration, window)?;
    }
    seen.push(format!(
        "{} moved and compared on both sides, {} IOMMU faults",
        bytes(moved),
        nic.domain().faults().len()
    ));
    Ok(())
}

fn faults(nic: &BusMaster, registered: &[HostRegistration], seen: &mut Vec<String>) -> Result<()> {
    // What is aligned or kept within a boundary may be part of a longer block, all of which the device reaches.
    let exact = WISHES
        .iter()
        .zip(registered)
        .filter(|(wish, _)| wish.wire().alignment.0 == 0 && wish.wire().boundary.0 == 0);
    let behind = exact.map(|(_, one)| one.device_address() + one.length());
    let tried: Vec<u64> = std::iter::once(0)
        .chain(behind)
        .filter(|address| registered.iter().all(|one| !holds(one, *address)))
        .collect();
    for address in &tried {
        memory::out_of_reach(nic, *address)?;
    }
    seen.push(format!(
        "{} addresses tried, address 0 and those right behind registrations: each faulted, nothing moved",
        tried.len()
    ));
    Ok(())
}

fn holds(registration: &HostRegistration, address: u64) -> bool {
    let first = registration.device_address();
    (first..first + registration.length()).contains(&address)
}

/// Releases the first ones and keeps the rest open until the file is closed.
fn release(
    nic: &BusMaster,
    registered: Vec<HostRegistration>,
    count: usize,
    seen: &mut Vec<String>,
) -> Result<()> {
    let mut rest = registered.into_iter();
    for registration in rest.by_ref().take(count) {
        let address = registration.device_address();
        registration.release()?;
        memory::out_of_reach(nic, address)?;
    }
    seen.push(format!(
        "{count} released; the NIC cannot reach them any more"
    ));
    for registration in rest {
        let _ = registration.into_handle();
    }
    Ok(())
}

fn finish(teller: &mut Teller, stage: Stage) -> Result<()> {
    let host = stage.host.clone();
    let verdict = teller.step("Remove the device, unload the driver", |seen| {
        let report = stage.finish()?;
        seen.push("removed and unloaded".to_string());
        Ok(report)
    });
    teller.report.kernel_calls = host
        .calls()
        .into_iter()
        .map(|(name, count)| (name.to_string(), count))
        .collect();
    if teller.trace {
        teller.report.timeline = Some(timeline::of(&host)?);
    }
    teller.report.verdict = Some(host.report());
    verdict.map(drop)
}
