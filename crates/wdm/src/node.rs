//! NUMA nodes.

// UNSAFETY: asks the kernel for a number.
#![expect(unsafe_code, reason = "calls a routine of the kernel")]

use wdk_sys::ntddk::KeQueryHighestNodeNumber;

/// Where memory should come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Wherever there is some.
    Any,
    /// The node of this number, if the allocator keeps to nodes at all.
    Number(u32),
}

impl Node {
    /// What the allocators expect: `MM_ANY_NODE_OK`, or the number.
    pub(crate) const fn preferred(self) -> u32 {
        match self {
            Self::Any => 0x8000_0000,
            Self::Number(number) => number,
        }
    }
}

/// The highest number that a node of this machine has. IRQL: any.
#[must_use]
pub fn highest() -> u32 {
    // SAFETY: has no preconditions.
    u32::from(unsafe { KeQueryHighestNodeNumber() })
}
