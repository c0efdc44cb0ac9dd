//! What is charged to the files and to the device, and what they are told when it is nearly too much.

use sanproxy_abi::{Error, EventKind};

use super::{BYTES_PER_DEVICE, BYTES_PER_FILE, COUNT_PER_DEVICE, COUNT_PER_FILE, Oracle};

/// Registrations and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Registrations.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Amount {
    /// So many of both.
    #[must_use]
    pub const fn new(count: u64, bytes: u64) -> Self {
        Self { count, bytes }
    }

    fn plus(self, other: Self) -> Self {
        Self::new(self.count + other.count, self.bytes + other.bytes)
    }

    /// Whether it is within a limit, as far as it is asked for.
    fn fits(self, more: Self, limit: Self) -> bool {
        let total = self.plus(more);
        (more.count == 0 || total.count <= limit.count) && total.bytes <= limit.bytes
    }

    /// How often it comes to nine tenths of a limit.
    fn crossings(self, more: Self, limit: Self) -> u64 {
        let crosses = |before: u64, more: u64, limit: u64| {
            let near = limit - limit / 10;
            u64::from(before < near && before + more >= near)
        };
        crosses(self.count, more.count, limit.count) + crosses(self.bytes, more.bytes, limit.bytes)
    }
}

/// What one file may have at first.
pub const PER_FILE: Amount = Amount::new(COUNT_PER_FILE, BYTES_PER_FILE);
/// What the device may have at first.
pub const PER_DEVICE: Amount = Amount::new(COUNT_PER_DEVICE, BYTES_PER_DEVICE);

impl Oracle {
    /// What is registered, secured and on its way, of a file or of all.
    #[must_use]
    pub fn usage(&self, file: Option<usize>) -> Amount {
        let of = |owner: usize| file.is_none_or(|file| file == owner);
        let registered = self.registrations.iter().filter(|own| of(own.file));
        let registered = registered.map(|own| Amount::new(1, own.length() + own.padding));
        let secured = self.secured.iter().filter(|secured| of(secured.file));
        let secured = secured.map(|_| Amount::new(1, 0));
        let letters = self.wires.values().flat_map(super::wire::Wire::letters);
        let letters = letters.filter(|letter| of(letter.payer));
        let letters = letters.map(|letter| Amount::new(0, letter.bytes.len() as u64));
        registered
            .chain(secured)
            .chain(letters)
            .fold(Amount::default(), Amount::plus)
    }

    /// What a file may have.
    #[must_use]
    pub fn limit_of(&self, file: usize) -> Amount {
        self.files.get(&file).map_or(PER_FILE, |file| file.limit)
    }

    /// Charges a file beyond what it has, and `held` that it is to have; the caller has to store what this is for.
    pub fn charge(&mut self, file: usize, held: Amount, more: Amount) -> Result<(), Error> {
        let own = self.usage(Some(file)).plus(held);
        let limit = self.limit_of(file);
        if !own.fits(more, limit) {
            return Err(Error::FileQuota);
        }
        let all = self.usage(None).plus(held);
        if !all.fits(more, self.per_device) {
            return Err(Error::DeviceQuota);
        }
        let total = all.plus(more);
        self.peak_count = self.peak_count.max(total.count);
        self.peak_bytes = self.peak_bytes.map(|peak| peak.max(total.bytes));
        let crossings = own.crossings(more, limit);
        self.tell(file, EventKind::FileQuota, crossings);
        self.announce(EventKind::DeviceQuota, all.crossings(more, self.per_device));
        Ok(())
    }

    /// Up to so many bytes may have been charged to a file for a while, beyond what it has and `held`.
    pub fn may_have_charged(&mut self, file: usize, held: Amount, padding: u64) {
        if padding == 0 {
            return;
        }
        let all = self.usage(None).plus(held).bytes;
        let [_, high] = &mut self.peak_bytes;
        *high = (*high).max((all + padding).min(self.per_device.bytes).max(all));
        self.perhaps = true;
        if let Some(file) = self.files.get_mut(&file) {
            file.mailbox.may_have(EventKind::FileQuota);
        }
        for file in self.files.values_mut() {
            file.mailbox.may_have(EventKind::DeviceQuota);
        }
    }

    /// A file is told.
    pub fn tell(&mut self, file: usize, kind: EventKind, number: u64) {
        if let Some(file) = self.files.get_mut(&file) {
            file.mailbox.add(kind, number);
            self.events[kind.index() as usize] += number;
        }
    }

    /// All files are told.
    pub fn announce(&mut self, kind: EventKind, number: u64) {
        for file in self.files.values_mut() {
            file.mailbox.add(kind, number);
            self.events[kind.index() as usize] += number;
        }
    }
}
