//! A device: its adapter, from start to stop.

use wdm::{
    device::Objects,
    dma::{Adapter, Description, SystemDescription, TransferWidth},
    interface::{Interface, InterfaceClass},
    mutex::Mutex,
    pool::Shared,
    registry_value::DeviceKey,
    status::Status,
};

use crate::Published;

/// The interface by which programs find the device.
const CLASS: InterfaceClass = InterfaceClass {
    data1: 0x7b1f_5c92,
    data2: 0x4e0d,
    data3: 0x4b7e,
    data4: [0x8a, 0x21, 0x6c, 0x90, 0x3d, 0xe5, 0x14, 0xf7],
};

/// A device.
pub(crate) struct Device {
    interface: Interface,
    adapter: Mutex<Option<Shared<Adapter>>>,
    pub(crate) published: Shared<Published>,
    objects: Shared<Objects>,
}

impl Device {
    pub(crate) fn new(objects: Objects, published: Shared<Published>) -> Result<Self, Status> {
        Ok(Self {
            interface: Interface::register(&objects.physical, CLASS)?,
            adapter: Mutex::new(None),
            published,
            objects: Shared::new(objects)?,
        })
    }

    /// Gets an adapter for the device that the hardware key describes; without one it works all the same.
    pub(crate) fn start(&self) -> Result<(), Status> {
        let key = DeviceKey::open(&self.objects.physical)?;
        let number = |name, default| -> Result<u32, Status> {
            let value = key.number(name)?;
            Ok(value
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(default))
        };
        let maximum_length = number("MaximumLength", 1 << 20)?;
        let found = match number("SystemChannel", u32::MAX)? {
            u32::MAX => Adapter::get(
                &self.objects,
                Description {
                    address_width: number("AddressWidth", 32)?,
                    maximum_length,
                },
            ),
            channel => Adapter::get_system(
                &self.objects,
                SystemDescription {
                    channel,
                    request_line: channel,
                    width: TransferWidth::Bits8,
                    device_address: 0x300,
                    maximum_length,
                },
            ),
        };
        let adapter = match found {
            Some(adapter) => Some(Shared::new(adapter)?),
            None => None,
        };
        let old = core::mem::replace(&mut *self.adapter.lock(), adapter);
        // Given back when the lock is.
        drop(old);
        self.interface.enable()
    }

    pub(crate) fn stop(&self) {
        self.interface.disable();
        let adapter = self.adapter.lock().take();
        drop(adapter);
    }

    pub(crate) fn adapter(&self) -> Option<Shared<Adapter>> {
        self.adapter.lock().clone()
    }
}
