//! The events that the driver writes for those who trace it: docs/tracing.md lists them.
//!
//! An event says what kind of thing happened and how much of it: kinds, lengths, counts, statuses,
//! and causes by the numbers of [`Error`]. It never says where: no address of any kind, no handle,
//! nothing that a program passed.

use sanproxy_abi::{Access, Error};
use wdm::{status::Status, trace_event, trace_provider};

use crate::{device::Device, dispatch::status, file::File, memory::Registration, secured::Secured};

trace_provider! {
    /// Its identifier is made from its name in the way that all such tools know.
    pub(crate) static PROVIDER = "SanProxy", 0x4b09_43a8_b618_5b3c_946c_d0ac_136d_85fb;
}

trace_event! {
    PROVIDER:
    fn start = "Start", Information, { "Status" status: Status }
}

trace_event! {
    PROVIDER:
    fn stop = "Stop", Information, { "Registered" registered: u64, "Released" released: u64 }
}

trace_event! {
    PROVIDER:
    fn remove = "Remove", Information, { "Registered" registered: u64, "Released" released: u64 }
}

trace_event! {
    PROVIDER:
    fn surprise = "SurpriseRemoval", Warning, { "Registrations" registrations: u64 }
}

trace_event! {
    PROVIDER:
    fn register = "Register", Verbose, { "Kind" kind: u32, "Length" length: u64, "Pieces" pieces: u32 }
}

trace_event! {
    PROVIDER:
    fn release = "Release", Verbose, { "Kind" kind: u32, "Length" length: u64 }
}

trace_event! {
    PROVIDER:
    fn secure = "Secure", Verbose, { "Access" access: u32, "Length" length: u64 }
}

trace_event! {
    PROVIDER:
    fn unsecure = "Unsecure", Verbose, { "Length" length: u64 }
}

trace_event! {
    PROVIDER:
    fn process_exit = "ProcessExit", Information, {
        "Unmapped" unmapped: u64,
        "Released" released: u64,
        "Unsecured" unsecured: u64,
    }
}

trace_event! {
    PROVIDER:
    fn failure = "Failure", Warning, { "Cause" cause: u32, "Status" status: Status }
}

trace_event! {
    PROVIDER:
    fn quota_exceeded = "Quota", Warning, {
        "Cause" cause: u32,
        "FileBytes" file_bytes: u64,
        "FileRegistrations" file_registrations: u64,
        "DeviceBytes" device_bytes: u64,
        "DeviceRegistrations" device_registrations: u64,
    }
}

/// A start of the device came to `result`.
pub(crate) fn started(result: Result<(), Status>) -> Result<(), Status> {
    start(result.err().unwrap_or(Status::SUCCESS));
    result
}

/// The device has been stopped.
pub(crate) fn stopped(device: &Device) {
    stop(device.statistics().made(), device.statistics().released());
}

/// The device has gone by surprise; its registrations are about to go.
pub(crate) fn surprise_removed(device: &Device) {
    surprise(device.quota().usage().count);
}

/// The device has been removed.
pub(crate) fn removed(device: &Device) {
    remove(device.statistics().made(), device.statistics().released());
}

/// Memory has been registered.
pub(crate) fn registered(kind: u32, length: u64, pieces: u32) {
    register(kind, length, pieces);
}

/// A registration is released.
pub(crate) fn released(registration: &Registration) {
    release(registration.kind.value(), registration.length());
}

/// Memory of a program's own has been secured.
pub(crate) fn secured(access: Access, length: u64) {
    secure(access.value(), length);
}

/// A secured range is about to be unsecured.
pub(crate) fn unsecured(range: &Secured) {
    unsecure(range.length);
}

/// What a process that has come to its end left to its file; nothing is told of nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Registrations that were mapped into it; they stay registered.
    pub(crate) unmapped: u64,
    /// Registrations of its own memory.
    pub(crate) released: u64,
    /// Secured ranges.
    pub(crate) unsecured: u64,
}

/// The process that opened a file has ended, and this went with it.
pub(crate) fn process_ended(left: Left) {
    if left != Left::default() {
        process_exit(left.unmapped, left.released, left.unsecured);
    }
}

/// A request failed.
pub(crate) fn failed(error: Error) {
    failure(cause(error), status(error));
}

/// A request of a file failed: if for a quota, how much of it is used.
pub(crate) fn limited(file: &File, error: Error) {
    if matches!(error, Error::FileQuota | Error::DeviceQuota) {
        let (own, all) = (file.quota().usage(), file.device().quota().usage());
        quota_exceeded(cause(error), own.bytes, own.count, all.bytes, all.count);
    }
}

fn cause(error: Error) -> u32 {
    u32::try_from(error.index()).unwrap_or(u32::MAX)
}
