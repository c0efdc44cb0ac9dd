//! Exported variables: an import slot holds the address of each.

use core::ptr::NonNull;
use std::io;

use crate::USER_LIMIT;
use crate::access::write;
use crate::guarded::{GuardedBlock, GuardedHeap};

/// The variables of a host.
pub(crate) struct DataExports {
    variables: Vec<(&'static str, GuardedBlock)>,
    _types: Vec<GuardedBlock>,
}

impl DataExports {
    /// With their values set.
    pub(crate) fn new(heap: &GuardedHeap) -> io::Result<Self> {
        let (mut variables, mut types) = (Vec::new(), Vec::new());
        for (name, value) in [
            ("MmUserProbeAddress", USER_LIMIT - 0x1_0000),
            ("MmHighestUserAddress", USER_LIMIT - 0x1_0001),
            ("MmSystemRangeStart", USER_LIMIT),
        ] {
            let block = heap.allocate("variable", 16)?;
            write(block.address(), value);
            variables.push((name, block));
        }
        for name in [
            "IoFileObjectType",
            "PsProcessType",
            "PsThreadType",
            "ExEventObjectType",
            "IoDriverObjectType",
            "IoDeviceObjectType",
        ] {
            // The variable points to a variable that points to the type object.
            let (object, pointer, block) = (
                heap.allocate("object type", 64)?,
                heap.allocate("variable", 16)?,
                heap.allocate("variable", 16)?,
            );
            write(pointer.address(), object.address());
            write(block.address(), pointer.address());
            variables.push((name, block));
            types.extend([object, pointer]);
        }
        Ok(Self {
            variables,
            _types: types,
        })
    }

    /// The variable of that name.
    pub(crate) fn variable(&self, name: &str) -> Option<NonNull<u8>> {
        let (_, block) = self.variables.iter().find(|(own, _)| *own == name)?;
        NonNull::new(block.address() as *mut u8)
    }
}
