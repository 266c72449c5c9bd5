//! What the API counts about itself.
//!
//! Owns: the numbers and their names on the metrics page.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::page::Counts;

/// Numbers about the API.
#[derive(Debug, Default)]
pub struct ApiCounters {
    /// Requests to `/api/v1`.
    pub requests: AtomicU64,
    /// Of those, refused because their address sent too many.
    pub refused_rate: AtomicU64,
    /// Of those, refused because nobody knows who sent them.
    pub refused_unknown: AtomicU64,
    /// Pages that follow live.
    pub live: AtomicU64,
    /// Live pages dropped because they did not read.
    pub live_dropped: Arc<AtomicU64>,
    /// Readings of the list of all monitors that failed.
    pub fleet_failed: AtomicU64,
    /// Checks by `/probe`.
    pub probes: AtomicU64,
    /// Of those, refused because there were too many at once.
    pub probes_refused: AtomicU64,
    /// Monitors in that list.
    pub fleet: AtomicU64,
}

impl ApiCounters {
    /// Adds the numbers to those of the page.
    pub fn add_to(&self, counts: &mut Counts) {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        counts.gauges.extend([
            ("engine_api_live_pages", "Pages that follow live", of(&self.live)),
            ("engine_api_fleet_monitors", "Monitors in the API's list of all", of(&self.fleet)),
        ]);
        counts.counters.extend([
            ("engine_api_requests", "Requests to the API", of(&self.requests)),
            ("engine_api_refused_rate", "Requests over the rate", of(&self.refused_rate)),
            ("engine_api_refused_unknown", "Requests of nobody known", of(&self.refused_unknown)),
            ("engine_api_live_dropped", "Live pages that did not read", of(&self.live_dropped)),
            ("engine_probe_requests", "Checks asked for by /probe", of(&self.probes)),
            ("engine_probe_refused", "Refused: too many at once", of(&self.probes_refused)),
            ("engine_api_fleet_failed", "Failed readings of the list", of(&self.fleet_failed)),
        ]);
    }
}
