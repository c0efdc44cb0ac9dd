//! A stage for the faulty driver: loaded, started and opened, then told what to break.

use std::{sync::Arc, time::Duration};

use nt_host::{
    Control, Device, Driver, File, Guid, Host, HostBuilder, HostError, IoResult, Process,
    RegistryValue, Report,
};
use sanproxy_tests::image::{self, TestImage};

/// The interface of the faulty driver.
pub(crate) const INTERFACE: Guid = Guid::from_u128(0x2f6a63c1_7d57_4d0a_9c1e_5b0e6f1d8a42);

/// The requests without a fault.
pub(crate) mod work {
    pub(crate) const NOTHING: u32 = 0xC00;
    pub(crate) const POOL: u32 = 0xC01;
    pub(crate) const IRQL: u32 = 0xC02;
    pub(crate) const LOCKS: u32 = 0xC03;
    pub(crate) const MEMORY: u32 = 0xC04;
    pub(crate) const DMA: u32 = 0xC05;
    pub(crate) const IRP: u32 = 0xC06;
    pub(crate) const OBJECTS: u32 = 0xC07;
    pub(crate) const WORK_ITEMS: u32 = 0xC08;
    pub(crate) const LOCK_GUARDED: u32 = 0xC10;
    pub(crate) const MAP_TO_USER: u32 = 0xC11;
    pub(crate) const UNMAP_FROM_USER: u32 = 0xC12;
    pub(crate) const BUFFER_ADDRESS: u32 = 0xC13;
    pub(crate) const FREE_BUFFER: u32 = 0xC14;
    pub(crate) const WAIT_FOR_LOWER: u32 = 0xC15;
    pub(crate) const MAPPED_PAGE: u32 = 0xC16;
    pub(crate) const WAITING_CHANNEL: u32 = 0xC17;
    pub(crate) const WAIT: u32 = 0xC20;
    pub(crate) const BUG_CHECK: u32 = 0xC30;
    pub(crate) const RAISE: u32 = 0xC31;
}

/// The control code of a function of the driver, buffered.
pub(crate) const fn code(function: u32) -> u32 {
    0x8001 << 16 | function << 2
}

/// The control code of the fault against a rule.
pub(crate) const fn fault(rule: u32) -> u32 {
    code(0x800 + rule)
}

/// Input of a request: which of several ways, and an address.
pub(crate) fn input(variant: u32, value: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&variant.to_le_bytes());
    bytes[8..].copy_from_slice(&value.to_le_bytes());
    bytes
}

/// A host on which hangs are found soon.
pub(crate) fn builder() -> HostBuilder {
    Host::builder().watchdog(Duration::from_secs(2))
}

/// The driver, running, with a process that has it open.
pub(crate) struct Stage {
    // Fields are dropped in this order: the handle before what it belongs to.
    pub(crate) file: Option<File>,
    pub(crate) process: Process,
    pub(crate) device: Device,
    pub(crate) driver: Option<Driver>,
    pub(crate) host: Arc<Host>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::on(builder())
    }

    pub(crate) fn on(builder: HostBuilder) -> Self {
        let host = builder.build().expect("a host");
        let image = image::read(TestImage::Faulty);
        let driver = host.load("faulty", &image).expect("the driver loads");
        let device = driver.add_device().expect("AddDevice succeeds");
        assert!(device.start().expect("START comes back").is_success());
        let process = host.create_process("program.exe").expect("a process");
        let file = process.open(&INTERFACE).expect("the device opens");
        let (file, driver) = (Some(file), Some(driver));
        Self {
            file,
            process,
            device,
            driver,
            host,
        }
    }

    pub(crate) fn file(&self) -> &File {
        self.file.as_ref().expect("an open file")
    }

    /// Sends a control code with input, and room for eight bytes of output.
    pub(crate) fn send(&self, code: u32, variant: u32, value: u64) -> Result<IoResult, HostError> {
        let mut output = [0; 8];
        self.file()
            .device_control(code, &input(variant, value), &mut output)
    }

    /// Has a piece of work done that answers with a value.
    pub(crate) fn ask(&self, function: u32, variant: u32, value: u64) -> u64 {
        let mut output = [0; 8];
        let result = self
            .file()
            .device_control(code(function), &input(variant, value), &mut output)
            .expect("the driver comes back");
        assert!(result.status.is_success(), "{result:?}");
        assert_eq!(result.information, 8);
        u64::from_le_bytes(output)
    }

    /// Has a piece of work done.
    pub(crate) fn work(&self, function: u32) {
        let result = self.send(code(function), 0, 0).expect("it comes back");
        assert!(result.status.is_success(), "{function:#x}: {result:?}");
    }

    /// Closes, removes and unloads as far as the system still lives, and gives the report.
    pub(crate) fn end(mut self) -> Report {
        // After a fatal fault each of these is refused: the report says why.
        drop(self.file.take().map(File::close));
        drop(self.process.exit());
        drop(self.device.remove());
        drop(self.driver.take().map(Driver::unload));
        self.host.report()
    }
}

/// The report after the driver has broken a rule within a request.
pub(crate) fn report_of(rule: u32, variant: u32) -> Report {
    report_on(builder(), rule, variant)
}

/// The same on another host.
pub(crate) fn report_on(builder: HostBuilder, rule: u32, variant: u32) -> Report {
    let stage = Stage::on(builder);
    // What comes of the request is not the judge's business, as long as the driver knows the fault.
    if let Ok(result) = stage.send(fault(rule), variant, 0) {
        assert_ne!(
            result.status.0, 0xC000_0002,
            "the driver knows no such fault"
        );
    }
    stage.end()
}

/// A whole life of a device of which one rule of the life cycle is broken.
pub(crate) fn life_of(rule: u32, surprise: bool) -> Report {
    life_on(builder(), rule, surprise)
}

/// The same on another host.
pub(crate) fn life_on(builder: HostBuilder, rule: u32, surprise: bool) -> Report {
    let fault = RegistryValue::Dword(rule);
    let host = builder.parameter("Fault", fault).build().expect("a host");
    // Whatever fails after a fault, the report tells: only the run without one demands success.
    drop(live(&host, surprise));
    host.report()
}

/// Start, open, stop, start, requests that nobody knows, removal, unload.
pub(crate) fn live(host: &Arc<Host>, surprise: bool) -> Result<(), HostError> {
    let driver = host.load("faulty", &image::read(TestImage::Faulty))?;
    if let Ok(device) = driver.add_device() {
        let _status = device.start()?;
        let process = host.create_process("program.exe")?;
        if let Ok(file) = process.open(&INTERFACE) {
            file.control(&Control::new(code(work::NOTHING), &[], 0))?;
            file.close()?;
        }
        for minor in [0x3F, 0x14] {
            device.send_pnp(minor)?;
        }
        device.send_power(2, false, 4)?;
        device.send_system_control(0)?;
        if device.query_stop().is_ok() {
            let _status = device.stop()?;
            let _status = device.start()?;
        }
        let _status = device.query_remove()?;
        let _status = device.cancel_remove()?;
        if surprise {
            let _status = device.surprise_removal()?;
        } else {
            let _status = device.remove()?;
        }
        process.exit()?;
    }
    driver.unload()
}

/// Tests that a fault within a request is caught: `name: number of the fault, variant => rule`.
macro_rules! caught {
    ($($name:ident: $fault:literal, $variant:literal => $rule:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let report = $crate::stage::report_of($fault, $variant);
                assert!(report.has($rule), "not caught:\n{report}");
            }
        )*
    };
}
pub(crate) use caught;

/// Tests that a fault of the life cycle is caught: `name: number of the fault => rule`.
macro_rules! caught_in_life {
    ($($name:ident: $fault:literal, $surprise:literal => $rule:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let report = $crate::stage::life_of($fault, $surprise);
                assert!(report.has($rule), "not caught:\n{report}");
            }
        )*
    };
}
pub(crate) use caught_in_life;
