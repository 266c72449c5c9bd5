//! Monitors: ids, changes of rows, states.

use std::time::Instant;

use engine::ids::MonitorId;
use engine::monitor::State;
use engine::sample::{Code, Transition, Verdict};
use engine::store::view::Filter;
use engine::store::{NewMonitor, RunId};

use crate::backend::*;

crate::for_every_backend! {
    a_name_keeps_its_id_through_changes_removal_and_return
    an_id_is_never_given_to_another_name
    equal_rows_are_not_rewritten
    a_taken_name_is_refused_and_the_others_are_stored
    some_monitors_of_a_source_change_and_its_others_stay
    a_row_with_a_problem_is_listed_with_it
    monitors_are_read_by_number_page_by_page_and_as_written
    the_list_is_narrowed_by_verdict_name_tag_problem_and_limit
    states_come_back_after_a_restart
    the_streak_goes_on_over_commits
    a_hundred_thousand_rows_sync_in_one_call
}

fn named(names: &[&str]) -> Vec<NewMonitor> {
    names.iter().map(|name| row(name)).collect()
}

fn a_name_keeps_its_id_through_changes_removal_and_return(backend: &dyn Backend) {
    let mut store = backend.store();
    let first = store.sync_monitors("a.yaml", &named(&["x", "y"])).unwrap();
    assert_eq!((first.added, first.changed, first.removed.len()), (2, 0, 0));
    let x = first.ids[0];

    let mut changed = named(&["x", "y"]);
    changed[0].interval_ms = 5_000;
    let second = store.sync_monitors("a.yaml", &changed).unwrap();
    assert_eq!((second.added, second.changed, &second.ids), (0, 1, &first.ids));

    let third = store.sync_monitors("a.yaml", &named(&["y"])).unwrap();
    assert_eq!(third.removed, [x.unwrap()]);
    assert_eq!(backend.reader().monitors(&Filter::default()).unwrap().len(), 1);
    assert!(!store.load_states().unwrap().contains_key(&x.unwrap()));

    drop(store);
    let fourth = backend.store().sync_monitors("b.yaml", &named(&["x"])).unwrap();
    assert_eq!((fourth.added, fourth.ids[0]), (1, x));
    assert_eq!(backend.reader().find("x").unwrap(), x);
}

fn some_monitors_of_a_source_change_and_its_others_stay(backend: &dyn Backend) {
    let mut store = backend.store();
    let of_file = store.sync_monitors("file", &named(&["x"])).unwrap().ids[0].unwrap();
    let added = store.edit_monitors("api", &named(&["a", "b", "x"]), &[]).unwrap();
    assert_eq!((added.added, added.refused[0].index), (2, 2), "x is of the file");
    let (a, b) = (added.ids[0].unwrap(), added.ids[1].unwrap());
    let mut changed = named(&["b"]);
    changed[0].paused = true;
    let edited = store.edit_monitors("api", &changed, &[a, of_file, MonitorId(99)]).unwrap();
    assert_eq!((edited.changed, edited.removed), (1, vec![a]), "only its own go");
    let left = backend.reader().monitors(&Filter::default()).unwrap();
    assert_eq!(left.iter().map(|row| row.id).collect::<Vec<_>>(), [b, of_file]);
    let again = store.edit_monitors("api", &changed, &[a]).unwrap();
    assert_eq!((again.added, again.changed, again.removed), (0, 0, vec![]));
}

fn monitors_are_read_by_number_page_by_page_and_as_written(backend: &dyn Backend) {
    let mut store = backend.store();
    let ids = store.sync_monitors("file", &named(&["c", "b", "a"])).unwrap().ids;
    let ids: Vec<MonitorId> = ids.into_iter().flatten().collect();
    let mut reader = backend.reader();
    let mut of = |filter: Filter| -> Vec<MonitorId> {
        reader.monitors(&filter).unwrap().into_iter().map(|row| row.id).collect()
    };
    let page = Filter { after: Some(ids[0]), limit: 1, by_id: true, ..Filter::default() };
    assert_eq!(of(page), [ids[1]]);
    let some = vec![ids[2], ids[0], MonitorId(99)];
    let only = Filter { only: Some(some), by_id: true, ..Filter::default() };
    assert_eq!(of(only), [ids[0], ids[2]]);
    assert_eq!(of(Filter { only: Some(Vec::new()), ..Filter::default() }), []);
    let written = reader.written(ids[1], 9).unwrap();
    assert_eq!(written.iter().map(|row| row.id).collect::<Vec<_>>(), ids[1..]);
    let first = (written[0].source.as_str(), written[0].row_json.as_str());
    assert_eq!(first, ("file", "{\"name\":\"b\"}"));
}

fn an_id_is_never_given_to_another_name(backend: &dyn Backend) {
    let mut store = backend.store();
    let old = store.sync_monitors("a", &named(&["x"])).unwrap().ids[0].unwrap();
    store.sync_monitors("a", &[]).unwrap();
    // Long after the retention the row itself is gone.
    maintain_all(&mut *store, u64::MAX / 4);
    assert_eq!(backend.reader().find("x").unwrap(), None);
    let new = store.sync_monitors("a", &named(&["z"])).unwrap().ids[0].unwrap();
    assert!(new > old);
}

fn equal_rows_are_not_rewritten(backend: &dyn Backend) {
    let mut store = backend.store();
    let first = store.sync_monitors("a", &named(&["x", "y"])).unwrap();
    let again = store.sync_monitors("a", &named(&["y", "x"])).unwrap();
    assert_eq!((again.added, again.changed, again.removed.len()), (0, 0, 0));
    assert_eq!(again.ids, [first.ids[1], first.ids[0]]);
    assert!(first.ids[0] < first.ids[1]);
}

fn a_taken_name_is_refused_and_the_others_are_stored(backend: &dyn Backend) {
    let mut store = backend.store();
    let first = store.sync_monitors("a", &named(&["x"])).unwrap();
    let report = store.sync_monitors("b", &named(&["x", "y", "y"])).unwrap();
    let y = first.ids[0].map(|x| MonitorId(x.0 + 1));
    assert_eq!(report.ids, [None, y, None]);
    let reasons: Vec<(usize, &str)> =
        report.refused.iter().map(|row| (row.index, row.reason.as_str())).collect();
    let taken = (0, "the name \"x\" is taken by a");
    assert_eq!(reasons, [taken, (2, "the name \"y\" is there twice")]);
    let x = backend.reader().monitors(&Filter::default()).unwrap().remove(0);
    assert_eq!((x.name.as_str(), x.source.as_str()), ("x", "a"));
}

fn a_row_with_a_problem_is_listed_with_it(backend: &dyn Backend) {
    let mut bad = row("bad");
    bad.kind = None;
    bad.problem = Some("unknown type \"pong\"".to_owned());
    backend.store().sync_monitors("a", &[bad, row("good")]).unwrap();
    let filter = Filter { problems: true, ..Filter::default() };
    let listed = backend.reader().monitors(&filter).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].problem.as_deref(), Some("unknown type \"pong\""));
    assert_eq!((listed[0].kind, listed[0].verdict), (None, Verdict::Pending));
    assert_eq!((listed[0].result, listed[0].last_check_ms), (None, None));
    assert!(serde_json::to_string(&listed).unwrap().contains("\"verdict\":\"pending\""));
}

fn the_list_is_narrowed_by_verdict_name_tag_problem_and_limit(backend: &dyn Backend) {
    let mut store = backend.store();
    let mut rows = named(&["b-web", "a-web", "c-db"]);
    rows[2].about.tags = vec!["db".to_owned(), "eu".to_owned()];
    rows[1].paused = true;
    let ids = store.sync_monitors("a", &rows).unwrap().ids;
    let down = refused(ids[2].unwrap().0, T0);
    store.append(RunId(1), &[batch(1, vec![down])]).unwrap();
    let mut reader = backend.reader();
    let mut names = |filter: Filter| -> Vec<String> {
        let listed = reader.monitors(&filter).unwrap();
        listed.into_iter().map(|monitor| monitor.name).collect()
    };
    assert_eq!(names(Filter::default()), ["a-web", "b-web", "c-db"]);
    assert_eq!(names(Filter { limit: 2, ..Filter::default() }), ["a-web", "b-web"]);
    let by_id = Filter { by_id: true, offset: 1, limit: 1, ..Filter::default() };
    assert_eq!(names(by_id), ["a-web"]);
    assert_eq!(names(Filter { offset: 2, ..Filter::default() }), ["c-db"]);
    let verdict = |verdict| Filter { verdict: Some(verdict), ..Filter::default() };
    assert_eq!(names(verdict(Verdict::Down)), ["c-db"]);
    assert_eq!(names(verdict(Verdict::Paused)), ["a-web"]);
    assert_eq!(names(Filter { name: Some("web".into()), ..Filter::default() }).len(), 2);
    assert_eq!(names(Filter { tag: Some("eu".into()), ..Filter::default() }), ["c-db"]);
    assert_eq!(names(Filter { problems: true, ..Filter::default() }), Vec::<String>::new());
}

fn states_come_back_after_a_restart(backend: &dyn Backend) {
    let mut store = backend.store();
    let ids = store.sync_monitors("a", &named(&["x", "y"])).unwrap().ids;
    let (x, y) = (ids[0].unwrap(), ids[1].unwrap());
    let mut down = batch(1, vec![sample(x.0, T0), refused(x.0, T0 + 60_000)]);
    down.words = vec![words(1, "nobody listens")];
    let change = Transition {
        monitor: x,
        at_ms: T0 + 60_000,
        from: Verdict::Up,
        to: Verdict::Down,
        code: Code(10),
    };
    down.transitions = vec![change];
    store.append(RunId(1), &[down]).unwrap();
    drop(store);

    let states = backend.store().load_states().unwrap();
    let expected = State {
        verdict: Verdict::Down,
        since_ms: T0 + 60_000,
        code: Code(10),
        streak: 0,
        settled: Verdict::Down,
    };
    assert_eq!(states[&x], expected);
    assert_eq!(states[&y], State::default());
    let of_x = backend.store().load_states_of(&[x, MonitorId(u64::MAX / 2)]).unwrap();
    assert_eq!(of_x.into_iter().collect::<Vec<_>>(), [(x, expected)]);

    let listed = backend.reader().monitors(&Filter::default()).unwrap().remove(0);
    assert_eq!((listed.counts.up, listed.counts.down), (1, 1));
    assert_eq!(
        (listed.message.as_str(), listed.result),
        ("nobody listens", Some("connect_refused"))
    );
    assert_eq!(listed.last_check_ms, Some(T0 + 60_000));
    assert_eq!(listed.total_us, Some(120));
}

fn the_streak_goes_on_over_commits(backend: &dyn Backend) {
    let mut store = backend.store();
    let id = store.sync_monitors("a", &named(&["x"])).unwrap().ids[0].unwrap();
    let mut failing = refused(id.0, T0);
    failing.verdict = Verdict::Up;
    store.append(RunId(1), &[batch(1, vec![sample(id.0, T0), failing])]).unwrap();
    store.append(RunId(1), &[batch(2, vec![failing, failing])]).unwrap();
    assert_eq!(store.load_states().unwrap()[&id].streak, 3);
    store.append(RunId(1), &[batch(3, vec![sample(id.0, T0)])]).unwrap();
    assert_eq!(store.load_states().unwrap()[&id].streak, 0);
}

fn a_hundred_thousand_rows_sync_in_one_call(backend: &dyn Backend) {
    let mut rows: Vec<NewMonitor> = (0..100_000).map(|n| row(&format!("monitor-{n}"))).collect();
    let mut store = backend.store();
    let start = Instant::now();
    let first = store.sync_monitors("a", &rows).unwrap();
    let added_in = start.elapsed();
    rows[5].paused = true;
    let second = store.sync_monitors("a", &rows).unwrap();
    println!("100,000 rows: added in {added_in:?}, compared in {:?}", start.elapsed() - added_in);
    assert_eq!((first.added, second.added, second.changed), (100_000, 0, 1));
    assert_eq!(first.ids, second.ids);
}
