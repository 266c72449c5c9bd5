//! The engine itself: how late and how busy it is.
//!
//! Owns: turning the running sums of the shards into rates and percentiles of the last minute.

use std::collections::VecDeque;

use hdrhistogram::Histogram;
use serde::Serialize;
use utoipa::ToSchema;

use crate::limits::LOAD_WINDOW_S;
use crate::metrics::snapshot::{Published, Snapshot, lag_histogram};

/// Time between two states that are kept, in milliseconds: the window has six of them.
const KEPT_EVERY_MS: u64 = LOAD_WINDOW_S * 1_000 / 6;

/// How the engine is: rates and lag over the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Load {
    /// Shards.
    pub shards: usize,
    /// Checks started each second.
    pub checks_per_s: f64,
    /// Start minus due, in microseconds: half of all checks start within this.
    pub lag_p50_us: u64,
    /// 99 of 100 start within this.
    pub lag_p99_us: u64,
    /// The latest.
    pub lag_max_us: u64,
    /// Share of the shards' CPU time that is used, in percent of all their cores.
    pub cpu_percent: f64,
    /// Probes on the wire.
    pub in_flight: u64,
    /// Checks that are due and wait for room.
    pub waiting: u64,
    /// Due checks that were not run in the last minute.
    pub missed: u64,
    /// Results dropped since the start.
    pub samples_dropped: u64,
}

/// Sums over all shards at one moment.
struct Sums {
    at_ms: u64,
    lag: Histogram<u32>,
    started: u64,
    missed: u64,
    cpu_us: u64,
}

/// Watches the shards.
pub struct Watch {
    shards: Vec<Published>,
    kept: VecDeque<Sums>,
}

impl Watch {
    /// Watches these shards.
    pub fn new(shards: Vec<Published>) -> Watch {
        Watch { shards, kept: VecDeque::new() }
    }

    /// How the engine is now.
    pub fn look(&mut self, now_ms: u64) -> Load {
        let shards: Vec<Snapshot> = self.shards.iter().map(Published::latest).collect();
        let now = Sums::of(&shards, now_ms);
        let before = self.kept.front();
        let of_window = before.map_or_else(|| now.lag.clone(), |before| less(&now, before));
        let since = |sum: fn(&Sums) -> u64| sum(&now) - before.map_or(0, sum).min(sum(&now));
        let window_ms = before.map_or(0, |before| now_ms.saturating_sub(before.at_ms));
        let per_ms = |count: u64| if window_ms > 0 { count as f64 / window_ms as f64 } else { 0.0 };
        let load = Load {
            shards: shards.len(),
            checks_per_s: per_ms(since(|sums| sums.started)) * 1_000.0,
            lag_p50_us: of_window.value_at_quantile(0.5),
            lag_p99_us: of_window.value_at_quantile(0.99),
            lag_max_us: of_window.max(),
            cpu_percent: per_ms(since(|sums| sums.cpu_us)) / 10.0 / shards.len().max(1) as f64,
            in_flight: shards.iter().map(|shard| shard.in_flight).sum(),
            waiting: shards.iter().map(|shard| shard.waiting).sum(),
            missed: since(|sums| sums.missed),
            samples_dropped: shards.iter().map(|shard| shard.samples_dropped).sum(),
        };
        if self.kept.back().is_none_or(|last| now_ms >= last.at_ms + KEPT_EVERY_MS) {
            self.kept.push_back(now);
        }
        while self.kept.len() > 1 && self.kept[1].at_ms + LOAD_WINDOW_S * 1_000 <= now_ms {
            self.kept.pop_front();
        }
        load
    }
}

impl Sums {
    fn of(shards: &[Snapshot], at_ms: u64) -> Sums {
        let mut lag = lag_histogram();
        for shard in shards {
            // Both have the same bounds, so nothing is left out.
            let _ = lag.add(&shard.lag);
        }
        let sum = |of: fn(&Snapshot) -> u64| shards.iter().map(of).sum();
        Sums {
            at_ms,
            lag,
            started: sum(|shard| shard.ledger.started),
            missed: sum(|shard| shard.ledger.missed_total()),
            cpu_us: sum(|shard| shard.cpu_user_us + shard.cpu_system_us),
        }
    }
}

/// What came since `before`; all where the two do not fit, after a shard began anew.
fn less(now: &Sums, before: &Sums) -> Histogram<u32> {
    let mut lag = now.lag.clone();
    match lag.subtract(&before.lag) {
        Ok(()) => lag,
        Err(_) => now.lag.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    #[test]
    fn rates_and_lag_are_those_of_the_last_minute() {
        let published = Published::new(ShardId(0));
        let mut watch = Watch::new(vec![published.clone()]);
        let mut snapshot = Snapshot::empty(ShardId(0));
        let mut publish = |started: u64, lag_us: u64| {
            for _ in 0..started {
                snapshot.ledger.start();
                snapshot.lag.record(lag_us).unwrap();
            }
            snapshot.cpu_user_us += started * 100;
            published.publish(snapshot.clone());
        };
        publish(600, 50_000);
        assert_eq!(watch.look(1_000_000).checks_per_s, 0.0);
        publish(300, 100);
        let load = watch.look(1_030_000);
        assert_eq!((load.checks_per_s, load.lag_p99_us), (10.0, 100));
        assert!((load.cpu_percent - 0.1).abs() < 1e-9, "{}", load.cpu_percent);
        for second in (1_031_000..1_200_000).step_by(1_000) {
            watch.look(second);
        }
        let idle = watch.look(1_200_000);
        assert_eq!((idle.checks_per_s, idle.lag_p50_us, idle.lag_max_us), (0.0, 0, 0));
        assert!(watch.kept.len() <= 8);
    }
}
