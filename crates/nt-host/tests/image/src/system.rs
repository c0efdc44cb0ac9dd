//! What the driver imports, and the fields of the structures that it uses, by offset.

pub type Dispatch = extern "C" fn(u64, u64) -> u32;

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    pub safe fn IoCreateDevice(
        driver: u64,
        extension: u32,
        name: u64,
        kind: u32,
        traits: u32,
        exclusive: u8,
        device: *mut u64,
    ) -> u32;
    pub safe fn IoDeleteDevice(device: u64);
    pub safe fn IoAttachDeviceToDeviceStack(source: u64, target: u64) -> u64;
    pub safe fn IoDetachDevice(lower: u64);
    pub safe fn IoRegisterDeviceInterface(
        pdo: u64,
        guid: *const u128,
        reference: u64,
        link: u64,
    ) -> u32;
    pub safe fn IoSetDeviceInterfaceState(link: u64, enable: u8) -> u32;
    pub safe fn RtlFreeUnicodeString(string: u64);
    pub safe fn RtlInitUnicodeString(string: *mut [u64; 2], source: *const u16);
    pub safe fn IofCallDriver(device: u64, irp: u64) -> u32;
    pub safe fn IofCompleteRequest(irp: u64, boost: i8);
    pub safe fn IoInitializeRemoveLockEx(at: u64, tag: u32, minutes: u32, high: u32, size: u32);
    pub safe fn IoAcquireRemoveLockEx(at: u64, tag: u64, file: u64, line: u32, size: u32) -> u32;
    pub safe fn IoReleaseRemoveLockEx(at: u64, tag: u64, size: u32);
    pub safe fn IoReleaseRemoveLockAndWaitEx(at: u64, tag: u64, size: u32);
    pub safe fn KeInitializeEvent(event: u64, kind: u32, state: u8);
    pub safe fn KeSetEvent(event: u64, increment: i32, wait: u8) -> i32;
    pub safe fn KeWaitForSingleObject(
        object: u64,
        reason: u32,
        mode: u8,
        alertable: u8,
        timeout: *const i64,
    ) -> u32;
    pub safe fn KeAcquireSpinLockRaiseToDpc(at: u64) -> u8;
    pub safe fn KeReleaseSpinLock(at: u64, irql: u8);
    pub safe fn KeEnterCriticalRegion();
    pub safe fn KeLeaveCriticalRegion();
    pub safe fn ExAcquirePushLockExclusiveEx(at: u64, flags: u32);
    pub safe fn ExReleasePushLockExclusiveEx(at: u64, flags: u32);
    pub safe fn ExAcquireFastMutex(at: u64);
    pub safe fn ExReleaseFastMutex(at: u64);
    pub safe fn ExInitializeRundownProtection(at: u64);
    pub safe fn ExAcquireRundownProtection(at: u64) -> u8;
    pub safe fn ExReleaseRundownProtection(at: u64);
    pub safe fn ExWaitForRundownProtectionRelease(at: u64);
    pub safe fn KfRaiseIrql(irql: u8) -> u8;
    pub safe fn KeLowerIrql(irql: u8);
    pub safe fn ObfReferenceObject(object: u64) -> u64;
    pub safe fn ObfDereferenceObject(object: u64) -> u64;
    pub safe fn KeStackAttachProcess(process: u64, state: *mut [u64; 6]);
    pub safe fn KeUnstackDetachProcess(state: *mut [u64; 6]);
    pub safe fn IoGetCurrentProcess() -> u64;
    pub safe fn IoGetRequestorProcess(irp: u64) -> u64;
    pub safe fn PsSetCreateProcessNotifyRoutine(
        routine: extern "C" fn(u64, u64, u8),
        remove: u8,
    ) -> u32;
    pub safe fn PsSetCreateProcessNotifyRoutineEx(
        routine: extern "C" fn(u64, u64, u64),
        remove: u8,
    ) -> u32;
    pub safe fn IoAcquireCancelSpinLock(irql: *mut u8);
    pub safe fn IoReleaseCancelSpinLock(irql: u8);
    pub safe fn ZwOpenKey(handle: *mut u64, access: u32, attributes: *const [u64; 6]) -> u32;
    pub safe fn ZwQueryValueKey(
        handle: u64,
        name: *const [u64; 2],
        class: u32,
        to: *mut u32,
        length: u32,
        needed: *mut u32,
    ) -> u32;
    pub safe fn ZwClose(handle: u64) -> u32;
    pub safe fn EtwRegister(
        guid: *const u128,
        callback: u64,
        context: u64,
        handle: *mut u64,
    ) -> u32;
    pub safe fn EtwWrite(
        handle: u64,
        descriptor: *const [u64; 2],
        activity: u64,
        count: u32,
        data: *const [u64; 2],
    ) -> u32;
    pub safe fn EtwUnregister(handle: u64) -> u32;
    pub safe fn DbgPrint(format: *const u8, value: u64) -> u32;
    pub safe fn KeBugCheckEx(code: u32, a: u64, b: u64, c: u64, d: u64) -> !;
    pub fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8;
    pub fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8;
}

pub const SUCCESS: u32 = 0;
pub const PENDING: u32 = 0x103;
pub const CANCELLED: u32 = 0xC000_0120;
pub const INVALID: u32 = 0xC000_0010;
pub const MORE_PROCESSING: u32 = 0xC000_0016;

pub fn get<T: Copy>(at: u64) -> T {
    unsafe { (at as *const T).read_unaligned() }
}

pub fn put<T: Copy>(at: u64, value: T) {
    unsafe { (at as *mut T).write_unaligned(value) }
}

pub fn stack(irp: u64) -> u64 {
    get(irp + 184)
}

pub fn mark_pending(irp: u64) {
    let at = stack(irp) + 3;
    put(at, get::<u8>(at) | 1);
}

pub fn complete(irp: u64, status: u32, information: u64) -> u32 {
    put(irp + 48, status);
    put(irp + 56, information);
    IofCompleteRequest(irp, 0);
    status
}

pub fn skip_and_call(lower: u64, irp: u64) -> u32 {
    put(irp + 67, get::<i8>(irp + 67) + 1);
    put(irp + 184, stack(irp) + 72);
    IofCallDriver(lower, irp)
}

extern "C" fn signal(_device: u64, irp: u64, event: u64) -> u32 {
    if get::<u8>(irp + 65) != 0 {
        KeSetEvent(event, 0, 0);
    }
    MORE_PROCESSING
}

/// Passes a copy of the location down and waits until the lower drivers are done.
pub fn forward_and_wait(lower: u64, irp: u64) -> u32 {
    let event = [0_u64; 3];
    let event = (&raw const event) as u64;
    KeInitializeEvent(event, 0, 0);
    let (own, next) = (stack(irp), stack(irp) - 72);
    for field in (0..56).step_by(8) {
        put(next + field, get::<u64>(own + field));
    }
    put(next + 3, 0xE0_u8);
    put(next + 56, signal as *const () as u64);
    put(next + 64, event);
    let status = IofCallDriver(lower, irp);
    if status == PENDING {
        KeWaitForSingleObject(event, 0, 0, 0, core::ptr::null());
        return get(irp + 48);
    }
    status
}
