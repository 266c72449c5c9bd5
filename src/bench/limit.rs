//! Runs a bench again and again: the largest number of monitors that holds, and cost as work grows.
//!
//! Owns: the search and what is said to have run out. Each run is a process of its own, so that no
//! run inherits memory, descriptors or warm caches from the one before.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bench::{BenchError, DATABASE_URL, Plan};

/// Most monitors that a search tries.
const MONITORS_MAX: usize = 8_000_000;
/// Fewest monitors that a search tries.
const MONITORS_MIN: usize = 100;
/// A search ends when what holds and what does not are this near, as a factor.
const NEAR: f64 = 1.1;
/// Share of checks that could not tell, above which a run does not hold.
const UNKNOWN_MAX: f64 = 0.001;
/// Busy part of a CPU, 0 to 1, above which it counts as used up.
const BUSY: f64 = 0.95;

/// What a search reads of the report of one run; see [`crate::bench::report::Report`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trial {
    /// Monitors.
    pub monitors: usize,
    /// From due to due, in seconds.
    pub interval_s: f64,
    /// Finished checks per second.
    pub checks_per_s: f64,
    /// Checks that were due.
    pub due: u64,
    /// Checks that were due and not run.
    pub missed: u64,
    /// Checks that could not tell.
    pub unknown: u64,
    /// 99 of 100 started within this.
    pub lag_p99_ms: f64,
    /// CPU µs of the shards per check.
    pub cpu_us_per_check: f64,
    /// CPU µs of the store per check.
    pub store_cpu_us_per_check: f64,
    /// Busy part of the shards' CPUs, 0 to 1.
    pub shard_busy: f64,
    /// Busy part of one CPU by the store, 0 to 1.
    pub store_busy: f64,
    /// Busy part of one CPU by the farm, 0 to 1.
    pub farm_busy: f64,
    /// Busy part of the machine, 0 to 1.
    pub machine_busy: f64,
    /// Most probes on the wire at once in one shard.
    pub in_flight_max: u64,
    /// Probes on the wire that a shard may have.
    pub in_flight_allowed: u64,
    /// Batches that waited for the store in the end.
    pub store_batches_pending: u64,
    /// Batches that went to the spool.
    pub store_batches_spooled: u64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
}

impl Trial {
    /// True where every due check was run and 99 of 100 were on time.
    pub fn holds(&self, lag_max: Duration) -> bool {
        self.due > 0
            && self.missed == 0
            && self.unknown as f64 <= self.due as f64 * UNKNOWN_MAX
            && self.lag_p99_ms <= lag_max.as_secs_f64() * 1e3
    }

    /// What is used up, in words.
    pub fn ran_out(&self) -> &'static str {
        if self.in_flight_max >= self.in_flight_allowed {
            return "probes in flight: the descriptor limit, or --max-in-flight";
        }
        if self.store_batches_spooled > 0 || self.store_batches_pending > 256 {
            return "the store: it cannot write as fast as results come";
        }
        if self.shard_busy > BUSY {
            return "the CPUs of the shards";
        }
        if self.farm_busy > BUSY {
            return "the CPU of the farm, not the engine: give it more cores";
        }
        if self.machine_busy > BUSY {
            return "the CPUs of the machine, which the farm shares";
        }
        "nothing that is measured: look at the kernel (softirq, locks) or at other work on the host"
    }
}

/// What a search found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Search {
    /// The largest run that holds.
    pub holds: Option<Trial>,
    /// The smallest run that does not.
    pub fails: Option<Trial>,
    /// What that one ran out of.
    pub ran_out: Option<&'static str>,
    /// Every run, in order.
    pub trials: Vec<Trial>,
}

/// Looks for the largest number of monitors that holds, from the plan's number on. `tell` hears of
/// every run before it starts.
///
/// # Errors
///
/// A run gave no report.
pub fn find_limit(
    plan: &Plan,
    lag_max: Duration,
    mut tell: impl FnMut(usize, &[Trial]),
) -> Result<Search, BenchError> {
    search(plan.monitors, |monitors, trials| {
        tell(monitors, trials);
        let trial = one(&Plan { monitors, ..plan.clone() })?;
        let holds = trial.holds(lag_max);
        Ok((trial, holds))
    })
}

fn search(
    first: usize,
    mut run: impl FnMut(usize, &[Trial]) -> Result<(Trial, bool), BenchError>,
) -> Result<Search, BenchError> {
    let mut found = Search::default();
    let (mut low, mut high) = (0, usize::MAX);
    let mut next = first.clamp(MONITORS_MIN, MONITORS_MAX);
    loop {
        let (trial, holds) = run(next, &found.trials)?;
        found.trials.push(trial.clone());
        if holds {
            low = next;
            found.holds = Some(trial);
        } else {
            high = next;
            found.ran_out = Some(trial.ran_out());
            found.fails = Some(trial);
        }
        next = match (low, high) {
            (0, high) => high / 2,
            (low, usize::MAX) => low * 2,
            (low, high) if high as f64 / low as f64 <= NEAR => return Ok(found),
            (low, high) => low.midpoint(high),
        };
        if !(MONITORS_MIN..=MONITORS_MAX).contains(&next) {
            return Ok(found);
        }
    }
}

/// Runs the same number of checks a second with each number of monitors, at most one a second of
/// each: the interval grows with the number. Where it is longer than the run, only a part of the
/// monitors has its turn, which is the point.
///
/// # Errors
///
/// A run gave no report.
pub fn sweep(
    plan: &Plan,
    counts: &[usize],
    mut tell: impl FnMut(usize, &[Trial]),
) -> Result<Vec<Trial>, BenchError> {
    let mut trials = Vec::with_capacity(counts.len());
    let fewest = counts.iter().min().copied().unwrap_or_default() as f64;
    let rate = (plan.monitors as f64 / plan.interval.as_secs_f64()).min(fewest);
    for monitors in counts.iter().copied() {
        tell(monitors, &trials);
        let interval = Duration::from_secs_f64(monitors as f64 / rate);
        trials.push(one(&Plan { monitors, interval, ..plan.clone() })?);
    }
    Ok(trials)
}

/// One run in a process of its own.
fn one(plan: &Plan) -> Result<Trial, BenchError> {
    let file = plan.data_dir.with_extension("json");
    let mut command = Command::new(&plan.program);
    command.args(["bench", "--no-reference", "--mix", plan.mix.name()]);
    let monitors = plan.monitors.to_string();
    let times = [
        ("--interval", plan.interval),
        ("--timeout", plan.timeout),
        ("--warmup", plan.warmup),
        ("--duration", plan.duration),
    ];
    for (flag, time) in times {
        command.arg(flag).arg(format!("{}ms", time.as_millis()));
    }
    command.args(["--monitors", &monitors]).arg("--data-dir").arg(&plan.data_dir);
    if let Some(dsn) = plan.database.dsn() {
        command.env(DATABASE_URL, dsn.reveal());
    }
    if let Some(cores) = plan.cores {
        command.arg("--cores").arg(cores.to_string());
    }
    let ended = command.arg("--json").arg(&file).stdout(Stdio::null()).output();
    let output = ended.map_err(|error| BenchError::Run(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BenchError::Run(format!("{monitors} monitors: {said}")));
    }
    read(&file)
}

fn read(file: &Path) -> Result<Trial, BenchError> {
    let text = fs::read_to_string(file);
    // It has been read; a file that stays is replaced by the next run.
    let _ = fs::remove_file(file);
    let trial = text
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    trial.map_err(|error| BenchError::Run(format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_found(limit: usize, first: usize) -> Search {
        search(first, |monitors, _| {
            let trial =
                Trial { monitors, shard_busy: 0.99, in_flight_allowed: 1, ..Trial::default() };
            Ok((trial, monitors <= limit))
        })
        .unwrap()
    }

    #[test]
    fn a_limit_is_found_from_below_and_from_above_within_a_tenth() {
        for first in [1_000, 730_000, 8_000_000] {
            let found = limit_found(250_000, first);
            let (holds, fails) = (found.holds.unwrap().monitors, found.fails.unwrap().monitors);
            assert!(holds <= 250_000 && fails > 250_000, "{holds} {fails}");
            assert!(fails as f64 / holds as f64 <= NEAR, "{holds} {fails}");
            assert_eq!(found.ran_out, Some("the CPUs of the shards"));
            assert!(found.trials.len() < 16, "{}", found.trials.len());
        }
    }

    #[test]
    fn a_search_ends_where_everything_holds_or_nothing_does() {
        let all = limit_found(usize::MAX, 1_000_000);
        assert_eq!((all.holds.unwrap().monitors, all.fails), (8_000_000, None));
        let none = limit_found(0, 1_000);
        assert_eq!(none.holds, None);
        assert_eq!(none.fails.unwrap().monitors, 125);
    }

    #[test]
    fn a_run_holds_only_with_every_check_run_and_on_time() {
        let good = Trial { due: 10_000, lag_p99_ms: 49.0, unknown: 10, ..Trial::default() };
        let bound = Duration::from_millis(50);
        assert!(good.holds(bound));
        assert!(!Trial { missed: 1, ..good.clone() }.holds(bound));
        assert!(!Trial { unknown: 11, ..good.clone() }.holds(bound));
        assert!(!Trial { lag_p99_ms: 51.0, ..good.clone() }.holds(bound));
        assert!(!Trial { due: 0, ..good }.holds(bound));
    }

    #[test]
    fn what_ran_out_is_named_by_the_measure_that_shows_it() {
        let idle = Trial { in_flight_allowed: 8_192, ..Trial::default() };
        assert!(idle.ran_out().starts_with("nothing that is measured"));
        assert!(Trial { in_flight_max: 8_192, ..idle.clone() }.ran_out().starts_with("probes"));
        assert!(Trial { farm_busy: 0.99, ..idle.clone() }.ran_out().contains("farm"));
        assert!(Trial { store_batches_spooled: 1, ..idle }.ran_out().starts_with("the store"));
    }
}
