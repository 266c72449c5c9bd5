//! Sums of hours: each result in them once, also late ones, and what they cost.

use std::collections::BTreeMap;

use engine::ids::MonitorId;
use engine::limits::{HOUR_GRACE_MS, HOURS_AGE_MS};
use engine::sample::Sample;
use engine::store::hours::{HOUR_MS, Hour, hour_start};
use engine::store::view::Range;
use engine::store::{Retention, RunId, Store};

use crate::backend::*;

crate::for_every_backend! {
    an_hour_has_every_result_once_summed_up_or_not_and_late_ones_too
    hours_outlive_their_results_and_go_when_they_are_too_old
}

/// The start of an hour.
const H0: u64 = T0 - T0 % HOUR_MS;

/// What a reader gives of a monitor from `H0` on.
fn read(backend: &dyn Backend, monitor: u64) -> BTreeMap<u64, Hour> {
    let hours = backend.reader().hours(MonitorId(monitor), H0, H0 + 10 * HOUR_MS).unwrap();
    assert_eq!(hours.damaged, [""; 0]);
    hours.hours
}

/// The same made of the results that were written.
fn expected(written: &[Sample], monitor: u64) -> BTreeMap<u64, Hour> {
    let mut hours: BTreeMap<u64, Hour> = BTreeMap::new();
    for sample in written.iter().filter(|sample| sample.monitor.0 == monitor) {
        let hour = hours.entry(hour_start(sample.due_ms)).or_default();
        hour.add(sample.code, Some(sample.total_us));
    }
    hours
}

/// Maintains until nothing is left to do; gives how many hours of monitors were summed up. Some
/// kinds of work say that they are done before others have begun.
fn settle(store: &mut dyn Store, now_ms: u64) -> u64 {
    let (mut hours, mut idle) = (0, 0);
    while idle < 5 {
        let done = store.maintain(now_ms).unwrap();
        hours += done.hours_written;
        idle = if done.more { 0 } else { idle + 1 };
    }
    hours
}

/// Results of two monitors of different groups, one a minute over two hours, some of them bad.
fn two_hours() -> Vec<Sample> {
    let minute = |at: u64| {
        let made = |monitor: u64| match at % 7 {
            0 => refused(monitor, H0 + at * 60_000),
            _ => sample(monitor, H0 + at * 60_000),
        };
        [7, 5_000].map(|monitor| Sample { total_us: 900 + (at * at) as u32, ..made(monitor) })
    };
    (0..120).flat_map(minute).collect()
}

fn an_hour_has_every_result_once_summed_up_or_not_and_late_ones_too(backend: &dyn Backend) {
    let mut written = two_hours();
    let mut store = backend.store();
    store.append(RunId(1), &[batch(1, written.clone())]).unwrap();
    let check = |written: &[Sample]| {
        for monitor in [7, 5_000] {
            assert_eq!(read(backend, monitor), expected(written, monitor), "monitor {monitor}");
        }
        assert_eq!(read(backend, 8), BTreeMap::new());
    };
    check(&written);
    // Every window is compacted, no hour is over for long enough.
    assert_eq!(settle(&mut *store, H0 + HOUR_MS + 60_000), 0);
    check(&written);
    let now_ms = H0 + 2 * HOUR_MS + HOUR_GRACE_MS;
    assert_eq!(settle(&mut *store, now_ms), 4, "two hours of two monitors");
    check(&written);
    // Results that come late are compacted in the next round, and join their hour.
    let late = sample(7, H0 + 30_001);
    store.append(RunId(1), &[batch(2, vec![late])]).unwrap();
    written.push(late);
    check(&written);
    assert_eq!(settle(&mut *store, now_ms + HOUR_MS), 1);
    check(&written);
}

fn hours_outlive_their_results_and_go_when_they_are_too_old(backend: &dyn Backend) {
    let keep = Retention { results_ms: HOUR_MS, ..Retention::default() };
    let mut store = backend.store_keeping(keep);
    let written = two_hours();
    store.append(RunId(1), &[batch(1, written.clone())]).unwrap();
    settle(&mut *store, H0 + 24 * HOUR_MS);
    let left = backend.reader().results(MonitorId(7), &Range::default()).unwrap();
    assert_eq!(left.results, [], "the results are too old");
    assert_eq!(read(backend, 7), expected(&written, 7));
    settle(&mut *store, H0 + HOURS_AGE_MS + 1);
    assert_eq!(read(backend, 7).into_keys().collect::<Vec<_>>(), [H0 + HOUR_MS]);
}

/// 1,024 monitors every 60 s for an hour, with times that scatter as those of a web page do.
#[test]
fn an_hour_of_a_monitor_costs_less_than_sixteen_bytes() {
    let backend = Sqlite::new();
    let mut store = backend.store();
    let scatter = |number: u64| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32;
    for minute in 0..60 {
        let result = |monitor: u64| {
            let base = 10_000 + scatter(monitor) % 100_000;
            let total_us = base + scatter(monitor * 60 + minute) % (base / 2);
            Sample { total_us, ..sample(monitor, H0 + minute * 60_000 + monitor) }
        };
        let results = (1024..2048).map(result).collect();
        store.append(RunId(1), &[batch(1 + minute, results)]).unwrap();
    }
    assert_eq!(settle(&mut *store, H0 + 2 * HOUR_MS), 1_024);
    let bytes: f64 = backend
        .shell()
        .query_row("SELECT sum(length(data)) FROM hour_sum", [], |row| row.get(0))
        .unwrap();
    let each = bytes / 1024.0;
    println!("{each:.1} bytes for a monitor and hour of 60 results");
    assert!(each < 16.0, "{each}");
}
