//! Kill -9 at any moment, on a real disk, with a real database behind it.
//!
//! The test starts itself again as a child that appends batches without end, says each number
//! after it is safe, and now and then replays a slice into the database. The parent kills it at a
//! random moment; the next child goes on after the last number that was said, so that a batch
//! which was safe but not yet said is given a second time. At the end everything is replayed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use engine::ids::MonitorId;
use engine::store::spool::disk::FolderDisk;
use engine::store::spool::{Bounds, Spool};
use engine::store::view::{Filter, Range};
use engine::store::{NewMonitor, Read, Retention, SqliteReader, SqliteStore, Store};

use crate::made::{RUN, T0, batch};

const ROUNDS: usize = 25;
const BOUNDS: Bounds = Bounds { bytes_max: 1 << 30, segment_bytes: 20_000 };
/// Where the child finds the folder and the first number.
const CHILD_FOLDER: &str = "SPOOL_KILL_FOLDER";
const CHILD_FIRST: &str = "SPOOL_KILL_FIRST";
const NAME: &str = "kill::kill_at_any_moment_loses_nothing_and_repeats_nothing";

#[test]
fn kill_at_any_moment_loses_nothing_and_repeats_nothing() {
    if let Ok(folder) = std::env::var(CHILD_FOLDER) {
        let first = std::env::var(CHILD_FIRST).unwrap().parse().unwrap();
        append_until_killed(&PathBuf::from(folder), first);
    }
    let place = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(place.path(), Retention::default()).unwrap();
    assert_eq!(store.begin_run(T0).unwrap(), RUN.run);
    let monitor = NewMonitor {
        about: engine::monitor::About {
            name: "first".to_owned(),
            target: String::new(),
            tags: Vec::new(),
        },
        kind: None,
        row_json: String::new(),
        problem: None,
        interval_ms: 1_000,
        paused: false,
    };
    let report = store.edit_monitors("kill", &[monitor], &[]).unwrap();
    assert_eq!(report.ids, [Some(MonitorId(1))]);
    drop(store);

    // Only when it is killed depends on this: a run prints it, and no run repeats another exactly.
    let mut seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut said = 0;
    for round in 0..ROUNDS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let batches = 1 + (seed >> 33) % 60;
        let pause = Duration::from_micros((seed >> 40) % 10_000);
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
    let mut numbers = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("safe ").map(|number| number.parse::<u64>().unwrap()));
    let mut last = said;
    for number in numbers.by_ref().take(batches as usize) {
        last = number;
    }
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    numbers.last().unwrap_or(last)
}

fn opened(folder: &Path) -> (SqliteStore, Spool) {
    let store = SqliteStore::open(folder, Retention::default()).unwrap();
    let disk = FolderDisk::open(&folder.join("spool")).unwrap();
    (store, Spool::open(Box::new(disk), BOUNDS).unwrap())
}

fn replay(store: &mut SqliteStore, spool: &mut Spool, batches_max: usize) -> bool {
    let Some(slice) = spool.next(batches_max).unwrap() else { return false };
    store.append(slice.run.run, &slice.batches).unwrap();
    spool.done(&slice);
    true
}

fn append_until_killed(folder: &Path, first: u64) -> ! {
    let (mut store, mut spool) = opened(folder);
    for seq in first.. {
        assert_eq!(spool.append(RUN, T0, &[batch(seq, 20, 1, true)]).unwrap(), 1);
        println!("safe {seq}");
        if seq % 7 == 0 {
            replay(&mut store, &mut spool, 5);
        }
    }
    unreachable!("it is killed before the numbers end")
}

/// Every number up to `said` is there once, and one more may be, which was safe and not said.
fn check(folder: &Path, said: u64) {
    let (mut store, mut spool) = opened(folder);
    assert_eq!(spool.numbers().quarantined_bytes, 0, "{:?}", spool.numbers());
    while replay(&mut store, &mut spool, 256) {}
    let mut reader = SqliteReader::open(folder).unwrap();
    let mut lengths = Vec::new();
    for monitor in [1, 100, 119, 10_000] {
        let found = reader.results(MonitorId(monitor), &Range::default()).unwrap();
        assert!(found.damaged.is_empty(), "{:?}", found.damaged);
        let numbers: Vec<u64> =
            found.results.iter().rev().map(|result| (result.due_ms - T0) / 1_000).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "monitor {monitor}");
        lengths.push(numbers.len() as u64);
    }
    let length = lengths[0];
    assert!(lengths.iter().all(|other| *other == length), "{lengths:?}");
    assert!(length == said || length == said + 1, "{length} recorded, {said} said");
    let changes = reader.transitions(Some(MonitorId(1)), usize::MAX).unwrap();
    assert_eq!(changes.len() as u64, length);
    let monitors = reader.monitors(&Filter::default()).unwrap();
    assert_eq!(monitors[0].counts.up, length);
    assert_eq!(monitors[0].last_check_ms, Some(T0 + length * 1_000));
}
