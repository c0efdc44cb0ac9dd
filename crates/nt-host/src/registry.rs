//! The registry: keys of services and devices, and the handles that drivers hold on them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use crate::access::{copy_in, read, read_bytes, read_unicode_string, read_utf16, write};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::judge::{StackFrame, current_stack};
use crate::process::check_system_thread;
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE};
use crate::{USER_LIMIT, lock};

/// A registry value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryValue {
    /// `REG_DWORD`.
    Dword(u32),
    /// `REG_QWORD`.
    Qword(u64),
    /// `REG_SZ`.
    String(String),
    /// `REG_MULTI_SZ`.
    Strings(Vec<String>),
    /// Any type, any bytes: also what is not what it says.
    Raw(u32, Vec<u8>),
}

impl RegistryValue {
    fn encode(&self) -> (u32, Vec<u8>) {
        let text = |text: &str| -> Vec<u8> {
            text.encode_utf16()
                .chain([0])
                .flat_map(u16::to_le_bytes)
                .collect()
        };
        match self {
            Self::Dword(value) => (4, value.to_le_bytes().to_vec()),
            Self::Qword(value) => (11, value.to_le_bytes().to_vec()),
            Self::String(value) => (1, text(value)),
            Self::Strings(values) => {
                let mut bytes: Vec<u8> = values.iter().flat_map(|value| text(value)).collect();
                bytes.extend([0, 0]);
                (7, bytes)
            }
            Self::Raw(kind, bytes) => (*kind, bytes.clone()),
        }
    }
}

type Values = BTreeMap<String, (String, u32, Vec<u8>)>;

#[derive(Default)]
struct State {
    keys: HashMap<String, Values>,
    handles: HashMap<u64, (String, Vec<StackFrame>)>,
    next: u64,
}

/// The registry of a host.
#[derive(Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
}

/// Kernel handles have the upper half of the address space for a sign.
const KERNEL_HANDLE: u64 = 0xFFFF_FFFF_8000_0000;
/// `OBJ_KERNEL_HANDLE`.
const OBJ_KERNEL_HANDLE: u32 = 0x200;

fn canonical(path: &str) -> String {
    let upper = path.trim_end_matches('\\').to_uppercase();
    upper.replace("\\CURRENTCONTROLSET\\", "\\CONTROLSET001\\")
}

fn device_key(instance: &str, software: bool) -> String {
    let tail = if software {
        "Driver"
    } else {
        "Device Parameters"
    };
    canonical(&format!(
        "\\Registry\\Machine\\System\\CurrentControlSet\\Enum\\{instance}\\{tail}"
    ))
}

impl Registry {
    fn create(&self, path: &str) {
        lock(&self.state).keys.entry(canonical(path)).or_default();
    }

    /// The keys of a service.
    pub(crate) fn create_service(&self, name: &str) {
        let path = format!("\\Registry\\Machine\\System\\CurrentControlSet\\Services\\{name}");
        self.create(&path);
        self.create(&format!("{path}\\Parameters"));
    }

    /// The keys of a device, with these values in its hardware key.
    pub(crate) fn create_device(&self, instance: &str, parameters: &[(String, RegistryValue)]) {
        self.create(&device_key(instance, true));
        let hardware = device_key(instance, false);
        self.create(&hardware);
        for (name, value) in parameters {
            self.set(&hardware, name, value);
        }
    }

    /// Sets a value.
    fn set(&self, path: &str, name: &str, value: &RegistryValue) {
        let (kind, bytes) = value.encode();
        let mut state = lock(&self.state);
        let key = state.keys.entry(canonical(path)).or_default();
        key.insert(name.to_uppercase(), (name.to_owned(), kind, bytes));
    }

    fn value(&self, path: &str, name: &str) -> Option<(u32, Vec<u8>)> {
        let state = lock(&self.state);
        let (_, kind, bytes) = state
            .keys
            .get(&canonical(path))?
            .get(&name.to_uppercase())?;
        Some((*kind, bytes.clone()))
    }

    fn open(&self, path: &str) -> Option<u64> {
        let stack = current_stack();
        let mut state = lock(&self.state);
        let path = canonical(path);
        if !state.keys.contains_key(&path) {
            return None;
        }
        state.next += 4;
        let handle = KERNEL_HANDLE + state.next;
        state.handles.insert(handle, (path, stack));
        Some(handle)
    }

    fn path_of(&self, handle: u64) -> Option<String> {
        lock(&self.state)
            .handles
            .get(&handle)
            .map(|(path, _)| path.clone())
    }

    /// Reports handles that the driver has not closed.
    pub(crate) fn driver_unloaded(&self, host: &Host) {
        let left = core::mem::take(&mut lock(&self.state).handles);
        for (handle, (path, stack)) in left {
            let message = format!("handle {handle:#x} of {path} is open at unload");
            host.violation_at("V268", "handle leak", message, stack.clone());
            host.leak("registry handle", path, stack);
        }
    }
}

impl Host {
    /// Sets a value in the key of that path, such as a service's `Parameters`.
    pub fn set_registry_value(&self, path: &str, name: &str, value: &RegistryValue) {
        self.registry.set(path, name, value);
    }

    /// Type and bytes of a value.
    #[must_use]
    pub fn registry_value(&self, path: &str, name: &str) -> Option<(u32, Vec<u8>)> {
        self.registry.value(path, name)
    }

    /// The path of a device's hardware key.
    #[must_use]
    pub fn hardware_key(&self, device: &crate::device::Device) -> String {
        device_key(device.instance(), false)
    }
}

/// What every `Zw*` routine wants: special APCs on, addresses of the kernel.
fn check_call(host: &Host, addresses: &[u64]) {
    let level = thread::level();
    if level.guarded > 0 {
        let message = "called in a guarded region: special kernel APCs are off";
        host.violation("V051", "C4/0xE6", message);
    }
    for address in addresses {
        if *address != 0 && *address < USER_LIMIT {
            host.violation("V260", "C4/0xE3", format!("user address {address:#x}"));
        }
    }
}

fn checked_string(host: &Host, address: u64) -> String {
    if address == 0 {
        return String::new();
    }
    let (length, maximum): (u16, u16) = (read(address), read(address + 2));
    let buffer: u64 = read(address + 8);
    if length % 2 != 0 || length > maximum || (length > 0 && buffer < USER_LIMIT) {
        let message = format!("UNICODE_STRING: {length} of {maximum} bytes at {buffer:#x}");
        host.violation("V261", "C4/0xE4", message);
    }
    read_unicode_string(address)
}

fn object_path(host: &Host, attributes: u64) -> Option<String> {
    let root: u64 = read(attributes + 8);
    let name: u64 = read(attributes + 16);
    let flags: u32 = read(attributes + 24);
    check_call(host, &[name]);
    if flags & OBJ_KERNEL_HANDLE == 0 {
        let message = "OBJ_KERNEL_HANDLE is missing: the handle lands in the caller's table";
        host.violation("V264", "C4/0xF6", message);
    }
    let name = checked_string(host, name);
    if root == 0 {
        return Some(name);
    }
    host.registry
        .path_of(root)
        .map(|root| format!("{root}\\{name}"))
}

extern "win64" fn zw_open_key(handle: u64, _access: u32, attributes: u64) -> u32 {
    let host = current();
    check_call(&host, &[handle, attributes]);
    let Some(path) = object_path(&host, attributes) else {
        return NtStatus::INVALID_HANDLE.0;
    };
    if host.faults().should_fail("ZwOpenKey") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    match host.registry.open(&path) {
        Some(opened) => {
            write(handle, opened);
            NtStatus::SUCCESS.0
        }
        None => NtStatus::OBJECT_NAME_NOT_FOUND.0,
    }
}

extern "win64" fn zw_create_key(
    handle: u64,
    access: u32,
    attributes: u64,
    _index: u32,
    _class: u64,
    _options: u32,
    disposition: u64,
) -> u32 {
    let host = current();
    let Some(path) = object_path(&host, attributes) else {
        return NtStatus::INVALID_HANDLE.0;
    };
    let existed = lock(&host.registry.state)
        .keys
        .contains_key(&canonical(&path));
    host.registry.create(&path);
    if disposition != 0 {
        write(disposition, if existed { 2_u32 } else { 1_u32 });
    }
    drop(host);
    zw_open_key(handle, access, attributes)
}

extern "win64" fn io_open_device_registry_key(
    pdo: u64,
    kind: u32,
    _access: u32,
    handle: u64,
) -> u32 {
    let host = current();
    check_system_thread(&host, "IoOpenDeviceRegistryKey");
    let Some(node) = host.nodes.at(pdo) else {
        host.violation("V247", "C9/0x24D", format!("{pdo:#x} is no PDO"));
        return NtStatus::INVALID_DEVICE_REQUEST.0;
    };
    if !matches!(kind & 0xFF, 1 | 2) {
        return NtStatus::INVALID_PARAMETER.0;
    }
    if host.faults().should_fail("IoOpenDeviceRegistryKey") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    match host
        .registry
        .open(&device_key(&node.instance, kind & 2 != 0))
    {
        Some(opened) => {
            write(handle, opened);
            NtStatus::SUCCESS.0
        }
        None => NtStatus::OBJECT_NAME_NOT_FOUND.0,
    }
}

extern "win64" fn zw_query_value_key(
    handle: u64,
    name: u64,
    class: u32,
    information: u64,
    length: u32,
    needed: u64,
) -> u32 {
    let host = current();
    check_call(&host, &[name, information, needed]);
    let name = checked_string(&host, name);
    let Some(path) = host.registry.path_of(handle) else {
        return bad_handle(&host, handle);
    };
    if host.faults().should_fail("ZwQueryValueKey") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    let Some((kind, data)) = host.registry.value(&path, &name) else {
        return NtStatus::OBJECT_NAME_NOT_FOUND.0;
    };
    let mut record = 0_u32.to_le_bytes().to_vec();
    record.extend(kind.to_le_bytes());
    let header = match class {
        1 => {
            let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let data_offset = (20 + units.len()).next_multiple_of(4);
            for number in [data_offset, data.len(), units.len()] {
                record.extend((number as u32).to_le_bytes());
            }
            record.extend(units);
            record.resize(data_offset, 0);
            20
        }
        2 => {
            record.extend((data.len() as u32).to_le_bytes());
            12
        }
        _ => return NtStatus::INVALID_PARAMETER.0,
    };
    record.extend(data);
    write(needed, record.len() as u32);
    if (length as usize) < header {
        return NtStatus::BUFFER_TOO_SMALL.0;
    }
    let fits = record.len().min(length as usize);
    copy_in(information, &record[..fits]);
    if fits < record.len() {
        NtStatus::BUFFER_OVERFLOW.0
    } else {
        NtStatus::SUCCESS.0
    }
}

extern "win64" fn zw_set_value_key(
    handle: u64,
    name: u64,
    _index: u32,
    kind: u32,
    data: u64,
    length: u32,
) -> u32 {
    let host = current();
    check_call(&host, &[name, data]);
    let name = checked_string(&host, name);
    let Some(path) = host.registry.path_of(handle) else {
        return bad_handle(&host, handle);
    };
    if host.faults().should_fail("ZwSetValueKey") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    let bytes = read_bytes(data, length as usize);
    host.registry
        .set(&path, &name, &RegistryValue::Raw(kind, bytes));
    NtStatus::SUCCESS.0
}

fn bad_handle(host: &Host, handle: u64) -> u32 {
    host.violation("V263", "C4/0x3C", format!("{handle:#x} is no open handle"));
    NtStatus::INVALID_HANDLE.0
}

extern "win64" fn zw_close(handle: u64) -> u32 {
    let host = current();
    check_call(&host, &[]);
    let closed = lock(&host.registry.state).handles.remove(&handle);
    if closed.is_some() {
        NtStatus::SUCCESS.0
    } else {
        bad_handle(&host, handle)
    }
}

extern "win64" fn rtl_init_unicode_string(target: u64, source: u64) {
    let mut units = 0_u64;
    while source != 0 && units < 32_766 && read::<u16>(source + 2 * units) != 0 {
        units += 1;
    }
    write(target, 2 * units as u16);
    write(
        target + 2,
        if source == 0 { 0 } else { 2 * units as u16 + 2 },
    );
    write(target + 8, source);
}

extern "win64" fn rtl_free_unicode_string(string: u64) {
    let host = current();
    let buffer: u64 = read(string + 8);
    if buffer != 0 && !host.strings.free(buffer) {
        let text = read_utf16(string, 0);
        let message = format!("{buffer:#x} {text} is no string that the system has given out");
        host.violation("V004", "C4/0x10", message);
        return;
    }
    copy_in(string, &[0; 16]);
}

exports! {
    "ZwOpenKey" => zw_open_key, IrqlRule::Exactly(PASSIVE), "V073", "C4/0x2001F";
    "ZwCreateKey" => zw_create_key, IrqlRule::Exactly(PASSIVE), "V073", "C4/0x2001F";
    "ZwQueryValueKey" => zw_query_value_key, IrqlRule::Exactly(PASSIVE), "V073", "C4/0x2001F";
    "ZwSetValueKey" => zw_set_value_key, IrqlRule::Exactly(PASSIVE), "V073", "C4/0x2001F";
    "ZwClose" => zw_close, IrqlRule::Exactly(PASSIVE), "V073", "C4/0x2001F";
    "IoOpenDeviceRegistryKey" => io_open_device_registry_key, IrqlRule::Exactly(PASSIVE), "V060", "C4/0x2000B";
    "RtlInitUnicodeString" => rtl_init_unicode_string, IrqlRule::Any, "V050", "C4/0xE5";
    "RtlFreeUnicodeString" => rtl_free_unicode_string, IrqlRule::Exactly(PASSIVE), "V072", "C4/0x2001E";
}
