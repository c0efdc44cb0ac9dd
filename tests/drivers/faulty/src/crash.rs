//! Callbacks for crash dumps: rules V298 and V310, and what is forbidden at `HIGH_LEVEL`.

use core::{
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

use wdk_sys::{
    KBUGCHECK_ADD_PAGES, KBUGCHECK_CALLBACK_REASON, KBUGCHECK_REASON_CALLBACK_RECORD,
    STATUS_INSUFFICIENT_RESOURCES,
    ntddk::{
        KeAcquireSpinLockRaiseToDpc, KeDeregisterBugCheckReasonCallback,
        KeRegisterBugCheckReasonCallback, KeReleaseSpinLock,
    },
};

use crate::{
    control::{Answer, Fault, OK, Request},
    pool,
    system::PAGE,
};

pub(crate) const FAULTS: &[Fault] = &[(310, register)];

const ADD_PAGES: KBUGCHECK_CALLBACK_REASON = 4;
const VIRTUAL: u32 = 1;
const PHYSICAL: u32 = 2;
const ADDITIONAL_RANGES_EXIST: u32 = 0x8000_0000;

/// What the callback does wrong.
static VARIANT: AtomicU32 = AtomicU32::new(0);
/// A page of ours.
static BLOCK: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static NAME: [u8; 7] = *b"faulty\0";

/// Registers a callback: 0 a good one, 1 to 6 and 9 bad ones; 7 frees the record, 8 takes the callback back.
fn register(request: &Request) -> Answer {
    let (record, page) = (pool::block(64), pool::block(PAGE));
    if record.is_null() || page.is_null() {
        return Answer::Status(STATUS_INSUFFICIENT_RESOURCES);
    }
    VARIANT.store(request.variant, Ordering::Relaxed);
    BLOCK.store(page, Ordering::Relaxed);
    let callback: *mut KBUGCHECK_REASON_CALLBACK_RECORD = record.cast();
    unsafe {
        ptr::write_bytes(page, 0x77, PAGE);
        let name = NAME.as_ptr().cast_mut();
        if KeRegisterBugCheckReasonCallback(callback, Some(add_pages), ADD_PAGES, name) == 0 {
            return Answer::Status(STATUS_INSUFFICIENT_RESOURCES);
        }
        if request.variant == 8 {
            let _ = KeDeregisterBugCheckReasonCallback(callback);
            pool::free(page);
        }
    }
    if matches!(request.variant, 7 | 8) {
        pool::free(record);
    }
    OK
}

unsafe extern "C" fn add_pages(
    _: KBUGCHECK_CALLBACK_REASON,
    _: *mut KBUGCHECK_REASON_CALLBACK_RECORD,
    data: *mut c_void,
    _: u32,
) {
    static mut LOCK: usize = 0;
    let data: *mut KBUGCHECK_ADD_PAGES = data.cast();
    let page = BLOCK.load(Ordering::Relaxed) as u64;
    let (flags, address) = match VARIANT.load(Ordering::Relaxed) {
        1 => (VIRTUAL, page + 8),
        2 => (VIRTUAL | PHYSICAL, page),
        3 => (VIRTUAL, PAGE as u64),
        9 => (VIRTUAL | ADDITIONAL_RANGES_EXIST, 0),
        _ => (VIRTUAL, page),
    };
    unsafe {
        match VARIANT.load(Ordering::Relaxed) {
            4 => {
                let lock = &raw mut LOCK;
                let irql = KeAcquireSpinLockRaiseToDpc(lock.cast());
                KeReleaseSpinLock(lock.cast(), irql);
            }
            5 => drop(pool::block(64)),
            _ => (),
        }
        (*data).Flags = flags;
        (*data).Address = address;
        (*data).Count = match VARIANT.load(Ordering::Relaxed) {
            6 => 2,
            9 => 0,
            _ => 1,
        };
    }
}
