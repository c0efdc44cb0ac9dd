//! What an unhandled exception of the driver means: which rule the access has broken.

use crate::USER_LIMIT;
use crate::host::Host;
use crate::status::NtStatus;
use crate::thread;

/// The rule that an exception stands for.
pub(crate) struct Finding {
    /// The rule.
    pub(crate) rule: &'static str,
    /// Its bug check.
    pub(crate) code: &'static str,
    /// What happened, with the address.
    pub(crate) message: String,
}

/// Names the rule behind an exception that no handler of the driver took.
pub(crate) fn explain(host: &Host, code: u32, parameters: &[u64], instruction: u64) -> Finding {
    let status = NtStatus(code);
    if status != NtStatus::ACCESS_VIOLATION {
        return other(status, instruction);
    }
    let kind = match parameters.first() {
        Some(0) => "read",
        Some(8) => "execute",
        Some(_) => "write",
        None => "access",
    };
    let address = parameters.get(1).copied().unwrap_or_default();
    let access = format!("{kind} of {address:#x} at {instruction:#x}");
    if address < 0x1_0000 {
        let message = format!("{access}: an unchecked NULL");
        return Finding {
            rule: "V300",
            code: "7E",
            message,
        };
    }
    if let Some(finding) = crate::memory::explain_fault(host, address) {
        return Finding {
            message: format!("{access}: {}", finding.message),
            ..finding
        };
    }
    if let Some(place) = host.heap.place_of(address) {
        return in_kernel_object(&access, &place, address);
    }
    if address < USER_LIMIT {
        let message = format!("{access}: a user address, not guarded");
        return Finding {
            rule: "V269",
            code: "7E",
            message,
        };
    }
    let code = if thread::irql() >= thread::DISPATCH {
        "D1"
    } else {
        "50"
    };
    Finding {
        rule: "V010",
        code,
        message: format!("{access}: nothing is mapped there"),
    }
}

fn in_kernel_object(access: &str, place: &crate::guarded::Place, address: u64) -> Finding {
    let offset = address.wrapping_sub(place.base).cast_signed();
    let message = format!(
        "{access}: {} {:#x} at offset {offset}",
        place.kind, place.base
    );
    if !place.freed {
        let message = format!("{message}, outside of its {} bytes", place.size);
        return Finding {
            rule: "V010",
            code: "CD",
            message,
        };
    }
    let (rule, code) = match place.kind {
        "IRP" | "system buffer" => ("V197", "CC"),
        "device object" => ("V293", "CC"),
        _ => ("V013", "CC"),
    };
    Finding {
        rule,
        code,
        message: format!("{message}, already gone"),
    }
}

fn other(status: NtStatus, instruction: u64) -> Finding {
    let (rule, code) = match status {
        NtStatus::PRIVILEGED_INSTRUCTION => ("V090", "C4/0xC0"),
        NtStatus::BREAKPOINT => ("V301", "7E"),
        _ => ("V308", "1E"),
    };
    Finding {
        rule,
        code,
        message: format!("unhandled exception {status} at {instruction:#x}"),
    }
}
