//! Rounds of one second each, from the loss of the way to its return.

use super::*;
use Standing::{Clear, Isolated, Suspect};

/// A judge, the time, and what the shards have counted.
struct Trial {
    judge: Judge,
    now_ms: u64,
    tally: Tally,
    changes: u32,
}

impl Trial {
    fn new() -> Trial {
        Trial { judge: Judge::new(6), now_ms: 0, tally: Tally::default(), changes: 0 }
    }

    /// So many rounds in which `good` and `failed` results come each.
    fn rounds(&mut self, rounds: u64, canaries: bool, local: bool, good: u64, failed: u64) {
        for _ in 0..rounds {
            self.now_ms += 1_000;
            self.tally.ended += good + failed;
            self.tally.failed += failed;
            let evidence = Evidence { canaries, no_way_out: local, tally: self.tally };
            self.changes += u32::from(self.judge.round(evidence, self.now_ms));
        }
    }

    fn standing(&self) -> Standing {
        self.judge.standing()
    }
}

#[test]
fn silent_canaries_and_a_lost_route_isolate_at_once_and_their_return_ends_it() {
    let mut trial = Trial::new();
    trial.rounds(10, false, false, 100, 0);
    assert_eq!(trial.standing(), Clear);
    trial.rounds(1, true, true, 0, 0);
    assert_eq!(trial.standing(), Isolated);
    trial.rounds(300, true, true, 0, 100);
    assert_eq!((trial.standing(), trial.changes), (Isolated, 1));
    trial.rounds(1, false, false, 0, 100);
    assert_eq!(trial.standing(), Isolated, "one round may be luck");
    trial.rounds(1, false, false, 100, 0);
    assert_eq!((trial.standing(), trial.changes), (Clear, 2));
}

#[test]
fn silent_canaries_and_failing_monitors_isolate_as_soon_as_the_share_is_seen() {
    let mut trial = Trial::new();
    trial.rounds(10, false, false, 100, 1);
    trial.rounds(5, true, false, 0, 0);
    assert_eq!(trial.standing(), Suspect);
    trial.rounds(4, true, false, 0, 100);
    assert_eq!(trial.standing(), Isolated);
    trial.rounds(200, true, false, 0, 100);
    assert_eq!((trial.standing(), trial.changes), (Isolated, 1));
}

#[test]
fn a_few_monitors_that_all_fail_are_enough_and_one_that_fails_is_when_the_trial_is_over() {
    let mut few = Trial::new();
    few.rounds(10, false, false, 0, 0);
    few.rounds(1, true, false, 0, 0);
    few.rounds(3, true, false, 0, 1);
    assert_eq!(few.standing(), Isolated);
    let mut one = Trial::new();
    one.rounds(10, false, false, 0, 0);
    one.rounds(2, true, false, 0, 0);
    one.rounds(1, true, false, 0, 1);
    one.rounds(57, true, false, 0, 0);
    assert_eq!(one.standing(), Suspect);
    one.rounds(2, true, false, 0, 0);
    assert_eq!(one.standing(), Isolated);
}

#[test]
fn canaries_that_die_alone_are_not_believed_until_they_have_answered_once() {
    let mut trial = Trial::new();
    trial.rounds(10, false, false, 100, 0);
    trial.rounds(59, true, false, 100, 1);
    assert_eq!(trial.standing(), Suspect);
    trial.rounds(2, true, false, 100, 1);
    assert_eq!(trial.standing(), Clear);
    trial.rounds(600, true, false, 10, 90);
    assert_eq!((trial.standing(), trial.changes), (Clear, 0), "a real outage is not silenced");
    trial.rounds(1, false, false, 100, 0);
    trial.rounds(1, true, false, 100, 0);
    assert_eq!(trial.standing(), Suspect);
}

#[test]
fn a_mass_outage_with_good_canaries_is_no_isolation() {
    let mut trial = Trial::new();
    trial.rounds(10, false, false, 100, 0);
    trial.rounds(300, false, false, 5, 95);
    assert_eq!((trial.standing(), trial.changes), (Clear, 0));
}

#[test]
fn name_servers_that_are_all_silent_are_a_local_signal_and_one_that_answers_is_none() {
    let mut trial = Trial::new();
    trial.rounds(10, false, false, 100, 0);
    trial.tally.queries_lost += 3;
    trial.rounds(1, false, false, 100, 0);
    assert!(trial.judge.signals().local);
    trial.tally.queries_lost += 300;
    trial.tally.queries_answered += 1;
    trial.rounds(1, false, false, 100, 0);
    assert!(!trial.judge.signals().local);
    assert_eq!(trial.standing(), Clear);
}

#[test]
fn an_isolation_that_the_monitors_contradict_ends_within_two_trials() {
    let mut trial = Trial::new();
    trial.rounds(5, false, false, 100, 0);
    trial.rounds(1, true, true, 0, 0);
    assert_eq!(trial.standing(), Isolated);
    trial.rounds(120, true, true, 100, 0);
    assert_eq!((trial.standing(), trial.changes), (Clear, 2));
    trial.rounds(600, true, true, 100, 0);
    assert_eq!(trial.changes, 2);
}
