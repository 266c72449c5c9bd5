//! Is a monitor flapping? Its last results, and the rule.
//!
//! Owns: the history and the thresholds: of the last 20 steps from one result to the next, so many
//! are changes between good and bad. 30 % begin it and less than 25 % end it, as in Icinga 2.
//! Results that say nothing of the target are no part of it.

use crate::limits::{FLAP_CHANGES_MIN, FLAP_END_CHANGES_MAX, FLAP_STEPS};

/// The last results of a monitor, a bit each, the newest lowest; 1 is bad. It begins all good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History(u32);

impl History {
    /// Adds a result.
    pub fn push(&mut self, bad: bool) {
        self.0 = self.0 << 1 | u32::from(bad);
    }

    /// True where it flaps now; `before` says whether it did before this result.
    pub fn flaps(self, before: bool) -> bool {
        let steps = (self.0 ^ self.0 >> 1) & ((1 << FLAP_STEPS) - 1);
        let changes = steps.count_ones();
        changes >= FLAP_CHANGES_MIN || (before && changes > FLAP_END_CHANGES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which results, counted from 1, flapping begins and ends.
    fn changes(results: impl Iterator<Item = bool>) -> Vec<(usize, bool)> {
        let (mut history, mut flaps, mut changes) = (History::default(), false, Vec::new());
        for (at, bad) in results.enumerate() {
            history.push(bad);
            if flaps != history.flaps(flaps) {
                flaps = !flaps;
                changes.push((at + 1, flaps));
            }
        }
        changes
    }

    #[test]
    fn a_target_that_alternates_flaps_at_its_sixth_change_and_until_it_is_steady() {
        let alternating = (0..30).map(|at| at % 2 == 0);
        assert_eq!(changes(alternating.chain((0..40).map(|_| false))), [(6, true), (46, false)]);
    }

    #[test]
    fn periods_from_one_to_five_results_flap_and_slow_ones_do_not() {
        for half in 1..=3 {
            let results = (0..60).map(|at| at / half % 2 == 1);
            assert_eq!(changes(results).len(), 1, "{half} results each");
        }
        for half in 5..20 {
            let results = (0..200).map(|at| at / half % 2 == 1);
            assert_eq!(changes(results), [], "{half} results each");
        }
    }

    #[test]
    fn a_single_outage_is_no_flapping_whenever_it_begins() {
        for length in 1..20 {
            let outage = (0..60).map(|at| (20..20 + length).contains(&at));
            assert_eq!(changes(outage), []);
        }
    }
}
