//! The registry of locks: who owns each, in which order they are taken, and every misuse of one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::call::Stopped;
use crate::host::Host;
use crate::lock;
use crate::thread::{self, Held, LockKind};

const SHARDS: usize = 64;

#[derive(Default)]
struct LockState {
    /// The API family it was first used with.
    kind: Option<LockKind>,
    owner: Option<u64>,
    shared: Vec<u64>,
}

#[derive(Default)]
struct Shard {
    locks: Mutex<HashMap<u64, LockState>>,
    released: Condvar,
}

/// Which lock was taken while which was held.
#[derive(Default)]
struct Order {
    after: HashMap<u64, HashSet<u64>>,
}

impl Order {
    /// Whether `to` was ever taken, through any chain, while `from` was held.
    fn reaches(&self, from: u64, to: u64) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            if at == to {
                return true;
            }
            if seen.insert(at) {
                open.extend(self.after.get(&at).into_iter().flatten());
            }
        }
        false
    }

    /// Notes that `next` is taken while `held` is; whether the opposite order was seen before.
    fn add(&mut self, held: u64, next: u64) -> bool {
        if self
            .after
            .get(&held)
            .is_some_and(|after| after.contains(&next))
        {
            return false;
        }
        let inverted = self.reaches(next, held);
        self.after.entry(held).or_default().insert(next);
        inverted
    }

    fn forget(&mut self, range: &Range<u64>) {
        self.after.retain(|address, _| !range.contains(address));
        for after in self.after.values_mut() {
            after.retain(|address| !range.contains(address));
        }
    }
}

/// The locks of a host.
pub(crate) struct Locks {
    shards: Vec<Shard>,
    /// The addresses of all locks seen, to find those in memory that is freed.
    known: RwLock<BTreeSet<u64>>,
    order: Mutex<Order>,
}

impl Default for Locks {
    fn default() -> Self {
        let shards = std::iter::repeat_with(Shard::default)
            .take(SHARDS)
            .collect();
        Self {
            shards,
            known: RwLock::default(),
            order: Mutex::default(),
        }
    }
}

/// Spin locks may be taken with or without a queue handle, but each in one way only.
fn family(kind: LockKind) -> LockKind {
    if kind == LockKind::PushShared {
        LockKind::PushExclusive
    } else {
        kind
    }
}

impl Locks {
    fn shard(&self, address: u64) -> &Shard {
        &self.shards[(address >> 3) as usize % SHARDS]
    }

    /// Takes a lock for this thread; `irql` is the level to return to.
    pub(crate) fn acquire(
        &self,
        host: &Arc<Host>,
        address: u64,
        kind: LockKind,
        irql: u8,
        handle: u64,
    ) -> Result<(), Stopped> {
        super::check_place(host, "lock", address);
        let held = thread::held();
        if held.iter().any(|held| held.address == address) {
            let message = format!("{kind:?} lock {address:#x} is held by this thread already");
            host.violation("V075", "C4/0x1000", message.clone());
            return Err(host.die(format!("V075: {message}")));
        }
        self.check_order(host, &held, address);
        self.take(host, address, kind, true)?;
        thread::push_held(Held {
            address,
            kind,
            irql,
            handle,
        });
        Ok(())
    }

    /// Takes a lock if nobody has it.
    pub(crate) fn try_acquire(
        &self,
        host: &Arc<Host>,
        address: u64,
        kind: LockKind,
        irql: u8,
    ) -> Result<bool, Stopped> {
        super::check_place(host, "lock", address);
        let taken = self.take(host, address, kind, false)?;
        if taken {
            thread::push_held(Held {
                address,
                kind,
                irql,
                handle: 0,
            });
        }
        Ok(taken)
    }

    fn check_order(&self, host: &Host, held: &[Held], address: u64) {
        let mut inverted = None;
        if !held.is_empty() {
            let mut order = lock(&self.order);
            for own in held {
                if order.add(own.address, address) {
                    inverted = Some(own.address);
                }
            }
        }
        if let Some(other) = inverted {
            let message =
                format!("{address:#x} is taken after {other:#x}, elsewhere in the opposite order");
            host.violation("V076", "C4/0x1001", message);
        }
    }

    fn take(&self, host: &Host, address: u64, kind: LockKind, wait: bool) -> Result<bool, Stopped> {
        let this = thread::id();
        let shard = self.shard(address);
        let mut locks = lock(&shard.locks);
        if !locks.contains_key(&address) {
            self.known
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(address);
        }
        let first = locks
            .entry(address)
            .or_default()
            .kind
            .get_or_insert(family(kind))
            .to_owned();
        if first != family(kind) {
            drop(locks);
            let message = format!("{address:#x} is used as {first:?} and as {kind:?}");
            host.violation("V082", "C4/0x1008", message);
            locks = lock(&shard.locks);
        }
        let deadline = Instant::now() + host.options.watchdog;
        loop {
            let state = locks.entry(address).or_default();
            let free =
                state.owner.is_none() && (kind == LockKind::PushShared || state.shared.is_empty());
            if free {
                if kind == LockKind::PushShared {
                    state.shared.push(this);
                } else {
                    state.owner = Some(this);
                }
                return Ok(true);
            }
            if !wait {
                return Ok(false);
            }
            if host.is_dead() || Instant::now() > deadline {
                drop(locks);
                host.check_alive()?;
                let message = format!("lock {address:#x} is never released");
                host.violation("V308", "hang", message.clone());
                return Err(host.die(message));
            }
            let waited = shard
                .released
                .wait_timeout(locks, Duration::from_millis(20));
            locks = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Gives a lock back; what was noted when it was taken, unless this thread does not hold it.
    pub(crate) fn release(&self, host: &Host, address: u64, kind: LockKind) -> Option<Held> {
        let Some((held, was_last)) = thread::remove_held(address) else {
            let owner = lock(&self.shard(address).locks)
                .get(&address)
                .and_then(|own| own.owner);
            if let Some(owner) = owner {
                let message = format!("{address:#x} is owned by thread {owner}");
                host.violation("V079", "C4/0x1004", message);
            } else {
                let message = format!("{address:#x} is not held");
                host.violation("V081", "C4/0x1007", message);
            }
            return None;
        };
        if held.kind != kind {
            let message = format!(
                "{address:#x} taken as {:?}, released as {kind:?}",
                held.kind
            );
            host.violation("V082", "C4/0x1009", message);
        }
        if !was_last {
            let message = format!("{address:#x} is not the lock acquired last");
            host.violation("V078", "C4/0x1003", message);
        }
        self.set_free(held);
        Some(held)
    }

    fn set_free(&self, held: Held) {
        let this = thread::id();
        let shard = self.shard(held.address);
        if let Some(state) = lock(&shard.locks).get_mut(&held.address) {
            if held.kind == LockKind::PushShared {
                if let Some(index) = state.shared.iter().position(|owner| *owner == this) {
                    state.shared.swap_remove(index);
                }
            } else {
                state.owner = None;
            }
        }
        shard.released.notify_all();
    }

    /// A routine of the driver has returned: it may hold no lock that it has taken.
    pub(crate) fn check_return(&self, host: &Host, mark: thread::Mark) {
        for held in thread::held_since(mark) {
            let (rule, code) = match held.kind {
                LockKind::Queued => ("V087", "C4/0x40007"),
                LockKind::Spin
                | LockKind::FastMutex
                | LockKind::PushExclusive
                | LockKind::PushShared => ("V088", "C4/0x4000B"),
            };
            let message = format!("{:?} lock {:#x} is still held", held.kind, held.address);
            host.violation(rule, code, message);
            self.set_free(held);
        }
    }

    /// Whether anybody holds the lock.
    pub(crate) fn is_held(&self, address: u64) -> bool {
        let locks = lock(&self.shard(address).locks);
        locks
            .get(&address)
            .is_some_and(|own| own.owner.is_some() || !own.shared.is_empty())
    }

    /// The memory of locks goes.
    pub(crate) fn memory_freed(&self, host: &Host, range: Range<u64>, what: &str) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<u64> = known.range(range.clone()).copied().collect();
        drop(known);
        if gone.is_empty() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for address in &gone {
            known.remove(address);
        }
        drop(known);
        let is_held = |address: &u64| {
            let state = lock(&self.shard(*address).locks).remove(address);
            state.is_some_and(|own| own.owner.is_some() || !own.shared.is_empty())
        };
        let held: Vec<u64> = gone.into_iter().filter(is_held).collect();
        lock(&self.order).forget(&range);
        for address in held {
            let message = format!("{what} freed while lock {address:#x} in it is held");
            host.violation("V084", "C4/0x100B", message);
        }
    }

    /// Reports locks that are held though the driver is gone.
    pub(crate) fn driver_unloaded(&self, host: &Host) {
        for shard in &self.shards {
            let locks = core::mem::take(&mut *lock(&shard.locks));
            for (address, own) in locks {
                if own.owner.is_some() || !own.shared.is_empty() {
                    let message = format!("lock {address:#x} is held after unload");
                    host.violation("V083", "C4/0x100A", message);
                }
            }
        }
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        lock(&self.order).after.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_when_inverted_through_a_chain_is_reported() {
        let mut order = Order::default();
        assert!(!order.add(1, 2));
        assert!(!order.add(2, 3));
        assert!(order.add(3, 1));
    }

    #[test]
    fn order_of_freed_locks_is_forgotten() {
        let mut order = Order::default();
        order.add(1, 2);
        order.forget(&(2..3));
        assert!(!order.add(2, 1));
    }
}
