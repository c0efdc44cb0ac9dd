//! A started device, a provider that has opened it, and the NIC: what most tests begin with.

use nt_host::{DmaConfig, Process, RegistryValue};
use nt_machine::{BusMaster, MachineConfig, NodeConfig};
use sanproxy_provider::Provider;

use crate::{
    channel::HostChannel,
    stage::{Setting, Stage},
};

/// The device in use.
pub struct Scene {
    /// The machine, the driver and its device.
    pub stage: Stage,
    /// The provider's process.
    pub process: Process,
    /// The provider.
    pub provider: Provider<HostChannel>,
    /// The NIC behind the device.
    pub nic: BusMaster,
}

/// With the default setting.
#[must_use]
pub fn scene() -> Scene {
    scene_of(Setting::default())
}

/// With another setting.
///
/// # Panics
///
/// If the device does not start or cannot be opened.
#[must_use]
pub fn scene_of(setting: Setting) -> Scene {
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

/// A setting without a reserve, so that each registration comes from the system.
#[must_use]
pub fn no_reserve() -> Setting {
    Setting::default().parameter("ReserveBytes", RegistryValue::Dword(0))
}

impl Scene {
    /// Closes the file, removes the device, unloads the driver.
    ///
    /// # Panics
    ///
    /// If the judge has found anything.
    pub fn finish(self) {
        drop(self.provider);
        let report = self.stage.finish().expect("the driver unloads");
        assert!(report.is_clean(), "{report}");
    }
}

/// A machine whose memory above 4 GiB lies in `count` runs of `length` bytes each; there is no IOMMU to join them.
#[must_use]
pub fn in_runs(count: u64, length: u64) -> Setting {
    let ranges = (0..count).map(|run| {
        let start = (1 << 30) + run * 2 * length;
        start..start + length
    });
    let node = NodeConfig {
        ranges: ranges.collect(),
        ..NodeConfig::default()
    };
    let machine = MachineConfig {
        nodes: vec![node],
        ..MachineConfig::default()
    };
    let dma = DmaConfig {
        remapping: false,
        ..DmaConfig::default()
    };
    Setting::default()
        .machine(machine)
        .dma(dma)
        .parameter("ReserveBytes", RegistryValue::Dword(0))
}
