//! The handle table: names for registrations that mean nothing to any other table.
//!
//! A handle is a place and its generation, 32 bits each, put through a cipher. The key is the table's
//! own, so a handle of another table, a guessed one and a stale one all decode to a place whose
//! generation does not match.

use sanproxy_abi::wire::Handle;

use crate::{
    cipher::Permutation,
    slab::{Chunk, Growth, Key, Slab},
};

/// What a place of the table holds; only [`Chunk::allocate`] needs to name it.
pub struct HandleSlot<T>(State<T>);

enum State<T> {
    Reserved,
    Live(T),
}

/// A handle that is taken but not yet valid: the first half of an insertion.
///
/// Memory can be allocated between the halves, with no lock held. One that is neither fulfilled
/// nor cancelled occupies its place until the table goes.
#[derive(Debug)]
#[must_use = "fulfil or cancel it, or its place is lost"]
pub struct Reservation {
    key: Key,
    handle: Handle,
}

impl Reservation {
    /// The handle that the registration will have.
    #[must_use]
    pub const fn handle(&self) -> Handle {
        self.handle
    }
}

/// Registrations by handle, in constant time.
pub struct HandleTable<T> {
    slab: Slab<HandleSlot<T>>,
    order: Permutation,
    live: u32,
    sweep: u32,
}

impl<T> HandleTable<T> {
    /// An empty table, without memory yet.
    ///
    /// `key` should differ from that of every other table, and not be guessable.
    #[must_use]
    pub fn new(key: u128) -> Self {
        Self {
            slab: Slab::new(),
            order: Permutation::new(key),
            live: 0,
            sweep: 0,
        }
    }

    /// How many registrations are live.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.live
    }

    /// Whether none is live.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The memory that is missing for one more handle; `None` if nothing is.
    #[must_use]
    pub fn growth(&self) -> Option<Growth> {
        self.slab.growth(1)
    }

    /// Takes memory in.
    ///
    /// # Errors
    ///
    /// Hands it back if another chunk came first; drop it after the lock.
    pub fn add(&mut self, chunk: Chunk<HandleSlot<T>>) -> Result<(), Chunk<HandleSlot<T>>> {
        self.slab.add(chunk)
    }

    /// Takes a handle that is not valid yet; `None` if the table has to grow first.
    pub fn reserve(&mut self) -> Option<Reservation> {
        let key = self.slab.insert(HandleSlot(State::Reserved)).ok()?;
        let handle = self.encode(key);
        if handle.0 == 0 {
            // Zero means "no handle" to programs. One key in 2^64 decodes to it: pass it by.
            self.slab.remove(key);
            let key = self.slab.insert(HandleSlot(State::Reserved)).ok()?;
            return Some(Reservation {
                key,
                handle: self.encode(key),
            });
        }
        Some(Reservation { key, handle })
    }

    /// Makes a reserved handle valid.
    ///
    /// # Errors
    ///
    /// Hands both back if the reservation is another table's.
    pub fn fulfil(
        &mut self,
        reservation: Reservation,
        value: T,
    ) -> Result<Handle, (Reservation, T)> {
        match self.reserved(&reservation) {
            Some(slot) => *slot = HandleSlot(State::Live(value)),
            None => return Err((reservation, value)),
        }
        self.live = self.live.saturating_add(1);
        Ok(reservation.handle)
    }

    /// Gives a reserved handle back; it is never valid.
    ///
    /// # Errors
    ///
    /// Hands it back if it is another table's.
    pub fn cancel(&mut self, reservation: Reservation) -> Result<(), Reservation> {
        if self.reserved(&reservation).is_none() {
            return Err(reservation);
        }
        self.slab.remove(reservation.key);
        Ok(())
    }

    /// The registration with this handle.
    #[must_use]
    pub fn get(&self, handle: Handle) -> Option<&T> {
        match self.slab.get(self.decode(handle))? {
            HandleSlot(State::Live(value)) => Some(value),
            HandleSlot(State::Reserved) => None,
        }
    }

    /// As [`HandleTable::get`], to change it.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        match self.slab.get_mut(self.decode(handle))? {
            HandleSlot(State::Live(value)) => Some(value),
            HandleSlot(State::Reserved) => None,
        }
    }

    /// Takes a registration out; the handle is dead for ever.
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let key = self.decode(handle);
        self.get(handle)?;
        match self.slab.remove(key)? {
            HandleSlot(State::Live(value)) => {
                self.live = self.live.saturating_sub(1);
                Some(value)
            }
            HandleSlot(State::Reserved) => None,
        }
    }

    /// Takes out any one registration; `None` if there is none left. Emptying a table this way
    /// visits each place once, and can be interrupted to drop each value without the lock.
    pub fn remove_any(&mut self) -> Option<(Handle, T)> {
        if self.live == 0 {
            return None;
        }
        // At most once round: another insertion may have landed behind the sweep.
        for _ in 0..=self.slab.end() {
            if self.sweep >= self.slab.end() {
                self.sweep = 0;
            }
            let index = self.sweep;
            self.sweep = index.saturating_add(1);
            if matches!(self.slab.at(index), Some(HandleSlot(State::Live(_))))
                && let Some((key, HandleSlot(State::Live(value)))) = self.slab.remove_at(index)
            {
                self.live = self.live.saturating_sub(1);
                return Some((self.encode(key), value));
            }
        }
        None
    }

    /// All live registrations.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.slab.iter().filter_map(|(key, slot)| match slot {
            HandleSlot(State::Live(value)) => Some((self.encode(key), value)),
            HandleSlot(State::Reserved) => None,
        })
    }

    fn reserved(&mut self, reservation: &Reservation) -> Option<&mut HandleSlot<T>> {
        if self.encode(reservation.key) != reservation.handle {
            return None;
        }
        let slot = self.slab.get_mut(reservation.key)?;
        matches!(slot, HandleSlot(State::Reserved)).then_some(slot)
    }

    fn encode(&self, key: Key) -> Handle {
        let (left, right) = self.order.forward((key.generation, key.index));
        Handle(u64::from(left) << 32 | u64::from(right))
    }

    fn decode(&self, handle: Handle) -> Key {
        let half = |number: u64| u32::try_from(number & 0xFFFF_FFFF).unwrap_or(0);
        let (generation, index) = self.order.back((half(handle.0 >> 32), half(handle.0)));
        Key { generation, index }
    }

    #[cfg(test)]
    fn decoded(&self, handle: Handle) -> (u32, u32) {
        let key = self.decode(handle);
        (key.generation, key.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_decodes_to_the_key_it_was_made_of() {
        let table = HandleTable::<()>::new(42);
        for (generation, index) in [(1, 0), (1, 1), (7, 63), (u32::MAX, 0), (1, u32::MAX)] {
            let handle = table.encode(Key { index, generation });
            assert_eq!(table.decoded(handle), (generation, index));
        }
    }

    #[test]
    fn handle_that_would_be_zero_is_passed_by() {
        let mut table = HandleTable::<()>::new(42);
        let chunk = Chunk::allocate(table.growth().unwrap()).unwrap();
        assert!(table.add(chunk).is_ok());
        // In this order zero decodes to the first place in generation zero.
        table.order = Permutation::identity();
        assert_eq!(table.decoded(Handle(0)), (0, 0));
        table.slab.set_generation(0, 0);
        let reservation = table.reserve().unwrap();
        assert_ne!(reservation.handle(), Handle(0));
        assert_eq!(table.decoded(reservation.handle()), (1, 0));
    }
}
