//! Time between the starts of one monitor's checks, of all monitors, as the original measures it.
//!
//! Owns: the last start of each monitor and the histogram. Fed by the store thread with recorded
//! results; some 30 bytes a monitor, so it is only kept where the original is followed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::MonitorId;
use crate::metrics::text::{Sort, Text};
use crate::sample::{CheckResult, SampleBatch};

/// Upper ends of the buckets, in seconds: around the usual intervals, since what counts is how far
/// a difference is from them.
const BUCKETS: [f64; 15] =
    [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 59.0, 60.0, 61.0, 65.0, 90.0, 120.0, 300.0, 360.0, 3600.0];

/// The differences. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct DeltaTimes(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// In microseconds since the Unix epoch.
    last_start: HashMap<MonitorId, u64>,
    /// One more than there are ends.
    counts: [u64; BUCKETS.len() + 1],
    sum_us: u64,
}

impl DeltaTimes {
    /// Takes recorded results into account: those of checks that ran.
    pub fn record(&self, batches: &[SampleBatch]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in batches.iter().flat_map(|batch| &batch.samples) {
            if matches!(sample.code.result(), CheckResult::Missed(_)) {
                continue;
            }
            let start_us = sample.due_ms * 1_000 + u64::from(sample.lag_us);
            if let Some(before) = inner.last_start.insert(sample.monitor, start_us) {
                inner.add(start_us.saturating_sub(before));
            }
        }
    }

    /// Writes the histogram.
    pub fn write(&self, text: &mut Text) {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Time between the starts of consecutive checks of a monitor";
        text.family("engine_check_delta_seconds", help, Sort::Histogram);
        text.histogram(&[], &BUCKETS, &inner.counts, inner.sum_us as f64 / 1e6);
    }
}

impl Inner {
    fn add(&mut self, delta_us: u64) {
        let seconds = delta_us as f64 / 1e6;
        let bucket = BUCKETS.iter().position(|end| seconds <= *end).unwrap_or(BUCKETS.len());
        self.counts[bucket] += 1;
        self.sum_us += delta_us;
    }
}

#[cfg(test)]
mod tests {
    use probes::Timings;

    use super::*;
    use crate::ids::ShardId;
    use crate::metrics::text::Format;
    use crate::sample::{Code, Missed, Sample, Verdict};

    fn batch(starts: &[(u64, u64, u16)]) -> SampleBatch {
        let sample = |(monitor, due_ms, code): &(u64, u64, u16)| Sample {
            monitor: MonitorId(*monitor),
            due_ms: *due_ms,
            lag_us: 500,
            timings: Timings::NONE,
            total_us: 0,
            body_bytes: 0,
            code: Code(*code),
            http_status: 0,
            phase: u8::MAX,
            attempts: 1,
            verdict: Verdict::Up,
        };
        let samples = starts.iter().map(sample).collect();
        SampleBatch { shard: ShardId(0), seq: 1, samples, words: vec![], transitions: vec![] }
    }

    #[test]
    fn differences_are_those_of_one_monitor_s_checks_that_ran() {
        let deltas = DeltaTimes::default();
        let missed = Missed::Overrun as u16;
        deltas.record(&[batch(&[(1, 1_000, 0), (2, 2_000, 0), (1, 6_000, missed)])]);
        deltas.record(&[batch(&[(1, 61_000, 0), (2, 4_000, 12)])]);
        let mut text = Text::new(Format::OpenMetrics);
        deltas.write(&mut text);
        let page = text.take();
        for line in [
            "engine_check_delta_seconds_sum 62",
            "engine_check_delta_seconds_count 2",
            "engine_check_delta_seconds_bucket{le=\"2.0\"} 1",
            "engine_check_delta_seconds_bucket{le=\"59.0\"} 1",
            "engine_check_delta_seconds_bucket{le=\"60.0\"} 2",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
    }
}
