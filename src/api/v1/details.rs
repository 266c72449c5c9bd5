//! What the list of all monitors knows of each beside its verdict: labels and the last check.
//!
//! Owns: two columns of the list. About 110 bytes a monitor with its name and target. The last
//! checks are behind one lock, which the store's thread takes once for a batch and a scrape once
//! for some hundred monitors.

use std::sync::{Mutex, MutexGuard, PoisonError};

use probes::Timings;

use crate::sample::{CheckResult, Code, Sample};
use crate::store::view::MonitorView;

/// The last check that was run.
#[derive(Clone, Copy, Debug)]
pub struct Latest {
    /// When it was due, in milliseconds since the Unix epoch; 0 for never.
    pub due_ms: u64,
    /// When the verdict changed last, as far as this process saw it.
    pub changed_ms: u64,
    /// Earliest end of the certificates that were seen last, in seconds since the Unix epoch; 0
    /// for none.
    pub cert_end_s: i64,
    /// Wall time of the last attempt, in microseconds.
    pub total_us: u32,
    /// Time in each phase.
    pub timings: Timings,
    /// The result.
    pub code: Code,
    /// HTTP status, 0 for none.
    pub http_status: u16,
}

const NEVER: Latest = Latest {
    due_ms: 0,
    changed_ms: 0,
    cert_end_s: 0,
    total_us: 0,
    timings: Timings::NONE,
    code: Code::GOOD,
    http_status: 0,
};

impl Latest {
    /// Takes a result into account; a check that was not run says nothing.
    pub fn take(&mut self, sample: &Sample) {
        if matches!(sample.code.result(), CheckResult::Missed(_)) {
            return;
        }
        *self = Latest {
            due_ms: sample.due_ms,
            total_us: sample.total_us,
            timings: sample.timings,
            code: sample.code,
            http_status: sample.http_status,
            ..*self
        };
    }
}

/// The columns, by place.
#[derive(Debug, Default)]
pub struct Details {
    /// Name and instance of each, one after the other.
    labels: String,
    name_ends: Vec<usize>,
    ends: Vec<usize>,
    latest: Mutex<Vec<Latest>>,
}

impl Details {
    /// One more monitor.
    pub fn push(&mut self, row: &MonitorView) {
        self.labels.push_str(&row.name);
        self.name_ends.push(self.labels.len());
        // A query may hold what nobody should read in a metric.
        let instance = row.target.split(['?', '#']).next().unwrap_or_default();
        self.labels.push_str(instance);
        self.ends.push(self.labels.len());
        let latest = self.latest.get_mut().unwrap_or_else(PoisonError::into_inner);
        latest.push(NEVER);
    }

    /// Gives back what the labels do not need.
    pub fn shrink_to_fit(&mut self) {
        self.labels.shrink_to_fit();
    }

    /// The name as written.
    pub fn name(&self, at: usize) -> &str {
        &self.labels[self.start(at)..self.name_ends[at]]
    }

    /// The target without query.
    pub fn instance(&self, at: usize) -> &str {
        &self.labels[self.name_ends[at]..self.ends[at]]
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// The last check of each. To be held shortly: the store's thread waits for it.
    pub fn latest(&self) -> MutexGuard<'_, Vec<Latest>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fleet::tests::row;
    use super::*;
    use crate::sample::Verdict;

    #[test]
    fn labels_are_as_written_and_without_query() {
        let mut details = Details::default();
        let mut one = row(1, "Größe", &[], Verdict::Up);
        one.target = "https://Shop.example/a?key=s3cret#x".into();
        details.push(&one);
        details.push(&row(2, "b", &[], Verdict::Up));
        assert_eq!((details.name(0), details.instance(0)), ("Größe", "https://Shop.example/a"));
        assert_eq!((details.name(1), details.instance(1)), ("b", "1.example:443"));
        assert_eq!(details.latest().len(), 2);
    }
}
