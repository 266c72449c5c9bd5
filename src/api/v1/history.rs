//! Results of one monitor as steps in time: counts and percentiles.
//!
//! Owns: the arithmetic. Percentiles are of good answers only. Those made of results are exact:
//! every result of a step is looked at. Those of long times are made of sums of hours.

use serde::Serialize;
use utoipa::ToSchema;

use crate::sample::{CheckResult, Code};
use crate::store::hours::{Counts, HOUR_MS, Hour, Hours, hour_start};
use crate::store::view::ResultView;

/// Results of one monitor over a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct History {
    /// Its start, in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// Length of a step, in milliseconds.
    pub step_ms: u64,
    /// Everything together.
    pub all: Step,
    /// The steps, oldest first; those without results too.
    pub steps: Vec<Step>,
    /// True where it is made of whole hours: `from_ms` is moved back to the start of one, and
    /// percentiles are right within 1.6 %.
    pub from_hours: bool,
    /// True where there are more results than are read at once: the oldest are left out.
    pub truncated: bool,
    /// Stored blobs that could not be read, by name and reason.
    pub damaged: Vec<String>,
}

/// The results of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Step {
    /// Its start, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Good answers.
    pub up: u64,
    /// Bad ones.
    pub down: u64,
    /// Our own trouble.
    pub unknown: u64,
    /// Not run.
    pub missed: u64,
    /// Half of all good answers took no longer, in microseconds.
    pub p50_us: Option<u32>,
    /// 90 of 100.
    pub p90_us: Option<u32>,
    /// 99 of 100.
    pub p99_us: Option<u32>,
    /// The slowest.
    pub max_us: Option<u32>,
}

/// Sorts `results`, in any order, into `steps` steps of equal length.
pub fn history(results: &[ResultView], from_ms: u64, to_ms: u64, steps: usize) -> History {
    let steps = steps.max(1);
    let length_ms = to_ms.saturating_sub(from_ms).max(1);
    let step_ms = length_ms.div_ceil(steps as u64).max(1);
    let mut drafts: Vec<(Step, Vec<u32>)> = (0..steps as u64)
        .map(|step| (Step { at_ms: from_ms + step * step_ms, ..Step::default() }, Vec::new()))
        .collect();
    let mut all = (Step { at_ms: from_ms, ..Step::default() }, Vec::new());
    for result in results {
        let step = result.due_ms.checked_sub(from_ms).map(|after_ms| (after_ms / step_ms) as usize);
        let Some(draft) = step.and_then(|step| drafts.get_mut(step)) else { continue };
        for (step, times) in [draft, &mut all] {
            step.count(result, times);
        }
    }
    let finish = |(step, times): (Step, Vec<u32>)| step.with_percentiles(times);
    History {
        from_ms,
        to_ms,
        step_ms,
        all: finish(all),
        steps: drafts.into_iter().map(finish).collect(),
        ..History::default()
    }
}

/// Adds `hours` up in at most `steps` steps of as many whole hours each.
pub fn history_of_hours(hours: &Hours, from_ms: u64, to_ms: u64, steps: usize) -> History {
    let from_ms = hour_start(from_ms);
    let length_ms = to_ms.saturating_sub(from_ms).max(1);
    let step_ms = length_ms.div_ceil(steps.max(1) as u64).next_multiple_of(HOUR_MS);
    let mut drafts = vec![Hour::default(); length_ms.div_ceil(step_ms) as usize];
    let mut all = Hour::default();
    for (at_ms, hour) in hours.hours.range(from_ms..to_ms) {
        all.merge(hour);
        drafts[((at_ms - from_ms) / step_ms) as usize].merge(hour);
    }
    let steps = drafts.iter().enumerate();
    History {
        from_ms,
        to_ms,
        step_ms,
        from_hours: true,
        all: Step::of(from_ms, &all),
        steps: steps.map(|(at, sums)| Step::of(from_ms + at as u64 * step_ms, sums)).collect(),
        damaged: hours.damaged.clone(),
        truncated: false,
    }
}

impl Step {
    fn of(at_ms: u64, sums: &Hour) -> Step {
        let Counts { up, down, unknown, missed } = sums.counts;
        let [p50_us, p90_us, p99_us, max_us] = [50, 90, 99, 100].map(|one| sums.percentile(one));
        Step { at_ms, up, down, unknown, missed, p50_us, p90_us, p99_us, max_us }
    }

    fn count(&mut self, result: &ResultView, times: &mut Vec<u32>) {
        match Code(result.code).result() {
            CheckResult::Up => {
                self.up += 1;
                times.extend(result.total_us);
            }
            CheckResult::Down(_) => self.down += 1,
            CheckResult::Unknown(_) => self.unknown += 1,
            CheckResult::Missed(_) => self.missed += 1,
        }
    }

    fn with_percentiles(mut self, mut times: Vec<u32>) -> Step {
        times.sort_unstable();
        // The smallest time that so many of all do not exceed.
        let of =
            |percent: usize| times.get((times.len() * percent).div_ceil(100).max(1) - 1).copied();
        (self.p50_us, self.p90_us, self.p99_us) = (of(50), of(90), of(99));
        self.max_us = times.last().copied();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Missed, Verdict};
    use crate::store::view::Phases;

    fn result(due_ms: u64, code: u16, total_us: u32) -> ResultView {
        ResultView {
            due_ms,
            lag_us: None,
            total_us: Some(total_us),
            phases: Phases::default(),
            code,
            result: "ok",
            http_status: None,
            phase: None,
            attempts: 1,
            verdict: Verdict::Up,
            body_bytes: 0,
        }
    }

    #[test]
    fn percentiles_are_exact_and_of_good_answers_only() {
        let mut results: Vec<_> = (1..=200).map(|time| result(time, 0, time as u32 * 10)).collect();
        results.push(result(5, 12, 9_999_999));
        let history = history(&results, 0, 1_000, 1);
        let all = &history.all;
        assert_eq!((all.up, all.down), (200, 1));
        assert_eq!((all.p50_us, all.p90_us, all.p99_us), (Some(1_000), Some(1_800), Some(1_980)));
        assert_eq!(all.max_us, Some(2_000));
        assert_eq!(history.steps[0], *all);
    }

    #[test]
    fn hours_make_steps_of_whole_hours_that_add_up() {
        let mut hours = Hours::default();
        for hour in 0..72_u64 {
            let sums = hours.hours.entry(hour * HOUR_MS).or_default();
            (1..=100).for_each(|time| sums.add(Code::GOOD, Some(time * 1_000)));
        }
        let history = history_of_hours(&hours, 90 * 60_000, 71 * HOUR_MS, 7);
        assert_eq!((history.from_ms, history.step_ms), (HOUR_MS, 10 * HOUR_MS));
        let ups: Vec<u64> = history.steps.iter().map(|step| step.up).collect();
        assert_eq!(ups, [1_000; 7]);
        let p90 = history.all.p90_us.unwrap();
        assert!(history.from_hours && history.all.up == 7_000 && p90.abs_diff(90_000) < 1_500);
    }

    #[test]
    fn every_result_is_in_the_step_of_its_due_time_and_empty_steps_stay() {
        let missed = Missed::Stall as u16;
        let results = [result(100, 0, 7), result(199, 0, 9), result(300, missed, 0)];
        let history = history(&results, 100, 400, 3);
        let counts: Vec<_> =
            history.steps.iter().map(|step| (step.at_ms, step.up, step.missed)).collect();
        assert_eq!(counts, [(100, 2, 0), (200, 0, 0), (300, 0, 1)]);
        assert_eq!(history.steps[1].p50_us, None);
        let out = super::history(&[result(99, 0, 1), result(500, 0, 1)], 100, 400, 3);
        assert_eq!(out.all.up, 0);
    }
}
