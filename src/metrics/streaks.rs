//! Failed checks in a row, by monitor.
//!
//! Owns: the counts since the start of the engine. Fed by the store thread after each commit, read
//! by the API. Holds monitors that fail only, so a healthy list costs nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::MonitorId;
use crate::sample::{CheckResult, SampleBatch};

/// Failed checks in a row. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Streaks(Arc<Mutex<HashMap<MonitorId, u32>>>);

impl Streaks {
    /// Takes recorded results into account. What is our own trouble says nothing.
    pub fn record(&self, batches: &[SampleBatch]) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in batches.iter().flat_map(|batch| &batch.samples) {
            match sample.code.result() {
                CheckResult::Down(_) => {
                    let count = failing.entry(sample.monitor).or_default();
                    *count = count.saturating_add(1);
                }
                CheckResult::Up if !failing.is_empty() => drop(failing.remove(&sample.monitor)),
                CheckResult::Up | CheckResult::Unknown(_) | CheckResult::Missed(_) => {}
            }
        }
    }

    /// Failed checks in a row of one monitor.
    pub fn of(&self, monitor: MonitorId) -> u32 {
        let failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failing.get(&monitor).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use probes::Timings;

    use super::*;
    use crate::ids::ShardId;
    use crate::sample::{Code, Sample, Verdict};

    #[test]
    fn failures_count_until_a_good_answer_and_our_own_trouble_says_nothing() {
        let streaks = Streaks::default();
        let record = |code: u16| {
            let sample = Sample {
                monitor: MonitorId(7),
                due_ms: 0,
                lag_us: 0,
                timings: Timings::NONE,
                total_us: 0,
                body_bytes: 0,
                code: Code(code),
                http_status: 0,
                phase: u8::MAX,
                attempts: 1,
                verdict: Verdict::Down,
            };
            let batch = SampleBatch {
                shard: ShardId(0),
                seq: 1,
                samples: vec![sample],
                words: vec![],
                transitions: vec![],
            };
            streaks.record(&[batch]);
            streaks.of(MonitorId(7))
        };
        assert_eq!([12, 12, 1007, 2001, 12].map(record), [1, 2, 2, 2, 3]);
        assert_eq!(record(0), 0);
        assert_eq!(streaks.of(MonitorId(8)), 0);
    }
}
