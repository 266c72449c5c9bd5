//! Sums up results before they are written: by window and lane for the head, by monitor for the
//! states.
//!
//! Owns: what the latest state of a monitor is, given several of its results, and which results
//! are news. Pure; the SQL is in `states`. The state is that of the last check that ran, by due
//! time: a missed one says nothing about the target and is only counted.
//!
//! A result is news if it has words, decides a change, or speaks against the verdict. News are
//! written to the state at once: they alone tell the message and the streak. All else follows from
//! the head rows, and is counted from them.

use std::collections::{BTreeMap, HashMap, HashSet};

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

/// What some results change in the state of one monitor.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// The last check that ran.
    pub last: Option<Sample>,
    /// Due time of the first of those checks in a row that ended with the verdict of the last.
    pub since_ms: u64,
    /// The message of the last, empty where it has none: then the one known holds, if the result
    /// is the same.
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

impl Counts {
    fn add(&mut self, sample: &Sample) {
        match sample.code.result() {
            CheckResult::Up => self.up += 1,
            CheckResult::Down(_) => self.down += 1,
            CheckResult::Unknown(_) => self.unknown += 1,
            CheckResult::Missed(_) => self.missed += 1,
        }
    }
}

/// The results of several batches, summed up.
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// Sorted by monitor and due time within each key.
    pub heads: BTreeMap<HeadKey, Vec<Sample>>,
    touched: HashMap<MonitorId, Touched>,
    /// True where results are counted here, and not from the head.
    counts: bool,
}

impl Fold {
    /// Sums up batches in the order given, and of the monitors those with news.
    pub fn of_news(batches: &[&SampleBatch]) -> Fold {
        let mut fold = Fold::default();
        for batch in batches {
            fold.find_news(batch);
        }
        fold.sum_up(batches)
    }

    /// Sums up batches in the order given, and counts the results of every monitor.
    pub fn of_all(batches: &[&SampleBatch]) -> Fold {
        let mut fold = Fold { counts: true, ..Fold::default() };
        for sample in batches.iter().flat_map(|batch| &batch.samples) {
            fold.touched.entry(sample.monitor).or_default();
        }
        fold.sum_up(batches)
    }

    fn sum_up(mut self, batches: &[&SampleBatch]) -> Fold {
        for batch in batches {
            self.add(batch);
        }
        for samples in self.heads.values_mut() {
            samples.sort_by_key(|sample| (sample.monitor, sample.due_ms));
        }
        self
    }

    /// The monitors looked at and what all their results say, in the order of their numbers:
    /// neighbours share a page.
    pub fn touched(self) -> Vec<(MonitorId, Touched)> {
        let mut touched: Vec<_> = self.touched.into_iter().collect();
        touched.sort_unstable_by_key(|(monitor, _)| *monitor);
        touched
    }

    /// The lanes of the monitors with news.
    pub fn lanes_with_news(&self) -> HashSet<u64> {
        self.touched.keys().map(|monitor| monitor.0 >> LANE_BITS).collect()
    }

    fn find_news(&mut self, batch: &SampleBatch) {
        let told = batch.words.iter().filter_map(|words| {
            batch.samples.get(usize::from(words.sample)).map(|sample| sample.monitor)
        });
        let changed = batch.transitions.iter().map(|change| change.monitor);
        let against = batch.samples.iter().filter(|sample| speaks_against(sample));
        let news = told.chain(changed).chain(against.map(|sample| sample.monitor));
        self.touched.extend(news.map(|monitor| (monitor, Touched::default())));
    }

    fn add(&mut self, batch: &SampleBatch) {
        for sample in &batch.samples {
            self.heads.entry(HeadKey::of(sample)).or_default().push(*sample);
            if let Some(touched) = self.touched.get_mut(&sample.monitor) {
                if self.counts {
                    touched.counts.add(sample);
                }
                touched.add(sample);
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

/// True where the target's answer and the verdict differ: the confirm rule is counting.
fn speaks_against(sample: &Sample) -> bool {
    match sample.code.result() {
        CheckResult::Up => sample.verdict != Verdict::Up,
        CheckResult::Down(_) => sample.verdict != Verdict::Down,
        CheckResult::Unknown(_) | CheckResult::Missed(_) => false,
    }
}

fn found_the_same(one: &Sample, other: &Sample) -> bool {
    (one.code, one.http_status) == (other.code, other.http_status)
}

impl Touched {
    /// What results of one monitor in the head say, in the order of their due times, whose news
    /// are in the state already.
    pub fn of_head(samples: &[Sample]) -> Touched {
        let mut touched = Touched::default();
        for sample in samples {
            touched.counts.add(sample);
            touched.add(sample);
        }
        // What spoke against the verdict was news, and counted then.
        if touched.streak > 0 {
            touched.streak_reset = false;
            touched.streak = 0;
        }
        touched
    }

    fn add(&mut self, sample: &Sample) {
        let result = sample.code.result();
        match result {
            CheckResult::Missed(_) => return,
            CheckResult::Unknown(_) => {}
            CheckResult::Up | CheckResult::Down(_) if speaks_against(sample) => {
                self.streak = self.streak.saturating_add(1);
            }
            CheckResult::Up | CheckResult::Down(_) => {
                self.streak_reset = true;
                self.streak = 0;
            }
        }
        if self.last.is_some_and(|last| last.due_ms > sample.due_ms) {
            return;
        }
        if self.last.is_none_or(|last| last.verdict != sample.verdict) {
            self.since_ms = sample.due_ms;
        }
        // A check that found the same has no words of its own: the old ones hold.
        if !self.last.is_some_and(|last| found_the_same(&last, sample)) {
            self.message = Box::default();
        }
        self.last = Some(*sample);
    }
}

#[cfg(test)]
mod tests {
    use probes::{Failure, Timings};

    use super::*;
    use crate::ids::ShardId;
    use crate::limits::WINDOW_MS;
    use crate::sample::{Code, Missed, Transition, Words};

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
        let fold = Fold::of_news(&[&first, &second]);
        let keys: Vec<(u64, u64)> = fold.heads.keys().map(|key| (key.t0_ms, key.lane)).collect();
        assert_eq!(keys, [(0, 0), (0, 1), (WINDOW_MS, 0)]);
        let dues: Vec<u64> = fold.heads.values().flatten().map(|sample| sample.due_ms).collect();
        assert_eq!(dues, [7, 9, 5, WINDOW_MS + 1]);
    }

    #[test]
    fn the_last_check_that_ran_wins_and_a_missed_one_says_nothing() {
        let missed = CheckResult::Missed(Missed::Overrun);
        let rows = vec![
            sample(1, 1, CheckResult::Up, Verdict::Up),
            sample(1, 2, REFUSED, Verdict::Up),
            sample(1, 3, missed, Verdict::Up),
        ];
        let of_head = Touched::of_head(&rows);
        assert_eq!(of_head.counts, Counts { up: 1, down: 1, unknown: 0, missed: 1 });
        let news = Fold::of_news(&[&batch(rows, vec![words(1, "refused")])]).touched();
        let (monitor, news) = &news[0];
        assert_eq!(*monitor, MonitorId(1));
        assert_eq!(news.last.unwrap().code, Code(Failure::Refused.code()));
        assert_eq!(of_head.last, news.last);
        assert_eq!(&*news.message, "refused");
        assert_eq!(news.counts, Counts::default());
        assert_eq!((news.streak_reset, news.streak), (true, 1));
        assert_eq!((of_head.streak_reset, of_head.streak), (false, 0));
    }

    #[test]
    fn a_good_answer_clears_the_message_of_the_failure_before() {
        let first = batch(vec![sample(1, 1, REFUSED, Verdict::Down)], vec![words(0, "refused")]);
        let second = batch(vec![sample(1, 2, CheckResult::Up, Verdict::Down)], Vec::new());
        let news = Fold::of_news(&[&first, &second]).touched();
        assert_eq!(&*news[0].1.message, "");
    }

    #[test]
    fn a_result_like_the_one_before_keeps_its_message() {
        let up = |due| sample(1, due, CheckResult::Up, Verdict::Up);
        let first = batch(vec![up(1)], vec![words(0, "HTTP 200 - OK")]);
        let second = batch(vec![up(2)], Vec::new());
        let news = Fold::of_news(&[&first, &second]).touched();
        assert_eq!(&*news[0].1.message, "HTTP 200 - OK");
    }

    #[test]
    fn words_for_a_row_that_is_not_there_are_ignored() {
        let row = sample(1, 1, REFUSED, Verdict::Down);
        let only = batch(vec![row], vec![words(7, "?")]);
        assert_eq!(Fold::of_news(&[&only]).touched().len(), 0);
    }

    #[test]
    fn only_words_changes_and_what_speaks_against_the_verdict_are_news() {
        let good = |monitor| sample(monitor, 9, CheckResult::Up, Verdict::Up);
        let against = sample(3, 9, REFUSED, Verdict::Up);
        let known = sample(4, 9, REFUSED, Verdict::Down);
        let mut one = batch(vec![good(1), good(2), against, known], vec![words(1, "HTTP 200")]);
        let (from, to) = (Verdict::Up, Verdict::Paused);
        one.transitions =
            vec![Transition { monitor: MonitorId(9), at_ms: 9, from, to, code: Code::GOOD }];
        let news: Vec<u64> =
            Fold::of_news(&[&one]).touched().iter().map(|(monitor, _)| monitor.0).collect();
        assert_eq!(news, [2, 3, 9]);
    }

    #[test]
    fn a_verdict_holds_since_the_first_of_the_checks_in_a_row_that_ended_with_it() {
        let rows = [(1, Verdict::Pending), (2, Verdict::Up), (3, Verdict::Up)];
        let rows = rows.map(|(due, verdict)| sample(1, due, CheckResult::Up, verdict));
        assert_eq!(Touched::of_head(&rows).since_ms, 2);
    }
}
