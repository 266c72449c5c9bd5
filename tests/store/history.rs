//! Results: written, compacted, read back; nothing lost, nothing twice.

use std::collections::BTreeMap;

use engine::ids::MonitorId;
use engine::limits::{COMPACT_SAMPLES_MAX, WINDOW_MS};
use engine::metrics::buckets::{bucket_of, value_of};
use engine::sample::{Code, Missed, Sample, SampleBatch, Verdict};
use engine::store::view::{Phases, Range, ResultView};
use engine::store::{RunId, Store};
use proptest::prelude::*;

use crate::backend::*;

crate::for_every_backend! {
    every_field_comes_back_before_and_after_compaction
    a_check_that_never_started_has_no_times
    results_survive_a_restart
    a_batch_given_twice_is_recorded_once
    each_run_and_each_shard_counts_its_own_batches
    a_result_that_comes_late_joins_its_compacted_window
    a_window_is_not_compacted_before_its_grace_is_over
    results_come_newest_first_within_range_and_limit
    a_window_larger_than_a_slice_takes_several
    any_history_reads_back_as_it_was_written
}

fn every_field_comes_back_before_and_after_compaction(backend: &dyn Backend) {
    let mut store = backend.store();
    let mut written = refused(7, T0 + 12_345);
    written.total_us = 987_654;
    store.append(RunId(1), &[batch(1, vec![written])]).unwrap();
    let expected = ResultView {
        due_ms: T0 + 12_345,
        lag_us: Some(100),
        total_us: Some(value_of(bucket_of(987_654))),
        phases: Phases {
            resolve: None,
            connect: Some(101),
            tls: None,
            wait: Some(102),
            transfer: Some(103),
        },
        code: 10,
        result: "connect_refused",
        http_status: None,
        phase: Some("connect"),
        attempts: 1,
        verdict: Verdict::Down,
        body_bytes: 5_000_001,
    };
    assert_eq!(all_results(backend, 7), std::slice::from_ref(&expected));
    let compacted = store.maintain(after_window(T0)).unwrap().samples_compacted;
    assert_eq!(compacted, 1);
    assert_eq!(all_results(backend, 7), [expected]);
}

fn a_check_that_never_started_has_no_times(backend: &dyn Backend) {
    let mut missed = sample(1, T0);
    missed.code = Code(Missed::Capacity as u16);
    missed.lag_us = u32::MAX;
    missed.total_us = u32::MAX;
    backend.store().append(RunId(1), &[batch(1, vec![missed])]).unwrap();
    let results = all_results(backend, 1);
    assert_eq!((results[0].lag_us, results[0].total_us), (None, None));
    assert_eq!(results[0].result, "capacity");
}

fn results_survive_a_restart(backend: &dyn Backend) {
    backend.store().append(RunId(1), &[batch(1, vec![sample(1, T0)])]).unwrap();
    let mut store = backend.store();
    store.append(RunId(2), &[batch(1, vec![sample(1, T0 + 60_000)])]).unwrap();
    maintain_all(&mut *store, after_window(T0));
    drop(store);
    backend.store();
    let dues: Vec<u64> = all_results(backend, 1).iter().map(|result| result.due_ms).collect();
    assert_eq!(dues, [T0 + 60_000, T0]);
}

fn a_batch_given_twice_is_recorded_once(backend: &dyn Backend) {
    let mut store = backend.store();
    let id = store.sync_monitors("test", &[row("a")]).unwrap().ids[0].unwrap();
    let first = batch(1, vec![sample(id.0, T0)]);
    let second = batch(2, vec![sample(id.0, T0 + 1)]);
    store.append(RunId(1), std::slice::from_ref(&first)).unwrap();
    drop(store);
    let mut store = backend.store();
    let appended = store.append(RunId(1), &[first.clone(), second.clone(), second]).unwrap();
    assert_eq!((appended.rows, appended.batches_skipped), (1, 2));
    maintain_all(&mut *store, after_window(T0));
    assert_eq!(store.append(RunId(1), &[first]).unwrap().rows, 0);
    assert_eq!(all_results(backend, id.0).len(), 2);
    let listed = backend.reader().monitors(&Default::default()).unwrap();
    assert_eq!(listed[0].counts.up, 2);
}

fn each_run_and_each_shard_counts_its_own_batches(backend: &dyn Backend) {
    let mut store = backend.store();
    let (first, second) = (store.begin_run(T0).unwrap(), store.begin_run(T0).unwrap());
    assert!(second > first);
    let mut other_shard = batch(1, vec![sample(1, T0 + 1)]);
    other_shard.shard = engine::ids::ShardId(1);
    let own = batch(1, vec![sample(1, T0)]);
    assert_eq!(store.append(first, &[own.clone(), other_shard]).unwrap().rows, 2);
    assert_eq!(store.append(second, &[own]).unwrap().rows, 1);
}

fn a_result_that_comes_late_joins_its_compacted_window(backend: &dyn Backend) {
    let mut store = backend.store();
    store.append(RunId(1), &[batch(1, vec![sample(1, T0)])]).unwrap();
    maintain_all(&mut *store, after_window(T0));
    store.append(RunId(1), &[batch(2, vec![sample(1, T0 + 5)])]).unwrap();
    assert_eq!(all_results(backend, 1).len(), 2);
    maintain_all(&mut *store, after_window(T0) + WINDOW_MS);
    assert_eq!(all_results(backend, 1).len(), 2);
}

fn a_window_is_not_compacted_before_its_grace_is_over(backend: &dyn Backend) {
    let mut store = backend.store();
    store.append(RunId(1), &[batch(1, vec![sample(1, T0 + 1)])]).unwrap();
    let end = T0 + WINDOW_MS + engine::limits::WINDOW_GRACE_MS;
    assert_eq!(store.maintain(end - 1).unwrap().samples_compacted, 0);
    assert_eq!(store.maintain(end).unwrap().samples_compacted, 1);
}

fn results_come_newest_first_within_range_and_limit(backend: &dyn Backend) {
    let mut store = backend.store();
    let dues: Vec<u64> = (0..40).map(|n| T0 + n * 60_000).collect();
    let rows = dues.iter().flat_map(|due| [sample(1, *due), sample(2, *due)]).collect();
    store.append(RunId(1), &[batch(1, rows)]).unwrap();
    maintain_all(&mut *store, T0 + 30 * 60_000);
    let mut reader = backend.reader();
    let mut ask = |from_ms, to_ms, limit| -> Vec<u64> {
        let range = Range { from_ms, to_ms, limit };
        let found = reader.results(MonitorId(2), &range).unwrap();
        found.results.iter().map(|result| (result.due_ms - T0) / 60_000).collect()
    };
    assert_eq!(ask(0, u64::MAX, 3), [39, 38, 37]);
    assert_eq!(ask(0, u64::MAX, 22), (18..40).rev().collect::<Vec<_>>());
    assert_eq!(ask(T0 + 4 * 60_000, T0 + 6 * 60_000, 9), [6, 5, 4]);
    assert_eq!(ask(0, T0 + 60_000, 9), [1, 0]);
    assert_eq!(ask(0, u64::MAX, 0), Vec::<u64>::new());
}

fn a_window_larger_than_a_slice_takes_several(backend: &dyn Backend) {
    let mut store = backend.store();
    let each = COMPACT_SAMPLES_MAX as u64 / 5;
    for seq in 1..=6 {
        let rows = (0..each).map(|n| sample(n % 1_000, T0 + seq * 1_000 + n / 1_000)).collect();
        store.append(RunId(1), &[batch(seq, rows)]).unwrap();
    }
    let mut slices = Vec::new();
    while let done @ 1.. = store.maintain(after_window(T0)).unwrap().samples_compacted {
        slices.push(done);
    }
    assert_eq!(slices, [5 * each, each]);
    assert_eq!(all_results(backend, 7).len() as u64, 6 * each / 1_000);
}

/// What the model test does to a store.
#[derive(Clone, Debug)]
enum Action {
    Append(Vec<(u64, u64)>),
    Repeat,
    Maintain(u64),
    Restart,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    // Neighbours, both sides of a group's and of a lane's border, and one far away.
    let monitor = prop::sample::select(vec![0, 1, 2, 1_023, 1_024, 32_767, 32_768, 3_000_000_000]);
    let due = 0..4 * WINDOW_MS;
    let action = prop_oneof![
        4 => prop::collection::vec((monitor, due), 1..40).prop_map(Action::Append),
        1 => Just(Action::Repeat),
        2 => (0..8 * WINDOW_MS).prop_map(Action::Maintain),
        1 => Just(Action::Restart),
    ];
    prop::collection::vec(action, 1..20)
}

fn any_history_reads_back_as_it_was_written(kind: &dyn Backend) {
    let cases = kind.histories();
    let config = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
    proptest!(config, |(actions in actions())| {
        let backend = kind.another();
        let model = play(&*backend, &actions);
        for (monitor, mut expected) in model {
            expected.sort_unstable();
            let mut found: Vec<u64> =
                all_results(&*backend, monitor).iter().map(|result| result.due_ms).collect();
            found.sort_unstable();
            prop_assert_eq!(found, expected, "monitor {}", monitor);
        }
    });
}

/// Does the actions and gives the due times that must be there, by monitor.
fn play(backend: &dyn Backend, actions: &[Action]) -> BTreeMap<u64, Vec<u64>> {
    let mut model: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut store: Box<dyn Store> = backend.store();
    let mut last: Option<SampleBatch> = None;
    let mut seq = 0;
    for action in actions {
        match action {
            Action::Append(checks) => {
                seq += 1;
                let rows: Vec<Sample> =
                    checks.iter().map(|(monitor, due)| sample(*monitor, T0 + due)).collect();
                for row in &rows {
                    model.entry(row.monitor.0).or_default().push(row.due_ms);
                }
                let next = batch(seq, rows);
                store.append(RunId(1), std::slice::from_ref(&next)).unwrap();
                last = Some(next);
            }
            Action::Repeat => {
                if let Some(last) = &last {
                    store.append(RunId(1), std::slice::from_ref(last)).unwrap();
                }
            }
            Action::Maintain(after) => maintain_all(&mut *store, T0 + after),
            Action::Restart => {
                drop(store);
                store = backend.store();
            }
        }
    }
    model
}
