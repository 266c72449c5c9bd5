//! Numbers that nobody outside can guess: query ids, echo ids and keys.
//!
//! Owns: one keyed hash (SipHash, its key from getrandom(2) through std) over a counter. Leaves to
//! others: long-term secrets; there are none in this process. Costs about 10 ns a number.

use std::hash::{BuildHasher, RandomState};

/// A source of unguessable numbers.
#[derive(Debug, Default)]
pub(super) struct Random {
    key: RandomState,
    counter: u64,
}

impl Random {
    /// The next number, all 64 bits of it.
    pub(super) fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        self.key.hash_one(self.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sources_give_different_numbers() {
        let (mut one, mut other) = (Random::default(), Random::default());
        let ours: Vec<u64> = (0..4).map(|_| one.next()).collect();
        let theirs: Vec<u64> = (0..4).map(|_| other.next()).collect();
        assert_ne!(ours, theirs);
        assert_ne!(ours[0], ours[1]);
    }
}
