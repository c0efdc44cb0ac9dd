//! Hardware faults in driver code become structured exceptions.
//!
//! The signal handler runs on an alternate stack and only decides whether the fault is the
//! driver's. If so it writes a [`Fault`] to the thread's own stack, below everything in use, and
//! has the thread go on in `handle`, where nothing is special any more.

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::{Once, OnceLock};

use crate::call::escape;
use crate::context::{Context, ExceptionRecord, RCX, RSP};
use crate::dispatch::{self, NONCONTINUABLE};
use crate::headers::Protection;
use crate::instruction;
use crate::mapping::Mapping;
use crate::thread::{self, Boundary};

/// The signals that faults arrive as.
const SIGNALS: [i32; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
];
/// Room for the handler and for the largest signal frame of any processor.
const ALTERNATE_STACK: usize = 128 << 10;
/// Exception dispatch needs this much stack below the fault.
const DISPATCH_STACK: u64 = 64 << 10;
/// Bytes below the stack pointer that System V code may be using.
const RED_ZONE: u64 = 128;
const STATUS_STACK_OVERFLOW: u32 = 0xc000_00fd;

/// What the handlers were before, in the order of `SIGNALS`.
static PREVIOUS: [OnceLock<libc::sigaction>; 5] = [const { OnceLock::new() }; 5];

thread_local! {
    /// Where this thread's stack begins and ends; empty until `prepare_thread`.
    static STACK: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    static ALTERNATE: RefCell<Option<Alternate>> = const { RefCell::new(None) };
}

/// The stack that signal handlers of a thread use.
struct Alternate {
    _memory: Mapping,
}

impl Drop for Alternate {
    fn drop(&mut self) {
        let none = libc::stack_t {
            ss_sp: null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: `none` is a valid description; the old stack is not in use here.
        unsafe { libc::sigaltstack(&raw const none, null_mut()) };
    }
}

/// A fault in driver code, as the signal handler saw it.
pub(crate) struct Fault {
    pub(crate) signal: i32,
    pub(crate) code: i32,
    pub(crate) address: u64,
    /// The processor's trap number and error code.
    pub(crate) trap: u64,
    pub(crate) error: u64,
    /// The faulting instruction.
    pub(crate) instruction: u64,
    /// Whether that is the driver's, not a routine's.
    pub(crate) in_driver: bool,
    /// Whether the stack pointer was in the thread's stack, with room below it.
    stack_valid: bool,
    stack_overflow: bool,
    context: Context,
}

impl Fault {
    /// The register that a fast fail has its reason in.
    pub(crate) fn rcx(&self) -> u64 {
        self.context.integer[RCX]
    }
}

/// Makes faults on this thread reach the signal handler with a stack to run on.
pub(crate) fn prepare_thread() {
    static INSTALLED: Once = Once::new();
    if STACK.get().1 != 0 {
        return;
    }
    INSTALLED.call_once(install);
    STACK.set(stack_bounds());
    if let Some(alternate) = alternate_stack() {
        ALTERNATE.with_borrow_mut(|place| *place = Some(alternate));
    }
}

fn install() {
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: `old` has room for the answer.
        unsafe { libc::sigaction(signal, null(), old.as_mut_ptr()) };
        // SAFETY: all zeros is a valid value (`SIG_DFL`) even if the call failed.
        let mut action = unsafe { old.assume_init() };
        previous.get_or_init(|| action);
        action.sa_sigaction = (on_signal as *const ()).addr();
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `on_signal` has the signature that SA_SIGINFO asks for.
        unsafe { libc::sigaction(signal, &raw const action, null_mut()) };
    }
}

fn alternate_stack() -> Option<Alternate> {
    let memory = Mapping::reserve(ALTERNATE_STACK).ok()?;
    let writable = Protection {
        read: true,
        write: true,
        ..Protection::default()
    };
    memory.protect(0..ALTERNATE_STACK, writable).ok()?;
    let stack = libc::stack_t {
        ss_sp: memory.base().cast(),
        ss_flags: 0,
        ss_size: ALTERNATE_STACK,
    };
    // SAFETY: the memory lives until `Alternate` is dropped, which takes the stack away first.
    let result = unsafe { libc::sigaltstack(&raw const stack, null_mut()) };
    (result == 0).then_some(Alternate { _memory: memory })
}

/// Lowest and highest address of this thread's stack.
fn stack_bounds() -> (u64, u64) {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: asks for the calling thread.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: `attributes` has room for the answer.
    if unsafe { libc::pthread_getattr_np(thread, attributes.as_mut_ptr()) } != 0 {
        return (0, u64::MAX);
    }
    let (mut low, mut size) = (null_mut(), 0);
    // SAFETY: `attributes` was filled in above.
    unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size) };
    // SAFETY: as above, and not used afterwards.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    (low.addr() as u64, (low.addr() + size) as u64)
}

extern "C" fn on_signal(
    signal: i32,
    information: &libc::siginfo_t,
    context: &mut libc::ucontext_t,
) {
    let is_fault = information.si_code > 0;
    let redirected = is_fault && redirect(signal, information, context);
    if !redirected {
        pass_on(signal, information, context);
    }
}

/// Has the thread go on in `handle`, if the fault is the driver's.
fn redirect(signal: i32, information: &libc::siginfo_t, ucontext: &mut libc::ucontext_t) -> bool {
    let (Some(border), Some(entry)) = (thread::top(), thread::innermost_entry()) else {
        return false;
    };
    let registers = &mut ucontext.uc_mcontext.gregs;
    let register = |index: i32| registers[index as usize].cast_unsigned();
    let (rip, rsp) = (register(libc::REG_RIP), register(libc::REG_RSP));
    let (trap, error) = (register(libc::REG_TRAPNO), register(libc::REG_ERR));
    // A routine may fault on memory that the driver gave it; anything else is the routine's fault.
    let in_driver = matches!(border, Boundary::Entry(_));
    if !in_driver && signal != libc::SIGSEGV && signal != libc::SIGBUS {
        return false;
    }
    // SAFETY: the kernel fills in the address for these signals.
    let address = unsafe { information.si_addr() }.addr() as u64;
    let (low, high) = STACK.get();
    let top = entry.driver_rsp.get();
    let stack_valid = rsp >= low.saturating_add(DISPATCH_STACK) && rsp <= top && top <= high;
    let at_end = address.abs_diff(low) < DISPATCH_STACK && address.abs_diff(rsp) < DISPATCH_STACK;
    let place = if stack_valid {
        rsp - RED_ZONE
    } else {
        top - RED_ZONE
    };
    let place = (place - size_of::<Fault>() as u64) & !63;
    let mut fault = Fault {
        signal,
        code: information.si_code,
        address,
        trap,
        error,
        instruction: rip,
        in_driver,
        stack_valid,
        stack_overflow: at_end,
        context: Context::empty(),
    };
    match border {
        Boundary::Entry(_) => fault.context = interrupted(&ucontext.uc_mcontext),
        Boundary::Call(frame) => fault.context = Context::at_call(frame),
    }
    let destination: *mut Fault = std::ptr::with_exposed_provenance_mut(place as usize);
    // SAFETY: aligned, in this thread's stack, and below what is in use there; or, if the stack
    // pointer is lost, in the frames of the driver, which nobody will return to.
    unsafe { destination.write(fault) };
    let registers = &mut ucontext.uc_mcontext.gregs;
    registers[libc::REG_RIP as usize] = (handle as *const ()).addr() as i64;
    registers[libc::REG_RDI as usize] = place.cast_signed();
    // As if called: the return address has been pushed.
    registers[libc::REG_RSP as usize] = place.cast_signed() - 8;
    registers[libc::REG_EFL as usize] = 0x202;
    true
}

/// The registers of an interrupted thread.
fn interrupted(machine: &libc::mcontext_t) -> Context {
    const ORDER: [i32; 16] = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    let mut context = Context::empty();
    let register = |index: i32| machine.gregs[index as usize].cast_unsigned();
    for (to, from) in context.integer.iter_mut().zip(ORDER) {
        *to = register(from);
    }
    context.rip = register(libc::REG_RIP);
    context.eflags = register(libc::REG_EFL) as u32;
    // SAFETY: null, or the floating-point state that the kernel saved on the signal stack.
    if let Some(float) = unsafe { machine.fpregs.as_ref() } {
        context.mx_csr = float.mxcsr;
        for (to, from) in context.xmm.iter_mut().zip(&float._xmm) {
            let [a, b, c, d] = from.element.map(u64::from);
            *to = [a | b << 32, c | d << 32];
        }
    }
    context
}

/// Gives the signal to whoever handled it before.
fn pass_on(signal: i32, information: &libc::siginfo_t, context: &mut libc::ucontext_t) {
    let previous = SIGNALS
        .iter()
        .position(|&known| known == signal)
        .and_then(|index| PREVIOUS[index].get());
    let Some(previous) = previous else {
        return;
    };
    let action = previous.sa_sigaction;
    if action == libc::SIG_DFL || action == libc::SIG_IGN {
        // SAFETY: puts back what was there.
        unsafe { libc::sigaction(signal, &raw const *previous, null_mut()) };
        // SAFETY: blocked until this handler returns, and then it ends the process.
        unsafe { libc::raise(signal) };
    } else if previous.sa_flags & libc::SA_SIGINFO != 0 {
        type Handler = extern "C" fn(i32, &libc::siginfo_t, &mut libc::ucontext_t);
        // SAFETY: SA_SIGINFO says that the address is of such a function.
        let handler = unsafe { std::mem::transmute::<usize, Handler>(action) };
        handler(signal, information, context);
    } else {
        // SAFETY: without SA_SIGINFO the address is of such a function.
        let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(i32)>(action) };
        handler(signal);
    }
}

/// Goes on after the signal handler, on the thread's own stack.
extern "C" fn handle(fault: &Fault) -> ! {
    let context = &fault.context;
    let (code, parameters) = instruction::classify(fault);
    let flags = if fault.in_driver { 0 } else { NONCONTINUABLE };
    let mut record = ExceptionRecord::new(code, flags, fault.instruction, parameters.as_slice());
    if fault.stack_overflow && !fault.stack_valid {
        record.code = STATUS_STACK_OVERFLOW;
        record.parameter_count = 0;
    }
    if !fault.stack_valid {
        let problem = format!("stack pointer {:#x} leaves no room", context.integer[RSP]);
        escape(dispatch::unhandled(&record, context, problem));
    }
    if code == instruction::STATUS_STACK_BUFFER_OVERRUN {
        let problem = "fast fail: exception handlers are not asked".to_owned();
        escape(dispatch::unhandled(&record, context, problem));
    }
    let mut context = *context;
    if fault.in_driver && fault.signal == libc::SIGTRAP && fault.trap == 3 {
        // The system shows the breakpoint itself, not what follows it.
        context.rip -= 1;
        record.address = context.rip;
    }
    dispatch::dispatch(record, &context)
}
