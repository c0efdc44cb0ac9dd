//! A secret order of the 64-bit numbers.
//!
//! A Feistel network over two halves of 32 bits, with `SipHash-2-4` as its round function: a
//! permutation whatever the round function is, and one that whoever does not have the key cannot
//! tell from a random one as long as `SipHash` is a pseudorandom function. Four rounds are enough for
//! that (Luby and Rackoff) up to some 2^16 known pairs; two more let whoever has most of a table's
//! handles still know nothing of the others.

const ROUNDS: u32 = 6;

/// A permutation of the 64-bit numbers, one for each key.
pub(crate) struct Permutation {
    key: [u64; 2],
    rounds: u32,
}

impl Permutation {
    /// The permutation of a key.
    pub(crate) fn new(key: u128) -> Self {
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
        Self {
            key: [half(key), half(key >> 64)],
            rounds: ROUNDS,
        }
    }

    /// The one that leaves every number where it is.
    #[cfg(test)]
    pub(crate) const fn identity() -> Self {
        Self {
            key: [0; 2],
            rounds: 0,
        }
    }

    /// The number in the place of another, both in halves.
    pub(crate) fn forward(&self, (mut left, mut right): (u32, u32)) -> (u32, u32) {
        for round in 0..self.rounds {
            (left, right) = (right, left ^ self.scramble(round, right));
        }
        (left, right)
    }

    /// Undoes [`Permutation::forward`].
    pub(crate) fn back(&self, (mut left, mut right): (u32, u32)) -> (u32, u32) {
        for round in (0..self.rounds).rev() {
            (left, right) = (right ^ self.scramble(round, left), left);
        }
        (left, right)
    }

    fn scramble(&self, round: u32, half: u32) -> u32 {
        let hash = sip_hash(self.key, u64::from(round) << 32 | u64::from(half));
        u32::try_from(hash & 0xFFFF_FFFF).unwrap_or(0)
    }
}

/// SipHash-2-4 of the eight bytes of a word.
fn sip_hash(key: [u64; 2], word: u64) -> u64 {
    let [first, second] = key;
    let mut state = [
        first ^ 0x736F_6D65_7073_6575,
        second ^ 0x646F_7261_6E64_6F6D,
        first ^ 0x6C79_6765_6E65_7261,
        second ^ 0x7465_6462_7974_6573,
    ];
    // The word, and the length of the message in the highest byte.
    for block in [word, 8 << 56] {
        state[3] ^= block;
        state = sip_round(sip_round(state));
        state[0] ^= block;
    }
    state[2] ^= 0xFF;
    let [a, b, c, d] = sip_round(sip_round(sip_round(sip_round(state))));
    a ^ b ^ c ^ d
}

const fn sip_round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher as _;

    use super::*;

    #[test]
    fn hash_of_a_word_is_that_of_the_standard_library() {
        for (key, word) in [
            ([0, 0], 0_u64),
            ([1, 2], 3),
            ([u64::MAX, 7], 0x0123_4567_89AB_CDEF),
        ] {
            #[expect(deprecated, reason = "the one SipHash-2-4 at hand")]
            let mut hasher = core::hash::SipHasher::new_with_keys(key[0], key[1]);
            hasher.write(&word.to_le_bytes());
            assert_eq!(sip_hash(key, word), hasher.finish());
        }
    }

    #[test]
    fn hash_of_the_published_example_is_the_published_one() {
        // Key 00 to 0F, message 00 to 07: the ninth vector of the reference implementation.
        let key = [0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908];
        let vector = [0x62, 0x24, 0x93, 0x9A, 0x79, 0xF5, 0xF5, 0x93];
        assert_eq!(sip_hash(key, key[0]), u64::from_le_bytes(vector));
    }

    #[test]
    fn back_undoes_forward() {
        let permutation = Permutation::new(0x5EED);
        for number in [(0, 0), (1, 0), (0, 1), (7, 63), (u32::MAX, u32::MAX)] {
            assert_eq!(permutation.back(permutation.forward(number)), number);
            assert_ne!(permutation.forward(number), number);
        }
    }

    #[test]
    fn neighbours_and_keys_change_half_of_the_bits() {
        let bits = |key: u128, number: (u32, u32)| {
            let (left, right) = Permutation::new(key).forward(number);
            u64::from(left) << 32 | u64::from(right)
        };
        let mut changed = [0_u32; 2];
        for index in 0..1000 {
            let here = bits(9, (1, index));
            changed[0] += (here ^ bits(9, (1, index ^ 1))).count_ones();
            changed[1] += (here ^ bits(9 | 1 << 100, (1, index))).count_ones();
        }
        // Of 64000 each: 32000, with a deviation of 126.
        for changed in changed {
            assert!((31_000..33_000).contains(&changed), "{changed}");
        }
    }
}
