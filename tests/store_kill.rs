//! Kill -9 at any moment: nothing acknowledged is missing, nothing is there twice.
//!
//! The test starts itself again as a child that records batches without end, compacts as it goes,
//! and says each number after it is committed. The parent kills it at a random moment; the next
//! child goes on after the last number that was said, so that a batch which was committed but not
//! yet said is given a second time.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use engine::ids::{MonitorId, ShardId};
use engine::limits::WINDOW_MS;
use engine::sample::{Code, Sample, SampleBatch, Verdict};
use engine::store::view::{Filter, Range};
use engine::store::{NewMonitor, Read, Retention, RunId, SqliteReader, SqliteStore, Store};
use probes::Timings;

const ROUNDS: usize = 25;
/// Monitors, each with one result in each batch: on both sides of a group's border.
const MONITORS: u64 = 1_200;
/// Time between batches: a window is over, and compacted, every ten batches.
const STEP_MS: u64 = WINDOW_MS / 10;
const T0: u64 = 1_767_225_600_000;
/// Where the child finds the folder and the first number.
const CHILD_FOLDER: &str = "STORE_KILL_FOLDER";
const CHILD_FIRST: &str = "STORE_KILL_FIRST";
const NAME: &str = "kill_at_any_moment_loses_nothing_and_repeats_nothing";

#[test]
fn kill_at_any_moment_loses_nothing_and_repeats_nothing() {
    if let Ok(folder) = std::env::var(CHILD_FOLDER) {
        let first = std::env::var(CHILD_FIRST).unwrap().parse().unwrap();
        record_until_killed(&PathBuf::from(folder), first);
    }
    let place = tempfile::tempdir().unwrap();
    // Only when it is killed depends on this: a run prints it, and no run repeats another exactly.
    let mut seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut said = 0;
    for round in 0..ROUNDS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let batches = 1 + (seed >> 33) % 25;
        let pause = Duration::from_micros((seed >> 40) % 20_000);
        let before = said;
        said = one_round(place.path(), said, batches, pause);
        assert!(said >= before + batches, "round {round}: the child made no progress");
    }
    check(place.path(), said);
}

/// Runs a child until it has said `batches` numbers, and kills it `pause` later. Gives the last
/// number it said.
fn one_round(folder: &Path, said: u64, batches: u64, pause: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .env(CHILD_FIRST, (said + 1).to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut numbers = lines.map_while(Result::ok).filter_map(|line| {
        line.strip_prefix("committed ").map(|number| number.parse::<u64>().unwrap())
    });
    let mut last = said;
    for number in numbers.by_ref().take(batches as usize) {
        last = number;
    }
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    numbers.last().unwrap_or(last)
}

fn record_until_killed(folder: &Path, first: u64) -> ! {
    let mut store = SqliteStore::open(folder, Retention::default()).unwrap();
    let rows: Vec<NewMonitor> = (0..MONITORS).map(monitor).collect();
    store.sync_monitors("kill", &rows).unwrap();
    if first == 1 {
        store.begin_run(T0).unwrap();
    }
    for seq in first.. {
        store.append(RunId(1), &[batch(seq)]).unwrap();
        println!("committed {seq}");
        while store.maintain(T0 + seq * STEP_MS).unwrap().more {}
    }
    unreachable!("it is killed before the numbers end")
}

fn monitor(number: u64) -> NewMonitor {
    NewMonitor {
        about: engine::monitor::About {
            name: format!("{number:04}"),
            target: String::new(),
            tags: Vec::new(),
        },
        kind: None,
        row_json: String::new(),
        problem: None,
        interval_ms: STEP_MS,
        paused: false,
    }
}

fn batch(seq: u64) -> SampleBatch {
    let samples = (1..=MONITORS)
        .map(|monitor| Sample {
            monitor: MonitorId(monitor),
            due_ms: T0 + seq * STEP_MS,
            lag_us: 0,
            timings: Timings::NONE,
            total_us: 1,
            body_bytes: seq as u32,
            code: Code::GOOD,
            http_status: 200,
            phase: 4,
            attempts: 1,
            verdict: Verdict::Up,
        })
        .collect();
    SampleBatch { shard: ShardId(3), seq, samples, words: Vec::new(), transitions: Vec::new() }
}

/// Every number up to `said` must be there once for every monitor; one more may be there, which
/// was committed and not said.
fn check(folder: &Path, said: u64) {
    let mut store = SqliteStore::open(folder, Retention::default()).unwrap();
    let mut reader = SqliteReader::open(folder).unwrap();
    let recorded = check_results(&mut reader, said);
    check_states(&mut reader, recorded);
    while store.maintain(T0 + (said + 100) * STEP_MS).unwrap().more {}
    assert_eq!(check_results(&mut reader, said), recorded, "compacted too");
    check_states(&mut reader, recorded);
}

/// Every monitor must have counted each of its results once, and show the last one, whether its
/// state was written since or not.
fn check_states(reader: &mut SqliteReader, recorded: u64) {
    let monitors = reader.monitors(&Filter::default()).unwrap();
    assert_eq!(monitors.len() as u64, MONITORS);
    for monitor in monitors {
        assert_eq!(monitor.counts.up, recorded, "counter of {}", monitor.name);
        assert_eq!(monitor.last_check_ms, Some(T0 + recorded * STEP_MS), "{}", monitor.name);
        assert_eq!((monitor.verdict, monitor.since_ms), (Verdict::Up, Some(T0 + STEP_MS)));
    }
}

/// Gives the number of results that each monitor has. Looks at those on the borders of groups;
/// the counters speak for the others.
fn check_results(reader: &mut SqliteReader, said: u64) -> u64 {
    let mut lengths: HashMap<usize, u64> = HashMap::new();
    for monitor in [1, 2, 1_022, 1_023, 1_024, 1_025, MONITORS] {
        let found = reader.results(MonitorId(monitor), &Range::default()).unwrap();
        assert!(found.damaged.is_empty(), "{:?}", found.damaged);
        let numbers: Vec<u64> =
            found.results.iter().rev().map(|result| (result.due_ms - T0) / STEP_MS).collect();
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "monitor {monitor}");
        *lengths.entry(numbers.len()).or_default() += 1;
    }
    assert_eq!(lengths.len(), 1, "a batch is recorded whole or not at all: {lengths:?}");
    let length = lengths.into_keys().max().unwrap_or(0) as u64;
    assert!(length == said || length == said + 1, "{length} recorded, {said} said");
    length
}
