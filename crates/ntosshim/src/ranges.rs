//! Address ranges: which are taken, and where there is room.

use std::collections::BTreeMap;

use crate::PAGE;

/// Where a range has to lie. All numbers are bytes.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The lowest address allowed.
    pub lowest: u64,
    /// The highest address allowed, inclusive.
    pub highest: u64,
    /// No multiple of this lies inside the range; 0 for none.
    pub boundary: u64,
}

impl Place {
    /// Anywhere.
    pub const ANY: Self = Self {
        lowest: 0,
        highest: u64::MAX,
        boundary: 0,
    };

    /// Up to an address.
    #[must_use]
    pub const fn up_to(highest: u64) -> Self {
        Self {
            lowest: 0,
            highest,
            boundary: 0,
        }
    }
}

/// The taken ranges of an address space, in whole pages.
#[derive(Debug)]
pub struct Ranges {
    first: u64,
    last: u64,
    /// Start to length.
    taken: BTreeMap<u64, u64>,
}

impl Ranges {
    /// An empty address space from `first` to `last`, inclusive.
    #[must_use]
    pub const fn new(first: u64, last: u64) -> Self {
        Self {
            first,
            last,
            taken: BTreeMap::new(),
        }
    }

    /// Takes the lowest range of `length` bytes, in whole pages, that lies as it has to.
    pub fn take(&mut self, length: u64, place: Place) -> Option<u64> {
        let length = length.checked_next_multiple_of(PAGE).filter(|&l| l > 0)?;
        if place.boundary != 0 && length > place.boundary {
            return None;
        }
        let mut start = self
            .first
            .max(place.lowest)
            .checked_next_multiple_of(PAGE)?;
        let highest = self.last.min(place.highest);
        loop {
            start = after_boundary(start, length, place.boundary)?;
            let last = start.checked_add(length)?.checked_sub(1)?;
            if last > highest {
                return None;
            }
            match self.clash(start, last) {
                Some(end) => start = end,
                None => break,
            }
        }
        self.taken.insert(start, length);
        Some(start)
    }

    /// The end of a taken range that overlaps `start..=last`.
    fn clash(&self, start: u64, last: u64) -> Option<u64> {
        let (&taken, &length) = self.taken.range(..=last).next_back()?;
        let end = taken.checked_add(length)?;
        (end > start).then_some(end)
    }

    /// Gives a range back; its length, or `None` if no range begins there.
    pub fn give_back(&mut self, start: u64) -> Option<u64> {
        self.taken.remove(&start)
    }

    /// How many ranges are taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken.len()
    }

    /// Whether none is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }
}

/// `start`, or the next multiple of `boundary` if the range would cross that.
fn after_boundary(start: u64, length: u64, boundary: u64) -> Option<u64> {
    if boundary == 0 {
        return Some(start);
    }
    let next = start.checked_add(1)?.checked_next_multiple_of(boundary)?;
    let room = next.checked_sub(start)?;
    Some(if room < length { next } else { start })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBIBYTE: u64 = 1 << 20;

    fn space() -> Ranges {
        Ranges::new(MEBIBYTE, 0xFFFF_FFFF)
    }

    #[test]
    fn range_taken_twice_does_not_overlap() {
        let mut space = space();
        let first = space.take(3 * PAGE, Place::ANY);
        let second = space.take(1, Place::ANY);
        assert_eq!((first, second), (Some(MEBIBYTE), Some(MEBIBYTE + 3 * PAGE)));
    }

    #[test]
    fn range_given_back_is_taken_again() {
        let mut space = space();
        let first = space.take(PAGE, Place::ANY);
        space.take(PAGE, Place::ANY);
        assert_eq!(first.and_then(|start| space.give_back(start)), Some(PAGE));
        assert_eq!(space.take(PAGE, Place::ANY), first);
    }

    #[test]
    fn range_with_boundary_does_not_cross_it() {
        let mut space = space();
        space.take(PAGE, Place::ANY);
        let place = Place {
            boundary: 4 * PAGE,
            ..Place::ANY
        };
        assert_eq!(space.take(4 * PAGE, place), Some(MEBIBYTE + 4 * PAGE));
    }

    #[test]
    fn range_longer_than_its_room_is_refused() {
        let mut space = space();
        let place = Place::up_to(2 * MEBIBYTE - 1);
        assert_eq!(space.take(MEBIBYTE + 1, place), None);
        assert_eq!(space.take(MEBIBYTE, place), Some(MEBIBYTE));
        assert_eq!(space.take(1, place), None);
    }

    #[test]
    fn range_of_no_bytes_is_refused() {
        assert_eq!(space().take(0, Place::ANY), None);
    }
}
