//! Plug and Play: from one phase to the next, and what is given back on the way.

use core::sync::atomic::Ordering;

use sanproxy_abi::{DeviceState, EventKind};
use wdm::{
    irp::Completed,
    pnp::{Minor, Pnp},
    pool::Shared,
    rundown::Rundown,
    status::Status,
};

use super::{Device, Hardware, Phase, Settings, StatusPage};
use crate::{driver::Files, file::File, trace};

/// Answers a Plug and Play request.
pub(crate) fn answer(device: &Shared<Device>, files: &Files, request: Pnp) -> Completed {
    match request.minor() {
        Minor::StartDevice => request.after_lower(|| trace::started(device.start())),
        Minor::QueryStopDevice => agree_if(request, device.query(Phase::StopPending)),
        Minor::QueryRemoveDevice => agree_if(request, device.query(Phase::RemovePending)),
        Minor::CancelStopDevice => {
            request.after_lower_in_any_case(|| device.cancel(Phase::StopPending))
        }
        Minor::CancelRemoveDevice => {
            request.after_lower_in_any_case(|| device.cancel(Phase::RemovePending))
        }
        Minor::StopDevice => {
            device.clear_away(files, Phase::Stopped);
            trace::stopped(device);
            device.announce(EventKind::DeviceStopped, 1);
            request.succeed()
        }
        Minor::SurpriseRemoval => {
            trace::surprise_removed(device);
            device.leave(files);
            request.succeed()
        }
        Minor::RemoveDevice => {
            device.leave(files);
            trace::removed(device);
            request.finish_removal()
        }
        Minor::Other(_) => request.pass_down(),
    }
}

fn agree_if(request: Pnp, result: Result<(), Status>) -> Completed {
    match result {
        Ok(()) => request.succeed(),
        Err(status) => request.fail(status),
    }
}

impl Device {
    /// The drivers below have started the device.
    ///
    /// A start without a stop before it is a stop too: what is held belongs to the resources that the
    /// device had until now.
    fn start(&self) -> Result<(), Status> {
        self.clear_away(&self.files, Phase::Stopped);
        let settings = self.take_settings()?;
        let hardware = Shared::new(Hardware::start(&self.objects, settings)?)?;
        let gate = Rundown::new()?;
        let generation = self
            .starts
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        let page = StatusPage::new(hardware.adapter.as_ref(), generation);
        self.interface.enable()?;
        let old = core::mem::replace(&mut *self.page.lock(), page);
        drop(old);
        self.enter_state(DeviceState::Started);
        let old = {
            let mut state = self.state.lock();
            state.phase = Phase::Started;
            (state.hardware.replace(hardware), state.gate.replace(gate))
        };
        // Freed when the lock is given back.
        drop(old);
        self.announce(EventKind::DeviceStarted, 1);
        Ok(())
    }

    /// Reads the parameters, and puts the quotas in force: in one step, since an administrator may
    /// change them meanwhile.
    fn take_settings(&self) -> Result<Settings, Status> {
        let _change = self.quota_change.lock();
        let settings = Settings::read(&self.objects)?;
        self.quota.set_limits(settings.device);
        *self.file_limits.lock() = settings.file;
        Ok(settings)
    }

    /// Agrees to be stopped or removed, unless somebody has memory registered: a device that does
    /// DMA to it cannot be told.
    fn query(&self, pending: Phase) -> Result<(), Status> {
        let mut state = self.state.lock();
        // Charges are made under this lock, so none can come in between.
        if self.quota.usage().count > 0 {
            return Err(Status::DEVICE_BUSY);
        }
        if pending == Phase::RemovePending && state.phase != pending {
            state.before = state.phase;
        }
        state.phase = pending;
        Ok(())
    }

    /// A query is taken back, whatever its answer was. One for removal may have come while a stop
    /// was pending, which then still is.
    fn cancel(&self, pending: Phase) {
        let mut state = self.state.lock();
        if state.phase == pending {
            // Only a started device is asked whether it may be stopped.
            state.phase = if pending == Phase::RemovePending {
                state.before
            } else {
                Phase::Started
            };
        }
    }

    /// The device goes for good.
    fn leave(&self, files: &Files) {
        self.interface.disable();
        self.clear_away(files, Phase::Gone);
        self.announce_end();
    }

    /// Enters a phase without hardware: refuses new requests, waits for those under way, and gives
    /// everything back: registrations with their mappings, the reserve, the adapter.
    fn clear_away(&self, files: &Files, phase: Phase) {
        let (gate, hardware) = {
            let mut state = self.state.lock();
            state.phase = phase;
            (state.gate.clone(), state.hardware.take())
        };
        self.enter_state(if phase == Phase::Gone {
            DeviceState::Removed
        } else {
            DeviceState::Stopped
        });
        let Some(gate) = gate else {
            return;
        };
        gate.run_down(|| {
            // A file that has been emptied is not found again, so this ends.
            while let Some(file) = self.find_registrations(files) {
                let released = file.release_all();
                file.record(EventKind::Invalidated, released);
            }
            self.end_connections();
            let page = self.page.lock().take();
            drop(page);
            drop(hardware);
        });
    }

    /// Says on the status page where the device is in its life.
    fn enter_state(&self, state: DeviceState) {
        if let Some(page) = &mut *self.page.lock() {
            page.enter(state, &self.quota, &self.statistics);
        }
    }

    fn find_registrations(&self, files: &Files) -> Option<Shared<File>> {
        let files = files.lock();
        files
            .iter()
            .find(|file| file.is_of(self) && file.holds_memory())
            .cloned()
    }
}
