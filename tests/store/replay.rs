//! Batches that come late, because they waited in a spool: each once, and the present stays.

use engine::ids::MonitorId;
use engine::sample::{Code, Marks, SampleBatch, Transition, Verdict};
use engine::store::spool::RunKey;
use engine::store::{RunId, Store};
use proptest::prelude::*;

use crate::backend::*;

crate::for_every_backend! {
    batches_that_later_ones_have_passed_are_applied_once
    a_late_result_joins_history_and_counters_and_not_the_state
    a_late_change_says_since_when_and_never_what
    changes_in_any_order_make_the_same_incidents
    a_run_is_known_by_its_number_and_its_start
}

fn one_monitor(store: &mut dyn Store) -> MonitorId {
    store.sync_monitors("a", &[row("x")]).unwrap().ids[0].unwrap()
}

fn batches_that_later_ones_have_passed_are_applied_once(backend: &dyn Backend) {
    let mut store = backend.store();
    let of = |seq: u64| batch(seq, vec![sample(1, T0 + seq)]);
    let append = |store: &mut dyn Store, numbers: &[u64]| {
        let batches: Vec<SampleBatch> = numbers.iter().map(|seq| of(*seq)).collect();
        let appended = store.append(RunId(1), &batches).unwrap();
        (appended.rows, appended.batches_skipped)
    };
    assert_eq!(append(&mut *store, &[1, 2, 7]), (3, 0));
    assert_eq!(append(&mut *store, &[3, 4]), (2, 0), "of the hole");
    drop(store);
    let mut store = backend.store();
    assert_eq!(append(&mut *store, &[2, 3, 4, 5, 6, 7, 8]), (3, 4));
    assert_eq!(all_results(backend, 1).len(), 8);
}

fn a_late_result_joins_history_and_counters_and_not_the_state(backend: &dyn Backend) {
    let mut store = backend.store();
    let id = one_monitor(&mut *store);
    store.append(RunId(2), &[batch(1, vec![sample(id.0, T0 + 9)])]).unwrap();
    let mut late = batch(7, vec![refused(id.0, T0 + 3)]);
    late.words = vec![words(0, "nobody listens")];
    store.append(RunId(1), &[late]).unwrap();
    let view = &backend.reader().monitors(&Default::default()).unwrap()[0];
    assert_eq!((view.verdict, view.last_check_ms), (Verdict::Up, Some(T0 + 9)));
    assert_eq!((view.message.as_str(), view.code), ("", 0));
    assert_eq!((view.counts.up, view.counts.down), (1, 1));
    assert_eq!(all_results(backend, id.0).len(), 2);
    assert_eq!(backend.reader().evidence(id).unwrap()[0].message, "nobody listens");
}

fn change(monitor: MonitorId, at_ms: u64, to: Verdict) -> Transition {
    let from = if to == Verdict::Down { Verdict::Up } else { Verdict::Down };
    Transition { monitor, at_ms, from, to, code: Code(at_ms as u16 % 50 + 10), marks: Marks::NONE }
}

fn changes(seq: u64, changes: Vec<Transition>) -> SampleBatch {
    SampleBatch { transitions: changes, ..batch(seq, Vec::new()) }
}

fn a_late_change_says_since_when_and_never_what(backend: &dyn Backend) {
    use Verdict::{Down, Up};
    let mut store = backend.store();
    let id = one_monitor(&mut *store);
    store.append(RunId(1), &[changes(1, vec![change(id, 100, Up)])]).unwrap();
    // Down at 200 and up at 300 wait in the spool while this comes.
    store.append(RunId(1), &[batch(4, vec![sample(id.0, 400)])]).unwrap();
    let mut state = |late: &SampleBatch| {
        store.append(RunId(1), std::slice::from_ref(late)).unwrap();
        let state = store.load_states().unwrap()[&id];
        (state.verdict, state.since_ms)
    };
    assert_eq!(state(&changes(2, vec![change(id, 200, Down)])), (Up, 100));
    assert_eq!(state(&changes(3, vec![change(id, 300, Up)])), (Up, 300));
    assert_eq!(state(&changes(5, vec![change(id, 500, Down)])), (Down, 500));
    assert_eq!(state(&changes(6, vec![change(id, 450, Up)])), (Down, 500));
}

/// Opened and closed, in order, with the code that opened.
type Incidents = Vec<(u64, Option<u64>, u16)>;

/// What the changes make in the order of their times: the rule, without a database.
fn incidents_of(changes: &[(u64, Verdict)]) -> Incidents {
    let mut sorted = changes.to_vec();
    sorted.sort_unstable_by_key(|(at, _)| *at);
    let mut incidents = Incidents::new();
    for (at, to) in sorted {
        let open = incidents.last_mut().filter(|(_, closed, _)| closed.is_none());
        match (to, open) {
            (Verdict::Down, None) => {
                incidents.push((at, None, change(MonitorId(0), at, to).code.0))
            }
            (Verdict::Up, Some((_, closed, _))) => *closed = Some(at),
            _ => {}
        }
    }
    incidents
}

fn changes_in_any_order_make_the_same_incidents(backend: &dyn Backend) {
    use Verdict::{Down, Unknown, Up};
    let mut store = backend.store();
    let verdict = prop::sample::select(vec![Down, Up, Down, Up, Unknown]);
    let story = prop::collection::btree_map(1..60u64, verdict, 1..9)
        .prop_map(|story| story.into_iter().collect::<Vec<_>>())
        .prop_shuffle();
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() };
    let stories = std::cell::RefCell::new((&mut store, 0u64));
    proptest!(config, |(story in story)| {
        let (store, count) = &mut *stories.borrow_mut();
        *count += 1;
        let name = format!("monitor {count}");
        let source = name.as_str();
        let id = store.sync_monitors(source, &[row(&name)]).unwrap().ids[0].unwrap();
        let in_turn = story.iter().enumerate().map(|(number, (at, to))| {
            let batch = changes(number as u64 + 1, vec![change(id, *at, *to)]);
            store.append(RunId(*count), &[batch]).unwrap()
        });
        in_turn.for_each(drop);
        let found = backend.reader().incidents(Some(id), 100).unwrap();
        let mut found: Incidents = found
            .iter()
            .map(|incident| (incident.opened_ms, incident.closed_ms, incident.code))
            .collect();
        found.sort_unstable();
        prop_assert_eq!(found, incidents_of(&story));
        let latest = story.iter().max_by_key(|(at, _)| *at).copied();
        let state = store.load_states().unwrap()[&id];
        prop_assert_eq!(Some((state.since_ms, state.verdict)), latest);
    });
}

fn a_run_is_known_by_its_number_and_its_start(backend: &dyn Backend) {
    let mut store = backend.store();
    let run = store.begin_run(T0).unwrap();
    assert!(store.knows_run(RunKey { run, started_ms: T0 }).unwrap());
    assert!(!store.knows_run(RunKey { run, started_ms: T0 + 1 }).unwrap());
    assert!(!store.knows_run(RunKey { run: RunId(run.0 + 1), started_ms: T0 }).unwrap());
}
