//! A device that reads and writes memory by itself.

use std::sync::Arc;

use crate::{FaultKind, IoDomain, IommuFault, PAGE_SIZE};

/// The part of a device that masters the bus: it knows logical addresses and nothing else.
#[derive(Clone)]
pub struct BusMaster {
    domain: Arc<IoDomain>,
    address_bits: u32,
}

impl BusMaster {
    /// A bus master that drives `address_bits` address bits.
    #[must_use]
    pub const fn new(domain: Arc<IoDomain>, address_bits: u32) -> Self {
        Self {
            domain,
            address_bits,
        }
    }

    /// The domain through which every access goes.
    #[must_use]
    pub const fn domain(&self) -> &Arc<IoDomain> {
        &self.domain
    }

    /// Address bits that the device drives.
    #[must_use]
    pub const fn address_bits(&self) -> u32 {
        self.address_bits
    }

    /// Reads memory.
    ///
    /// # Errors
    ///
    /// [`IommuFault`] at the first page refused; nothing is read then.
    pub fn read(&self, logical: u64, bytes: &mut [u8]) -> Result<(), IommuFault> {
        let pages = self.translate(logical, bytes.len() as u64, false)?;
        let mut rest = bytes;
        for (address, logical, length) in pages {
            let (part, next) = rest.split_at_mut(length as usize);
            let read = self.domain.machine().read_physical(address, part);
            read.map_err(|_| self.hole(logical))?;
            rest = next;
        }
        Ok(())
    }

    /// Writes memory.
    ///
    /// # Errors
    ///
    /// [`IommuFault`] at the first page refused; nothing is written then.
    pub fn write(&self, logical: u64, bytes: &[u8]) -> Result<(), IommuFault> {
        let pages = self.translate(logical, bytes.len() as u64, true)?;
        let mut rest = bytes;
        for (address, logical, length) in pages {
            let (part, next) = rest.split_at(length as usize);
            let written = self.domain.machine().write_physical(address, part);
            written.map_err(|_| self.hole(logical))?;
            rest = next;
        }
        Ok(())
    }

    /// All pages of an access as (physical, logical, bytes), before any byte moves.
    fn translate(
        &self,
        logical: u64,
        length: u64,
        write: bool,
    ) -> Result<Vec<(u64, u64, u64)>, IommuFault> {
        let width = if self.address_bits >= 64 {
            u64::MAX
        } else {
            (1 << self.address_bits) - 1
        };
        let mut pages = Vec::new();
        let (mut at, mut left) = (logical, length);
        while left > 0 {
            if at > width {
                let fault = IommuFault {
                    address: at,
                    kind: FaultKind::BeyondWidth,
                };
                return Err(self.domain.record(fault));
            }
            let part = left.min(PAGE_SIZE - at % PAGE_SIZE);
            let physical = self.domain.translate(at, write)?;
            // Without remapping the address may lead to a hole.
            self.domain
                .machine()
                .check_memory(physical, part)
                .map_err(|_| self.hole(at))?;
            pages.push((physical, at, part));
            left -= part;
            if left > 0 {
                let wrapped = IommuFault {
                    address: at,
                    kind: FaultKind::BeyondWidth,
                };
                at = at
                    .checked_add(part)
                    .ok_or_else(|| self.domain.record(wrapped))?;
            }
        }
        Ok(pages)
    }

    fn hole(&self, address: u64) -> IommuFault {
        self.domain.record(IommuFault {
            address,
            kind: FaultKind::Hole,
        })
    }
}
