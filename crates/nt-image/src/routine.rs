//! What the owner provides: routines, variables, and an observer of the calls.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;

use crate::thread::{self, Boundary};

/// A routine that driver code can import.
#[derive(Debug)]
pub struct Routine {
    /// The exported name.
    pub name: &'static str,
    /// An `extern "win64"` function with at most 16 arguments.
    pub function: *const (),
    /// Free for the owner, e.g. an index into its table of rules.
    pub tag: usize,
}

// SAFETY: `function` is the address of code, which any thread may run.
unsafe impl Send for Routine {}
// SAFETY: as above; nothing in a routine changes.
unsafe impl Sync for Routine {}

/// What an imported name stands for.
#[derive(Debug, Clone, Copy)]
pub enum Import {
    /// A routine, reached through a stub.
    Routine(&'static Routine),
    /// A variable: the import slot gets this address. Also for code with a calling convention of
    /// its own (`__chkstk`), which a stub would disturb.
    Data(NonNull<u8>),
}

/// Sees every call of a routine by driver code on its thread.
pub trait Observer {
    /// Runs before the routine, with the first four integer arguments.
    fn enter(&self, routine: &'static Routine, arguments: [u64; 4]);
    /// Runs after the routine, unless it raised or stopped.
    fn leave(&self, routine: &'static Routine, result: u64);
}

struct Observers {
    current: Option<Rc<dyn Observer>>,
    /// Replaced while driver code was running: one of them may be what replaced itself.
    retired: Vec<Rc<dyn Observer>>,
}

thread_local! {
    /// What `OBSERVERS.current` points to, for the fast path.
    static OBSERVER: Cell<Option<NonNull<dyn Observer>>> = const { Cell::new(None) };
    static OBSERVERS: RefCell<Observers> =
        const { RefCell::new(Observers { current: None, retired: Vec::new() }) };
}

/// Sets the observer of this thread and returns the one before.
pub fn set_observer(observer: Option<Rc<dyn Observer>>) -> Option<Rc<dyn Observer>> {
    OBSERVER.set(observer.as_ref().map(|it| NonNull::from(&**it)));
    OBSERVERS.with_borrow_mut(|observers| {
        let previous = std::mem::replace(&mut observers.current, observer);
        if thread::top().is_some() {
            observers.retired.extend(previous.clone());
        }
        previous
    })
}

/// Runs `act` on this thread's observer, if there is one.
pub(crate) fn observe(act: impl FnOnce(&dyn Observer)) {
    if let Some(observer) = OBSERVER.get() {
        // SAFETY: `OBSERVERS` keeps it, even if replaced, until no driver code is running.
        act(unsafe { observer.as_ref() });
    }
}

/// Lets replaced observers go; called when no driver code is running on this thread.
pub(crate) fn release_observers() {
    // Dropped outside of the borrow: an observer's `Drop` may come back here.
    let retired = OBSERVERS.with_borrow_mut(|observers| std::mem::take(&mut observers.retired));
    drop(retired);
}

/// The routine that driver code of this thread has called and that is now running.
#[must_use]
pub fn current_routine() -> Option<&'static Routine> {
    match thread::top()? {
        Boundary::Call(frame) => Some(frame.routine),
        Boundary::Entry(_) => None,
    }
}
