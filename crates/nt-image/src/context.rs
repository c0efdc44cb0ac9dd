//! The x64 structures that exception handlers see, laid out as documented.

use std::mem::offset_of;

use crate::thread::CallFrame;
use crate::unwind::{Handler, Step};

/// Index of `rax` among the integer registers.
pub(crate) const RAX: usize = 0;
/// Index of `rcx` among the integer registers.
pub(crate) const RCX: usize = 1;
/// Index of `rsp` among the integer registers.
pub(crate) const RSP: usize = 4;

/// `CONTEXT`: the registers of a thread.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Context {
    home: [u64; 6],
    pub(crate) flags_present: u32,
    pub(crate) mx_csr: u32,
    segments: [u16; 6],
    pub(crate) eflags: u32,
    debug: [u64; 6],
    /// rax rcx rdx rbx rsp rbp rsi rdi r8 .. r15: the numbering of unwind codes, too.
    pub(crate) integer: [u64; 16],
    pub(crate) rip: u64,
    legacy_float: [u64; 20],
    pub(crate) xmm: [[u64; 2]; 16],
    reserved: [u64; 12],
    vector: [u64; 58],
}

const _: () = assert!(
    size_of::<Context>() == 1232
        && offset_of!(Context, eflags) == 68
        && offset_of!(Context, integer) == 120
        && offset_of!(Context, rip) == 248
        && offset_of!(Context, xmm) == 416
);

impl Context {
    pub(crate) fn empty() -> Self {
        Self {
            home: [0; 6],
            flags_present: 0x0010_000f, // CONTEXT_FULL
            mx_csr: 0x1f80,
            segments: [0x33, 0x2b, 0x2b, 0x53, 0x2b, 0x2b],
            eflags: 0x202,
            debug: [0; 6],
            integer: [0; 16],
            rip: 0,
            legacy_float: [
                0x27f,
                0,
                0,
                0xffff_0000_1f80,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ],
            xmm: [[0; 2]; 16],
            reserved: [0; 12],
            vector: [0; 58],
        }
    }

    /// The driver's registers as they will be when the routine returns.
    pub(crate) fn at_call(frame: &CallFrame) -> Self {
        let mut context = Self::empty();
        let [rbx, rbp, rsi, rdi, r12, r13, r14, r15] = frame.integer;
        context.integer[3..=7].copy_from_slice(&[rbx, frame.rsp, rbp, rsi, rdi]);
        context.integer[12..].copy_from_slice(&[r12, r13, r14, r15]);
        context.xmm[6..].copy_from_slice(&frame.xmm);
        context.rip = frame.return_address;
        context
    }

    pub(crate) fn rsp(&self) -> u64 {
        self.integer[RSP]
    }
}

/// `EXCEPTION_RECORD`: what happened.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct ExceptionRecord {
    pub(crate) code: u32,
    pub(crate) flags: u32,
    pub(crate) nested: u64,
    pub(crate) address: u64,
    pub(crate) parameter_count: u32,
    pub(crate) parameters: [u64; 15],
}

const _: () = assert!(size_of::<ExceptionRecord>() == 152);

impl ExceptionRecord {
    /// A record with as many of `parameters` as there is room for.
    pub(crate) fn new(code: u32, flags: u32, address: u64, parameters: &[u64]) -> Self {
        let mut record = Self {
            code,
            flags,
            nested: 0,
            address,
            parameter_count: 0,
            parameters: [0; 15],
        };
        for (to, from) in record.parameters.iter_mut().zip(parameters) {
            *to = *from;
            record.parameter_count += 1;
        }
        record
    }

    pub(crate) fn parameters(&self) -> &[u64] {
        self.parameters
            .get(..self.parameter_count as usize)
            .unwrap_or(&self.parameters)
    }
}

/// `DISPATCHER_CONTEXT`: the frame that a language handler is asked about.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct DispatcherContext {
    pub(crate) control_pc: u64,
    pub(crate) image_base: u64,
    function_entry: u64,
    pub(crate) establisher: u64,
    pub(crate) target_ip: u64,
    context: *mut Context,
    language_handler: u64,
    pub(crate) handler_data: u64,
    history_table: u64,
    pub(crate) scope_index: u32,
    fill: u32,
}

const _: () = assert!(size_of::<DispatcherContext>() == 80);

impl DispatcherContext {
    /// For the frame `step`, of code at `control_pc`; `target_ip` is 0 in the first pass.
    pub(crate) fn new(
        control_pc: u64,
        step: &Step,
        handler: Handler,
        context: &mut Context,
        target_ip: u64,
    ) -> Self {
        Self {
            control_pc,
            image_base: step.image_base,
            function_entry: step.function_entry,
            establisher: step.establisher,
            target_ip,
            context,
            language_handler: handler.routine,
            handler_data: handler.data,
            history_table: 0,
            scope_index: 0,
            fill: 0,
        }
    }
}
