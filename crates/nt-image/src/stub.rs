//! Import stubs: what the driver calls instead of a routine.
//!
//! A stub is a few bytes of generated code that load the `Routine` and jump to `enter_host`, which
//! notes the driver's registers, tells the observer, and calls the routine.

use std::arch::naked_asm;
use std::collections::HashMap;
use std::mem::offset_of;
use std::ptr::null_mut;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::headers::PAGE;
use crate::routine::{Routine, observe};
use crate::thread::CallFrame;

const STUB: usize = 32;
/// Address space for stubs; pages of it are used as needed.
const ARENA: usize = 4 << 20;

static STUBS: LazyLock<Mutex<Stubs>> = LazyLock::new(|| Mutex::new(Stubs::new()));

struct Stubs {
    /// Stub addresses by the address of the routine.
    made: HashMap<usize, usize>,
    /// The same memory twice: to write, and to run.
    writable: *mut u8,
    executable: *const u8,
}

// SAFETY: the pointers are to memory that lives as long as the process; the mutex guards its use.
unsafe impl Send for Stubs {}

impl Stubs {
    fn new() -> Self {
        let file = stub_file();
        let [writable, executable] = [libc::PROT_WRITE, libc::PROT_EXEC].map(|access| {
            let protection = libc::PROT_READ | access;
            // SAFETY: a fresh shared mapping touches no memory in use.
            unsafe { libc::mmap(null_mut(), ARENA, protection, libc::MAP_SHARED, file, 0) }
        });
        let mapped = writable != libc::MAP_FAILED && executable != libc::MAP_FAILED;
        assert!(
            mapped,
            "no memory for import stubs: {}",
            std::io::Error::last_os_error()
        );
        // SAFETY: the descriptor was opened above and nobody else knows of it.
        unsafe { libc::close(file) };
        Self {
            made: HashMap::new(),
            writable: writable.cast(),
            executable: executable.cast(),
        }
    }

    fn get(&mut self, routine: &'static Routine) -> usize {
        let key = std::ptr::from_ref(routine).addr();
        if let Some(&made) = self.made.get(&key) {
            return made;
        }
        let offset = self.made.len() * STUB;
        assert!(
            offset + STUB <= ARENA,
            "more than {} routines",
            ARENA / STUB
        );
        let mut code = [0xcc_u8; STUB];
        code[..2].copy_from_slice(&[0x49, 0xba]); // mov r10, routine
        code[2..10].copy_from_slice(&key.to_le_bytes());
        code[10..12].copy_from_slice(&[0x49, 0xbb]); // mov r11, enter_host
        code[12..20].copy_from_slice(&(enter_host as *const ()).addr().to_le_bytes());
        code[20..23].copy_from_slice(&[0x41, 0xff, 0xe3]); // jmp r11
        let place = self.writable.wrapping_add(offset);
        // SAFETY: inside the arena (checked above), in a slot that no stub uses yet.
        unsafe { place.copy_from_nonoverlapping(code.as_ptr(), STUB) };
        let address = self.executable.wrapping_add(offset).addr();
        self.made.insert(key, address);
        address
    }
}

fn stub_file() -> i32 {
    // SAFETY: the name is a C string; the call has no other requirements.
    let file = unsafe { libc::memfd_create(c"import-stubs".as_ptr(), libc::MFD_CLOEXEC) };
    let size = ARENA.next_multiple_of(PAGE).try_into().unwrap_or(i64::MAX);
    // SAFETY: changing a file's size has no memory requirements; a bad descriptor is an error.
    let resized = unsafe { libc::ftruncate(file, size) };
    assert!(
        resized == 0,
        "no memory for import stubs: {}",
        std::io::Error::last_os_error()
    );
    file
}

/// The stub for `routine`: what driver code may call. For import slots, and for tables of
/// function pointers that the host hands out. A routine has one stub, which lives for ever.
///
/// # Panics
///
/// If there is no memory left for stubs.
#[must_use]
pub fn stub(routine: &'static Routine) -> *const () {
    let address = STUBS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(routine);
    std::ptr::with_exposed_provenance(address)
}

/// Links the frame, tells the observer, and says what to call.
extern "C" fn begin(frame: &CallFrame) -> *const () {
    frame.link();
    observe(|observer| observer.enter(frame.routine, frame.arguments));
    frame.routine.function
}

/// Tells the observer and unlinks the frame.
extern "C" fn finish(frame: &CallFrame) {
    observe(|observer| observer.leave(frame.routine, frame.result.get()));
    frame.unlink();
}

const FRAME: usize = 32 + 96;
const TOTAL: usize = FRAME + size_of::<CallFrame>() + 8;
const INTEGER: usize = FRAME + offset_of!(CallFrame, integer);
const ARGUMENTS: usize = FRAME + offset_of!(CallFrame, arguments);
const XMM: usize = FRAME + offset_of!(CallFrame, xmm);
const XMM_ARGUMENTS: usize = FRAME + offset_of!(CallFrame, xmm_arguments);

/// Where all stubs go, with the routine in `r10` and everything else as the driver's call left it.
///
/// The stack from the bottom: the routine's shadow space, 12 stack arguments, the `CallFrame`.
#[unsafe(naked)]
extern "C" fn enter_host() {
    naked_asm!(
        "sub rsp, {total}",
        "mov [rsp + {routine}], r10",
        "mov rax, [rsp + {total}]",
        "mov [rsp + {return_address}], rax",
        "lea rax, [rsp + {total} + 8]",
        "mov [rsp + {rsp}], rax",
        "mov [rsp + {integer}], rbx",
        "mov [rsp + {integer} + 8], rbp",
        "mov [rsp + {integer} + 16], rsi",
        "mov [rsp + {integer} + 24], rdi",
        "mov [rsp + {integer} + 32], r12",
        "mov [rsp + {integer} + 40], r13",
        "mov [rsp + {integer} + 48], r14",
        "mov [rsp + {integer} + 56], r15",
        "mov [rsp + {arguments}], rcx",
        "mov [rsp + {arguments} + 8], rdx",
        "mov [rsp + {arguments} + 16], r8",
        "mov [rsp + {arguments} + 24], r9",
        ".irp n, 0, 1, 2, 3",
        "movaps [rsp + {xmm_arguments} + \\n * 16], xmm\\n",
        ".endr",
        ".irp n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movaps [rsp + {xmm} + (\\n - 6) * 16], xmm\\n",
        ".endr",
        "lea rdi, [rsp + {frame}]",
        "call {begin}",
        // The stack arguments, behind the return address and the shadow space.
        ".irp n, 0, 1, 2, 3, 4, 5",
        "movups xmm\\n, [rsp + {total} + 40 + \\n * 16]",
        "movaps [rsp + 32 + \\n * 16], xmm\\n",
        ".endr",
        "mov rcx, [rsp + {arguments}]",
        "mov rdx, [rsp + {arguments} + 8]",
        "mov r8, [rsp + {arguments} + 16]",
        "mov r9, [rsp + {arguments} + 24]",
        ".irp n, 0, 1, 2, 3",
        "movaps xmm\\n, [rsp + {xmm_arguments} + \\n * 16]",
        ".endr",
        "call rax",
        "mov [rsp + {result}], rax",
        "movaps [rsp + {xmm_arguments}], xmm0",
        "lea rdi, [rsp + {frame}]",
        "call {finish}",
        // The calls above kept the registers that System V calls keep: here are the others.
        "mov rsi, [rsp + {integer} + 16]",
        "mov rdi, [rsp + {integer} + 24]",
        ".irp n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movaps xmm\\n, [rsp + {xmm} + (\\n - 6) * 16]",
        ".endr",
        "movaps xmm0, [rsp + {xmm_arguments}]",
        "mov rax, [rsp + {result}]",
        "add rsp, {total}",
        "ret",
        total = const TOTAL,
        frame = const FRAME,
        routine = const FRAME + offset_of!(CallFrame, routine),
        return_address = const FRAME + offset_of!(CallFrame, return_address),
        rsp = const FRAME + offset_of!(CallFrame, rsp),
        result = const FRAME + offset_of!(CallFrame, result),
        integer = const INTEGER,
        arguments = const ARGUMENTS,
        xmm = const XMM,
        xmm_arguments = const XMM_ARGUMENTS,
        begin = sym begin,
        finish = sym finish,
    )
}
