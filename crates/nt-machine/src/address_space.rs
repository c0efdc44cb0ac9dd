//! Ranges of this process' address space that belong to the simulated machine.

// UNSAFETY: reserving and giving back address space.
#![expect(unsafe_code, reason = "address space is reserved by system calls")]

use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;

/// User addresses of the simulated machine lie below, everything else lies above.
pub const USER_LIMIT: u64 = 0x2000_0000_0000;

const USER_SPACE: Range<u64> = 0x10_0000_0000..USER_LIMIT;
const KERNEL_SPACE: Range<u64> = USER_LIMIT..0x5000_0000_0000;
const GRANULE: u64 = 1 << 30;

static NEXT_USER: Mutex<u64> = Mutex::new(USER_SPACE.start);
static NEXT_KERNEL: Mutex<u64> = Mutex::new(KERNEL_SPACE.start);

/// Address space where nothing is accessible until it is mapped; given back on drop.
///
/// # Invariants
///
/// `base..base + size` was reserved by this value and is mapped by nobody else.
#[derive(Debug)]
pub(crate) struct Reservation {
    base: u64,
    size: u64,
}

impl Reservation {
    pub(crate) fn user(size: u64) -> io::Result<Self> {
        Self::new(size, &USER_SPACE, &NEXT_USER)
    }

    pub(crate) fn kernel(size: u64) -> io::Result<Self> {
        Self::new(size, &KERNEL_SPACE, &NEXT_KERNEL)
    }

    pub(crate) const fn base(&self) -> u64 {
        self.base
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Walks forward and wraps round, so that addresses of a range given back are not reused soon.
    fn new(size: u64, space: &Range<u64>, next: &Mutex<u64>) -> io::Result<Self> {
        let size = size.next_multiple_of(GRANULE);
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 * (space.end - space.start) / GRANULE {
            if *next + size > space.end {
                *next = space.start;
            }
            let at = *next;
            match reserve(at, size) {
                Ok(()) => {
                    *next = at + size;
                    return Ok(Self { base: at, size });
                }
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => *next = at + GRANULE,
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::OutOfMemory.into())
    }
}

fn reserve(base: u64, size: u64) -> io::Result<()> {
    let flags =
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let at = base as *mut libc::c_void;
    // SAFETY: `MAP_FIXED_NOREPLACE` never replaces a mapping.
    let got = unsafe { libc::mmap(at, size as usize, libc::PROT_NONE, flags, -1, 0) };
    if got == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    if got != at {
        // SAFETY: an old kernel took the address for a hint; that mapping is ours and unused.
        unsafe { libc::munmap(got, size as usize) };
        return Err(io::Error::from_raw_os_error(libc::EEXIST));
    }
    Ok(())
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is this value's own (its invariant).
        unsafe { libc::munmap(self.base as *mut libc::c_void, self.size as usize) };
    }
}
