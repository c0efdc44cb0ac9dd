//! `sanctl info`: what is installed, how it does, what it offers.

use sanproxy_provider::{Capabilities, Interface, Kind};
use serde::Serialize;

use crate::amount;
use crate::failure::Failure;
use crate::screen::{BAD, GOOD, HEAD, Report, Screen, pairs};
use crate::system::{DeviceState, System, meaning_of_problem, why_not_open};

#[derive(Serialize)]
struct Info {
    sanctl: &'static str,
    administrator: Option<bool>,
    test_signing: Option<bool>,
    devices: Vec<DeviceState>,
    driver: Option<String>,
    interface: Option<String>,
    capabilities: Option<Offer>,
}

#[derive(Serialize)]
struct Offer {
    kinds: Vec<&'static str>,
    dma_version: Option<u32>,
    address_width: Option<u32>,
    dma_operations_size: u32,
    common_buffer_method: &'static str,
    map_registers: u32,
    highest_node: u32,
    page_size: u32,
    longest_registration: u64,
    bytes_per_file: u64,
    count_per_file: u64,
    bytes_per_device: u64,
    count_per_device: u64,
    reserve_bytes: u64,
}

impl From<Capabilities> for Offer {
    fn from(offered: Capabilities) -> Self {
        let kinds = Kind::ALL
            .iter()
            .filter(|kind| offered.kinds.contains(**kind));
        Self {
            kinds: kinds.map(|kind| kind.name()).collect(),
            dma_version: offered.dma_version,
            address_width: offered.address_width,
            dma_operations_size: offered.dma_operations_size,
            common_buffer_method: offered.common_buffer_method.name(),
            map_registers: offered.map_registers,
            highest_node: offered.highest_node,
            page_size: offered.page_size,
            longest_registration: offered.longest_registration,
            bytes_per_file: offered.bytes_per_file,
            count_per_file: offered.count_per_file,
            bytes_per_device: offered.bytes_per_device,
            count_per_device: offered.count_per_device,
            reserve_bytes: offered.reserve_bytes,
        }
    }
}

fn version(interface: Interface) -> (String, String) {
    let [major, minor, patch] = interface.driver;
    (
        format!("{major}.{minor}.{patch}"),
        format!("{}.{}", interface.major, interface.minor),
    )
}

fn state(device: &DeviceState) -> String {
    match (device.started, device.problem) {
        (true, _) => format!("{GOOD}runs{GOOD:#}"),
        (false, None) => format!("{BAD}stopped{BAD:#}"),
        (false, Some(problem)) => {
            let (what, _) = meaning_of_problem(problem);
            format!("{BAD}does not run{BAD:#}: {what} (code {problem})")
        }
    }
}

impl Report for Info {
    fn text(&self) -> String {
        let told = |known: Option<bool>, yes: &str, no: &str| match known {
            Some(true) => yes.to_owned(),
            Some(false) => no.to_owned(),
            None => "unknown".to_owned(),
        };
        let mut rows = vec![
            ("sanctl", self.sanctl.to_owned()),
            ("administrator", told(self.administrator, "yes", "no")),
            ("test signing", told(self.test_signing, "on", "off")),
        ];
        rows.extend(self.driver.clone().map(|driver| ("driver", driver)));
        rows.extend(
            self.interface
                .clone()
                .map(|interface| ("interface", interface)),
        );
        let mut text = pairs(&rows);
        text.push_str(&format!("{HEAD}devices{HEAD:#}\n"));
        for device in &self.devices {
            let inf = device.inf.as_deref().unwrap_or("no INF");
            text.push_str(&format!("{}  {}  {inf}\n", device.instance, state(device)));
        }
        if let Some(offer) = &self.capabilities {
            text.push_str(&offer.text());
        }
        text
    }
}

impl Offer {
    fn text(&self) -> String {
        let or_none = |value: Option<u32>| value.map_or("none".to_owned(), |v| v.to_string());
        let both =
            |bytes: u64, count: u64| format!("{}, {count} registrations", amount::bytes(bytes));
        let heading = format!("{HEAD}offered{HEAD:#}\n");
        heading
            + &pairs(&[
                ("kinds of memory", self.kinds.join(", ")),
                ("DMA interface", or_none(self.dma_version)),
                ("address bits", or_none(self.address_width)),
                ("map registers", self.map_registers.to_string()),
                ("common buffers from", self.common_buffer_method.to_owned()),
                ("highest NUMA node", self.highest_node.to_string()),
                (
                    "longest registration",
                    amount::bytes(self.longest_registration),
                ),
                (
                    "one file at most",
                    both(self.bytes_per_file, self.count_per_file),
                ),
                (
                    "all files at most",
                    both(self.bytes_per_device, self.count_per_device),
                ),
                ("reserve", amount::bytes(self.reserve_bytes)),
            ])
    }
}

/// `sanctl info`.
pub(crate) fn info<S: System>(system: &S, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let mut info = Info {
        sanctl: env!("CARGO_PKG_VERSION"),
        administrator: system.is_administrator().ok(),
        test_signing: system.test_signing(),
        devices: system.devices()?,
        driver: None,
        interface: None,
        capabilities: None,
    };
    // What is known is shown, even if the device cannot be opened.
    let outcome = match system.open() {
        Ok(Some(channel)) => sanproxy_provider::Provider::open(channel).map_err(Failure::from),
        Ok(None) => Err(why_not_open(&info.devices)),
        Err(error) => Err(error.into()),
    };
    let outcome = outcome.and_then(|provider| {
        let (driver, interface) = version(provider.interface());
        info.driver = Some(driver);
        info.interface = Some(interface);
        info.capabilities = Some(provider.capabilities()?.into());
        Ok(())
    });
    screen.report(&info)?;
    outcome
}
