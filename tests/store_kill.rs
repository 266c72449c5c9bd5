//! Kill -9 at any moment: nothing acknowledged is missing, nothing is there twice.
//!
//! The test starts itself again as a child that records batches without end, compacts as it goes,
//! and says each number after it is committed. The parent kills it at a random moment; the next
//! child goes on after the last number that was said, so that a batch which was committed but not
//! yet said is given a second time. And the server is killed while one store goes on through it.
//!
//! `STORE_KILL_ROUNDS=1000` kills more often.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::Cluster;
use engine::config::database::{Database, Secret};
use engine::env::original::TimeSeries;
use engine::ids::{MonitorId, ShardId};
use engine::limits::WINDOW_MS;
use engine::pg::PgOptions;
use engine::sample::{Code, Sample, SampleBatch, Verdict};
use engine::store::view::{Filter, Range};
use engine::store::{
    NewMonitor, PgReader, PgStore, Read, Retention, RunId, SqliteReader, SqliteStore, Store,
};
use probes::Timings;

/// Killed processes lose nothing that the operating system has; only a loss of power would, and to
/// wait for the disk at each start costs seconds.
const SERVER: [&str; 1] = ["fsync=off"];
/// Kills where `STORE_KILL_ROUNDS` does not say.
const ROUNDS_SQLITE: usize = 25;
const ROUNDS_POSTGRES: usize = 100;
const ROUNDS_SERVER: usize = 20;
/// Monitors, each with one result in each batch: on both sides of a group's border.
const MONITORS: u64 = 1_200;
/// Time between batches: a window is over, and compacted, every ten batches.
const STEP_MS: u64 = WINDOW_MS / 10;
const T0: u64 = 1_767_225_600_000;
/// Where the child finds the database and the first number.
const CHILD_PLACE: &str = "STORE_KILL_PLACE";
const CHILD_FIRST: &str = "STORE_KILL_FIRST";

#[test]
fn kill_at_any_moment_loses_nothing_and_repeats_nothing_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let name = "kill_at_any_moment_loses_nothing_and_repeats_nothing_in_the_file";
    kill_again_and_again(name, folder.path().to_str().unwrap(), rounds(ROUNDS_SQLITE), 25);
}

#[test]
fn kill_at_any_moment_loses_nothing_and_repeats_nothing_in_the_server() {
    let name = "kill_at_any_moment_loses_nothing_and_repeats_nothing_in_the_server";
    if std::env::var(CHILD_PLACE).is_ok() {
        return kill_again_and_again(name, "", 0, 1);
    }
    let cluster = Cluster::start(&SERVER);
    kill_again_and_again(name, &cluster.url("postgres"), rounds(ROUNDS_POSTGRES), 4);
}

#[test]
fn a_server_killed_at_any_moment_loses_nothing_and_repeats_nothing() {
    let mut cluster = Cluster::start(&SERVER);
    let place = cluster.url("postgres");
    let (rounds, said) = (rounds(ROUNDS_SERVER) as u64, AtomicU64::new(0));
    let deadline = Instant::now() + Duration::from_secs(20 + 10 * rounds);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut store = open(&place);
            let ids = begin(&mut *store, true);
            while !stop.load(Ordering::Relaxed) {
                let seq = said.load(Ordering::Relaxed) + 1;
                // Whatever the error, also after a COMMIT in doubt: the same again.
                while store.append(RunId(1), &[batch(&ids, seq)]).is_err() {
                    assert!(Instant::now() < deadline, "the server does not come back");
                    std::thread::sleep(Duration::from_millis(20));
                }
                said.store(seq, Ordering::Relaxed);
                // Maintenance that fails is tried again later.
                let _ = store.maintain(T0 + seq * STEP_MS);
            }
        });
        let mut seed = u64::from(std::process::id());
        for _ in 0..rounds {
            let wanted = said.load(Ordering::Relaxed) + 2;
            while said.load(Ordering::Relaxed) < wanted && !writer.is_finished() {
                assert!(Instant::now() < deadline, "the writer does not go on");
                std::thread::sleep(Duration::from_millis(1));
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(Duration::from_micros((seed >> 40) % 20_000));
            cluster.stop_immediate();
            cluster.start_again();
        }
        stop.store(true, Ordering::Relaxed);
    });
    check(&place, said.into_inner());
}

fn rounds(default: usize) -> usize {
    std::env::var("STORE_KILL_ROUNDS").map_or(default, |rounds| rounds.parse().unwrap())
}

/// Kills a child `rounds` times, each time after 1 to `batches_max` batches, and compares what it
/// said with what is there.
fn kill_again_and_again(name: &str, place: &str, rounds: usize, batches_max: u64) {
    if let Ok(place) = std::env::var(CHILD_PLACE) {
        let first = std::env::var(CHILD_FIRST).unwrap().parse().unwrap();
        record_until_killed(&place, first);
    }
    // Only when it is killed depends on this: a run prints it, and no run repeats another exactly.
    let mut seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut said = 0;
    for round in 0..rounds {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let batches = 1 + (seed >> 33) % batches_max;
        let pause = Duration::from_micros((seed >> 40) % 20_000);
        let before = said;
        said = one_round(name, place, said, batches, pause);
        assert!(said >= before + batches, "round {round}: the child made no progress");
    }
    check(place, said);
}

/// The store of a folder, or of a server where the place is its URL.
fn open(place: &str) -> Box<dyn Store> {
    match options(place) {
        Some(options) => {
            let schema = "glx_monitor_v2".to_owned();
            let series = TimeSeries { enabled: false, schema, checks: false, metrics: false };
            Box::new(PgStore::open(&options, &series, Retention::default()).unwrap())
        }
        None => Box::new(SqliteStore::open(Path::new(place), Retention::default()).unwrap()),
    }
}

fn reader(place: &str) -> Box<dyn Read> {
    match options(place) {
        Some(options) => Box::new(PgReader::open(&options).unwrap()),
        None => Box::new(SqliteReader::open(Path::new(place)).unwrap()),
    }
}

fn options(place: &str) -> Option<PgOptions> {
    let url = place.starts_with("postgres://").then(|| Secret::new(place))?;
    PgOptions::of(&Database::PostgresUrl(url)).unwrap()
}

/// Runs a child until it has said `batches` numbers, and kills it `pause` later. Gives the last
/// number it said.
fn one_round(name: &str, place: &str, said: u64, batches: u64, pause: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD_PLACE, place)
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

fn record_until_killed(place: &str, first: u64) -> ! {
    let mut store = open(place);
    let ids = begin(&mut *store, first == 1);
    for seq in first.. {
        store.append(RunId(1), &[batch(&ids, seq)]).unwrap();
        println!("committed {seq}");
        while store.maintain(T0 + seq * STEP_MS).unwrap().more {}
    }
    unreachable!("it is killed before the numbers end")
}

/// Makes sure of the monitors; gives their numbers, which are without a gap.
fn begin(store: &mut dyn Store, first: bool) -> Vec<MonitorId> {
    let rows: Vec<NewMonitor> = (0..MONITORS).map(monitor).collect();
    let ids = store.edit_monitors("kill", &rows, &[]).unwrap().ids;
    if first {
        store.begin_run(T0).unwrap();
    }
    ids.into_iter().map(Option::unwrap).collect()
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

fn batch(ids: &[MonitorId], seq: u64) -> SampleBatch {
    let samples = ids
        .iter()
        .map(|monitor| Sample {
            monitor: *monitor,
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
fn check(place: &str, said: u64) {
    let mut store = open(place);
    let mut reader = reader(place);
    let recorded = check_results(&mut *reader, said);
    check_states(&mut *reader, recorded);
    while store.maintain(T0 + (said + 100) * STEP_MS).unwrap().more {}
    assert_eq!(check_results(&mut *reader, said), recorded, "compacted too");
    check_states(&mut *reader, recorded);
}

/// Every monitor must have counted each of its results once, and show the last one, whether its
/// state was written since or not.
fn check_states(reader: &mut dyn Read, recorded: u64) {
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
fn check_results(reader: &mut dyn Read, said: u64) -> u64 {
    let mut lengths: HashMap<usize, u64> = HashMap::new();
    let first = reader.find("0000").unwrap().unwrap().0;
    for monitor in [0, 1, 1_021, 1_022, 1_023, 1_024, MONITORS - 1] {
        let found = reader.results(MonitorId(first + monitor), &Range::default()).unwrap();
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
