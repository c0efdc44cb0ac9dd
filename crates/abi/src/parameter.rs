//! What an administrator can set, in the device's hardware key, and what holds if nothing is set.

/// A value of the device's hardware key: `REG_DWORD` or `REG_QWORD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The name of the value.
    pub name: &'static str,
    /// What holds if the value is absent or of another type.
    pub default: u64,
    /// The lowest value that is taken; a lower one is raised to it.
    pub lowest: u64,
    /// The highest value that is taken; a higher one is lowered to it.
    pub highest: u64,
    /// What it means.
    pub documentation: &'static str,
}

impl Parameter {
    /// The value to use when the key holds `value`.
    #[must_use]
    pub const fn effective(&self, value: Option<u64>) -> u64 {
        match value {
            None => self.default,
            Some(value) if value < self.lowest => self.lowest,
            Some(value) if value > self.highest => self.highest,
            Some(value) => value,
        }
    }
}

const MEBIBYTE: u64 = 1 << 20;
const GIBIBYTE: u64 = 1 << 30;
const TEBIBYTE: u64 = 1 << 40;

/// How many bytes one open file can have registered.
pub const MAXIMUM_BYTES_PER_FILE: Parameter = Parameter {
    name: "MaximumBytesPerFile",
    default: GIBIBYTE,
    lowest: 0,
    highest: TEBIBYTE,
    documentation: "How many bytes one open file can have registered.",
};
/// How many registrations one open file can have.
pub const MAXIMUM_COUNT_PER_FILE: Parameter = Parameter {
    name: "MaximumCountPerFile",
    default: 4096,
    lowest: 0,
    highest: 1 << 24,
    documentation: "How many registrations one open file can have.",
};
/// How many bytes all files together can have registered.
pub const MAXIMUM_BYTES_PER_DEVICE: Parameter = Parameter {
    name: "MaximumBytesPerDevice",
    default: 4 * GIBIBYTE,
    lowest: 0,
    highest: 64 * TEBIBYTE,
    documentation: "How many bytes all files together can have registered.",
};
/// How many registrations all files together can have.
pub const MAXIMUM_COUNT_PER_DEVICE: Parameter = Parameter {
    name: "MaximumCountPerDevice",
    default: 65_536,
    lowest: 0,
    highest: 1 << 26,
    documentation: "How many registrations all files together can have.",
};
/// How many address bits the device has.
pub const DMA_ADDRESS_WIDTH: Parameter = Parameter {
    name: "DmaAddressWidth",
    default: 32,
    lowest: 1,
    highest: 64,
    documentation: "How many address bits the device has.",
};
/// The size of the reserve of common buffers taken at start; 0 for none.
pub const RESERVE_BYTES: Parameter = Parameter {
    name: "ReserveBytes",
    default: MEBIBYTE,
    lowest: 0,
    highest: GIBIBYTE,
    documentation: "The size of the reserve of common buffers taken at start; 0 for none.",
};
/// The longest single registration in bytes; the system's routines take no more than 32 bits.
pub const MAXIMUM_TRANSFER_LENGTH: Parameter = Parameter {
    name: "MaximumTransferLength",
    default: GIBIBYTE,
    lowest: 4096,
    highest: 0xFFFF_F000,
    documentation: "The longest single registration in bytes.",
};

/// All parameters.
pub const PARAMETERS: [Parameter; 7] = [
    MAXIMUM_BYTES_PER_FILE,
    MAXIMUM_COUNT_PER_FILE,
    MAXIMUM_BYTES_PER_DEVICE,
    MAXIMUM_COUNT_PER_DEVICE,
    DMA_ADDRESS_WIDTH,
    RESERVE_BYTES,
    MAXIMUM_TRANSFER_LENGTH,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_absent_takes_its_default_within_its_limits() {
        for parameter in PARAMETERS {
            assert_eq!(parameter.effective(None), parameter.default);
            assert_eq!(
                parameter.effective(Some(parameter.default)),
                parameter.default
            );
        }
    }

    #[test]
    fn parameter_beyond_its_limits_takes_the_nearest_limit() {
        assert_eq!(DMA_ADDRESS_WIDTH.effective(Some(0)), 1);
        assert_eq!(DMA_ADDRESS_WIDTH.effective(Some(u64::MAX)), 64);
    }
}
