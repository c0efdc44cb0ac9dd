//! The borders between host and driver code on this thread's stack.
//!
//! Each border is a record in the stack frame that makes the crossing: an [`Entry`] where the host
//! called the driver, a [`CallFrame`] where the driver called the host. They are linked from the
//! innermost outwards; a record's address is its place on the stack.

use std::cell::Cell;
use std::ptr::null;

use crate::call::Trap;
use crate::routine::Routine;

/// Which way a border was crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Direction {
    IntoDriver = 0,
    IntoHost = 1,
}

/// What every border starts with.
#[derive(Debug)]
#[repr(C, align(16))]
pub(crate) struct Link {
    previous: Cell<*const Link>,
    direction: Cell<Direction>,
}

/// The host has called the driver.
#[repr(C)]
pub(crate) struct Entry {
    link: Link,
    /// Where `escape` takes the stack back to; set on entry.
    pub(crate) host_rsp: Cell<u64>,
    /// The driver's stack ends here; set on entry.
    pub(crate) driver_rsp: Cell<u64>,
    /// Why the call ended early.
    pub(crate) trap: Cell<Option<Trap>>,
    /// The exception being handled, if the call is of an exception handler.
    pub(crate) dispatch: *const (),
}

impl Entry {
    pub(crate) fn new(dispatch: *const ()) -> Self {
        let direction = Cell::new(Direction::IntoDriver);
        Self {
            link: Link {
                previous: Cell::new(null()),
                direction,
            },
            host_rsp: Cell::new(0),
            driver_rsp: Cell::new(0),
            trap: Cell::new(None),
            dispatch,
        }
    }

    pub(crate) fn link(&self) {
        push(&self.link);
    }

    pub(crate) fn unlink(&self) {
        TOP.set(self.link.previous.get());
    }

    /// The border outside of this one.
    pub(crate) fn outer(&self) -> Option<Boundary<'_>> {
        boundary(self.link.previous.get())
    }
}

/// The driver has called a routine: its registers at the call. Written by the stub.
#[repr(C, align(16))]
pub(crate) struct CallFrame {
    link: Link,
    pub(crate) routine: &'static Routine,
    pub(crate) return_address: u64,
    /// As it will be after the return.
    pub(crate) rsp: u64,
    /// rbx rbp rsi rdi r12 r13 r14 r15
    pub(crate) integer: [u64; 8],
    pub(crate) arguments: [u64; 4],
    pub(crate) result: Cell<u64>,
    pub(crate) xmm: [[u64; 2]; 10],
    pub(crate) xmm_arguments: [[u64; 2]; 4],
}

impl CallFrame {
    pub(crate) fn link(&self) {
        self.link.direction.set(Direction::IntoHost);
        push(&self.link);
    }

    pub(crate) fn unlink(&self) {
        TOP.set(self.link.previous.get());
    }

    /// The border outside of this one.
    pub(crate) fn outer(&self) -> Option<Boundary<'_>> {
        boundary(self.link.previous.get())
    }
}

/// A border, by its direction.
#[derive(Clone, Copy)]
pub(crate) enum Boundary<'a> {
    Entry(&'a Entry),
    Call(&'a CallFrame),
}

thread_local! {
    static TOP: Cell<*const Link> = const { Cell::new(null()) };
}

fn push(link: &Link) {
    link.previous.set(TOP.get());
    TOP.set(link);
}

/// The innermost border of this thread.
pub(crate) fn top<'a>() -> Option<Boundary<'a>> {
    boundary(TOP.get())
}

/// The innermost entry into driver code.
pub(crate) fn innermost_entry<'a>() -> Option<&'a Entry> {
    match top()? {
        Boundary::Entry(entry) => Some(entry),
        Boundary::Call(frame) => match frame.outer()? {
            Boundary::Entry(entry) => Some(entry),
            Boundary::Call(_) => None,
        },
    }
}

/// Forgets the borders that lie deeper in the stack than `rsp`.
pub(crate) fn unlink_below(rsp: u64) {
    while (TOP.get().addr() as u64) < rsp {
        match top() {
            Some(Boundary::Entry(entry)) => entry.unlink(),
            Some(Boundary::Call(frame)) => frame.unlink(),
            None => break,
        }
    }
}

fn boundary<'a>(link: *const Link) -> Option<Boundary<'a>> {
    // SAFETY: linked records are in stack frames that are still there: each is unlinked by the
    // function whose frame it is in, or by whoever takes that frame away.
    let direction = unsafe { link.as_ref() }?.direction.get();
    Some(match direction {
        // SAFETY: a link with this direction is the first field of an `Entry`.
        Direction::IntoDriver => Boundary::Entry(unsafe { &*link.cast::<Entry>() }),
        // SAFETY: a link with this direction is the first field of a `CallFrame`.
        Direction::IntoHost => Boundary::Call(unsafe { &*link.cast::<CallFrame>() }),
    })
}
