//! What a run found: the numbers, under the names that they have in JSON.
//!
//! Owns: every figure and how it is made of what was watched. The JSON keys are an interface:
//! scripts and the regression checks read them, so a key never changes its meaning.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::bench::machine::Machine;
use crate::bench::watch::{Look, Point, Shards, Threads, lag_between};
use crate::bench::yardstick::Cost;
use crate::bench::{Plan, Seats};
use crate::sample::Missed;

/// Everything that a run gathered.
pub struct Run<'a> {
    /// What was asked for.
    pub plan: &'a Plan,
    /// Where everything ran.
    pub seats: &'a Seats,
    /// Probes in flight that a shard may have.
    pub in_flight_max: usize,
    /// The machine.
    pub machine: Machine,
    /// The start.
    pub load: Load,
    /// A look a second, from the end of the warm-up on; one at least.
    pub watched: Vec<Point>,
    /// The shards after their end.
    pub last: Shards,
    /// The reference.
    pub cost: Option<Cost>,
    /// The database, by its sort.
    pub store: &'static str,
    /// Bytes of the database in the end.
    pub database: u64,
}

/// How the start went.
pub struct Load {
    /// From the first call to the last monitor given to its shard.
    pub seconds: f64,
    /// From the first call to the first recorded result, in microseconds; 0 for never.
    pub first_result_us: Arc<AtomicU64>,
    /// Monitors that cannot run: none, or the bench is wrong.
    pub refused: usize,
}

/// What a run found. Counts are of the measured time, after the warm-up, unless they say else.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Version of the engine.
    pub version: &'static str,
    /// The mix, by its name.
    pub mix: &'static str,
    /// The database: `sqlite` or `postgres`.
    pub store: &'static str,
    /// Monitors.
    pub monitors: usize,
    /// From due to due, in seconds.
    pub interval_s: f64,
    /// Shards.
    pub shards: usize,
    /// Length of the warm-up, in seconds.
    pub warmup_s: f64,
    /// Length of what was measured, in seconds.
    pub seconds: f64,
    /// Checks that were due.
    pub due: u64,
    /// Checks that were started.
    pub started: u64,
    /// Checks that were due and not run.
    pub missed: u64,
    /// The same by reason.
    pub missed_by_reason: BTreeMap<&'static str, u64>,
    /// Checks that found their target good.
    pub up: u64,
    /// Checks that found it bad.
    pub down: u64,
    /// Checks that could not tell: the engine's trouble.
    pub unknown: u64,
    /// Share of bad targets that the mix has, 0 to 1.
    pub failing_share_of_mix: f64,
    /// Checks by the stable word of their result.
    pub results: BTreeMap<&'static str, u64>,
    /// True where at the end the ledger of every shard accounts for every due check of the run.
    pub ledger_balances: bool,
    /// Finished checks per second.
    pub checks_per_s: f64,
    /// Start minus due, in milliseconds: the median.
    pub lag_p50_ms: f64,
    /// 99 of 100 started within this.
    pub lag_p99_ms: f64,
    /// 999 of 1,000 started within this.
    pub lag_p999_ms: f64,
    /// The latest start.
    pub lag_max_ms: f64,
    /// CPU µs of the shards' threads per finished check: what `ratio_to_reference` compares.
    pub cpu_us_per_check: f64,
    /// The part of it outside the kernel.
    pub cpu_user_us_per_check: f64,
    /// The part of it inside the kernel.
    pub cpu_kernel_us_per_check: f64,
    /// CPU µs of the store's thread per finished check.
    pub store_cpu_us_per_check: f64,
    /// CPU µs of the farm per finished check; not part of the engine.
    pub farm_cpu_us_per_check: f64,
    /// CPU µs per check of the smallest client that does the same exchanges at the same pace.
    pub reference_us_per_check: Option<f64>,
    /// `cpu_us_per_check` over `reference_us_per_check`.
    pub ratio_to_reference: Option<f64>,
    /// Allocations of the shards' threads per finished check.
    pub allocations_per_check: f64,
    /// Turns of the shards' loops per second, all shards together.
    pub turns_per_s: f64,
    /// Times per check that a shard gave its CPU away to wait.
    pub waits_per_check: f64,
    /// Times per check that its CPU was taken from it.
    pub preemptions_per_check: f64,
    /// Times that a shard could not look at its sockets for long.
    pub stalls: u64,
    /// Busy part of the shards' CPUs by their own threads, 0 to 1.
    pub shard_busy: f64,
    /// Busy part of one CPU by the store, 0 to 1.
    pub store_busy: f64,
    /// Busy part of one CPU by the farm, 0 to 1.
    pub farm_busy: f64,
    /// Busy part of the whole machine, others included, 0 to 1.
    pub machine_busy: f64,
    /// Resident memory of this process at the end of the measured time, in bytes.
    pub rss_bytes: u64,
    /// Most that was resident, loading included.
    pub rss_bytes_peak: u64,
    /// `rss_bytes` over the monitors.
    pub rss_bytes_per_monitor: f64,
    /// Results recorded per second.
    pub store_rows_per_s: f64,
    /// Bytes per recorded result before compaction.
    pub store_bytes_per_row: f64,
    /// Milliseconds of the mean commit.
    pub store_commit_ms: f64,
    /// Batches that waited for the store at the end of the measured time.
    pub store_batches_pending: u64,
    /// Batches that went to the spool because the database was slow or away.
    pub store_batches_spooled: u64,
    /// Results dropped because the store could not take them.
    pub samples_dropped: u64,
    /// Bytes of the database's files at the end.
    pub database_bytes: u64,
    /// Most probes on the wire at once in one shard, warm-up included.
    pub in_flight_max: u64,
    /// Probes on the wire that a shard may have.
    pub in_flight_allowed: usize,
    /// Most descriptors open at once, by a look a second.
    pub descriptors_max: u64,
    /// Most connections in TIME_WAIT on the host at once, by a look a second.
    pub time_waits_max: u64,
    /// From the first call to the last monitor given to its shard, in seconds.
    pub load_s: f64,
    /// From the first call to the first recorded result, in seconds.
    pub first_result_s: f64,
    /// Monitors that could not run.
    pub refused: usize,
    /// The machine.
    pub machine: Machine,
    /// The measured time second by second.
    pub series: Vec<Second>,
    /// Starts by their lag: upper end in milliseconds, and how many.
    pub lag_histogram: Vec<(f64, u64)>,
}

/// One second of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Second {
    /// Its end, in seconds since the warm-up.
    pub at_s: f64,
    /// Checks due per second.
    pub due_per_s: f64,
    /// Checks finished per second.
    pub checks_per_s: f64,
    /// Checks that found their target bad or could not tell, per second.
    pub not_up_per_s: f64,
    /// Checks that were due and not run.
    pub missed: u64,
    /// 99 of 100 started within this, in milliseconds.
    pub lag_p99_ms: f64,
    /// The latest start, in milliseconds.
    pub lag_max_ms: f64,
    /// CPUs that the shards used, in CPUs: 1 is one whole.
    pub shard_cpus: f64,
    /// CPUs that the store used.
    pub store_cpus: f64,
    /// CPUs that the farm used.
    pub farm_cpus: f64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Probes on the wire.
    pub in_flight: u64,
}

impl Report {
    /// Works out the figures.
    pub fn of(run: &Run<'_>) -> Report {
        let mut report = Report { machine: run.machine.clone(), ..Report::default() };
        report.asked_for(run);
        let (Some(first), Some(last)) = (run.watched.first(), run.watched.last()) else {
            return report;
        };
        report.seconds = last.second - first.second;
        let (first, last) = (&first.look, &last.look);
        report.count(first, last);
        report.price(run, first, last);
        report.hold(run, last);
        report.keep(first, last);
        report.series = run.watched.windows(2).map(|two| second(&two[0], &two[1])).collect();
        report
    }

    fn asked_for(&mut self, run: &Run<'_>) {
        self.version = env!("CARGO_PKG_VERSION");
        self.mix = run.plan.mix.name();
        self.monitors = run.plan.monitors;
        self.interval_s = run.plan.interval.as_secs_f64();
        self.warmup_s = run.plan.warmup.as_secs_f64();
        self.shards = run.seats.shards.len();
        self.failing_share_of_mix = run.plan.mix.failing();
        self.load_s = run.load.seconds;
        self.first_result_s = run.load.first_result_us.load(Ordering::Relaxed) as f64 / 1e6;
        self.refused = run.load.refused;
        self.in_flight_allowed = run.in_flight_max;
        self.store = run.store;
        self.database_bytes = run.database;
        self.ledger_balances = run.last.balances && run.last.ledger.open() == 0;
    }

    /// What became of the checks, and how late they were.
    fn count(&mut self, first: &Look, last: &Look) {
        let (a, b) = (&first.shards.ledger, &last.shards.ledger);
        self.due = b.due - a.due;
        self.started = b.started - a.started;
        self.missed = b.missed_total() - a.missed_total();
        let reasons = Missed::ALL.iter().zip(b.missed.iter().zip(a.missed));
        self.missed_by_reason = reasons.map(|(reason, (b, a))| (reason.name(), b - a)).collect();
        self.up = b.up - a.up;
        self.down = b.down - a.down;
        self.unknown = b.unknown - a.unknown;
        for ((kind, code), count) in &b.results {
            let before = a.results.get(&(*kind, *code)).copied().unwrap_or(0);
            if *count > before {
                *self.results.entry(code.name()).or_default() += count - before;
            }
        }
        self.checks_per_s = self.finished() / self.seconds.max(1e-9);
        let lag = lag_between(first, last);
        let millis = |quantile| lag.value_at_quantile(quantile) as f64 / 1e3;
        self.lag_p50_ms = millis(0.5);
        self.lag_p99_ms = millis(0.99);
        self.lag_p999_ms = millis(0.999);
        self.lag_max_ms = millis(1.0);
        self.lag_histogram = log_steps(&lag);
    }

    /// What a check costs.
    fn price(&mut self, run: &Run<'_>, first: &Look, last: &Look) {
        let (a, b, checks) = (&first.shards, &last.shards, self.finished().max(1.0));
        let each = |one: u64, other: u64| other.saturating_sub(one) as f64 / checks;
        self.cpu_user_us_per_check = each(a.user_us, b.user_us);
        self.cpu_kernel_us_per_check = each(a.kernel_us, b.kernel_us);
        self.cpu_us_per_check = self.cpu_user_us_per_check + self.cpu_kernel_us_per_check;
        self.store_cpu_us_per_check = each(first.store_thread.cpu_us, last.store_thread.cpu_us);
        self.farm_cpu_us_per_check = each(first.farm_us, last.farm_us);
        self.reference_us_per_check = run.cost.map(Cost::total_us);
        self.ratio_to_reference = self.reference_us_per_check.map(|us| self.cpu_us_per_check / us);
        self.allocations_per_check = each(a.allocations, b.allocations);
        let Threads { waits, preemptions, .. } = first.shard_threads;
        self.waits_per_check = each(waits, last.shard_threads.waits);
        self.preemptions_per_check = each(preemptions, last.shard_threads.preemptions);
        let micros = self.seconds.max(1e-9) * 1e6;
        let busy = |one: u64, other: u64| other.saturating_sub(one) as f64 / micros;
        self.turns_per_s = busy(a.turns, b.turns) * 1e6;
        self.stalls = b.stalls - a.stalls;
        let shards = run.seats.shards.len().max(1) as f64;
        self.shard_busy = busy(first.shard_threads.cpu_us, last.shard_threads.cpu_us) / shards;
        self.store_busy = busy(first.store_thread.cpu_us, last.store_thread.cpu_us);
        self.farm_busy = busy(first.farm_us, last.farm_us);
        let host = (last.host.1 - first.host.1).max(1) as f64;
        self.machine_busy = (last.host.0 - first.host.0) as f64 / host;
    }

    /// What is held: memory, descriptors, ports.
    fn hold(&mut self, run: &Run<'_>, last: &Look) {
        self.rss_bytes = last.memory.rss;
        self.rss_bytes_peak = last.memory.peak;
        self.rss_bytes_per_monitor = last.memory.rss as f64 / run.plan.monitors.max(1) as f64;
        self.in_flight_max = run.last.in_flight_max;
        let looks = || run.watched.iter().map(|point| &point.look);
        self.descriptors_max = looks().map(|look| look.descriptors).max().unwrap_or(0);
        self.time_waits_max = looks().map(|look| look.time_waits).max().unwrap_or(0);
    }

    /// What the store did.
    fn keep(&mut self, first: &Look, last: &Look) {
        let (a, b) = (first.stored, last.stored);
        let rows = (b.rows - a.rows) as f64;
        self.store_rows_per_s = rows / self.seconds.max(1e-9);
        self.store_bytes_per_row = (b.bytes - a.bytes) as f64 / rows.max(1.0);
        let commits = (b.commits - a.commits).max(1) as f64;
        self.store_commit_ms = (b.commit_us - a.commit_us) as f64 / commits / 1e3;
        self.store_batches_pending = b.pending;
        self.store_batches_spooled = b.spooled - a.spooled;
        self.samples_dropped = last.shards.dropped;
    }

    /// Checks with a result.
    pub fn finished(&self) -> f64 {
        (self.up + self.down + self.unknown) as f64
    }
}

fn second(from: &Point, to: &Point) -> Second {
    let (a, b) = (&from.look, &to.look);
    let seconds = (to.second - from.second).max(1e-9);
    let rate = |one: u64, other: u64| other.saturating_sub(one) as f64 / seconds;
    let (old, new) = (&a.shards.ledger, &b.shards.ledger);
    let not_up = |ledger: &crate::metrics::ledger::Ledger| ledger.down + ledger.unknown;
    let lag = lag_between(a, b);
    Second {
        at_s: to.second,
        due_per_s: rate(old.due, new.due),
        checks_per_s: rate(old.up + not_up(old), new.up + not_up(new)),
        not_up_per_s: rate(not_up(old), not_up(new)),
        missed: new.missed_total() - old.missed_total(),
        lag_p99_ms: lag.value_at_quantile(0.99) as f64 / 1e3,
        lag_max_ms: lag.value_at_quantile(1.0) as f64 / 1e3,
        shard_cpus: rate(a.shard_threads.cpu_us, b.shard_threads.cpu_us) / 1e6,
        store_cpus: rate(a.store_thread.cpu_us, b.store_thread.cpu_us) / 1e6,
        farm_cpus: rate(a.farm_us, b.farm_us) / 1e6,
        rss_bytes: b.memory.rss,
        in_flight: b.shards.in_flight,
    }
}

/// Starts by their lag, in steps of a quarter of a doubling from 100 µs; empty ends are left out.
fn log_steps(lag: &Histogram<u32>) -> Vec<(f64, u64)> {
    const FIRST_MS: f64 = 0.1;
    let mut steps: Vec<(f64, u64)> = Vec::new();
    for value in lag.iter_recorded() {
        let millis = value.value_iterated_to() as f64 / 1e3;
        let step = ((millis / FIRST_MS).max(1.0).log2() * 4.0).ceil() as i32;
        let end = FIRST_MS * 2f64.powf(f64::from(step) / 4.0);
        match steps.last_mut() {
            Some(last) if last.0 == end => last.1 += value.count_since_last_iteration(),
            _ => steps.push((end, value.count_since_last_iteration())),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::mix::Mix;
    use crate::bench::watch;
    use crate::config::database::Database;
    use crate::monitor::Kind;
    use crate::sample::CheckResult;

    fn plan() -> Plan {
        Plan {
            mix: Mix::Tcp,
            monitors: 1_000,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            warmup: Duration::from_secs(2),
            duration: Duration::from_secs(10),
            cores: None,
            data_dir: "bench".into(),
            database: Database::Sqlite,
            program: "engine".into(),
            reference: Duration::from_secs(1),
        }
    }

    fn report(first: Look, last: Look) -> Report {
        let plan = plan();
        let seats = Seats { shards: vec![0], farm: None };
        let ended = last.shards.clone();
        let watched = vec![Point { second: 0.0, look: first }, Point { second: 10.0, look: last }];
        let load = Load { seconds: 0.5, first_result_us: Arc::default(), refused: 0 };
        Report::of(&Run {
            plan: &plan,
            seats: &seats,
            in_flight_max: 8_192,
            machine: Machine::default(),
            load,
            watched,
            last: ended,
            cost: Some(Cost { user_us: 5.0, kernel_us: 15.0 }),
            store: "sqlite",
            database: 1,
        })
    }

    #[test]
    fn figures_are_the_difference_of_two_looks() {
        let mut first = watch::empty();
        first.shards.ledger.start();
        first.shards.ledger.finish(Kind::Tcp, CheckResult::Up);
        first.shards.lag.saturating_record(50_000);
        let mut last = first.clone();
        for _ in 0..100 {
            last.shards.ledger.start();
            last.shards.ledger.finish(Kind::Tcp, CheckResult::Up);
            last.shards.lag.saturating_record(2_000);
        }
        last.shards.ledger.miss(Missed::Capacity, 3);
        last.shards.user_us = 500;
        last.shards.kernel_us = 2_000;
        last.shards.allocations = 150;
        let report = report(first, last);
        assert_eq!((report.due, report.started, report.missed), (103, 100, 3));
        assert_eq!(report.missed_by_reason["capacity"], 3);
        assert_eq!(report.results["ok"], 100);
        assert_eq!((report.cpu_us_per_check, report.ratio_to_reference), (25.0, Some(1.25)));
        assert_eq!((report.allocations_per_check, report.checks_per_s), (1.5, 10.0));
        // The start before the measured time was later and does not count.
        assert!(report.lag_max_ms < 2.1, "{}", report.lag_max_ms);
        assert_eq!(report.lag_histogram.iter().map(|step| step.1).sum::<u64>(), 100);
        assert!(report.ledger_balances);
        assert_eq!(report.series.len(), 1);
    }

    #[test]
    fn the_documented_keys_are_in_the_json() {
        let json = serde_json::to_value(report(watch::empty(), watch::empty())).unwrap();
        for key in [
            "missed",
            "cpu_us_per_check",
            "ratio_to_reference",
            "lag_p99_ms",
            "rss_bytes_per_monitor",
        ] {
            assert!(json[key].is_number(), "{key}: {json}");
        }
    }
}
