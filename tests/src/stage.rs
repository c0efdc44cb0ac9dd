//! A simulated machine on which the driver runs.

use std::sync::Arc;

use nt_host::{
    Device, DmaConfig, Driver, File, Guid, Host, HostError, NtStatus, Process, RegistryValue,
    Report,
};
use nt_machine::MachineConfig;
use sanproxy_abi::INTERFACE_CLASS;
use sanproxy_provider::Provider;

use crate::{
    channel::HostChannel,
    image::{self, TestImage},
};

/// The device interface under which providers find the driver.
pub const INTERFACE: Guid = Guid {
    data1: INTERFACE_CLASS.data1,
    data2: INTERFACE_CLASS.data2,
    data3: INTERFACE_CLASS.data3,
    data4: INTERFACE_CLASS.data4,
};

/// What the machine and the administrator's settings are.
#[derive(Clone)]
pub struct Setting {
    machine: MachineConfig,
    dma: DmaConfig,
    parameters: Vec<(&'static str, RegistryValue)>,
}

impl Default for Setting {
    /// 64 GiB in two nodes without memory below 4 GiB, an IOMMU, a device of 32 address bits, the newest DMA interface.
    fn default() -> Self {
        Self {
            machine: MachineConfig::without_low_memory(),
            dma: DmaConfig::default(),
            parameters: Vec::new(),
        }
    }
}

impl Setting {
    /// Another machine.
    #[must_use]
    pub fn machine(mut self, machine: MachineConfig) -> Self {
        self.machine = machine;
        self
    }

    /// Another way to memory for the device.
    #[must_use]
    pub fn dma(mut self, dma: DmaConfig) -> Self {
        self.dma = dma;
        self
    }

    /// A setting in the device's hardware key.
    #[must_use]
    pub fn parameter(mut self, name: &'static str, value: RegistryValue) -> Self {
        self.parameters.push((name, value));
        self
    }

    /// Starts the machine; no driver is loaded yet.
    ///
    /// # Errors
    ///
    /// The build host lacks memory or address space.
    pub fn host(self) -> Result<Arc<Host>, HostError> {
        let builder = Host::builder().machine(self.machine).dma(self.dma);
        let with = |builder: nt_host::HostBuilder, (name, value)| builder.parameter(name, value);
        self.parameters.into_iter().fold(builder, with).build()
    }

    /// Starts the machine and loads the driver; its device is added but not started.
    ///
    /// # Errors
    ///
    /// The image does not load, or the driver refuses to.
    pub fn added(self) -> Result<Stage, HostError> {
        let host = self.host()?;
        let driver = host.load("sanproxy", &image::read(TestImage::Sanproxy))?;
        let device = driver.add_device()?;
        Ok(Stage {
            host,
            driver,
            device,
        })
    }

    /// Starts the machine, loads the driver and starts its device.
    ///
    /// # Errors
    ///
    /// As [`Setting::added`], or the device does not start.
    pub fn started(self) -> Result<Stage, HostError> {
        let stage = self.added()?;
        accepted(stage.device.start())?;
        Ok(stage)
    }
}

/// The running machine, with the driver and its device.
pub struct Stage {
    /// The simulated system.
    pub host: Arc<Host>,
    /// The loaded driver.
    pub driver: Driver,
    /// Its device.
    pub device: Device,
}

impl Stage {
    /// A new process with an open file on the device.
    ///
    /// # Errors
    ///
    /// The device refuses to be opened.
    pub fn open(&self) -> Result<(Process, File), HostError> {
        let process = self.host.create_process("provider.exe")?;
        let file = process.open(&INTERFACE)?;
        Ok((process, file))
    }

    /// A new process that uses the device through the provider library.
    ///
    /// # Errors
    ///
    /// The device refuses to be opened, or speaks another interface.
    pub fn provider(&self) -> Result<(Process, Provider<HostChannel>), StageError> {
        let (process, file) = self.open()?;
        let provider = Provider::open(HostChannel::new(process.clone(), file))?;
        Ok((process, provider))
    }

    /// Removes the device, unloads the driver, and gives the judge's report.
    ///
    /// # Errors
    ///
    /// The driver did not survive it.
    pub fn finish(self) -> Result<Report, HostError> {
        accepted(self.device.remove())?;
        self.driver.unload()?;
        Ok(self.host.report())
    }
}

/// What a request to the device came to.
///
/// # Errors
///
/// [`HostError::Status`] if the driver refused it, or what kept the host from sending it.
pub fn accepted(outcome: Result<NtStatus, HostError>) -> Result<(), HostError> {
    let status = outcome?;
    if status.is_success() {
        Ok(())
    } else {
        Err(HostError::Status(status))
    }
}

/// Why something on the stage went wrong.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The host says so.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The provider library says so.
    #[error(transparent)]
    Provider(#[from] sanproxy_provider::Error),
}
