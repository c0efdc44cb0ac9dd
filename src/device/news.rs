//! What happens to a device, told to its files.

use sanproxy_abi::{Error, EventKind};
use wdm::pool::Shared;

use super::Device;
use crate::{file::File, messages};

impl Device {
    /// Tells all its files of an event.
    pub(crate) fn announce(&self, kind: EventKind, number: u64) {
        for file in self.files().lock().iter().filter(|file| file.is_of(self)) {
            file.record(kind, number);
        }
        // First, so that whoever is told finds it there.
        self.publish();
        self.deliver();
    }

    /// Tells all its files that nothing more will happen.
    pub(super) fn announce_end(&self) {
        // A file whose mailbox is closed is not found again, so this ends.
        while let Some(file) = self.find_file(|file| file.mailbox().is_open()) {
            file.record(EventKind::DeviceRemoved, 1);
            file.mailbox().close(Error::Removed);
        }
    }

    /// Tells waiting readers of what was recorded. Requests are completed with no lock held.
    pub(super) fn deliver(&self) {
        // What is being delivered is not found again, so this ends.
        while let Some(file) = self.find_file(|file| file.mailbox().is_undelivered()) {
            file.mailbox().deliver();
        }
    }

    /// Ends all connections between its files.
    pub(super) fn end_connections(&self) {
        // A file that has left is not found again, so this ends.
        while let Some(file) = self.find_file(|file| file.endpoint().is_used()) {
            messages::leave(&file, false);
        }
    }

    fn find_file(&self, test: impl Fn(&File) -> bool) -> Option<Shared<File>> {
        let files = self.files().lock();
        files
            .iter()
            .find(|file| file.is_of(self) && test(file))
            .cloned()
    }
}
