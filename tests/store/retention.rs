//! What is too old or too much goes, and what a result costs on disk.

use engine::limits::WINDOW_MS;
use engine::sample::{Code, Marks, Sample, Transition, Verdict};
use engine::store::{Retention, RunId};
use probes::Timings;

use crate::backend::*;

crate::for_every_backend! {
    results_past_their_age_go_and_younger_ones_stay
    events_past_their_age_go_and_open_incidents_stay
}

fn results_past_their_age_go_and_younger_ones_stay(backend: &dyn Backend) {
    let keep = Retention { results_ms: 4 * WINDOW_MS, ..Retention::default() };
    let mut store = backend.store_keeping(keep);
    let rows = (0..10).map(|window| sample(1, T0 + window * WINDOW_MS)).collect();
    store.append(RunId(1), &[batch(1, rows)]).unwrap();
    maintain_all(&mut *store, T0 + 10 * WINDOW_MS);
    let windows: Vec<u64> =
        all_results(backend, 1).iter().map(|result| (result.due_ms - T0) / WINDOW_MS).collect();
    // At this time a result of window 5 may be four windows and a bit old, but none is dropped
    // before its whole window is.
    assert_eq!(windows, [9, 8, 7, 6, 5]);
}

fn events_past_their_age_go_and_open_incidents_stay(backend: &dyn Backend) {
    let keep = Retention { events_ms: 1_000, ..Retention::default() };
    let mut store = backend.store_keeping(keep);
    let ids = store.sync_monitors("a", &[row("x"), row("y")]).unwrap().ids;
    let (x, y) = (ids[0].unwrap(), ids[1].unwrap());
    let change = |monitor, at_ms, from, to| Transition {
        monitor,
        at_ms,
        from,
        to,
        code: Code(10),
        marks: Marks::NONE,
    };
    let mut events = batch(1, vec![refused(x.0, T0)]);
    events.words = vec![words(0, "old")];
    events.transitions = vec![
        change(x, T0, Verdict::Up, Verdict::Down),
        change(x, T0 + 10, Verdict::Down, Verdict::Up),
        change(y, T0, Verdict::Up, Verdict::Down),
        change(y, T0 + 5_000, Verdict::Down, Verdict::Unknown),
    ];
    store.append(RunId(1), &[events]).unwrap();
    maintain_all(&mut *store, T0 + 5_000);
    let mut reader = backend.reader();
    assert_eq!(reader.evidence(x).unwrap(), []);
    assert_eq!(reader.transitions(None, 9).unwrap().len(), 1);
    let open = reader.incidents(None, 9).unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].monitor, open[0].closed_ms), (y, None));
}

/// One HTTPS check a minute for each of 1,024 monitors; latencies differ between monitors by the
/// thousandfold and from check to check by a fifth.
fn https_checks(minute: u64) -> Vec<Sample> {
    (0..1_024u64)
        .map(|monitor| {
            let mut seed = (minute << 32 | monitor).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut noisy = |micros: u64| {
                seed = seed.rotate_left(23).wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
                (micros + micros * (seed >> 48) / 65_536 / 5) as u32
            };
            let base = 1_000 * (1 + monitor * monitor % 97);
            let phases = [noisy(300), noisy(base), noisy(2 * base), noisy(3 * base), noisy(200)];
            let timings = Timings::from_raw(phases);
            Sample {
                lag_us: noisy(900),
                total_us: timings.sum() + noisy(80),
                timings,
                body_bytes: (monitor * 7_919 % 90_000) as u32,
                ..sample(monitor, T0 + minute * 60_000 + monitor * 5_861 % 6_000 * 10)
            }
        })
        .collect()
}

#[test]
fn an_https_result_costs_less_than_nine_bytes_in_a_chunk() {
    let backend = Sqlite::new();
    let mut store = backend.store();
    for minute in 0..5 {
        store.append(RunId(1), &[batch(minute + 1, https_checks(minute))]).unwrap();
    }
    let done = store.maintain(after_window(T0)).unwrap();
    let bytes = done.chunk_bytes as f64 / done.samples_compacted as f64;
    println!("{bytes:.2} bytes a result, {} results", done.samples_compacted);
    assert_eq!(done.samples_compacted, 5 * 1_024);
    assert!(bytes < 9.0, "{bytes:.2} bytes a result");
}

#[test]
fn the_file_stays_within_its_size_and_the_newest_results_stay() {
    let backend = Sqlite::new();
    let bytes_max = 1 << 20;
    let keep = Retention { bytes_max, ..Retention::default() };
    let mut store = backend.store_keeping(keep);
    let minutes = 300;
    for minute in 0..minutes {
        store.append(RunId(1), &[batch(minute + 1, https_checks(minute))]).unwrap();
        maintain_all(&mut *store, T0 + minute * 60_000);
    }
    let now_ms = T0 + (minutes + 10) * 60_000;
    maintain_all(&mut *store, now_ms);
    assert!(!store.maintain(now_ms).unwrap().over_size);
    let pages: u64 = backend
        .shell()
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .map(i64::cast_unsigned)
        .unwrap();
    assert!(pages * 8_192 <= bytes_max, "{} bytes", pages * 8_192);
    let dues: Vec<u64> = all_results(&backend, 3).iter().map(|result| result.due_ms).collect();
    assert!(dues[0] >= T0 + (minutes - 1) * 60_000, "the newest is there");
    assert!(dues.len() > 30 && dues.len() < minutes as usize, "{} results", dues.len());
    assert!(dues.is_sorted_by(|later, earlier| later - earlier == 60_000), "only the oldest went");
}

#[test]
fn a_size_that_nothing_can_meet_is_reported() {
    let backend = Sqlite::new();
    let mut store = backend.store_keeping(Retention { bytes_max: 1, ..Retention::default() });
    store.append(RunId(1), &[batch(1, vec![sample(1, T0)])]).unwrap();
    maintain_all(&mut *store, after_window(T0));
    assert!(store.maintain(after_window(T0)).unwrap().over_size);
    assert_eq!(
        backend.reader().results(engine::ids::MonitorId(1), &Default::default()).unwrap().results,
        []
    );
}
