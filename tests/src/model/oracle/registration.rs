//! A registration, and what is in its memory.

use sanproxy_abi::Kind;

use super::memory::Pages;

/// One piece of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where the device finds it.
    pub device: u64,
    /// How many bytes.
    pub length: u64,
    /// Where the owner finds it while it is mapped.
    pub user: u64,
}

/// A registration that lives.
pub struct Registration {
    /// Its file.
    pub file: usize,
    /// Its handle.
    pub handle: u64,
    /// Its kind.
    pub kind: Kind,
    /// Its flags.
    pub flags: u32,
    /// Bytes that it is charged for beyond its own.
    pub padding: u64,
    /// Whether the owner's process has it mapped.
    pub mapped: bool,
    /// Whether its memory may come from the driver's reserve, which the device reaches at all times.
    pub reserved: bool,
    /// Its pieces.
    pub pieces: Vec<Piece>,
    /// The memory.
    pub memory: Memory,
    /// How many registrations were made before.
    pub number: u64,
}

/// The memory of a registration.
pub enum Memory {
    /// The driver's, with what is in it.
    Driver(Vec<u8>),
    /// A process's own.
    Process {
        /// The pages.
        pages: Pages,
        /// Where in them it begins.
        offset: usize,
        /// How many bytes.
        length: usize,
        /// Whether the device may read.
        read: bool,
        /// Whether the device may write.
        write: bool,
    },
}

impl Registration {
    /// How many bytes.
    pub fn length(&self) -> u64 {
        match &self.memory {
            Memory::Driver(bytes) => bytes.len() as u64,
            Memory::Process { length, .. } => *length as u64,
        }
    }

    /// What is in it.
    pub fn contents(&self) -> Vec<u8> {
        match &self.memory {
            Memory::Driver(bytes) => bytes.clone(),
            Memory::Process {
                pages,
                offset,
                length,
                ..
            } => pages.borrow()[*offset..*offset + *length].to_vec(),
        }
    }

    /// Changes what is in it from some place on.
    pub fn store(&mut self, at: usize, bytes: &[u8]) {
        match &mut self.memory {
            Memory::Driver(own) => own[at..at + bytes.len()].copy_from_slice(bytes),
            Memory::Process { pages, offset, .. } => {
                let at = *offset + at;
                pages.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    /// Whether the device may write to it.
    pub const fn is_writable(&self) -> bool {
        match &self.memory {
            Memory::Driver(_) => true,
            Memory::Process { write, .. } => *write,
        }
    }

    /// Whether the device may read it.
    pub const fn is_readable(&self) -> bool {
        match &self.memory {
            Memory::Driver(_) => true,
            Memory::Process { read, .. } => *read,
        }
    }

    /// Whether it is memory of a process's own.
    pub const fn is_own(&self) -> bool {
        matches!(self.memory, Memory::Process { .. })
    }
}
