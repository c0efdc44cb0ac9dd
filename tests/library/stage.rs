//! A machine with the driver that calls the wrappers, and the requests that it knows.

use std::{sync::Arc, time::Duration};

use nt_host::{
    Device, DmaConfig, Driver, File, Guid, Host, HostBuilder, Process, RegistryValue, Report,
};
use nt_machine::{BusMaster, MachineConfig};
use sanproxy_tests::image::{self, TestImage};

pub(crate) const PAGE: u64 = 4096;
pub(crate) const TO_DEVICE: u64 = 0;
pub(crate) const FROM_DEVICE: u64 = 1;

pub(crate) const DEVICE_BUSY: u32 = 0x8000_0011;
pub(crate) const INVALID_PARAMETER: u32 = 0xC000_000D;
pub(crate) const INSUFFICIENT_RESOURCES: u32 = 0xC000_009A;
pub(crate) const NOT_SUPPORTED: u32 = 0xC000_00BB;

const INTERFACE: Guid = Guid::from_u128(0x7b1f5c92_4e0d_4b7e_8a21_6c903de514f7);

/// The requests, by number.
pub(crate) mod call {
    pub(crate) const ADAPTER: u32 = 0x801;
    pub(crate) const ALIGNMENT: u32 = 0x802;
    pub(crate) const INFO: u32 = 0x803;
    pub(crate) const TRANSFER_INFO: u32 = 0x804;
    pub(crate) const LIST_SIZE: u32 = 0x805;
    pub(crate) const CONFIGURE: u32 = 0x806;
    pub(crate) const IN_POOL: u32 = 0x810;
    pub(crate) const CONTIGUOUS: u32 = 0x811;
    pub(crate) const OF_PROCESS: u32 = 0x812;
    pub(crate) const WRITE: u32 = 0x813;
    pub(crate) const READ: u32 = 0x814;
    pub(crate) const FREE: u32 = 0x815;
    pub(crate) const SYNCHRONISE: u32 = 0x816;
    pub(crate) const WAIT_FOR: u32 = 0x820;
    pub(crate) const TAKE: u32 = 0x821;
    pub(crate) const REQUEST: u32 = 0x822;
    pub(crate) const AWAIT_REQUEST: u32 = 0x823;
    pub(crate) const CANCEL_REQUEST: u32 = 0x824;
    pub(crate) const WITHOUT_OBJECT: u32 = 0x825;
    pub(crate) const GIVE_BACK: u32 = 0x826;
    pub(crate) const FORGET_REQUEST: u32 = 0x827;
    pub(crate) const MAP: u32 = 0x830;
    pub(crate) const FLUSH: u32 = 0x831;
    pub(crate) const DROP_MAPPING: u32 = 0x832;
    pub(crate) const CANCEL: u32 = 0x833;
    pub(crate) const REMAINING: u32 = 0x834;
    pub(crate) const LIST: u32 = 0x840;
    pub(crate) const SECOND_LIST: u32 = 0x841;
    pub(crate) const PUT: u32 = 0x842;
    pub(crate) const VIEW: u32 = 0x843;
    pub(crate) const COMMON: u32 = 0x850;
    pub(crate) const FREE_COMMON: u32 = 0x851;
    pub(crate) const VECTOR: u32 = 0x852;
    pub(crate) const SHRINK: u32 = 0x853;
    pub(crate) const FREE_VECTOR: u32 = 0x854;
    pub(crate) const SHARE: u32 = 0x855;
    pub(crate) const UNSHARE: u32 = 0x856;
    pub(crate) const LOCATE_VECTOR: u32 = 0x857;
    pub(crate) const DOMAIN: u32 = 0x860;
    pub(crate) const PUBLISH: u32 = 0x861;
    pub(crate) const WITHDRAW: u32 = 0x862;
    pub(crate) const JOIN: u32 = 0x863;
    pub(crate) const LEAVE: u32 = 0x864;
    pub(crate) const FORGET_DOMAIN: u32 = 0x865;
    pub(crate) const DOMAIN_BUFFER: u32 = 0x866;
}

/// An interface of this version, with an IOMMU or with copies of what the device does not reach: the machine has no memory
/// below 4 GiB, and the device 32 address bits.
pub(crate) fn interface(interface_version: u32, remapping: bool) -> DmaConfig {
    DmaConfig {
        interface_version,
        remapping,
        ..DmaConfig::default()
    }
}

/// A host with such a device; if it has a channel of the system's controller, the driver is told.
pub(crate) fn builder(dma: DmaConfig) -> HostBuilder {
    let channel = dma.system_channel;
    let builder = Host::builder()
        .machine(MachineConfig::without_low_memory())
        .dma(dma)
        .watchdog(Duration::from_secs(10));
    match channel {
        Some(channel) => builder.parameter("SystemChannel", RegistryValue::Dword(channel)),
        None => builder,
    }
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(length: u64) -> Vec<u8> {
    (0..length)
        .map(|index| (index % 251) as u8 ^ (index >> 12) as u8)
        .collect()
}

/// The driver, running, with a process that has it open.
pub(crate) struct Stage {
    // Fields are dropped in this order: the handle before what it belongs to.
    pub(crate) file: File,
    pub(crate) process: Process,
    pub(crate) device: Device,
    driver: Driver,
    pub(crate) host: Arc<Host>,
}

impl Stage {
    pub(crate) fn new(dma: DmaConfig) -> Self {
        Self::on(builder(dma))
    }

    pub(crate) fn on(builder: HostBuilder) -> Self {
        Self::try_on(builder).expect("the device has an adapter")
    }

    /// `None` if the device has no adapter, which the driver does not let itself be opened without.
    pub(crate) fn try_on(builder: HostBuilder) -> Option<Self> {
        let host = builder.build().expect("a host");
        let image = image::read(TestImage::Library);
        let driver = host.load("library", &image).expect("the driver loads");
        let device = driver.add_device().expect("AddDevice succeeds");
        assert!(device.start().expect("START comes back").is_success());
        let process = host.create_process("program.exe").expect("a process");
        let Ok(file) = process.open(&INTERFACE) else {
            process.exit().expect("ended");
            assert!(device.remove().expect("REMOVE comes back").is_success());
            driver.unload().expect("unloaded");
            let report = host.report();
            assert!(report.is_clean(), "{report}");
            return None;
        };
        Some(Self {
            file,
            process,
            device,
            driver,
            host,
        })
    }

    /// Sends a request, with room for the longest answer.
    pub(crate) fn bytes(&self, call: u32, numbers: &[u64], bytes: &[u8]) -> Result<Vec<u8>, u32> {
        send(&self.file, call, numbers, bytes)
    }

    /// Sends a request that is answered with numbers.
    pub(crate) fn try_ask(&self, call: u32, numbers: &[u64]) -> Result<Vec<u64>, u32> {
        let answer = self.bytes(call, numbers, &[])?;
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        Ok(answer.chunks(8).map(number).collect())
    }

    /// The same, if it has to succeed.
    pub(crate) fn ask(&self, call: u32, numbers: &[u64]) -> Vec<u64> {
        match self.try_ask(call, numbers) {
            Ok(answer) => answer,
            Err(status) => panic!("{call:#x}: {status:#010X}\n{}", self.host.report()),
        }
    }

    /// A buffer in pool with the pattern in it.
    pub(crate) fn pool_buffer(&self, length: u64) -> Vec<u8> {
        let bytes = pattern(length);
        self.bytes(call::IN_POOL, &[length, 0, 0, 0], &bytes)
            .expect("a buffer");
        bytes
    }

    /// What is in the buffer.
    pub(crate) fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        self.bytes(call::READ, &[offset, length], &[])
            .expect("its bytes")
    }

    /// Closes the file, which gives everything back, and opens another.
    pub(crate) fn reopen(&mut self) {
        let new = self.process.open(&INTERFACE).expect("the device opens");
        let old = std::mem::replace(&mut self.file, new);
        old.close().expect("closed");
    }

    pub(crate) fn nic(&self) -> BusMaster {
        self.device.bus_master()
    }

    /// How often a routine was called.
    pub(crate) fn calls(&self, routine: &str) -> u64 {
        self.host.calls().get(routine).copied().unwrap_or(0)
    }

    /// Closes, removes, unloads.
    pub(crate) fn end(self) -> Report {
        self.file.close().expect("closed");
        self.process.exit().expect("ended");
        assert!(
            self.device
                .remove()
                .expect("REMOVE comes back")
                .is_success()
        );
        self.driver.unload().expect("unloaded");
        self.host.report()
    }

    /// The same, and nothing was wrong.
    pub(crate) fn finish(self) {
        let report = self.end();
        assert!(report.is_clean(), "{report}");
    }
}

/// Another device of the same driver, open.
pub(crate) struct Second {
    pub(crate) file: File,
    pub(crate) device: Device,
}

impl Stage {
    pub(crate) fn second_device(&self) -> Second {
        let device = self.driver.add_device().expect("AddDevice succeeds");
        assert!(device.start().expect("START comes back").is_success());
        let file = self.process.open_device(&device).expect("it opens");
        Second { file, device }
    }
}

impl Second {
    pub(crate) fn end(self) {
        self.file.close().expect("closed");
        assert!(
            self.device
                .remove()
                .expect("REMOVE comes back")
                .is_success()
        );
    }
}

pub(crate) fn send(file: &File, call: u32, numbers: &[u64], bytes: &[u8]) -> Result<Vec<u8>, u32> {
    let mut header = [0; 4];
    header[..numbers.len()].copy_from_slice(numbers);
    let mut input: Vec<u8> = header
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    input.extend_from_slice(bytes);
    let mut output = vec![0; 1 << 16];
    let code = 0x8001 << 16 | call << 2;
    let result = file
        .device_control(code, &input, &mut output)
        .expect("the driver comes back");
    if !result.status.is_success() {
        return Err(result.status.0);
    }
    output.truncate(result.information as usize);
    Ok(output)
}

/// Addresses and lengths, as lists and mappings are told.
pub(crate) fn elements(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

/// What the device reads from them, one after the other.
pub(crate) fn device_read(nic: &BusMaster, elements: &[(u64, u64)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (address, length) in elements {
        let mut bytes = vec![0; *length as usize];
        nic.read(*address, &mut bytes)
            .expect("the device reaches it");
        all.extend(bytes);
    }
    all
}

/// Has the device write to them, one after the other.
pub(crate) fn device_write(nic: &BusMaster, elements: &[(u64, u64)], bytes: &[u8]) {
    let mut rest = bytes;
    for (address, length) in elements {
        let (part, left) = rest.split_at(*length as usize);
        nic.write(*address, part).expect("the device reaches it");
        rest = left;
    }
    assert!(rest.is_empty());
}

/// A test for each interface: `name: function, version = number ...;`. Each with an IOMMU and with copies.
macro_rules! with_interfaces {
    ($($name:ident: $case:path, $($version:ident = $number:literal)*;)*) => {
        $(
            mod $name {
                $(
                    mod $version {
                        #[test]
                        fn translated() {
                            $case($crate::stage::interface($number, true));
                        }

                        #[test]
                        fn copied() {
                            $case($crate::stage::interface($number, false));
                        }
                    }
                )*
            }
        )*
    };
}
pub(crate) use with_interfaces;
