//! What happens to others at any point of a request: a process that dies, a device that is torn out, a file that closes.
//!
//! Cites san.md: R53, R55, R59; security.md: C31, C35, C38, C43; verifier-rules.md: V305, V306.

use std::sync::{
    Arc,
    mpsc::{self, Receiver},
};

use nt_host::{Device, Host};
use sanproxy_provider::RegisterOptions;
use sanproxy_tests::stage::{Setting, Stage, accepted};

/// Every so many calls of the driver something happens: all of them would take minutes, and a step that shares no factor with
/// the length of a request meets different points of each.
const STEP: usize = 7;

/// Something that happens on another thread at a certain call of the driver.
struct Interruption {
    host: Arc<Host>,
    before: u64,
    call: u64,
    ended: Receiver<()>,
}

impl Interruption {
    /// Has `work` done when the driver makes its `call`-th call from now.
    fn at(host: &Arc<Host>, call: u64, work: impl FnOnce() + Send + 'static) -> Self {
        let (tell, ended) = mpsc::channel();
        let before = total(host);
        host.at_call(call, move || {
            work();
            let _ = tell.send(());
        });
        Self {
            host: Arc::clone(host),
            before,
            call,
            ended,
        }
    }

    /// Waits until it is over, if it came at all.
    fn wait(&self) {
        if total(&self.host) - self.before >= self.call {
            self.ended.recv().expect("the interruption ends");
        }
    }
}

/// The driver's calls so far.
fn total(host: &Host) -> u64 {
    host.calls().values().sum()
}

/// Registers both kinds, copies, releases; how each request ends depends on when the interruption comes.
fn use_device(stage: &Stage) {
    let Ok((process, provider)) = stage.provider() else {
        return;
    };
    for wish in [
        RegisterOptions::common_buffer(65536).map(),
        RegisterOptions::contiguous(8192).map(),
    ] {
        if let Ok(registration) = provider.register(&wish) {
            let _ = provider.copy((&registration, 0), (&registration, 4096), 4096);
            let _ = registration.release();
        }
        // One that nobody releases.
        let _ = provider
            .register(&wish)
            .map(|registration| registration.into_handle());
    }
    drop(provider);
    let _ = process.exit();
}

/// How many kernel calls the requests make when nothing interrupts them.
fn calls_of_a_whole_run() -> u64 {
    let stage = Setting::default().started().expect("the device starts");
    let before = total(&stage.host);
    use_device(&stage);
    let all = total(&stage.host) - before;
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
    all
}

#[test]
fn process_may_die_at_any_point() {
    for call in (1..=calls_of_a_whole_run()).step_by(STEP) {
        let stage = Setting::default().started().expect("the device starts");
        let (victim, file) = stage.open().expect("a file");
        sanproxy_tests::wire::register(&file, &sanproxy_tests::wire::good_register())
            .expect("a page");
        let duplicate = file.duplicate(&stage.host.create_process("heir.exe").expect("a process"));
        let death = Interruption::at(&stage.host, call, move || {
            let _ = victim.exit();
        });
        use_device(&stage);
        death.wait();
        drop((file, duplicate));
        let report = stage.finish().expect("the driver unloads");
        assert!(report.is_clean(), "call {call}: {report}");
    }
}

#[test]
fn process_may_die_at_any_point_of_its_own_request() {
    for call in (1..=calls_of_a_whole_run()).step_by(STEP) {
        let stage = Setting::default().started().expect("the device starts");
        let (process, provider) = stage.provider().expect("a provider");
        let death = Interruption::at(&stage.host, call, move || {
            let _ = process.exit();
        });
        for wish in [
            RegisterOptions::common_buffer(65536).map(),
            RegisterOptions::contiguous(8192).map(),
        ] {
            let _ = provider
                .register(&wish)
                .map(|registration| registration.into_handle());
        }
        drop(provider);
        death.wait();
        let report = stage.finish().expect("the driver unloads");
        assert!(report.is_clean(), "call {call}: {report}");
    }
}

#[test]
fn device_may_be_torn_out_at_any_point() {
    for call in (1..=calls_of_a_whole_run()).step_by(STEP) {
        let Stage {
            host,
            driver,
            device,
        } = Setting::default().started().expect("the device starts");
        let device: Arc<Device> = Arc::new(device);
        let torn = Arc::clone(&device);
        let removal = Interruption::at(&host, call, move || {
            let _ = torn.surprise_removal();
        });
        let Ok(process) = host.create_process("provider.exe") else {
            continue;
        };
        if let Ok(file) = process.open(&sanproxy_tests::stage::INTERFACE) {
            let mut input = sanproxy_tests::wire::good_register();
            input.flags = sanproxy_abi::wire::Flags(sanproxy_abi::RegisterFlags::MAP.bits());
            for _ in 0..3 {
                if let Ok(made) = sanproxy_tests::wire::register(&file, &input) {
                    let _ = sanproxy_tests::wire::release(&file, made.handle);
                }
                let _ = sanproxy_tests::wire::register(&file, &input);
            }
        }
        process.exit().expect("the process ends");
        removal.wait();
        // If the device was torn out, this only tells how its removal ended.
        accepted(device.remove()).expect("removed");
        drop(device);
        driver.unload().expect("unloaded");
        let report = host.report();
        assert!(report.is_clean(), "call {call}: {report}");
    }
}
