//! What the administrator has set in the device's hardware key.

use sanproxy_abi::{
    QuotaRequest,
    parameter::{
        self, DMA_ADDRESS_WIDTH, MAXIMUM_BYTES_PER_DEVICE, MAXIMUM_BYTES_PER_FILE,
        MAXIMUM_COUNT_PER_DEVICE, MAXIMUM_COUNT_PER_FILE, MAXIMUM_TRANSFER_LENGTH, RESERVE_BYTES,
    },
};
use sanproxy_registry::Limits;
use wdm::{device::Objects, registry_value::DeviceKey, status::Status};

/// The quotas with these limits.
pub(super) const fn quotas(file: Limits, device: Limits) -> QuotaRequest {
    QuotaRequest {
        bytes_per_file: file.bytes,
        count_per_file: file.count,
        bytes_per_device: device.bytes,
        count_per_device: device.count,
    }
}

/// The limits of a file and of the device with these quotas.
pub(super) const fn limits(quotas: &QuotaRequest) -> (Limits, Limits) {
    let file = Limits {
        bytes: quotas.bytes_per_file,
        count: quotas.count_per_file,
    };
    let device = Limits {
        bytes: quotas.bytes_per_device,
        count: quotas.count_per_device,
    };
    (file, device)
}

/// Writes the quotas to the key, where the next start finds them. For threads of the system.
pub(super) fn write(objects: &Objects, quotas: &QuotaRequest) -> Result<(), Status> {
    let key = DeviceKey::open_to_write(&objects.physical)?;
    for (parameter, value) in quotas.values() {
        key.set_number(parameter.name, value)?;
    }
    Ok(())
}

/// The parameters of a device, each within its range.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// What one file may have.
    pub(crate) file: Limits,
    /// What all files together may have.
    pub(crate) device: Limits,
    /// How many address bits the device has.
    pub(crate) address_width: u32,
    /// The size of the reserve.
    pub(crate) reserve_bytes: u64,
    /// The longest single registration.
    pub(crate) maximum_length: u32,
}

impl Settings {
    /// Reads the key. What is not set has its default; a key that cannot be read is an error, so
    /// that no limit is lost with it. For threads of the system.
    pub(crate) fn read(objects: &Objects) -> Result<Self, Status> {
        let key = match DeviceKey::open(&objects.physical) {
            Ok(key) => Some(key),
            Err(Status::OBJECT_NAME_NOT_FOUND) => None,
            Err(status) => return Err(status),
        };
        let get = |parameter: &parameter::Parameter| -> Result<u64, Status> {
            let value = key
                .as_ref()
                .map_or(Ok(None), |key| key.number(parameter.name))?;
            Ok(parameter.effective(value))
        };
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Self {
            file: Limits {
                bytes: get(&MAXIMUM_BYTES_PER_FILE)?,
                count: get(&MAXIMUM_COUNT_PER_FILE)?,
            },
            device: Limits {
                bytes: get(&MAXIMUM_BYTES_PER_DEVICE)?,
                count: get(&MAXIMUM_COUNT_PER_DEVICE)?,
            },
            address_width: narrow(get(&DMA_ADDRESS_WIDTH)?),
            reserve_bytes: get(&RESERVE_BYTES)?,
            maximum_length: narrow(get(&MAXIMUM_TRANSFER_LENGTH)?),
        })
    }
}
