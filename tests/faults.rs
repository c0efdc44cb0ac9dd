//! When the system fails the driver: every call that can fail does so, once and from then on, in every scenario.
//!
//! Cites security.md: C45, C46, C49; san.md: R01, R56; verifier-rules.md: V273, V300, V302, V304.

use std::sync::Arc;

use nt_host::{Device, DmaConfig, Faults, Host, HostError, Process, Report};
use sanproxy_provider::{
    Access, HostMemoryOptions, Provider, Quotas, RegisterOptions, Registration, Side, Status,
    UserBufferOptions,
};
use sanproxy_tests::{
    channel::HostChannel,
    image::{self, TestImage},
    stage::{INTERFACE, Setting, StageError, accepted},
};

/// Adds and starts a device, registers each kind mapped and not, moves bytes, releases, removes, unloads.
fn scenario(prepare: impl FnOnce(&Faults)) -> (Result<(), StageError>, Report) {
    scenario_of(Setting::default(), prepare)
}

/// The same on another machine.
fn scenario_of(
    setting: Setting,
    prepare: impl FnOnce(&Faults),
) -> (Result<(), StageError>, Report) {
    let host = setting.host().expect("a host");
    prepare(host.faults());
    let outcome = run(&host);
    host.faults().clear();
    (outcome, host.report())
}

fn run(host: &Arc<Host>) -> Result<(), StageError> {
    let image = image::read(TestImage::Sanproxy);
    let driver = host.load("sanproxy", &image)?;
    let outcome = match driver.add_device() {
        Ok(device) => {
            let outcome = use_device(host, &device);
            accepted(device.remove())?;
            outcome
        }
        Err(error) => Err(error.into()),
    };
    driver.unload()?;
    outcome
}

fn use_device(host: &Arc<Host>, device: &Device) -> Result<(), StageError> {
    accepted(device.start())?;
    let process = host.create_process("provider.exe")?;
    let file = process.open(&INTERFACE)?;
    let provider = Provider::open(HostChannel::new(process.clone(), file))?;
    let wishes = [
        RegisterOptions::common_buffer(4096).map(),
        RegisterOptions::common_buffer(2 << 20)
            .low_memory()
            .alignment(1 << 20),
        RegisterOptions::contiguous(1 << 20).map(),
        RegisterOptions::common_buffer(4 << 20).allow_pieces().map(),
    ];
    let outcome = wishes
        .iter()
        .map(|wish| provider.register(wish))
        .collect::<Result<Vec<_>, _>>();
    let moved = outcome.and_then(|all| {
        if let [first, second, ..] = all.as_slice() {
            provider.copy((first, 0), (second, 0), 4096)?;
        }
        all.into_iter().try_for_each(Registration::release)
    });
    let secured = secure(&process, &provider);
    let own = use_own_memory(&process, &provider);
    let talked = talk(&process, &provider);
    let more = use_the_rest(&provider);
    drop(provider);
    process.exit()?;
    moved?;
    secured.and(own).and(talked)?;
    more.map_err(StageError::from)
}

/// Secures memory of the process and ends that, twice at once.
fn secure(process: &Process, provider: &Provider<HostChannel>) -> Result<(), StageError> {
    let memory = process.allocate(8192).map_err(HostError::Status)?;
    let reading = provider.secure(memory, 8192, Access::Read)?;
    let writing = provider.secure(memory, 1, Access::Write)?;
    reading.unsecure()?;
    drop(writing);
    Ok(())
}

/// Registers memory of the process, moves bytes into it, synchronises it, releases it.
fn use_own_memory(process: &Process, provider: &Provider<HostChannel>) -> Result<(), StageError> {
    let memory = process.allocate(65536).map_err(HostError::Status)?;
    let wish = UserBufferOptions::new(memory + 9, 50_000, Access::ReadWrite);
    let buffer = provider.register_user_buffer(&wish.allow_pieces().allow_copy())?;
    let other = provider.register(&RegisterOptions::common_buffer(4096))?;
    provider.copy((&other, 0), (&buffer, 100), 4096)?;
    buffer.synchronize(Side::Device, 0, 50_000)?;
    buffer.synchronize(Side::Processor, 0, 50_000)?;
    buffer.release()?;
    Ok(other.release()?)
}

/// Connects with another file, sends both ways, and hears of it.
fn talk(process: &Process, one: &Provider<HostChannel>) -> Result<(), StageError> {
    let file = process.open(&INTERFACE)?;
    let other = Provider::open(HostChannel::new(process.clone(), file))?;
    one.connect(other.endpoint()?.own)?;
    other.connect(one.endpoint()?.own)?;
    let mut room = [0; 64];
    one.send(b"a message")?;
    other.receive(&mut room)?;
    one.send(b"another")?;
    other.exchange(b"its answer", &mut room)?;
    one.receive(&mut room)?;
    one.wait_event()?;
    Ok(other.disconnect()?)
}

/// Status page, quotas, the list, a host memory buffer in crash dumps.
fn use_the_rest(provider: &Provider<HostChannel>) -> Result<(), sanproxy_provider::Error> {
    let page = provider.status_page()?;
    let wish = HostMemoryOptions::new(4 << 20, 4096).map().dump();
    let memory = provider.register_host_memory(&wish)?;
    page.read()?;
    provider.enumerate()?;
    let told = provider.capabilities()?;
    provider.set_quotas(&Quotas {
        bytes_per_file: told.bytes_per_file,
        count_per_file: told.count_per_file,
        bytes_per_device: told.bytes_per_device,
        count_per_device: told.count_per_device,
    })?;
    memory.release()
}

/// A failure of the system may fail requests; it must not stop the system, break a rule or lose anything.
fn assert_survived(what: &str, outcome: &Result<(), StageError>, report: &Report) {
    assert!(
        !matches!(outcome, Err(StageError::Host(HostError::Stopped(_)))),
        "{what}: {outcome:?}"
    );
    assert!(report.is_clean(), "{what}: {report}");
}

#[test]
fn scenario_succeeds_without_a_failure() {
    let (outcome, report) = scenario(|_| ());
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(report.is_clean(), "{report}");
}

#[test]
fn each_single_failure_is_survived() {
    let host = Setting::default().host().expect("a host");
    run(&host).expect("the scenario succeeds");
    for routine in ["IoAllocateWorkItem", "IoOpenDeviceRegistryKey"] {
        assert!(host.calls().contains_key(routine), "{routine}");
    }
    let calls = host.faults().seen();
    assert!(calls > 20, "{calls} calls that can fail");
    let mut failed = 0;
    for number in 1..=calls {
        let (outcome, report) = scenario(|faults| faults.fail_nth(number));
        assert_survived(&format!("call {number} failed"), &outcome, &report);
        failed += u64::from(outcome.is_err());
    }
    assert!(failed > 10, "only {failed} failures were noticed");
}

#[test]
fn driver_that_the_system_does_not_ask_for_pages_does_all_else() {
    let host = Setting::default().host().expect("a host");
    host.faults()
        .fail_routine("KeRegisterBugCheckReasonCallback", 1);
    let driver = host
        .load("sanproxy", &image::read(TestImage::Sanproxy))
        .expect("loaded all the same");
    assert_eq!(
        host.faults().injected(),
        ["KeRegisterBugCheckReasonCallback"]
    );
    let device = driver.add_device().expect("added");
    accepted(device.start()).expect("started");
    let process = host.create_process("provider.exe").expect("a process");
    let file = process.open(&INTERFACE).expect("opened");
    let provider = Provider::open(HostChannel::new(process, file)).expect("a provider");
    let options = RegisterOptions::common_buffer(4096);
    let refused = provider.register(&options.dump());
    assert_eq!(
        refused.err().and_then(|error| error.status()),
        Some(Status::NOT_SUPPORTED)
    );
    drop(provider.register(&options).expect("memory"));
    drop(provider);
    accepted(device.remove()).expect("removed");
    driver.unload().expect("unloaded");
    assert!(host.report().is_clean(), "{}", host.report());
}

#[test]
fn each_failure_that_lasts_is_survived() {
    let host = Setting::default().host().expect("a host");
    run(&host).expect("the scenario succeeds");
    for number in 1..=host.faults().seen() {
        let (outcome, report) = scenario(|faults| faults.fail_from(number));
        assert_survived(&format!("calls from {number} on failed"), &outcome, &report);
    }
}

#[test]
fn random_failures_are_survived() {
    for seed in 0..100 {
        let (outcome, report) = scenario(|faults| faults.random(seed, 100));
        assert_survived(&format!("seed {seed}"), &outcome, &report);
    }
}

/// A device that does not reach the memory of processes, so that it gets copies.
fn out_of_reach() -> Setting {
    Setting::default().dma(DmaConfig {
        remapping: false,
        ..DmaConfig::default()
    })
}

#[test]
fn each_single_failure_where_the_device_gets_copies_is_survived() {
    let host = out_of_reach().host().expect("a host");
    run(&host).expect("the scenario succeeds");
    let calls = host.faults().seen();
    for number in 1..=calls {
        let (outcome, report) = scenario_of(out_of_reach(), |faults| faults.fail_nth(number));
        assert_survived(&format!("call {number} failed"), &outcome, &report);
    }
}
