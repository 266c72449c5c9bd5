//! The engine's own part of the metrics page.
//!
//! Owns: names, units and labels. Reads the latest snapshot of each shard, so everything of one
//! shard is of one moment and its ledger balances on the page too. Its length depends on shards,
//! types and reasons only, never on the number of monitors.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use crate::metrics::delta::DeltaTimes;
use crate::metrics::host;
use crate::metrics::ledger::Ledger;
use crate::metrics::snapshot::{Published, Snapshot};
use crate::metrics::text::{Buckets, Label, SECONDS_BUCKETS, Sort, Text};
use crate::monitor::Kind;
use crate::sample::{CheckResult, Missed, Verdict};

/// Name, help and value of a number.
pub type Named = (&'static str, &'static str, u64);

/// Further numbers that another thread keeps. Names in milliseconds and microseconds are shown in
/// seconds.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Those that only rise.
    pub counters: Vec<Named>,
    /// Those that may fall.
    pub gauges: Vec<Named>,
}

/// What became of the last reload.
#[derive(Debug, Default)]
pub struct Reloads {
    failed: AtomicU64,
    last_good_ms: AtomicU64,
}

impl Reloads {
    /// A reload, or the start, was made at `now_ms`.
    pub fn tell(&self, good: bool, now_ms: u64) {
        self.failed.store(u64::from(!good), Ordering::Relaxed);
        if good {
            self.last_good_ms.store(now_ms, Ordering::Relaxed);
        }
    }
}

/// What the page shows.
pub struct Page {
    shards: Vec<Published>,
    reloads: Arc<Reloads>,
    deltas: Option<DeltaTimes>,
    others: Box<dyn Fn() -> Counts + Send + Sync>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("shards", &self.shards.len()).finish()
    }
}

impl Page {
    /// The page of these shards, with the times between checks where they are kept, and what
    /// `others` counts.
    pub fn new(
        shards: Vec<Published>,
        reloads: Arc<Reloads>,
        deltas: Option<DeltaTimes>,
        others: impl Fn() -> Counts + Send + Sync + 'static,
    ) -> Page {
        Page { shards, reloads, deltas, others: Box::new(others) }
    }

    /// Writes everything.
    pub fn write(&self, text: &mut Text) {
        let shards: Vec<Snapshot> = self.shards.iter().map(Published::latest).collect();
        text.family("engine_build", "What runs here; the value is always 1", Sort::Info);
        text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        ledger(text, &shards);
        results(text, &shards);
        lag(text, &shards);
        durations(text, &shards);
        gauges(text, &shards);
        counters(text, &shards);
        self.deltas.iter().for_each(|deltas| deltas.write(text));
        self.reloaded(text);
        let others = (self.others)();
        for (list, sort) in [(others.gauges, Sort::Gauge), (others.counters, Sort::Counter)] {
            for (name, help, value) in list {
                let (name, value) = in_base_units(name, value);
                text.family(&name, help, sort);
                text.sample(&[], value);
            }
        }
        host::write(text);
    }

    fn reloaded(&self, text: &mut Text) {
        let (failed, last_ms) = (&self.reloads.failed, &self.reloads.last_good_ms);
        let help = "1 where the last reading of the monitors was good";
        text.family("engine_config_last_reload_successful", help, Sort::Gauge);
        text.sample(&[], 1.0 - failed.load(Ordering::Relaxed) as f64);
        let help = "When it was good, since the Unix epoch";
        let name = "engine_config_last_reload_success_timestamp_seconds";
        text.family(name, help, Sort::Gauge);
        text.sample(&[], last_ms.load(Ordering::Relaxed) as f64 / 1e3);
    }
}

/// Prometheus has seconds only.
fn in_base_units(name: &str, value: u64) -> (String, f64) {
    let parts = [("milliseconds", 1e3), ("microseconds", 1e6)];
    let found = parts.into_iter().find_map(|(unit, parts)| Some((name.strip_suffix(unit)?, parts)));
    match found {
        Some((start, parts)) => (format!("{start}seconds"), value as f64 / parts),
        None => (name.to_owned(), value as f64),
    }
}

fn number(shard: &Snapshot) -> String {
    shard.shard.to_string()
}

fn ledger(text: &mut Text, shards: &[Snapshot]) {
    type Field = fn(&Ledger) -> u64;
    let fields: [(&str, &str, Field); 6] = [
        ("engine_checks_due", "Due checks whose fate is decided", |ledger| ledger.due),
        ("engine_checks_started", "Due checks that were started", |ledger| ledger.started),
        ("engine_checks_paused", "Due times of paused monitors", |ledger| ledger.paused),
        ("engine_checks_up", "Checks that found the target good", |ledger| ledger.up),
        ("engine_checks_down", "Checks that found the target bad", |ledger| ledger.down),
        ("engine_checks_unknown", "Checks that failed by our own fault", |ledger| ledger.unknown),
    ];
    for (name, help, field) in fields {
        text.family(name, help, Sort::Counter);
        for shard in shards {
            text.sample(&[("shard", &number(shard))], field(&shard.ledger) as f64);
        }
    }
    text.family("engine_checks_missed", "Due checks that were not run", Sort::Counter);
    for shard in shards {
        for (reason, count) in Missed::ALL.iter().zip(shard.ledger.missed) {
            let labels = [("shard", &*number(shard)), ("reason", reason.name())];
            text.sample(&labels, count as f64);
        }
    }
}

fn results(text: &mut Text, shards: &[Snapshot]) {
    let mut sum = Ledger::default();
    shards.iter().for_each(|shard| sum.add(&shard.ledger));
    text.family("engine_checks", "Finished checks by type, result and reason", Sort::Counter);
    for ((kind, code), count) in &sum.results {
        let result = match code.result() {
            CheckResult::Up => Verdict::Up,
            CheckResult::Down(_) => Verdict::Down,
            CheckResult::Unknown(_) | CheckResult::Missed(_) => Verdict::Unknown,
        };
        let labels = [("type", kind.name()), ("result", result.name()), ("reason", code.name())];
        text.sample(&labels, *count as f64);
    }
}

fn lag(text: &mut Text, shards: &[Snapshot]) {
    let help = "Start minus due time of every check";
    text.family("engine_schedule_lateness_seconds", help, Sort::Histogram);
    for shard in shards {
        let (counts, sum) = in_buckets(&shard.lag);
        text.histogram(&[("shard", &number(shard))], &SECONDS_BUCKETS, &counts, sum);
    }
}

/// How many durations are in each bucket and past the last, and their sum in seconds. One look at
/// the histogram: it has tens of thousands of counts.
fn in_buckets(durations: &Histogram<u32>) -> (Vec<u64>, f64) {
    let mut counts = vec![0; SECONDS_BUCKETS.len() + 1];
    let mut sum_us = 0.0;
    for slot in durations.iter_recorded() {
        let (value, count) = (slot.value_iterated_to(), slot.count_since_last_iteration());
        let lowest = durations.lowest_equivalent(value);
        let bucket = SECONDS_BUCKETS.partition_point(|end| ((end * 1e6) as u64) < lowest);
        counts[bucket] += count;
        sum_us += durations.median_equivalent(value) as f64 * count as f64;
    }
    (counts, sum_us / 1e6)
}

fn durations(text: &mut Text, shards: &[Snapshot]) {
    let help = "Time of the last attempt of checks that found the target good or bad";
    text.family("engine_check_duration_seconds", help, Sort::Histogram);
    for kind in Kind::ALL {
        let mut sum = Buckets::default();
        shards.iter().for_each(|shard| sum.add(&shard.durations[kind as usize]));
        if !sum.is_empty() {
            let seconds = sum.sum_us as f64 / 1e6;
            text.histogram(&[("type", kind.name())], &SECONDS_BUCKETS, &sum.counts, seconds);
        }
    }
}

fn gauges(text: &mut Text, shards: &[Snapshot]) {
    text.family("engine_monitors", "Monitors by verdict", Sort::Gauge);
    for verdict in Verdict::ALL {
        let count: u64 = shards.iter().map(|shard| shard.monitors[verdict as usize]).sum();
        text.sample(&[("verdict", verdict.name())], count as f64);
    }
    type Field = fn(&Snapshot) -> u64;
    let fields: [(&str, &str, Field); 5] = [
        ("engine_checks_open", "Checks in flight or between two attempts", |s| s.ledger.open()),
        ("engine_checks_waiting", "Checks that are due and wait for room", |s| s.waiting),
        ("engine_in_flight", "Probes on the wire", |s| s.in_flight),
        ("engine_in_flight_highest", "Most probes on the wire at once", |s| s.in_flight_max),
        ("engine_shard_backlog_batches", "Batches that wait for the store", |s| s.backlog),
    ];
    for (name, help, field) in fields {
        text.family(name, help, Sort::Gauge);
        for shard in shards {
            text.sample(&[("shard", &number(shard))], field(shard) as f64);
        }
    }
}

fn counters(text: &mut Text, shards: &[Snapshot]) {
    type Field = fn(&Snapshot) -> u64;
    let fields: [(&str, &str, Field); 5] = [
        ("engine_shard_turns", "Turns of the shard loop", |s| s.turns),
        ("engine_shard_stalls", "Times a shard could not look at its sockets", |s| s.stalls),
        ("engine_samples_dropped", "Samples the store could not take", |s| s.samples_dropped),
        ("engine_confirmations", "Checks started to confirm a failed one", |s| s.confirmations),
        ("engine_words_skipped", "Messages of repeated failures left out", |s| s.words_skipped),
    ];
    for (name, help, field) in fields {
        text.family(name, help, Sort::Counter);
        for shard in shards {
            text.sample(&[("shard", &number(shard))], field(shard) as f64);
        }
    }
    text.family("engine_shard_cpu_seconds", "CPU time of the shard's thread", Sort::Counter);
    for shard in shards {
        for (mode, micros) in [("user", shard.cpu_user_us), ("system", shard.cpu_system_us)] {
            let labels: [Label<'_>; 2] = [("shard", &number(shard)), ("mode", mode)];
            text.sample(&labels, micros as f64 / 1e6);
        }
    }
    let help = "What the sockets and the resolver of a shard did";
    text.family("engine_net_events", help, Sort::Counter);
    for shard in shards {
        for (event, count) in &shard.net {
            text.sample(&[("shard", &*number(shard)), ("event", event)], *count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;
    use crate::metrics::text::Format;

    fn page() -> String {
        let published = Published::new(ShardId(1));
        let mut snapshot = Snapshot::empty(ShardId(1));
        snapshot.ledger.start();
        snapshot.ledger.finish(Kind::Tcp, CheckResult::Up);
        snapshot.ledger.miss(Missed::Overrun, 2);
        snapshot.lag.saturating_record(3_000);
        snapshot.durations[Kind::Tcp as usize].record(70_000);
        snapshot.monitors[Verdict::Up as usize] = 1;
        published.publish(snapshot);
        let others = || Counts {
            counters: vec![("engine_store_commit_microseconds", "Time", 2_500_000)],
            gauges: vec![("engine_spool_records", "Batches that wait", 4)],
        };
        let reloads = Arc::new(Reloads::default());
        reloads.tell(true, 1_500);
        reloads.tell(false, 2_500);
        let mut text = Text::new(Format::OpenMetrics);
        Page::new(vec![published], reloads, None, others).write(&mut text);
        text.take()
    }

    #[test]
    fn every_number_is_on_the_page_in_base_units() {
        let page = page();
        for line in [
            "engine_checks_due_total{shard=\"1\"} 3",
            "engine_checks_missed_total{shard=\"1\",reason=\"overrun\"} 2",
            "engine_checks_total{type=\"tcp\",result=\"up\",reason=\"ok\"} 1",
            "engine_monitors{verdict=\"up\"} 1",
            "engine_store_commit_seconds_total 2.5",
            "engine_spool_records 4",
            "engine_check_duration_seconds_bucket{type=\"tcp\",le=\"0.1\"} 1",
            "engine_config_last_reload_successful 0",
            "engine_config_last_reload_success_timestamp_seconds 1.5",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn lag_buckets_add_up_in_seconds() {
        let page = page();
        let bucket = |end: &str, count: u32| {
            format!("engine_schedule_lateness_seconds_bucket{{shard=\"1\",le=\"{end}\"}} {count}\n")
        };
        for (end, count) in [("0.0025", 0), ("0.005", 1), ("+Inf", 1)] {
            assert!(page.contains(&bucket(end, count)), "{page}");
        }
    }
}
