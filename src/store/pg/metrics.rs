//! The metrics that the original writes about itself each minute, into `monitor_system_metrics`.
//!
//! Owns: their names and meaning. CPU and memory are the machine's, as in the original; checks are
//! those recorded. `internet_connectivity` is 1 while targets answer: nothing is asked for it.

use std::fs;

use super::super::{StoreError, signed};
use super::link::Link;
use crate::limits::SERIES_METRICS_EVERY_MS;
use crate::pg::{Type, Value};

/// The largest number that the column holds.
const VALUE_MAX: f64 = 999_999_999.999_999;

/// Counts between two rounds.
#[derive(Debug)]
pub(super) struct Metrics {
    enabled: bool,
    /// When the last round was; 0 before the first.
    last_ms: u64,
    up: u64,
    down: u64,
    total: u64,
    /// Busy and all ticks of the machine's CPUs at the last round.
    ticks: (u64, u64),
}

impl Metrics {
    /// Counts that begin at zero.
    pub fn new(enabled: bool) -> Metrics {
        Metrics { enabled, last_ms: 0, up: 0, down: 0, total: 0, ticks: cpu_ticks() }
    }

    /// Counts recorded results.
    pub fn count(&mut self, up: u64, down: u64) {
        self.up += up;
        self.down += down;
        self.total += up + down;
    }

    /// Writes a round where a minute is over.
    pub async fn write(&mut self, link: &mut Link, now_ms: u64) -> Result<(), StoreError> {
        if self.last_ms == 0 {
            self.last_ms = now_ms;
        }
        let passed_ms = now_ms.saturating_sub(self.last_ms);
        if !self.enabled || passed_ms < SERIES_METRICS_EVERY_MS {
            return Ok(());
        }
        let ticks = cpu_ticks();
        let (names, numbers): (Vec<&str>, Vec<f64>) =
            self.round(passed_ms, ticks).into_iter().unzip();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let tags = serde_json::json!({ "thread_id": 1, "hostname": host.trim() }).to_string();
        let at = signed(now_ms) as f64 / 1e3;
        link.transaction(async |work| {
            let Some(series) = &work.places.series else { return Ok(()) };
            let values: [Value<'_>; 4] = [
                (&at, Type::FLOAT8),
                (&names, Type::TEXT_ARRAY),
                (&numbers, Type::FLOAT8_ARRAY),
                (&tags, Type::TEXT),
            ];
            let sql = format!(
                "INSERT INTO {series}.monitor_system_metrics (time, metric_type, value, tags)
                 SELECT to_timestamp($1), name, number, $4::jsonb
                 FROM unnest($2, $3) AS u (name, number) ON CONFLICT DO NOTHING"
            );
            work.session.execute(&sql, &values).await?;
            Ok(())
        })
        .await?;
        (self.last_ms, self.ticks, self.up, self.down) = (now_ms, ticks, 0, 0);
        Ok(())
    }

    fn round(&self, passed_ms: u64, ticks: (u64, u64)) -> Vec<(&'static str, f64)> {
        let checks = self.up + self.down;
        let share = |part: u64, whole: u64| {
            if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
        };
        let busy = ticks.0.saturating_sub(self.ticks.0);
        let all = ticks.1.saturating_sub(self.ticks.1);
        let (used, total) = memory_bytes();
        let mut round = vec![
            ("cpu_usage_percent", share(busy, all)),
            ("memory_usage_percent", share(used, total)),
            ("monitor_checks_per_minute", checks as f64 * 60_000.0 / passed_ms as f64),
            ("monitor_success_rate_percent", share(self.up, checks)),
            ("monitor_total_checks", (self.total as f64).min(VALUE_MAX)),
            ("internet_connectivity", if self.up > 0 || checks == 0 { 1.0 } else { 0.0 }),
        ];
        // The original's way out where a number is too large for the column.
        match used as f64 {
            bytes if bytes < VALUE_MAX => round.push(("memory_used_bytes", bytes)),
            bytes => round.push(("memory_used_mb", bytes / f64::from(1 << 20))),
        }
        round
    }
}

/// Busy and all ticks of the machine's CPUs since it started; zeros where they cannot be read.
fn cpu_ticks() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).take(8).collect();
    let all: u64 = ticks.iter().sum();
    // The fourth and fifth are idle and waiting for the disk.
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    (all - idle, all)
}

/// Used and all bytes of the machine's memory; zeros where they cannot be read.
fn memory_bytes() -> (u64, u64) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
        number.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
    };
    let total = kib("MemTotal");
    (total.saturating_sub(kib("MemAvailable")) * 1_024, total * 1_024)
}
