//! Which exception a processor fault is.

use crate::fault::Fault;
use crate::registry;

/// `int 29h`: the code has found itself damaged; no handler is asked.
pub(crate) const STATUS_STACK_BUFFER_OVERRUN: u32 = 0xc000_0409;
const STATUS_ACCESS_VIOLATION: u32 = 0xc000_0005;
const STATUS_IN_PAGE_ERROR: u32 = 0xc000_0006;
const STATUS_ILLEGAL_INSTRUCTION: u32 = 0xc000_001d;
const STATUS_FLOAT_MULTIPLE_FAULTS: u32 = 0xc000_02b4;
const STATUS_INTEGER_DIVIDE_BY_ZERO: u32 = 0xc000_0094;
const STATUS_PRIVILEGED_INSTRUCTION: u32 = 0xc000_0096;
const STATUS_ASSERTION_FAILURE: u32 = 0xc000_0420;
const STATUS_DATATYPE_MISALIGNMENT: u32 = 0x8000_0002;
const STATUS_BREAKPOINT: u32 = 0x8000_0003;
const STATUS_SINGLE_STEP: u32 = 0x8000_0004;
/// What the address of a general protection fault is reported as: the processor does not say.
const UNKNOWN_ADDRESS: u64 = u64::MAX;
/// `si_code` of an integer division by zero.
const FPE_INTDIV: i32 = 1;
const ALIGNMENT_CHECK: u64 = 17;
const BREAKPOINT: u64 = 3;

/// The parameters of an exception, without a heap: at most three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameters([u64; 3], usize);

impl Parameters {
    fn new<const N: usize>(values: [u64; N]) -> Self {
        let mut parameters = Self([0; 3], N);
        parameters.0[..N].copy_from_slice(&values);
        parameters
    }

    pub(crate) fn as_slice(&self) -> &[u64] {
        &self.0[..self.1]
    }
}

/// Exception code and parameters for a fault.
pub(crate) fn classify(fault: &Fault) -> (u32, Parameters) {
    let none = Parameters::new([]);
    match fault.signal {
        libc::SIGSEGV if fault.code == libc::SI_KERNEL => general_protection(fault),
        libc::SIGSEGV => {
            let access = access(fault.error);
            (
                STATUS_ACCESS_VIOLATION,
                Parameters::new([access, fault.address]),
            )
        }
        libc::SIGBUS if fault.trap == ALIGNMENT_CHECK => (STATUS_DATATYPE_MISALIGNMENT, none),
        libc::SIGBUS => {
            let access = access(fault.error);
            let parameters = [access, fault.address, u64::from(STATUS_IN_PAGE_ERROR)];
            (STATUS_IN_PAGE_ERROR, Parameters::new(parameters))
        }
        libc::SIGFPE if fault.code == FPE_INTDIV => (STATUS_INTEGER_DIVIDE_BY_ZERO, none),
        libc::SIGFPE => (STATUS_FLOAT_MULTIPLE_FAULTS, none),
        libc::SIGTRAP if fault.trap == BREAKPOINT => (STATUS_BREAKPOINT, Parameters::new([0])),
        libc::SIGTRAP => (STATUS_SINGLE_STEP, none),
        _ => (STATUS_ILLEGAL_INSTRUCTION, none),
    }
}

/// 0 for a read, 1 for a write, 8 for execution, from the error code of a page fault.
fn access(error: u64) -> u64 {
    if error & 16 != 0 {
        8
    } else {
        u64::from(error & 2 != 0)
    }
}

fn general_protection(fault: &Fault) -> (u32, Parameters) {
    let mut code = [0; 16];
    let address = fault.instruction;
    registry::with_image(address, |image| {
        let offset = usize::try_from(address - image.base).unwrap_or(usize::MAX);
        let bytes = image.view.0.get(offset..).unwrap_or_default();
        for (to, from) in code.iter_mut().zip(bytes) {
            *to = *from;
        }
    });
    match code {
        [0xcd, 0x29, ..] => {
            let reason = fault.rcx();
            (STATUS_STACK_BUFFER_OVERRUN, Parameters::new([reason]))
        }
        [0xcd, 0x2c, ..] => (STATUS_ASSERTION_FAILURE, Parameters::new([])),
        _ if is_privileged(&code) => (STATUS_PRIVILEGED_INSTRUCTION, Parameters::new([])),
        // E.g. an address that is not canonical.
        _ => (
            STATUS_ACCESS_VIOLATION,
            Parameters::new([0, UNKNOWN_ADDRESS]),
        ),
    }
}

/// Whether `code` starts with an instruction for the kernel alone.
fn is_privileged(code: &[u8]) -> bool {
    let prefix = |byte: &u8| {
        matches!(
            byte,
            0x40..=0x4f | 0x66 | 0x67 | 0xf0 | 0xf2 | 0xf3 | 0x2e | 0x36 | 0x3e | 0x26
        ) || matches!(byte, 0x64 | 0x65)
    };
    let start = code
        .iter()
        .position(|byte| !prefix(byte))
        .unwrap_or(code.len());
    match code.get(start..).unwrap_or_default() {
        // hlt, cli, sti; in and out in all forms
        [
            0xf4 | 0xfa | 0xfb | 0x6c..=0x6f | 0xe4..=0xe7 | 0xec..=0xef,
            ..,
        ] => true,
        // descriptor tables, machine status word, invlpg, swapgs, xsetbv; lldt and ltr
        [0x0f, 0x01, ..] => true,
        [0x0f, 0x00, modrm, ..] => matches!(modrm >> 3 & 7, 2 | 3),
        // sysret, clts, invd, wbinvd; mov cr and dr; wrmsr, rdmsr, rdpmc, sysexit
        [
            0x0f,
            0x06..=0x09 | 0x20..=0x23 | 0x30 | 0x32 | 0x33 | 0x35,
            ..,
        ] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn move_to_cr8_is_privileged() {
        assert!(is_privileged(&[0x44, 0x0f, 0x22, 0xc0]));
    }

    #[test]
    fn ordinary_load_is_not_privileged() {
        assert!(!is_privileged(&[0x48, 0x8b, 0x00]));
    }

    #[test]
    fn page_fault_of_an_instruction_fetch_is_an_execution() {
        assert_eq!(access(0x14), 8);
    }
}
