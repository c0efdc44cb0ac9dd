//! A WDM driver that keeps every rule in mode 0, and breaks one in each other mode or request.
#![no_std]
#![allow(
    non_snake_case,
    improper_ctypes,
    reason = "names of the system; GUIDs as numbers"
)]

mod memory;
mod request;
mod system;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use system::*;

static MODE: AtomicU32 = AtomicU32::new(0);
static TRACE: AtomicU64 = AtomicU64::new(0);
/// Process exits that the callback has seen.
pub static EXITS: AtomicU64 = AtomicU64::new(0);

/// {6d2e5a10-0f0b-4c5e-9d5e-3a6c1a2b3c4d} in memory order.
static GUID: u128 = 0x4D3C_2B1A_6C3A_5E9D_4C5E_0F0B_6D2E_5A10;

pub const LOWER: u64 = 0;
pub const PDO: u64 = 8;
pub const REMOVE_LOCK: u64 = 16;
pub const LINK: u64 = 48;
pub const SPIN_A: u64 = 64;
pub const SPIN_B: u64 = 72;
pub const PUSH: u64 = 80;
pub const MUTEX: u64 = 88;
pub const RUNDOWN: u64 = 144;
pub const HELD: u64 = 152;
pub const ENABLED: u64 = 160;
pub const EVENT: u64 = 168;
const EXTENSION: u32 = 192;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

fn mode(number: u32) -> bool {
    MODE.load(Ordering::Relaxed) == number
}

pub fn extension(device: u64) -> u64 {
    get(device + 64)
}

fn read_mode(path: u64) -> u32 {
    let attributes = [48, 0, path, 0x240, 0, 0];
    let (mut handle, mut name, mut needed) = (0, [0; 2], 0);
    if ZwOpenKey(&mut handle, 0x2_0019, &attributes) != SUCCESS {
        return 0;
    }
    let text = [77_u16, 111, 100, 101, 0];
    RtlInitUnicodeString(&mut name, text.as_ptr());
    let mut information = [0_u32; 8];
    let status = ZwQueryValueKey(handle, &name, 2, information.as_mut_ptr(), 32, &mut needed);
    let mode = if status == SUCCESS { information[3] } else { 0 };
    if mode != 14 {
        ZwClose(handle);
    }
    mode
}

extern "C" fn process_callback(_parent: u64, _id: u64, create: u8) {
    if create == 0 {
        EXITS.fetch_add(1, Ordering::Relaxed);
    }
}

extern "C" fn process_callback_ex(_process: u64, _id: u64, _info: u64) {}

#[unsafe(no_mangle)]
pub extern "C" fn DriverEntry(driver: u64, path: u64) -> u32 {
    MODE.store(read_mode(path), Ordering::Relaxed);
    for function in [0, 2, 18] {
        put(
            driver + 112 + 8 * function,
            create_close as *const () as u64,
        );
    }
    put(
        driver + 112 + 8 * 14,
        request::device_control as *const () as u64,
    );
    put(driver + 112 + 8 * 22, power as *const () as u64);
    put(driver + 112 + 8 * 23, system_control as *const () as u64);
    put(driver + 112 + 8 * 27, pnp as *const () as u64);
    put(driver + 104, unload as *const () as u64);
    put(get::<u64>(driver + 48) + 8, add_device as *const () as u64);
    PsSetCreateProcessNotifyRoutine(process_callback, 0);
    if mode(17) {
        return PsSetCreateProcessNotifyRoutineEx(process_callback_ex, 0);
    }
    let mut handle = 0;
    EtwRegister(&GUID, 0, 0, &mut handle);
    let (descriptor, text) = ([0x0004_0000_0000_002A, 8], *b"hello");
    let data = [text.as_ptr() as u64, 5];
    EtwWrite(handle, &descriptor, 0, 1, &data);
    TRACE.store(handle, Ordering::Relaxed);
    SUCCESS
}

extern "C" fn unload(_driver: u64) {
    if !mode(13) {
        PsSetCreateProcessNotifyRoutine(process_callback, 1);
    }
    if !mode(16) {
        EtwUnregister(TRACE.load(Ordering::Relaxed));
    }
}

extern "C" fn add_device(driver: u64, pdo: u64) -> u32 {
    let mut device = 0;
    let status = IoCreateDevice(driver, EXTENSION, 0, 0x22, 0x100, 0, &mut device);
    if status != SUCCESS || mode(10) {
        return if mode(10) { INVALID } else { status };
    }
    let own = extension(device);
    put(own + PDO, pdo);
    IoInitializeRemoveLockEx(own + REMOVE_LOCK, 0x7473_6554, 0, 0, 32);
    ExInitializeRundownProtection(own + RUNDOWN);
    put(own + MUTEX, 1_u32);
    KeInitializeEvent(own + MUTEX + 24, 1, 0);
    KeInitializeEvent(own + EVENT, 0, 0);
    let lower = IoAttachDeviceToDeviceStack(device, pdo);
    if lower == 0 {
        IoDeleteDevice(device);
        return 0xC000_000E;
    }
    put(own + LOWER, lower);
    let status = IoRegisterDeviceInterface(pdo, &GUID, 0, own + LINK);
    if status & 0x8000_0000 != 0 {
        IoDetachDevice(lower);
        IoDeleteDevice(device);
        return status;
    }
    let inherited = get::<u32>(lower + 48) & 0x2014;
    let mut flags = get::<u32>(device + 48) | inherited | 0x10;
    if mode(2) {
        flags &= !0x2000;
    }
    if !mode(1) {
        flags &= !0x80;
    }
    put(device + 48, flags);
    SUCCESS
}

extern "C" fn create_close(_device: u64, irp: u64) -> u32 {
    complete(irp, SUCCESS, 0)
}

fn forward(own: u64, irp: u64) -> u32 {
    if mode(15) {
        return skip_and_call(get(own + LOWER), irp);
    }
    let status = IoAcquireRemoveLockEx(own + REMOVE_LOCK, irp, 0, 0, 32);
    if status != SUCCESS {
        return complete(irp, status, 0);
    }
    let status = skip_and_call(get(own + LOWER), irp);
    IoReleaseRemoveLockEx(own + REMOVE_LOCK, irp, 32);
    status
}

extern "C" fn power(device: u64, irp: u64) -> u32 {
    forward(extension(device), irp)
}

extern "C" fn system_control(device: u64, irp: u64) -> u32 {
    if mode(9) {
        return complete(irp, SUCCESS, 0);
    }
    forward(extension(device), irp)
}

fn set_interface(own: u64, enable: bool) {
    if (get::<u32>(own + ENABLED) != 0) != enable {
        let status = IoSetDeviceInterfaceState(own + LINK, u8::from(enable));
        put(own + ENABLED, u32::from(enable && status == SUCCESS));
    }
}

fn up(own: u64, irp: u64) -> u32 {
    IoAcquireRemoveLockEx(own + REMOVE_LOCK, irp, 0, 0, 32);
    let status = forward_and_wait(get(own + LOWER), irp);
    IoReleaseRemoveLockEx(own + REMOVE_LOCK, irp, 32);
    status
}

fn start(own: u64, irp: u64) -> u32 {
    if mode(7) {
        set_interface(own, true);
    }
    let status = up(own, irp);
    if status == SUCCESS {
        set_interface(own, true);
    }
    complete(irp, status, 0)
}

fn remove(device: u64, own: u64, irp: u64) -> u32 {
    let lower: u64 = get(own + LOWER);
    IoAcquireRemoveLockEx(own + REMOVE_LOCK, irp, 0, 0, 32);
    if !mode(8) {
        set_interface(own, false);
    }
    put(irp + 48, SUCCESS);
    if mode(4) {
        IoDetachDevice(lower);
        put(irp + 67, get::<i8>(irp + 67) + 1);
        put(irp + 184, stack(irp) + 72);
        IoReleaseRemoveLockAndWaitEx(own + REMOVE_LOCK, irp, 32);
        RtlFreeUnicodeString(own + LINK);
        IoDeleteDevice(device);
        return IofCallDriver(lower, irp);
    }
    let status = skip_and_call(lower, irp);
    IoReleaseRemoveLockAndWaitEx(own + REMOVE_LOCK, irp, 32);
    if !mode(12) {
        RtlFreeUnicodeString(own + LINK);
    }
    if mode(3) {
        return status;
    }
    IoDetachDevice(lower);
    IoDeleteDevice(device);
    status
}

extern "C" fn pnp(device: u64, irp: u64) -> u32 {
    let own = extension(device);
    let minor: u8 = get(stack(irp) + 1);
    match minor {
        0 => start(own, irp),
        2 => remove(device, own, irp),
        3 | 6 => {
            let status = up(own, irp);
            complete(irp, status, 0)
        }
        1 | 4 | 5 | 0x17 => {
            if minor == 0x17 {
                set_interface(own, false);
                if mode(11) {
                    IoDetachDevice(get(own + LOWER));
                    IoAttachDeviceToDeviceStack(device, get(own + PDO));
                }
            }
            if !(mode(6) && minor == 5) {
                put(irp + 48, SUCCESS);
            }
            forward(own, irp)
        }
        _ if mode(5) => complete(irp, SUCCESS, 0),
        _ if mode(18) => {
            put(irp + 56, 1_u64);
            forward(own, irp)
        }
        _ => forward(own, irp),
    }
}
