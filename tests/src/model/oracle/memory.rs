//! Memory of the processes' own: what they may do with it, what is registered of it, and what is secured.

use std::{cell::RefCell, rc::Rc};

use nt_host::Protection;
use sanproxy_abi::{Error, PAGE_SIZE};

use super::{Oracle, accounts::Amount, registration::Memory};

/// Pages with what is in them. They stay as long as a process has them or a registration holds them.
pub type Pages = Rc<RefCell<Vec<u8>>>;

/// So many pages of zeroes.
#[must_use]
pub fn zeroed(length: u64) -> Pages {
    Rc::new(RefCell::new(vec![0; usize::try_from(length).unwrap_or(0)]))
}

/// Memory of a process's own.
pub struct Allocation {
    /// The process.
    pub process: usize,
    /// Where it has it.
    pub address: u64,
    /// What it may do with it.
    pub protection: Protection,
    /// What is in it.
    pub pages: Pages,
}

impl Allocation {
    /// How many bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.pages.borrow().len() as u64
    }

    fn holds(&self, start: u64, length: u64) -> bool {
        start >= self.address && start - self.address + length <= self.length()
    }

    fn allows(&self, access: u32) -> bool {
        let writing = access & 2 != 0;
        match self.protection {
            Protection::None => false,
            Protection::Read => !writing,
            Protection::ReadWrite | Protection::ReadWriteExecute => true,
        }
    }
}

/// A range that is secured.
pub struct Secured {
    /// Its file.
    pub file: usize,
    /// Its handle.
    pub handle: u64,
    /// The process.
    pub process: usize,
    /// Its first page, and how many bytes in whole pages.
    pub range: (u64, u64),
    /// Whether it stays writable.
    pub write: bool,
    /// How many bytes were asked for.
    pub length: u64,
    /// How many registrations were made before.
    pub number: u64,
}

/// The number of bytes in the whole pages that a range lies in.
#[must_use]
pub fn page_bytes(start: u64, length: u64) -> u64 {
    (start % PAGE_SIZE + length).next_multiple_of(PAGE_SIZE)
}

impl Oracle {
    /// The memory that a process may use so.
    fn usable(&self, process: usize, range: (u64, u64), access: u32) -> Result<&Allocation, Error> {
        let own = self.allocations.iter().filter(|own| own.process == process);
        own.into_iter()
            .find(|own| own.holds(range.0, range.1) && own.allows(access))
            .ok_or(Error::UserRange)
    }

    /// Whether the bytes to be copied lie in two registrations of the same memory, and overlap there: what they are
    /// afterwards, the contract does not say.
    pub fn overlaps(&self, file: usize, handles: [u64; 2], [from, to, length]: [u64; 3]) -> bool {
        let found = handles.map(|handle| self.find(file, handle).ok());
        let [Some(source), Some(destination)] = found else {
            return false;
        };
        let place = |index: usize| match &self.registrations[index].memory {
            Memory::Driver(_) => None,
            Memory::Process { pages, offset, .. } => Some((pages, *offset as u64)),
        };
        let (Some((one, first)), Some((other, second))) = (place(source), place(destination))
        else {
            return false;
        };
        let (from, to) = (first.wrapping_add(from), second.wrapping_add(to));
        source != destination && Rc::ptr_eq(one, other) && from.abs_diff(to) < length
    }

    /// What can be told of a range and an access without looking at the memory.
    fn check_range((start, length): (u64, u64), access: u32) -> Result<(), Error> {
        if !(1..=3).contains(&access) {
            return Err(Error::Access);
        }
        if length == 0 || start.checked_add(length).is_none() {
            return Err(Error::UserRange);
        }
        Ok(())
    }

    fn check_owner(&self, file: usize, process: usize) -> Result<(), Error> {
        let owner = self.files.get(&file).and_then(|file| file.owner);
        if owner == Some(process) {
            Ok(())
        } else {
            Err(Error::WrongProcess)
        }
    }

    /// What a request to register memory of the process's own comes to, but for where the device finds it: the pages, where in
    /// them it begins, and what is charged beyond its length.
    pub fn expect_own(
        &mut self,
        file: usize,
        process: usize,
        range: (u64, u64),
        access: u32,
        bounds: (u64, u64),
    ) -> Result<(Pages, u64, u64), Error> {
        Self::check_range(range, access)?;
        let (start, length) = range;
        if bounds
            .0
            .checked_add(length - 1)
            .is_none_or(|last| last > bounds.1)
        {
            return Err(Error::Bounds);
        }
        self.gate()?;
        self.check_owner(file, process)?;
        let base = Amount::new(1, length);
        self.charge(file, Amount::default(), base)?;
        let padding = page_bytes(start, length) - length;
        if padding > 0 {
            self.charge(file, base, Amount::new(0, padding))?;
        }
        let own = self.usable(process, range, access)?;
        let (pages, offset) = (Rc::clone(&own.pages), start - own.address);
        // No address of the device's lies so high.
        if bounds.0 > u64::from(u32::MAX) {
            return Err(Error::OutOfReach);
        }
        Ok((pages, offset, padding))
    }

    /// Secures a range; its handle comes from the driver.
    pub fn secure(
        &mut self,
        file: usize,
        process: usize,
        range: (u64, u64),
        access: u32,
    ) -> Result<(), Error> {
        Self::check_range(range, access)?;
        self.gate()?;
        self.check_owner(file, process)?;
        self.charge(file, Amount::default(), Amount::new(1, 0))?;
        self.usable(process, range, access)?;
        Ok(())
    }

    /// Ends that.
    pub fn unsecure(&mut self, file: usize, handle: u64) -> Result<(), Error> {
        self.gate()?;
        let place = self
            .secured
            .iter()
            .position(|secured| secured.file == file && secured.handle == handle)
            .ok_or(Error::UnknownHandle)?;
        self.secured.remove(place);
        self.released += 1;
        if let Some(file) = self.files.get_mut(&file) {
            file.stale.push(handle);
        }
        Ok(())
    }

    /// Nothing of some files stays secured; how many there were.
    pub(super) fn unsecure_all(&mut self, of: impl Fn(&Secured) -> bool) -> u64 {
        let before = self.secured.len();
        self.secured.retain(|secured| !of(secured));
        let released = (before - self.secured.len()) as u64;
        self.released += released;
        released
    }

    /// Whether a process may free some of its memory (`None`), or change what it may do with it.
    #[must_use]
    pub fn may_change(&self, own: &Allocation, to: Option<Protection>) -> bool {
        self.secured.iter().all(|secured| {
            let (start, length) = secured.range;
            let elsewhere = secured.process != own.process
                || start >= own.address + own.length()
                || start + length <= own.address;
            elsewhere
                || match to {
                    None | Some(Protection::None) => false,
                    Some(Protection::Read) => !secured.write,
                    Some(Protection::ReadWrite | Protection::ReadWriteExecute) => true,
                }
        })
    }
}
