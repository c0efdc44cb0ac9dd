//! Limits on bytes and registrations, of one file and of the whole device.
//!
//! A registration is charged before its memory is allocated. The charge is an owned value: it is
//! given back exactly once, when it is dropped with the registration. Plain atomics, no lock.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sanproxy_abi::Error;

/// How much there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub bytes: u64,
    /// Registrations.
    pub count: u64,
}

/// How much there is, or was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes.
    pub bytes: u64,
    /// Registrations.
    pub count: u64,
}

/// An account with limits.
#[derive(Debug)]
pub struct Quota {
    bytes: Account,
    count: Account,
}

#[derive(Debug)]
struct Account {
    limit: AtomicU64,
    used: AtomicU64,
    peak: AtomicU64,
    crossings: AtomicU64,
}

/// Where a limit begins to be near: at 90 % of it.
const fn near(limit: u64) -> u64 {
    limit.saturating_sub(limit / 10)
}

impl Account {
    const fn new(limit: u64) -> Self {
        Self {
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            crossings: AtomicU64::new(0),
        }
    }

    /// Charges it, if there is so much left; whether that comes near the limit.
    fn charge(&self, amount: u64) -> Option<bool> {
        let limit = self.limit.load(Relaxed);
        let before = self.used.fetch_update(Relaxed, Relaxed, |used| {
            used.checked_add(amount).filter(|used| *used <= limit)
        });
        let before = before.ok()?;
        // Charges follow one another, so exactly one of them crosses.
        let near = near(limit);
        Some(before < near && before.saturating_add(amount) >= near)
    }

    fn refund(&self, amount: u64) {
        // Never below zero: each charge is refunded once, by its one owner.
        self.used.fetch_sub(amount, Relaxed);
    }

    fn note(&self, crosses: bool) {
        self.peak.fetch_max(self.used.load(Relaxed), Relaxed);
        if crosses {
            self.crossings.fetch_add(1, Relaxed);
        }
    }
}

/// Which limits a charge comes near.
#[derive(Clone, Copy)]
struct Crossing {
    bytes: bool,
    count: bool,
}

impl Quota {
    /// An account with nothing charged to it.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            bytes: Account::new(limits.bytes),
            count: Account::new(limits.count),
        }
    }

    /// What may be charged.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            bytes: self.bytes.limit.load(Relaxed),
            count: self.count.limit.load(Relaxed),
        }
    }

    /// Sets other limits; what is charged already stays, even if it is more.
    pub fn set_limits(&self, limits: Limits) {
        self.bytes.limit.store(limits.bytes, Relaxed);
        self.count.limit.store(limits.count, Relaxed);
    }

    /// What is charged now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            bytes: self.bytes.used.load(Relaxed),
            count: self.count.used.load(Relaxed),
        }
    }

    /// The most that was ever charged at once, bytes and registrations each.
    #[must_use]
    pub fn peak(&self) -> Usage {
        Usage {
            bytes: self.bytes.peak.load(Relaxed),
            count: self.count.peak.load(Relaxed),
        }
    }

    /// How often 90 % of a limit was reached from below since this was last asked.
    #[must_use]
    pub fn take_crossings(&self) -> u64 {
        let bytes = self.bytes.crossings.swap(0, Relaxed);
        bytes.saturating_add(self.count.crossings.swap(0, Relaxed))
    }

    /// How many bytes could be charged now.
    #[must_use]
    pub fn available(&self) -> u64 {
        let limit = self.bytes.limit.load(Relaxed);
        limit.saturating_sub(self.bytes.used.load(Relaxed))
    }

    fn charge(&self, bytes: u64) -> Option<Crossing> {
        let count = self.count.charge(1)?;
        let Some(bytes) = self.bytes.charge(bytes) else {
            self.count.refund(1);
            return None;
        };
        Some(Crossing { bytes, count })
    }

    /// Charges bytes without a registration.
    fn charge_bytes(&self, bytes: u64) -> Option<Crossing> {
        let bytes = self.bytes.charge(bytes)?;
        Some(Crossing {
            bytes,
            count: false,
        })
    }

    fn refund(&self, bytes: u64) {
        self.bytes.refund(bytes);
        self.count.refund(1);
    }

    /// Notes what a charge has come to. Late, so that a refused one leaves no trace.
    fn note(&self, crossing: Crossing) {
        self.bytes.note(crossing.bytes);
        self.count.note(crossing.count);
    }
}

impl AsRef<Self> for Quota {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Which limit was in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// That of the file.
    File,
    /// That of the device.
    Device,
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        match exceeded {
            Exceeded::File => Self::FileQuota,
            Exceeded::Device => Self::DeviceQuota,
        }
    }
}

/// One registration's share of the file's and the device's account, given back on drop.
///
/// `File` and `Device` are references of whatever sort keeps the accounts alive: `&Quota`,
/// `Arc<Quota>`, or a counted reference of the driver.
#[derive(Debug)]
#[must_use = "dropping it gives the quota back"]
pub struct Charge<File: AsRef<Quota>, Device: AsRef<Quota>> {
    file: File,
    device: Device,
    bytes: u64,
}

impl<File: AsRef<Quota>, Device: AsRef<Quota>> Charge<File, Device> {
    /// Charges one registration of `bytes` to both accounts, or to neither.
    ///
    /// # Errors
    ///
    /// [`Exceeded`] names the account that has not enough left.
    pub fn new(file: File, device: Device, bytes: u64) -> Result<Self, Exceeded> {
        let of_file = file.as_ref().charge(bytes).ok_or(Exceeded::File)?;
        let Some(of_device) = device.as_ref().charge(bytes) else {
            file.as_ref().refund(bytes);
            return Err(Exceeded::Device);
        };
        file.as_ref().note(of_file);
        device.as_ref().note(of_device);
        Ok(Self {
            file,
            device,
            bytes,
        })
    }

    /// How many bytes are charged.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back what is charged beyond `bytes`: the registration came out smaller.
    pub fn reduce_to(&mut self, bytes: u64) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes = self.bytes.saturating_sub(back);
        self.device.as_ref().bytes.refund(back);
        self.file.as_ref().bytes.refund(back);
    }

    /// Charges bytes that the registration holds beyond its own to both accounts, or to neither.
    ///
    /// # Errors
    ///
    /// [`Exceeded`] names the account that has not enough left.
    pub fn surcharge(&self, bytes: u64) -> Result<Surcharge<File, Device>, Exceeded>
    where
        File: Clone,
        Device: Clone,
    {
        Surcharge::new(self.file.clone(), self.device.clone(), bytes)
    }
}

/// Bytes that a registration holds beyond its own, because of how it has to lie, or that are held
/// without a registration; given back on drop.
#[derive(Debug)]
#[must_use = "dropping it gives the quota back"]
pub struct Surcharge<File: AsRef<Quota>, Device: AsRef<Quota>> {
    file: File,
    device: Device,
    bytes: u64,
}

impl<File: AsRef<Quota>, Device: AsRef<Quota>> Surcharge<File, Device> {
    /// Charges bytes to both accounts, or to neither.
    ///
    /// # Errors
    ///
    /// [`Exceeded`] names the account that has not enough left.
    pub fn new(file: File, device: Device, bytes: u64) -> Result<Self, Exceeded> {
        let of_file = file.as_ref().charge_bytes(bytes).ok_or(Exceeded::File)?;
        let Some(of_device) = device.as_ref().charge_bytes(bytes) else {
            file.as_ref().bytes.refund(bytes);
            return Err(Exceeded::Device);
        };
        file.as_ref().note(of_file);
        device.as_ref().note(of_device);
        Ok(Self {
            file,
            device,
            bytes,
        })
    }
}

impl<File: AsRef<Quota>, Device: AsRef<Quota>> Drop for Surcharge<File, Device> {
    fn drop(&mut self) {
        self.device.as_ref().bytes.refund(self.bytes);
        self.file.as_ref().bytes.refund(self.bytes);
    }
}

impl<File: AsRef<Quota>, Device: AsRef<Quota>> Drop for Charge<File, Device> {
    fn drop(&mut self) {
        self.device.as_ref().refund(self.bytes);
        self.file.as_ref().refund(self.bytes);
    }
}
