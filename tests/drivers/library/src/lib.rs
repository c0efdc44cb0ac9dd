//! A driver that does nothing by itself: each request calls one wrapper of the DMA library, and what it gave is kept with the
//! file for the next.
//!
//! | module | what is asked for |
//! | --- | --- |
//! | `device` | start, stop and removal, and the adapter in between |
//! | `bench` | what a file keeps, and which request goes where |
//! | `cases` | the wrappers, a file per family |

#![cfg_attr(windows, no_std)]
#![cfg(windows)]
#![deny(unsafe_code)]

extern crate wdk_panic;

mod bench;
mod cases;
mod device;
mod request;

use wdk_alloc::WdkAllocator;
use wdm::{
    control::Control,
    device::Objects,
    dma::DmaDomain,
    entry::Driver,
    irp::Completed,
    mutex::Mutex,
    pnp::{Minor, Pnp},
    pool::Shared,
    status::Status,
};

use crate::{bench::File, device::Device};

#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;

/// What the devices share: the domain that one of them has published.
pub(crate) type Published = Mutex<Option<Shared<DmaDomain>>>;

/// The driver.
pub(crate) struct Library {
    published: Shared<Published>,
}

impl Driver for Library {
    type Device = Device;
    type File = File;

    fn load() -> Result<Self, Status> {
        Ok(Self {
            published: Shared::new(Mutex::new(None))?,
        })
    }

    fn add_device(&self, objects: Objects) -> Result<Shared<Device>, Status> {
        Ok(Shared::new(Device::new(objects, self.published.clone())?)?)
    }

    fn pnp(&self, device: &Shared<Device>, request: Pnp) -> Completed {
        match request.minor() {
            Minor::StartDevice => request.after_lower(|| device.start()),
            Minor::QueryStopDevice
            | Minor::QueryRemoveDevice
            | Minor::CancelStopDevice
            | Minor::CancelRemoveDevice => request.succeed(),
            Minor::StopDevice | Minor::SurpriseRemoval => {
                device.stop();
                request.succeed()
            }
            Minor::RemoveDevice => {
                device.stop();
                request.finish_removal()
            }
            Minor::Other(_) => request.pass_down(),
        }
    }

    fn create(&self, device: &Shared<Device>) -> Result<Shared<File>, Status> {
        Ok(Shared::new(File::new(device)?)?)
    }

    fn control(&self, file: &Shared<File>, request: Control) -> Completed {
        file.answer(request)
    }

    fn late(&self, _file: &Shared<File>, request: Control) -> Completed {
        request.complete(Err(Status::DELETE_PENDING))
    }

    fn cleanup(&self, file: &Shared<File>) {
        file.clear();
    }

    fn close(&self, file: Shared<File>) {
        drop(file);
    }

    fn process_exit(&self) {}
}

wdm::driver!(Library);
