//! Sums up batches before they are written: results by window and lane, states by monitor.
//!
//! Owns: what the latest state of a monitor is, given several results of one commit. Pure; the
//! SQL is in `append`. The state is that of the last check that ran, by due time: a missed one
//! says nothing about the target and is only counted.

use std::collections::{BTreeMap, HashMap};

use super::window_start;
use crate::ids::MonitorId;
use crate::limits::LANE_BITS;
use crate::sample::{CheckResult, Sample, SampleBatch, Verdict};

/// Which head row results belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HeadKey {
    /// Start of the window, in milliseconds since the Unix epoch.
    pub t0_ms: u64,
    /// The monitors' number shifted right by `LANE_BITS`.
    pub lane: u64,
}

impl HeadKey {
    fn of(sample: &Sample) -> HeadKey {
        HeadKey { t0_ms: window_start(sample.due_ms), lane: sample.monitor.0 >> LANE_BITS }
    }

    /// The first monitor of the lane.
    pub fn base(self) -> u64 {
        self.lane << LANE_BITS
    }
}

/// What the results of one commit change in the state of one monitor.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// The last check that ran.
    pub last: Option<Sample>,
    /// Its message, empty where it has none: then the one known holds, if the result is the same.
    pub message: Box<str>,
    /// The streak starts anew from zero before `streak` is added.
    pub streak_reset: bool,
    /// Results in a row that speak against the verdict.
    pub streak: u8,
    /// Results by sort.
    pub counts: Counts,
}

/// Results by sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Good answers.
    pub up: u32,
    /// Bad ones.
    pub down: u32,
    /// Our own trouble.
    pub unknown: u32,
    /// Not run.
    pub missed: u32,
}

/// The results of several batches, summed up.
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// Sorted by monitor and due time within each key.
    pub heads: BTreeMap<HeadKey, Vec<Sample>>,
    touched: HashMap<MonitorId, Touched>,
}

impl Fold {
    /// Sums up batches in the order given.
    pub fn of(batches: &[&SampleBatch]) -> Fold {
        let mut fold = Fold::default();
        for batch in batches {
            fold.add(batch);
        }
        for samples in fold.heads.values_mut() {
            samples.sort_by_key(|sample| (sample.monitor, sample.due_ms));
        }
        fold
    }

    /// The monitors touched, in the order of their numbers: neighbours share a page.
    pub fn touched(self) -> Vec<(MonitorId, Touched)> {
        let mut touched: Vec<_> = self.touched.into_iter().collect();
        touched.sort_unstable_by_key(|(monitor, _)| *monitor);
        touched
    }

    fn add(&mut self, batch: &SampleBatch) {
        for sample in &batch.samples {
            self.heads.entry(HeadKey::of(sample)).or_default().push(*sample);
            let touched = self.touched.entry(sample.monitor).or_default();
            touched.count(sample);
            let newest = touched.last.is_none_or(|last| last.due_ms <= sample.due_ms);
            if newest && !matches!(sample.code.result(), CheckResult::Missed(_)) {
                // A check that found the same has no words of its own: the old ones hold.
                if !touched.last.is_some_and(|last| found_the_same(&last, sample)) {
                    touched.message = Box::default();
                }
                touched.last = Some(*sample);
            }
        }
        for words in &batch.words {
            let row = usize::from(words.sample);
            let Some(sample) = batch.samples.get(row) else { continue };
            let Some(touched) = self.touched.get_mut(&sample.monitor) else { continue };
            if touched.last.is_some_and(|last| found_the_same(&last, sample)) {
                touched.message = words.message.clone();
            }
        }
    }
}

fn found_the_same(one: &Sample, other: &Sample) -> bool {
    (one.code, one.http_status) == (other.code, other.http_status)
}

impl Touched {
    fn count(&mut self, sample: &Sample) {
        let verdict = sample.verdict;
        match sample.code.result() {
            CheckResult::Up => {
                self.counts.up += 1;
                self.judge(verdict == Verdict::Up);
            }
            CheckResult::Down(_) => {
                self.counts.down += 1;
                self.judge(verdict == Verdict::Down);
            }
            CheckResult::Unknown(_) => self.counts.unknown += 1,
            CheckResult::Missed(_) => self.counts.missed += 1,
        }
    }

    fn judge(&mut self, agrees: bool) {
        if agrees {
            self.streak_reset = true;
            self.streak = 0;
        } else {
            self.streak = self.streak.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use probes::{Failure, Timings};

    use super::*;
    use crate::ids::ShardId;
    use crate::limits::WINDOW_MS;
    use crate::sample::{Code, Missed, Words};

    fn sample(monitor: u64, due_ms: u64, result: CheckResult, verdict: Verdict) -> Sample {
        Sample {
            monitor: MonitorId(monitor),
            due_ms,
            lag_us: 0,
            timings: Timings::NONE,
            total_us: 0,
            body_bytes: 0,
            code: result.into(),
            http_status: 0,
            phase: u8::MAX,
            attempts: 1,
            verdict,
        }
    }

    fn batch(samples: Vec<Sample>, words: Vec<Words>) -> SampleBatch {
        SampleBatch { shard: ShardId(0), seq: 1, samples, words, transitions: Vec::new() }
    }

    fn words(sample: u16, message: &str) -> Words {
        Words { sample, message: message.into(), detail: None, cert: None, attempts: Vec::new() }
    }

    const REFUSED: CheckResult = CheckResult::Down(Failure::Refused);

    #[test]
    fn results_are_split_by_window_and_lane_and_sorted() {
        let up = |monitor, due| sample(monitor, due, CheckResult::Up, Verdict::Up);
        let first = batch(vec![up(3, WINDOW_MS + 1), up(1 << LANE_BITS, 5), up(2, 9)], Vec::new());
        let second = batch(vec![up(2, 7)], Vec::new());
        let fold = Fold::of(&[&first, &second]);
        let keys: Vec<(u64, u64)> = fold.heads.keys().map(|key| (key.t0_ms, key.lane)).collect();
        assert_eq!(keys, [(0, 0), (0, 1), (WINDOW_MS, 0)]);
        let dues: Vec<u64> = fold.heads.values().flatten().map(|sample| sample.due_ms).collect();
        assert_eq!(dues, [7, 9, 5, WINDOW_MS + 1]);
    }

    #[test]
    fn the_last_check_that_ran_wins_and_a_missed_one_is_only_counted() {
        let missed = CheckResult::Missed(Missed::Overrun);
        let rows = vec![
            sample(1, 1, CheckResult::Up, Verdict::Up),
            sample(1, 2, REFUSED, Verdict::Up),
            sample(1, 3, missed, Verdict::Up),
        ];
        let touched = Fold::of(&[&batch(rows, vec![words(1, "refused")])]).touched();
        let (monitor, touched) = &touched[0];
        assert_eq!(*monitor, MonitorId(1));
        assert_eq!(touched.last.unwrap().code, Code(Failure::Refused.code()));
        assert_eq!(&*touched.message, "refused");
        assert_eq!(touched.counts, Counts { up: 1, down: 1, unknown: 0, missed: 1 });
        assert_eq!((touched.streak_reset, touched.streak), (true, 1));
    }

    #[test]
    fn a_good_answer_clears_the_message_of_the_failure_before() {
        let first = batch(vec![sample(1, 1, REFUSED, Verdict::Down)], vec![words(0, "refused")]);
        let second = batch(vec![sample(1, 2, CheckResult::Up, Verdict::Down)], Vec::new());
        let touched = Fold::of(&[&first, &second]).touched();
        assert_eq!(&*touched[0].1.message, "");
    }

    #[test]
    fn a_result_like_the_one_before_keeps_its_message() {
        let up = |due| sample(1, due, CheckResult::Up, Verdict::Up);
        let first = batch(vec![up(1)], vec![words(0, "HTTP 200 - OK")]);
        let second = batch(vec![up(2)], Vec::new());
        let touched = Fold::of(&[&first, &second]).touched();
        assert_eq!(&*touched[0].1.message, "HTTP 200 - OK");
    }

    #[test]
    fn words_for_a_row_that_is_not_there_are_ignored() {
        let only = batch(vec![sample(1, 1, REFUSED, Verdict::Down)], vec![words(7, "?")]);
        assert_eq!(&*Fold::of(&[&only]).touched()[0].1.message, "");
    }
}
