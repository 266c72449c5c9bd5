//! Which batches of one shard and run a database has: a last number, and the holes before it.
//!
//! Owns: the rule that makes every batch count once, in whatever order it comes. Batches that
//! went to the spool leave a hole while later ones pass them; their replay fills it. Pure.

use serde::{Deserialize, Serialize};

/// The numbers that were applied. An outage makes at most one hole, and its replay removes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The highest number applied, 0 for none.
    pub last: u64,
    /// Numbers below `last` that were not applied: first and last of each hole, in order.
    pub holes: Vec<(u64, u64)>,
}

impl Cursor {
    /// Marks a number as applied. False where it was already.
    pub fn take(&mut self, seq: u64) -> bool {
        if seq > self.last {
            if seq - self.last > 1 {
                self.holes.push((self.last + 1, seq - 1));
            }
            self.last = seq;
            return true;
        }
        let at = self.holes.partition_point(|(_, last)| *last < seq);
        let Some(&(first, last)) = self.holes.get(at).filter(|(first, _)| *first <= seq) else {
            return false;
        };
        let rest = [(first, seq.wrapping_sub(1)), (seq + 1, last)];
        self.holes.splice(at..=at, rest.into_iter().filter(|(first, last)| first <= last));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hole_is_filled_from_its_start_and_disappears() {
        let mut cursor = Cursor::default();
        assert!(cursor.take(1));
        assert!(cursor.take(5));
        assert_eq!(cursor.holes, [(2, 4)]);
        for seq in [2, 3, 4] {
            assert!(cursor.take(seq) && !cursor.take(seq));
        }
        assert_eq!(cursor, Cursor { last: 5, holes: Vec::new() });
    }

    #[test]
    fn number_zero_is_never_new() {
        assert!(!Cursor::default().take(0));
    }

    proptest! {
        #[test]
        fn any_order_takes_each_number_once(order in prop::collection::vec(1..40u64, 0..120)) {
            let mut cursor = Cursor::default();
            let mut taken = BTreeSet::new();
            for seq in order {
                prop_assert_eq!(cursor.take(seq), taken.insert(seq), "number {}", seq);
                prop_assert!(cursor.holes.iter().all(|(first, last)| first <= last));
                prop_assert!(cursor.holes.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            }
        }
    }
}
