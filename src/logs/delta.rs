//! Time between the starts of one monitor's checks: the original's measure of its scheduler.
//!
//! Owns: the sums, per monitor and in all, from the starts that are stored (due plus lag).

use std::collections::HashMap;

use crate::ids::MonitorId;

/// A sum of differences and how many there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mean {
    sum_us: u64,
    count: u64,
}

impl Mean {
    fn add(&mut self, delta_us: u64) {
        self.sum_us = self.sum_us.saturating_add(delta_us);
        self.count += 1;
    }

    /// As the original writes it: `5.0s (3 checks)`, or `N/A (0 checks)`.
    pub fn text(&self) -> String {
        match self.count {
            0 => "N/A (0 checks)".to_owned(),
            count => format!("{} ({count} checks)", seconds(Some(self.sum_us / count))),
        }
    }
}

/// What is known of one monitor's starts.
#[derive(Clone, Copy, Debug, Default)]
struct Starts {
    last_us: u64,
    checks: u64,
    mean: Mean,
}

/// One start, in relation to those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its number among the monitor's, from 1.
    pub number: u64,
    /// Since the start before, in microseconds; `None` for the first.
    pub delta_us: Option<u64>,
    /// Of this monitor so far.
    pub mean: Mean,
}

/// The starts of all monitors.
#[derive(Debug, Default)]
pub struct Deltas {
    monitors: HashMap<MonitorId, Starts>,
    /// Of all monitors so far.
    pub mean: Mean,
    /// Checks started so far.
    pub checks: u64,
}

impl Deltas {
    /// Takes note of a start, in microseconds since the Unix epoch.
    pub fn start(&mut self, monitor: MonitorId, at_us: u64) -> Start {
        let starts = self.monitors.entry(monitor).or_default();
        starts.checks += 1;
        self.checks += 1;
        let delta_us = (starts.checks > 1).then(|| at_us.saturating_sub(starts.last_us));
        if let Some(delta_us) = delta_us {
            starts.mean.add(delta_us);
            self.mean.add(delta_us);
        }
        starts.last_us = at_us;
        Start { number: starts.checks, delta_us, mean: starts.mean }
    }

    /// Forgets a monitor.
    pub fn forget(&mut self, monitor: MonitorId) {
        self.monitors.remove(&monitor);
    }

    /// Forgets the monitors for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(MonitorId) -> bool) {
        self.monitors.retain(|monitor, _| keep(*monitor));
    }
}

/// Seconds with one decimal, or `N/A`.
pub fn seconds(micros: Option<u64>) -> String {
    micros.map_or("N/A".to_owned(), |micros| format!("{:.1}s", micros as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_from_the_second_start_on_and_added_up() {
        let mut deltas = Deltas::default();
        let (one, two) = (MonitorId(1), MonitorId(2));
        let first = deltas.start(one, 1_000_000);
        assert_eq!(
            (first.number, first.delta_us, first.mean.text()),
            (1, None, "N/A (0 checks)".into())
        );
        deltas.start(two, 2_000_000);
        assert_eq!(deltas.start(one, 6_000_000).mean.text(), "5.0s (1 checks)");
        let third = deltas.start(one, 13_000_000);
        assert_eq!((third.number, seconds(third.delta_us)), (3, "7.0s".into()));
        assert_eq!(third.mean.text(), "6.0s (2 checks)");
        deltas.start(two, 106_000_000);
        assert_eq!((deltas.mean.text(), deltas.checks), ("38.7s (3 checks)".into(), 5));
    }

    #[test]
    fn a_clock_that_went_back_is_no_time_at_all() {
        let mut deltas = Deltas::default();
        deltas.start(MonitorId(1), 5_000_000);
        assert_eq!(deltas.start(MonitorId(1), 4_000_000).delta_us, Some(0));
    }
}
