//! A table of very many rows is loaded in a stream: 50,000 here, as many as `FEED_ROWS` says in the
//! long form (`FEED_ROWS=1000000 cargo test --test e2e very_many -- --nocapture`).

use std::fs::read_to_string;
use std::time::Instant;

use super::{Place, started};
use crate::harness::eventually;

/// What a row may cost in memory, in bytes: the monitor, what the feed knows of it, its place in
/// the tables of its shard.
const ROW_BYTES_MAX: u64 = 3_000;

/// Peak of the resident memory of a process, in bytes.
fn peak_bytes(pid: u32) -> u64 {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

/// CPU time of a process so far, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

#[test]
fn very_many_rows_are_loaded_in_a_stream_with_bounded_memory() {
    let rows = std::env::var("FEED_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows = rows.unwrap_or(50_000);
    let place = Place::new();
    let engine = place.start(&[]);
    engine.wait_log("monitors are read from the database");
    let base = peak_bytes(engine.pid());
    engine.stop();
    place.rows(rows, 3_600);
    for start in ["first", "second"] {
        let begin = Instant::now();
        let engine = place.start(&[]);
        eventually("the first check", || (started(&engine) > 0.0).then_some(()));
        let first = begin.elapsed();
        let taken = || engine.metrics().sum("engine_feed_rows", "");
        let at_first = taken();
        engine.wait_log("monitors are read from the database");
        assert_eq!(taken(), f64::from(rows));
        let (all, peak) = (begin.elapsed(), peak_bytes(engine.pid()));
        println!(
            "{start} start with {rows} rows: first check after {first:.1?}, at {at_first} rows; \
             all after {all:.1?}; {:.1} s of CPU, peak {} MB",
            cpu_seconds(engine.pid()),
            peak >> 20
        );
        assert!(peak.saturating_sub(base) < u64::from(rows) * ROW_BYTES_MAX, "{peak} B");
        engine.stop();
    }
}
