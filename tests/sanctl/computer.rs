//! A computer for `sanctl`: the embedded host, and a script for what it does not have.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    path::Path,
    time::Duration,
};

use clap::Parser;
use nt_host::{Process, RegistryValue};
use sanctl::{
    Exit, Failure, Screen,
    arguments::Arguments,
    system::{DeviceState, Outcome, Pages, ProgramOutput, Setting as Parameter, System},
};
use sanproxy_abi::PARAMETERS;
use sanproxy_provider::{Provider, SystemError};
use sanproxy_tests::{
    channel::HostChannel,
    stage::{Setting, Stage},
};
use serde_json::Value;

/// What the installed device is called.
pub(crate) const INSTANCE: &str = r"ROOT\SANPROXY\0000";
/// What the driver's INF is called in the driver store.
pub(crate) const STORED_INF: &str = "oem7.inf";

/// Where Driver Verifier stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verifier {
    Off,
    /// Set, and on after the next start of the system.
    Set,
    On,
    /// Set for somebody else.
    Others,
}

/// The computer.
pub(crate) struct Computer {
    stage: RefCell<Option<Stage>>,
    device: Cell<bool>,
    pub(crate) stored_inf: Cell<bool>,
    pub(crate) service: Cell<bool>,
    pub(crate) problem: Cell<Option<u32>>,
    administrator: bool,
    /// The step that the system refuses, and the error that it refuses it with.
    pub(crate) refused: Cell<Option<(&'static str, u32)>>,
    /// How often it is asked for Ctrl-C until that comes.
    pub(crate) interrupt_after: Cell<Option<u32>>,
    pub(crate) settings: RefCell<BTreeMap<String, Parameter>>,
    pub(crate) verifier: Cell<Verifier>,
    clock: Cell<Duration>,
    meanwhile: RefCell<Option<Meanwhile>>,
    unprivileged: Cell<bool>,
    /// Whether its kernel cannot lock the memory of programs.
    pub(crate) is_wine: Cell<bool>,
}

/// What happens to the machine while a command waits.
type Meanwhile = Box<dyn FnOnce(&Stage)>;

impl Computer {
    /// Without the driver.
    pub(crate) fn empty() -> Self {
        Self {
            stage: RefCell::new(None),
            device: Cell::new(false),
            stored_inf: Cell::new(false),
            service: Cell::new(false),
            problem: Cell::new(None),
            administrator: true,
            refused: Cell::new(None),
            interrupt_after: Cell::new(None),
            settings: RefCell::default(),
            verifier: Cell::new(Verifier::Off),
            clock: Cell::new(Duration::ZERO),
            meanwhile: RefCell::new(None),
            unprivileged: Cell::new(false),
            is_wine: Cell::new(false),
        }
    }

    /// With the driver installed and its device started.
    pub(crate) fn installed() -> Self {
        let computer = Self::empty();
        computer.device.set(true);
        computer.start();
        computer
    }

    /// Used by somebody who is no administrator.
    pub(crate) fn without_rights(mut self) -> Self {
        self.administrator = false;
        self
    }

    fn start(&self) {
        let settings = self.settings.borrow();
        let set = PARAMETERS
            .iter()
            .filter_map(|known| match settings.get(known.name) {
                Some(Parameter::Number(value)) => Some((known.name, RegistryValue::Qword(*value))),
                _ => None,
            });
        let setting = set.fold(Setting::default(), |setting, (name, value)| {
            setting.parameter(name, value)
        });
        let stage = setting.started().expect("the device starts");
        self.stage.replace(Some(stage));
        self.stored_inf.set(true);
        self.service.set(true);
    }

    fn stop(&self) {
        if let Some(stage) = self.stage.take() {
            let report = stage.finish().expect("the driver unloads");
            assert!(report.is_clean(), "{report}");
        }
    }

    /// Lets something happen as soon as a command waits.
    pub(crate) fn meanwhile(&self, happening: impl FnOnce(&Stage) + 'static) {
        self.meanwhile.replace(Some(Box::new(happening)));
    }

    /// Another program that uses the device.
    pub(crate) fn other_program(&self) -> (Process, Provider<HostChannel>) {
        let stage = self.stage.borrow();
        let stage = stage.as_ref().expect("the device runs");
        stage.provider().expect("a provider")
    }

    /// Files are opened by programs that are no administrators, though the device lets them.
    pub(crate) fn opens_without_rights(&self) {
        self.unprivileged.set(true);
    }

    /// Whether the device is there.
    pub(crate) fn has_device(&self) -> bool {
        self.device.get()
    }

    /// Runs the command line; gives what it printed and what came of it.
    pub(crate) fn sanctl(&self, words: &[&str]) -> (String, Result<(), Failure>) {
        let line = ["sanctl"].iter().chain(words);
        let arguments = Arguments::try_parse_from(line).expect("a command line");
        let mut printed = Vec::new();
        let mut plain = anstream::StripStream::new(&mut printed);
        let mut screen = Screen::new(&mut plain);
        screen.json = arguments.json;
        let outcome = sanctl::run(arguments, self, &mut screen);
        (String::from_utf8(printed).expect("text"), outcome)
    }

    /// Runs a command line that succeeds; gives what it printed.
    pub(crate) fn prints(&self, words: &[&str]) -> String {
        let (printed, outcome) = self.sanctl(words);
        outcome.unwrap_or_else(|failure| panic!("{words:?}: {failure:?}\n{printed}"));
        printed
    }

    /// Runs a command line with `--json` that succeeds; gives what it printed.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.prints(&words)).expect("one JSON document")
    }

    /// Runs a command line that fails; gives why.
    pub(crate) fn fails(&self, words: &[&str], exit: Exit) -> Failure {
        let (printed, outcome) = self.sanctl(words);
        let failure = outcome
            .err()
            .unwrap_or_else(|| panic!("{words:?} succeeded:\n{printed}"));
        assert_eq!(failure.exit, exit, "{failure:?}");
        failure
    }

    /// How many registrations the device has.
    pub(crate) fn live(&self) -> u64 {
        self.json(&["stats"])["live_registrations"]
            .as_u64()
            .expect("a number")
    }

    /// The end of a test: the driver unloads, and has done nothing wrong.
    pub(crate) fn finish(self) {
        self.stop();
    }

    fn step(&self, name: &str) -> Outcome<()> {
        match self.refused.get() {
            Some((step, code)) if step == name => {
                Err(SystemError::new(name, code, "refused by the script"))
            }
            _ => Ok(()),
        }
    }
}

/// Memory of a process in the host.
pub(crate) struct HostPages {
    process: Process,
    start: u64,
    length: u64,
}

impl Pages for HostPages {
    fn start(&self) -> u64 {
        self.start
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn free(self) -> Result<(), (Self, SystemError)> {
        match self.process.free(self.start) {
            Ok(()) => Ok(()),
            // The Win32 error of a status that forbids it.
            Err(status) => {
                let error = SystemError::new("cannot free the memory", 87, format!("{status:?}"));
                Err((self, error))
            }
        }
    }
}

impl System for Computer {
    type Channel = HostChannel;
    type Pages = HostPages;

    fn open(&self) -> Outcome<Option<HostChannel>> {
        self.step("open")?;
        let stage = self.stage.borrow();
        let opened = stage.as_ref().and_then(|stage| stage.open().ok());
        Ok(opened.map(|(process, file)| {
            process.set_administrator(!self.unprivileged.get());
            HostChannel::new(process, file)
        }))
    }

    fn allocate(&self, channel: &HostChannel, length: u64) -> Outcome<HostPages> {
        self.step("allocate")?;
        let length = length.next_multiple_of(4096);
        let process = channel.process().clone();
        let start = process.allocate(usize::try_from(length).expect("64 bits"));
        Ok(HostPages {
            start: start.expect("memory"),
            process,
            length,
        })
    }

    fn locks_own_memory(&self) -> bool {
        !self.is_wine.get()
    }

    fn is_administrator(&self) -> Outcome<bool> {
        Ok(self.administrator)
    }

    fn test_signing(&self) -> Option<bool> {
        Some(true)
    }

    fn devices(&self) -> Outcome<Vec<DeviceState>> {
        let device = DeviceState {
            instance: INSTANCE.to_owned(),
            started: self.stage.borrow().is_some() && self.problem.get().is_none(),
            problem: self.problem.get(),
            inf: self.stored_inf.get().then(|| STORED_INF.to_owned()),
        };
        Ok(self.device.get().then_some(device).into_iter().collect())
    }

    fn check_inf(&self, _: &Path) -> Outcome<()> {
        self.step("check_inf")
    }

    fn create_root_device(&self, _: &Path) -> Outcome<String> {
        self.step("create_root_device")?;
        assert!(!self.device.replace(true), "a second device");
        Ok(INSTANCE.to_owned())
    }

    fn update_driver(&self, _: &Path) -> Outcome<bool> {
        assert!(self.device.get(), "a driver without a device");
        self.step("update_driver")?;
        self.stop();
        self.start();
        Ok(false)
    }

    fn remove_device(&self, instance: &str) -> Outcome<bool> {
        assert_eq!(instance, INSTANCE);
        self.step("remove_device")?;
        self.stop();
        self.device.set(false);
        Ok(false)
    }

    fn uninstall_inf(&self, name: &str) -> Outcome<()> {
        assert_eq!(name, STORED_INF);
        self.step("uninstall_inf")?;
        self.stored_inf.set(false);
        Ok(())
    }

    fn delete_service(&self) -> Outcome<bool> {
        self.step("delete_service")?;
        Ok(self.service.replace(false))
    }

    fn restart_device(&self, _: &str) -> Outcome<bool> {
        self.step("restart_device")?;
        self.stop();
        self.start();
        Ok(false)
    }

    fn read_setting(&self, _: &str, name: &str) -> Outcome<Parameter> {
        Ok(self
            .settings
            .borrow()
            .get(name)
            .copied()
            .unwrap_or(Parameter::Absent))
    }

    fn write_setting(&self, _: &str, name: &str, value: u64) -> Outcome<()> {
        self.step(name)?;
        self.settings
            .borrow_mut()
            .insert(name.to_owned(), Parameter::Number(value));
        Ok(())
    }

    fn remove_setting(&self, _: &str, name: &str) -> Outcome<bool> {
        Ok(self.settings.borrow_mut().remove(name).is_some())
    }

    fn verifier(&self, arguments: &[&str]) -> Outcome<ProgramOutput> {
        self.step("verifier")?;
        let state = self.verifier.get();
        let text = match arguments {
            ["/query"] if state == Verifier::On => {
                "Name: sanproxy.sys, loads: 1, unloads: 0".to_owned()
            }
            ["/query"] => "No drivers are currently verified.".to_owned(),
            ["/querysettings"] if state == Verifier::Others => {
                "Verified drivers:\n  other.sys".to_owned()
            }
            ["/querysettings"] if state == Verifier::Off => "Verified drivers: None".to_owned(),
            ["/querysettings"] => "Verified drivers:\n  SanProxy.sys".to_owned(),
            ["/flags", "0x209bb" | "0x209bf", "/driver", "sanproxy.sys"] => {
                self.verifier.set(Verifier::Set);
                "The system must be restarted.".to_owned()
            }
            ["/reset"] => {
                self.verifier.set(Verifier::Off);
                String::new()
            }
            other => panic!("verifier.exe was called with {other:?}"),
        };
        Ok(ProgramOutput {
            success: true,
            code: Some(0),
            text,
        })
    }

    fn is_interrupted(&self) -> bool {
        match self.interrupt_after.get() {
            None => false,
            Some(0) => true,
            Some(left) => {
                self.interrupt_after.set(Some(left - 1));
                false
            }
        }
    }

    fn elapsed(&self) -> Duration {
        self.clock.set(self.clock.get() + Duration::from_millis(1));
        self.clock.get()
    }

    fn sleep(&self, duration: Duration) {
        let happening = self.meanwhile.take();
        if let (Some(happening), Some(stage)) = (happening, self.stage.borrow().as_ref()) {
            happening(stage);
        }
        if duration <= Duration::from_millis(5) {
            // A thread that waits in the driver gets on meanwhile.
            std::thread::sleep(Duration::from_micros(100));
        }
        self.clock.set(self.clock.get() + duration);
    }
}
