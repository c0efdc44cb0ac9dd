//! What the driver and the device are, and what they have done.

use sanproxy_abi::{
    Error, INTERFACE_MAJOR, INTERFACE_MINOR, Method, PAGE_SIZE,
    wire::{
        ByteCount, CapabilitiesOutput, Choice, Count, DeviceAddress, Flags, Header,
        InterfaceOutput, MapStatusPageOutput, NodeNumber, Reserved, StatisticsOutput, UserAddress,
    },
};
use wdm::dma::Adapter;

use crate::{
    device::Using,
    file::File,
    memory::{Reserve, method},
};

/// One number of the package's version.
const fn version(digits: &str) -> u32 {
    match u32::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => 0,
    }
}

/// Which interface version the driver speaks.
pub(super) fn interface() -> InterfaceOutput {
    InterfaceOutput {
        header: Header::of::<InterfaceOutput>(),
        interface_major: INTERFACE_MAJOR,
        interface_minor: INTERFACE_MINOR,
        reserved: Reserved(0),
        driver_major: const { version(env!("CARGO_PKG_VERSION_MAJOR")) },
        driver_minor: const { version(env!("CARGO_PKG_VERSION_MINOR")) },
        driver_patch: const { version(env!("CARGO_PKG_VERSION_PATCH")) },
        reserved_end: Reserved(0),
    }
}

/// What the device offers, and its limits.
pub(super) fn capabilities(file: &File, using: &Using) -> CapabilitiesOutput {
    let (per_file, per_device) = (file.device().file_limits(), file.device().quota().limits());
    let hardware = &using.hardware;
    let settings = &hardware.settings;
    let adapter = hardware.adapter.as_ref();
    let of_adapter = |get: fn(&Adapter) -> u32| adapter.map_or(0, |adapter| get(adapter));
    let buffers = adapter.map_or(Method::None, |adapter| method(adapter.allocator()));
    let reserve = hardware.reserve.as_ref();
    CapabilitiesOutput {
        header: Header::of::<CapabilitiesOutput>(),
        kinds: Flags(hardware.kinds().bits()),
        dma_version: of_adapter(Adapter::version),
        address_width: of_adapter(Adapter::address_width),
        dma_operations_size: of_adapter(|adapter| {
            u32::try_from(adapter.operations_size()).unwrap_or(u32::MAX)
        }),
        common_buffer_method: Choice(buffers.value()),
        map_registers: of_adapter(Adapter::map_registers),
        highest_node: NodeNumber(hardware.highest_node),
        page_size: const { narrow(PAGE_SIZE) },
        longest_registration: ByteCount(u64::from(settings.maximum_length)),
        bytes_per_file: ByteCount(per_file.bytes),
        count_per_file: Count(per_file.count),
        bytes_per_device: ByteCount(per_device.bytes),
        count_per_device: Count(per_device.count),
        reserve_bytes: ByteCount(reserve.map_or(0, |reserve| Reserve::bytes(reserve))),
        reserved: Reserved(0),
        reserved_end: Reserved(0),
    }
}

/// A constant that is known to be small.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "checked"
)]
const fn narrow(number: u64) -> u32 {
    assert!(number <= 0xFFFF_FFFF);
    number as u32
}

/// Counters of the device and of this file.
pub(super) fn statistics(file: &File) -> StatisticsOutput {
    let (device, counters) = (file.device().quota(), file.device().statistics());
    let (now, peak, own) = (device.usage(), device.peak(), file.quota().usage());
    StatisticsOutput {
        header: Header::of::<StatisticsOutput>(),
        live_registrations: Count(now.count),
        live_bytes: ByteCount(now.bytes),
        peak_registrations: Count(peak.count),
        peak_bytes: ByteCount(peak.bytes),
        made: Count(counters.made()),
        released: Count(counters.released()),
        file_registrations: Count(own.count),
        file_bytes: ByteCount(own.bytes),
        failures: counters.failures().map(Count),
        latencies: counters.latencies().map(Count),
    }
}

/// Maps the status page into the caller.
pub(super) fn status_page(file: &File) -> Result<MapStatusPageOutput, Error> {
    let place = file.map_page()?;
    Ok(MapStatusPageOutput {
        header: Header::of::<MapStatusPageOutput>(),
        user_address: UserAddress(place.user_address),
        length: ByteCount(PAGE_SIZE),
        device_address: DeviceAddress(place.device_address),
    })
}
