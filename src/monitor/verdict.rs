//! From results to verdicts: the confirm rule.
//!
//! Owns: when a verdict changes. Pure. A result that is our own fault says nothing about the
//! target: it shows as unknown, and the count towards down or up goes on where it was. Only where
//! this host is cut off, it starts anew: the failures just before were of the same making.

use crate::fault::Fault;
use crate::monitor::{State, Timing};
use crate::sample::{CheckResult, Code, Verdict};

/// Takes a result into account. Returns the verdict before, where it changed. While `may_fall` is
/// false, failures are counted and the verdict does not go down.
pub fn apply(
    state: &mut State,
    timing: &Timing,
    result: CheckResult,
    at_ms: u64,
    may_fall: bool,
) -> Option<Verdict> {
    let verdict = match result {
        CheckResult::Up => confirm(state, Verdict::Up, timing.rise, true),
        CheckResult::Down(_) => confirm(state, Verdict::Down, timing.fall, may_fall),
        CheckResult::Unknown(Fault::Isolated) => {
            state.streak = 0;
            Verdict::Unknown
        }
        CheckResult::Unknown(_) => Verdict::Unknown,
        CheckResult::Missed(_) => return None,
    };
    state.code = Code::from(result);
    if verdict == state.verdict {
        return None;
    }
    let before = state.verdict;
    state.verdict = verdict;
    state.since_ms = at_ms;
    Some(before)
}

/// Counts a result that speaks for `found`; it is believed after `needed` in a row. The first
/// good answer of a monitor is believed at once: there is nothing to take back.
fn confirm(state: &mut State, found: Verdict, needed: u8, allowed: bool) -> Verdict {
    if state.settled == found {
        state.streak = 0;
        return found;
    }
    state.streak = state.streak.saturating_add(1);
    let unsettled = state.settled == Verdict::Pending && found == Verdict::Up;
    if !allowed || (state.streak < needed && !unsettled) {
        return state.settled;
    }
    state.streak = 0;
    state.settled = found;
    found
}

/// The settled verdict of a state read from the store, which keeps only the shown one.
pub fn settled_from(shown: Verdict) -> Verdict {
    match shown {
        Verdict::Up | Verdict::Down => shown,
        Verdict::Pending | Verdict::Unknown | Verdict::Paused => Verdict::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use probes::Failure;

    fn timing(fall: u8, rise: u8) -> Timing {
        Timing {
            interval_ms: 60_000,
            timeout_ms: 1_000,
            retry_delay_ms: 0,
            retries: 0,
            confirm_ms: 0,
            fall,
            rise,
        }
    }

    const BAD: CheckResult = CheckResult::Down(Failure::Refused);
    const OURS: CheckResult = CheckResult::Unknown(Fault::Descriptors);

    fn run(fall: u8, rise: u8, results: &[CheckResult]) -> Vec<Verdict> {
        let mut state = State::default();
        let mut verdicts = Vec::new();
        for (at, result) in results.iter().enumerate() {
            apply(&mut state, &timing(fall, rise), *result, at as u64, true);
            verdicts.push(state.verdict);
        }
        verdicts
    }

    #[test]
    fn a_monitor_goes_down_only_after_as_many_failures_in_a_row_as_asked() {
        use Verdict::{Down, Up};
        let up = CheckResult::Up;
        assert_eq!(run(3, 1, &[up, BAD, BAD, up, BAD, BAD, BAD]), [Up, Up, Up, Up, Up, Up, Down]);
    }

    #[test]
    fn a_monitor_comes_up_only_after_as_many_successes_in_a_row_as_asked() {
        use Verdict::{Down, Up};
        let up = CheckResult::Up;
        assert_eq!(run(1, 2, &[BAD, up, BAD, up, up]), [Down, Down, Down, Down, Up]);
    }

    #[test]
    fn our_own_fault_is_unknown_and_never_counts_towards_down() {
        use Verdict::{Unknown, Up};
        let up = CheckResult::Up;
        assert_eq!(run(2, 1, &[up, BAD, OURS, OURS, OURS]), [Up, Up, Unknown, Unknown, Unknown]);
        assert_eq!(run(2, 1, &[OURS, up]), [Unknown, Up]);
    }

    #[test]
    fn failures_that_may_not_fall_yet_are_counted_and_believed_with_the_first_that_may() {
        let (mut state, timing) = (State::default(), timing(2, 1));
        apply(&mut state, &timing, CheckResult::Up, 0, true);
        for at in 1..5 {
            assert_eq!(apply(&mut state, &timing, BAD, at, false), None);
        }
        assert_eq!((state.verdict, state.streak), (Verdict::Up, 4));
        assert_eq!(apply(&mut state, &timing, BAD, 5, true), Some(Verdict::Up));
    }

    #[test]
    fn failures_from_before_an_isolation_do_not_count_after_it() {
        use Verdict::{Unknown, Up};
        let isolated = CheckResult::Unknown(Fault::Isolated);
        let results = [CheckResult::Up, BAD, isolated, BAD];
        assert_eq!(run(2, 1, &results), [Up, Up, Unknown, Up]);
    }

    #[test]
    fn a_change_is_reported_once_with_the_verdict_before() {
        let mut state = State::default();
        let timing = timing(1, 1);
        assert_eq!(apply(&mut state, &timing, BAD, 5, true), Some(Verdict::Pending));
        assert_eq!(apply(&mut state, &timing, BAD, 6, true), None);
        assert_eq!(apply(&mut state, &timing, CheckResult::Up, 7, true), Some(Verdict::Down));
        assert_eq!((state.verdict, state.since_ms), (Verdict::Up, 7));
    }
}
