//! Bug checks, debug output, and finding exports by name.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use crate::access::{read, read_c_string, read_unicode_string, read_utf16};
use crate::call::exported;
use crate::export::{IrqlRule, exports, table};
use crate::host::{Host, current};
use crate::lock;
use crate::thread::PASSIVE;

/// What drivers have printed.
#[derive(Default)]
pub(crate) struct DebugOutput {
    lines: Mutex<Vec<String>>,
}

impl Host {
    /// What drivers have printed with `DbgPrint` and `DbgPrintEx`.
    #[must_use]
    pub fn debug_output(&self) -> Vec<String> {
        lock(&self.debug.lines).clone()
    }
}

extern "win64" fn bug_check(code: u32, p1: u64, p2: u64, p3: u64, p4: u64) {
    exported(|host| -> Result<(), _> {
        let message = format!("bug check {code:#x} ({p1:#x}, {p2:#x}, {p3:#x}, {p4:#x})");
        host.violation("V308", "KeBugCheckEx", message.clone());
        Err(host.die(message))
    });
}

/// The text of a `printf` conversion, from `%` on; its length in the format and the formatted argument.
fn conversion(format: &str, argument: u64) -> (usize, String) {
    let body = &format[1..];
    let skip = body
        .find(|c: char| c.is_ascii_alphabetic() || c == '%')
        .unwrap_or(body.len());
    let rest = &body[skip..];
    for (prefix, wide) in [
        ("I64", true),
        ("ll", true),
        ("z", true),
        ("l", false),
        ("h", false),
        ("w", false),
        ("", false),
    ] {
        let Some(kind) = rest
            .strip_prefix(prefix)
            .and_then(|rest| rest.chars().next())
        else {
            continue;
        };
        let value = if wide || matches!(kind, 'p' | 's' | 'S' | 'Z') {
            argument
        } else {
            argument & 0xFFFF_FFFF
        };
        let text = match kind {
            'd' | 'i' if wide => value.cast_signed().to_string(),
            'd' | 'i' => (value as i32).to_string(),
            'u' => value.to_string(),
            'x' => format!("{value:x}"),
            'X' => format!("{value:X}"),
            'p' => format!("{value:016X}"),
            'c' => char::from(value as u8).to_string(),
            's' if prefix == "w" || prefix == "l" => wide_string(value),
            'S' => wide_string(value),
            's' => read_c_string(value, 512),
            'Z' => read_unicode_string(value),
            _ => continue,
        };
        return (1 + skip + prefix.len() + kind.len_utf8(), text);
    }
    (1, "%".to_owned())
}

fn wide_string(address: u64) -> String {
    let mut units = 0;
    while units < 512 && read::<u16>(address + 2 * units) != 0 {
        units += 1;
    }
    read_utf16(address, units as usize)
}

fn print(format: u64, arguments: &[u64]) {
    let format = read_c_string(format, 4096);
    let (mut text, mut rest, mut next) = (String::new(), format.as_str(), 0);
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("%%") {
            text.push('%');
            rest = &rest[2..];
            continue;
        }
        let (length, value) = conversion(rest, arguments.get(next).copied().unwrap_or(0));
        text.push_str(&value);
        rest = &rest[length..];
        next += 1;
    }
    text.push_str(rest);
    lock(&current().debug.lines).push(text);
}

extern "win64" fn dbg_print(
    format: u64,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
    f: u64,
    g: u64,
) -> u32 {
    print(format, &[a, b, c, d, e, f, g]);
    0
}

extern "win64" fn dbg_print_ex(
    _component: u32,
    _level: u32,
    format: u64,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
) -> u32 {
    print(format, &[a, b, c, d, e]);
    0
}

extern "win64" fn get_system_routine_address(name: u64) -> u64 {
    static STUBS: OnceLock<Mutex<HashMap<String, u64>>> = OnceLock::new();
    let name = read_unicode_string(name);
    // The host's own entries are no exports.
    let known = table().routine(&name).filter(|_| !name.starts_with("Iop"));
    let Some(routine) = known else { return 0 };
    let mut stubs = lock(STUBS.get_or_init(Mutex::default));
    *stubs
        .entry(name)
        .or_insert_with(|| nt_image::stub(routine) as u64)
}

exports! {
    "KeBugCheckEx" => bug_check, IrqlRule::Any, "V050", "C4/0xE5";
    "DbgPrint" => dbg_print, IrqlRule::Any, "V050", "C4/0xE5";
    "DbgPrintEx" => dbg_print_ex, IrqlRule::Any, "V050", "C4/0xE5";
    "MmGetSystemRoutineAddress" => get_system_routine_address, IrqlRule::Exactly(PASSIVE), "V050", "C4/0xE5";
}
