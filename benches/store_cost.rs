//! What recording a result costs: CPU time per result of the SQLite store, at the pace of real use.
//!
//! `cargo bench --bench store_cost -- [MONITORS] [MINUTES]` (default 100,000 and 7) records the
//! results of monitors with an interval of 60 s, one commit for each half second of their time and
//! maintenance between commits, and prints CPU time (getrusage(2), user and kernel) and wall time
//! for each result. One in a hundred targets fails, and says so in words. Time is simulated:
//! nothing waits.

use std::time::Instant;

use engine::ids::{MonitorId, ShardId};
use engine::limits::{BATCH_SAMPLES_MAX, COMMIT_MS, MAINTAIN_MS, WORDS_PER_SECOND_MAX};
use engine::monitor::{About, Kind};
use engine::sample::{CheckResult, Code, Sample, SampleBatch, Verdict, Words};
use engine::store::{NewMonitor, Retention, SqliteStore, Store};
use nix::sys::resource::{UsageWho, getrusage};
use probes::{Failure, Timings};

const INTERVAL_MS: u64 = 60_000;
/// One in so many targets fails.
const FAILING_EVERY: u64 = 100;
/// Start of the simulated time: 2026-01-01 in milliseconds since the Unix epoch.
const T0: u64 = 1_767_225_600_000;

/// CPU and wall time of one sort of work, summed up.
#[derive(Default)]
struct Spent {
    cpu_us: u64,
    wall_us: u64,
    wall_us_max: u64,
}

impl Spent {
    fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (cpu, wall) = (cpu_us(), Instant::now());
        let done = work();
        let wall_us = wall.elapsed().as_micros() as u64;
        self.cpu_us += cpu_us() - cpu;
        self.wall_us += wall_us;
        self.wall_us_max = self.wall_us_max.max(wall_us);
        done
    }

    fn print(&self, what: &str, results: u64) {
        println!(
            "{what:8} {:6.2} µs of CPU a result, {:6.2} µs of wall time, longest {:.3} s",
            self.cpu_us as f64 / results as f64,
            self.wall_us as f64 / results as f64,
            self.wall_us_max as f64 / 1e6
        );
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let monitors = numbers.next().unwrap_or(100_000);
    let minutes = numbers.next().unwrap_or(7);
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(folder.path(), Retention::default()).unwrap();

    let rows: Vec<NewMonitor> = (0..monitors).map(row).collect();
    let (mut sync, mut load) = (Spent::default(), Spent::default());
    sync.of(|| store.edit_monitors("bench", &rows, &[]).unwrap());
    sync.print("sync", monitors);
    let mut again = Spent::default();
    again.of(|| store.edit_monitors("bench", &rows, &[]).unwrap());
    again.print("equal", monitors);
    drop(rows);

    let run = store.begin_run(T0).unwrap();
    let (mut append, mut maintain) = (Spent::default(), Spent::default());
    let (mut results, mut seq) = (0, 1);
    for commit in 0..minutes * INTERVAL_MS / COMMIT_MS {
        let now_ms = T0 + (commit + 1) * COMMIT_MS;
        let batches = batches(commit, monitors, &mut seq);
        results += append.of(|| store.append(run, &batches).unwrap()).rows;
        while now_ms.is_multiple_of(MAINTAIN_MS)
            && maintain.of(|| store.maintain(now_ms).unwrap()).more
        {}
    }
    append.print("append", results);
    maintain.print("maintain", results);
    load.of(|| store.load_states().unwrap());
    load.print("states", monitors);
    let bytes = std::fs::metadata(folder.path().join("engine.db")).unwrap().len();
    println!("{monitors} monitors, {results} results, file of {} MB", bytes >> 20);
}

fn row(number: u64) -> NewMonitor {
    NewMonitor {
        about: About {
            name: format!("monitor-{number}"),
            target: format!("http://10.0.{}.{}/", number / 256 % 256, number % 256),
            tags: vec!["bench".to_owned()],
        },
        kind: Some(Kind::PingWeb),
        row_json: format!("{{\"name\":\"monitor-{number}\",\"type\":\"ping_web\"}}"),
        problem: None,
        interval_ms: INTERVAL_MS,
        paused: false,
    }
}

/// The results of one half second: those monitors whose phase lies in it, spread by a hash as the
/// scheduler does it.
fn batches(commit: u64, monitors: u64, seq: &mut u64) -> Vec<SampleBatch> {
    let slots = INTERVAL_MS / COMMIT_MS;
    let share = monitors / slots;
    let mut words_left = WORDS_PER_SECOND_MAX as u64 * COMMIT_MS / 1_000;
    let step = stride(monitors);
    let samples = (0..share).map(|n| {
        let at = (commit % slots) * share + n;
        let number = 1 + (at * step) % monitors;
        sample(number, T0 + commit * COMMIT_MS + n * COMMIT_MS / share)
    });
    let samples: Vec<Sample> = samples.collect();
    samples
        .chunks(BATCH_SAMPLES_MAX)
        .map(|part| {
            let failing = part.iter().enumerate().filter(|(_, sample)| sample.code != Code::GOOD);
            let words: Vec<Words> =
                failing.take(words_left as usize).map(|(at, _)| words(at as u16)).collect();
            words_left -= words.len() as u64;
            *seq += 1;
            let samples = part.to_vec();
            SampleBatch { shard: ShardId(0), seq: *seq, samples, words, transitions: Vec::new() }
        })
        .collect()
}

/// A step that visits each monitor once and leaves those of one commit far apart: near the golden
/// section, without a factor in common with their number.
fn stride(monitors: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    (monitors * 618 / 1_000..).find(|step| gcd(*step, monitors) == 1).unwrap_or(1)
}

fn words(sample: u16) -> Words {
    let message = "nothing listens on the port".into();
    Words { sample, message, detail: None, cert: None, attempts: Vec::new() }
}

fn sample(monitor: u64, due_ms: u64) -> Sample {
    let fails = monitor.is_multiple_of(FAILING_EVERY);
    let code = if fails { CheckResult::Down(Failure::Refused).into() } else { Code::GOOD };
    let spread = (monitor * 7 + due_ms / 1_000) as u32 % 997;
    Sample {
        monitor: MonitorId(monitor),
        due_ms,
        lag_us: 100 + spread,
        timings: Timings::from_raw([u32::MAX, 101 + spread, u32::MAX, 400 + spread, 103]),
        total_us: 620 + 2 * spread,
        body_bytes: 5_000,
        code,
        http_status: if fails { 0 } else { 200 },
        phase: 4,
        attempts: 1,
        verdict: if fails { Verdict::Down } else { Verdict::Up },
    }
}

/// CPU time of this process outside and inside the kernel, in microseconds.
fn cpu_us() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros =
        |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    micros(usage.user_time()) + micros(usage.system_time())
}
