//! What the kernel knows of the thread that runs: its IRQL, the process it is in, what it has disabled.
//!
//! One real thread is one simulated processor with one simulated thread on it. The state is a
//! thread-local; no closure here touches driver memory, so no borrow survives a fault.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::host::Host;
use crate::process::{ProcessObject, ThreadObject};

/// `PASSIVE_LEVEL`.
pub(crate) const PASSIVE: u8 = 0;
/// `APC_LEVEL`.
pub(crate) const APC: u8 = 1;
/// `DISPATCH_LEVEL`.
pub(crate) const DISPATCH: u8 = 2;
/// `HIGH_LEVEL`.
pub(crate) const HIGH: u8 = 15;

/// The part of the state that a driver routine must leave as it found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Level {
    /// The processor's interrupt request level.
    pub(crate) irql: u8,
    /// Critical regions entered (normal kernel APCs off).
    pub(crate) critical: i32,
    /// Guarded regions entered (all APCs off).
    pub(crate) guarded: i32,
}

#[derive(Default)]
struct Current {
    id: u64,
    hosts: Vec<Arc<Host>>,
    contexts: Vec<String>,
    /// The processes this thread belongs to: the last is the one now.
    processes: Vec<Arc<ProcessObject>>,
    /// Address spaces attached to, with the driver's state structure of each.
    attached: Vec<(u64, Arc<ProcessObject>)>,
    /// Which thread of a process this one stands for, if that was said.
    threads: Vec<Arc<ThreadObject>>,
    /// Locks held, in the order of acquisition.
    held: Vec<Held>,
    level: Level,
}

/// A lock that this thread holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The lock's address.
    pub(crate) address: u64,
    /// What it is.
    pub(crate) kind: LockKind,
    /// The IRQL before.
    pub(crate) irql: u8,
    /// The acquisition's own structure: the queue handle of an in-stack lock.
    pub(crate) handle: u64,
}

/// The kinds of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LockKind {
    /// A spin lock.
    Spin,
    /// A spin lock acquired through a queue handle.
    Queued,
    /// A fast mutex.
    FastMutex,
    /// A push lock, exclusive.
    PushExclusive,
    /// A push lock, shared.
    PushShared,
}

/// How deep the thread's stacks were, to be restored when frames are abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    contexts: usize,
    processes: usize,
    attached: usize,
    threads: usize,
    held: usize,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static CURRENT: RefCell<Current> = RefCell::new(Current {
        id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        ..Current::default()
    });
}

/// A number for this thread that no other thread ever has.
pub(crate) fn id() -> u64 {
    CURRENT.with_borrow(|current| current.id)
}

/// The host whose driver runs on this thread.
pub(crate) fn host() -> Option<Arc<Host>> {
    CURRENT.with_borrow(|current| current.hosts.last().cloned())
}

/// Enters a host: its driver is about to run here.
pub(crate) fn push_host(host: Arc<Host>) {
    CURRENT.with_borrow_mut(|current| current.hosts.push(host));
}

/// Leaves the host entered last.
pub(crate) fn pop_host() {
    // Dropped outside of the borrow: it may be the last reference.
    let host = CURRENT.with_borrow_mut(|current| current.hosts.pop());
    drop(host);
}

/// Names the driver routine that runs from here on, for reports.
pub(crate) fn push_context(context: &str) {
    CURRENT.with_borrow_mut(|current| current.contexts.push(context.to_owned()));
}

/// Ends the innermost named routine.
pub(crate) fn pop_context() {
    CURRENT.with_borrow_mut(|current| current.contexts.pop());
}

/// The innermost driver routine on this thread.
pub(crate) fn context() -> String {
    CURRENT.with_borrow(|current| current.contexts.last().cloned().unwrap_or_default())
}

/// The depth of the thread's stacks.
pub(crate) fn mark() -> Mark {
    CURRENT.with_borrow(|current| Mark {
        contexts: current.contexts.len(),
        processes: current.processes.len(),
        attached: current.attached.len(),
        threads: current.threads.len(),
        held: current.held.len(),
    })
}

/// Forgets what abandoned frames have pushed.
pub(crate) fn reset(mark: Mark, level: Level) {
    CURRENT.with_borrow_mut(|current| {
        current.contexts.truncate(mark.contexts);
        current.processes.truncate(mark.processes);
        current.attached.truncate(mark.attached);
        current.threads.truncate(mark.threads);
        current.held.truncate(mark.held);
        current.level = level;
    });
}

/// The process whose address space this thread is in.
pub(crate) fn process() -> Option<Arc<ProcessObject>> {
    CURRENT.with_borrow(|current| {
        let attached = current.attached.last().map(|(_, process)| process);
        attached.or(current.processes.last()).cloned()
    })
}

/// Runs `work` as a thread of `process`.
pub(crate) fn in_process<T>(process: &Arc<ProcessObject>, work: impl FnOnce() -> T) -> T {
    CURRENT.with_borrow_mut(|current| current.processes.push(Arc::clone(process)));
    let result = work();
    CURRENT.with_borrow_mut(|current| current.processes.pop());
    result
}

/// The process that this thread belongs to, whatever it is attached to.
pub(crate) fn own_process() -> Option<Arc<ProcessObject>> {
    CURRENT.with_borrow(|current| current.processes.last().cloned())
}

/// Runs `work` as that thread of a process.
pub(crate) fn as_thread<T>(thread: &Arc<ThreadObject>, work: impl FnOnce() -> T) -> T {
    CURRENT.with_borrow_mut(|current| current.threads.push(Arc::clone(thread)));
    let result = work();
    CURRENT.with_borrow_mut(|current| current.threads.pop());
    result
}

/// The thread that this one was said to stand for.
pub(crate) fn thread_object() -> Option<Arc<ThreadObject>> {
    CURRENT.with_borrow(|current| current.threads.last().cloned())
}

/// Attaches to a process; `state` is the driver's structure.
pub(crate) fn attach(state: u64, process: Arc<ProcessObject>) {
    CURRENT.with_borrow_mut(|current| current.attached.push((state, process)));
}

/// Detaches; `Err` with the structure of the last attach if it is another.
pub(crate) fn detach(state: u64) -> Result<(), Option<u64>> {
    CURRENT.with_borrow_mut(|current| match current.attached.last() {
        Some((last, _)) if *last == state => {
            current.attached.pop();
            Ok(())
        }
        Some((last, _)) => Err(Some(*last)),
        None => Err(None),
    })
}

/// How many address spaces the thread is attached to; those beyond `depth` are left.
pub(crate) fn detach_beyond(mark: Mark) -> usize {
    CURRENT.with_borrow_mut(|current| {
        let extra = current.attached.len().saturating_sub(mark.attached);
        current.attached.truncate(mark.attached);
        extra
    })
}

/// Notes an acquired lock.
pub(crate) fn push_held(held: Held) {
    CURRENT.with_borrow_mut(|current| current.held.push(held));
}

/// The locks this thread holds, oldest first.
pub(crate) fn held() -> Vec<Held> {
    CURRENT.with_borrow(|current| current.held.clone())
}

/// Takes a lock off the list; whether it was the last one acquired.
pub(crate) fn remove_held(address: u64) -> Option<(Held, bool)> {
    CURRENT.with_borrow_mut(|current| {
        let index = current
            .held
            .iter()
            .rposition(|held| held.address == address)?;
        let last = index + 1 == current.held.len();
        Some((current.held.remove(index), last))
    })
}

/// Takes the locks acquired since `mark` off the list.
pub(crate) fn held_since(mark: Mark) -> Vec<Held> {
    CURRENT.with_borrow_mut(|current| {
        let from = mark.held.min(current.held.len());
        current.held.split_off(from)
    })
}

/// Whether a spin lock is held.
pub(crate) fn holds_spin_lock() -> bool {
    CURRENT.with_borrow(|current| {
        let spins = |held: &Held| matches!(held.kind, LockKind::Spin | LockKind::Queued);
        current.held.iter().any(spins)
    })
}

/// IRQL and APC state.
pub(crate) fn level() -> Level {
    CURRENT.with_borrow(|current| current.level)
}

/// Sets IRQL and APC state.
pub(crate) fn set_level(level: Level) {
    CURRENT.with_borrow_mut(|current| current.level = level);
}

/// The IRQL.
pub(crate) fn irql() -> u8 {
    level().irql
}

/// Sets the IRQL and returns the previous one.
pub(crate) fn set_irql(irql: u8) -> u8 {
    CURRENT.with_borrow_mut(|current| core::mem::replace(&mut current.level.irql, irql))
}

/// Changes the IRQL for the time of `work`, on the host's behalf.
#[cfg(test)]
pub(crate) fn at_irql<T>(irql: u8, work: impl FnOnce() -> T) -> T {
    let before = set_irql(irql);
    let result = work();
    set_irql(before);
    result
}

/// Whether `address` lies on the stack of this thread.
pub(crate) fn is_on_stack(address: u64) -> bool {
    thread_local! {
        static BOUNDS: (u64, u64) = stack_bounds();
    }
    BOUNDS.with(|(low, high)| (*low..*high).contains(&address))
}

fn stack_bounds() -> (u64, u64) {
    let mut attributes = core::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: no precondition.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: the destination is writable; the call initialises it on success.
    if unsafe { libc::pthread_getattr_np(this, attributes.as_mut_ptr()) } != 0 {
        return (0, 0);
    }
    let (mut low, mut size) = (core::ptr::null_mut(), 0);
    // SAFETY: the attributes were initialised above.
    unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size) };
    // SAFETY: initialised above, destroyed once.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    (low as u64, low as u64 + size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_irql_when_done_restores_the_level() {
        assert_eq!(at_irql(DISPATCH, irql), DISPATCH);
        assert_eq!(irql(), PASSIVE);
    }

    #[test]
    fn is_on_stack_tells_stack_from_heap() {
        let local = 0_u8;
        let heap = Box::new(0_u8);
        assert!(is_on_stack(&raw const local as u64));
        assert!(!is_on_stack(&raw const *heap as u64));
    }
}
