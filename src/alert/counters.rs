//! What alerting counts, for the metrics page.
//!
//! Owns: the numbers. Written by the alerts' thread and the store thread, read by the page.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::page::Counts;

/// What alerting counts.
#[derive(Debug, Default)]
pub struct AlertCounters {
    pub(super) changes: AtomicU64,
    pub(super) repeated: AtomicU64,
    pub(super) overflowed: AtomicU64,
    pub(super) caught_up: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) grouped: AtomicU64,
    pub(super) directory_errors: AtomicU64,
    pub(super) outbox_errors: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) outages: AtomicU64,
    pub(super) held: AtomicU64,
    pub(super) oldest_ms: AtomicU64,
    pub(super) sending: AtomicU64,
    said: Mutex<String>,
}

impl AlertCounters {
    /// Adds all of them by name.
    pub fn add_to(&self, counts: &mut Counts, now_ms: u64) {
        let Counts { counters, gauges } = self.by_name(now_ms);
        counts.counters.extend(counters);
        counts.gauges.extend(gauges);
    }

    fn by_name(&self, now_ms: u64) -> Counts {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let oldest = load(&self.oldest_ms);
        let age = if oldest == 0 { 0 } else { now_ms.saturating_sub(oldest) };
        Counts {
            counters: vec![
                ("engine_alert_changes", "Changes of verdict taken", load(&self.changes)),
                ("engine_alert_changes_repeated", "Those known already", load(&self.repeated)),
                (
                    "engine_alert_changes_overflowed",
                    "Lists of changes that were read from the store instead",
                    load(&self.overflowed),
                ),
                (
                    "engine_alert_changes_caught_up",
                    "Changes that only the store told of",
                    load(&self.caught_up),
                ),
                ("engine_alert_notices_delivered", "Notices delivered", load(&self.delivered)),
                ("engine_alert_deliveries_failed", "Deliveries to try again", load(&self.failed)),
                ("engine_alert_notices_refused", "Never to be taken", load(&self.refused)),
                ("engine_alert_notices_expired", "Given up for their age", load(&self.expired)),
                ("engine_alert_groups", "Grouped notices made", load(&self.grouped)),
                (
                    "engine_alert_directory_errors",
                    "Times that nothing could be known of monitors",
                    load(&self.directory_errors),
                ),
                (
                    "engine_alert_outbox_errors",
                    "Turns that the outbox refused",
                    load(&self.outbox_errors),
                ),
            ],
            gauges: vec![
                ("engine_alert_notices_waiting", "Notices to deliver", load(&self.waiting)),
                ("engine_alert_outages", "Outages that are not over", load(&self.outages)),
                ("engine_alert_outages_held", "Not told because of a mark", load(&self.held)),
                ("engine_alert_sending", "Deliveries on their way", load(&self.sending)),
                ("engine_alert_oldest_milliseconds", "Age of the oldest notice", age),
            ],
        }
    }

    pub(super) fn grouped(&self, count: u64) {
        add(&self.grouped, count);
    }

    /// Counts that nothing can be known of monitors, and says so once for each reason.
    pub(super) fn directory_failed(&self, error: &str) {
        add(&self.directory_errors, 1);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != error {
            tracing::warn!(error, "alerts: nothing can be known of monitors now");
            error.clone_into(&mut said);
        }
    }
}

pub(super) fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}
