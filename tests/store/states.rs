//! States lag behind the head by a minute and nobody sees it: not a reader, not a restart.

use engine::ids::MonitorId;
use engine::limits::{LANE_BITS, STATES_EVERY_MS, WINDOW_MS};
use engine::monitor::State;
use engine::sample::{Code, Missed, Sample, SampleBatch, Transition, Verdict};
use engine::store::view::{Filter, MonitorView};
use engine::store::{RunId, Store};
use proptest::prelude::*;

use crate::backend::*;

crate::for_every_backend! {
    a_reader_sees_a_result_before_its_state_is_written_and_after
    a_first_good_answer_is_found_by_its_verdict_at_once
    a_page_of_a_verdict_is_the_same_wherever_the_states_are
    a_good_answer_without_words_ends_the_streak_over_a_restart
    whenever_states_are_written_everything_reads_the_same
}

fn monitors(store: &mut dyn Store, count: usize) -> Vec<MonitorId> {
    let rows: Vec<_> = (0..count).map(|number| row(&format!("monitor-{number:02}"))).collect();
    store.sync_monitors("a", &rows).unwrap().ids.into_iter().flatten().collect()
}

fn listed(backend: &dyn Backend) -> Vec<MonitorView> {
    let mut listed = backend.reader().monitors(&Filter::default()).unwrap();
    // Depends on the time of the question.
    listed.iter_mut().for_each(|view| (view.next_due_ms, view.created_ms) = (None, 0));
    listed
}

/// Brings all states up to the head: twice, as a lane gets its turn at the first look.
fn write_states(store: &mut dyn Store, now_ms: u64) -> u64 {
    let mut written = 0;
    for now_ms in [now_ms, now_ms + STATES_EVERY_MS] {
        loop {
            let done = store.maintain(now_ms).unwrap();
            written += done.states_written;
            if !done.more {
                break;
            }
        }
    }
    written
}

fn a_reader_sees_a_result_before_its_state_is_written_and_after(backend: &dyn Backend) {
    let mut store = backend.store();
    let id = monitors(&mut *store, 1)[0];
    store.append(RunId(1), &[batch(1, vec![sample(id.0, T0), sample(id.0, T0 + 5)])]).unwrap();
    let before = listed(backend);
    assert_eq!((before[0].verdict, before[0].since_ms), (Verdict::Up, Some(T0)));
    assert_eq!((before[0].last_check_ms, before[0].counts.up), (Some(T0 + 5), 2));
    assert_eq!((before[0].total_us, before[0].http_status), (Some(120), Some(200)));
    assert_eq!(write_states(&mut *store, T0 + 10), u64::from(backend.states_lag()));
    assert_eq!(listed(backend), before);
    assert_eq!(write_states(&mut *store, T0 + 10 + STATES_EVERY_MS), 0, "nothing new");
    assert_eq!(listed(backend), before);
}

fn a_first_good_answer_is_found_by_its_verdict_at_once(backend: &dyn Backend) {
    let mut store = backend.store();
    let ids = monitors(&mut *store, 2);
    store.append(RunId(1), &[batch(1, vec![sample(ids[1].0, T0)])]).unwrap();
    let mut reader = backend.reader();
    let mut found = |verdict| -> Vec<MonitorId> {
        let filter = Filter { verdict: Some(verdict), ..Filter::default() };
        reader.monitors(&filter).unwrap().iter().map(|view| view.id).collect()
    };
    assert_eq!(found(Verdict::Up), [ids[1]]);
    assert_eq!(found(Verdict::Pending), [ids[0]]);
}

fn a_page_of_a_verdict_is_the_same_wherever_the_states_are(backend: &dyn Backend) {
    let mut store = backend.store();
    let ids = monitors(&mut *store, 12);
    // Every third is pending, every third up in its state, every third up in the head only.
    let of = |rest| {
        let ids = ids.iter().enumerate().filter(move |(at, _)| at % 3 == rest);
        ids.map(|(_, id)| sample(id.0, T0)).collect::<Vec<Sample>>()
    };
    store.append(RunId(1), &[batch(1, of(1))]).unwrap();
    write_states(&mut *store, T0);
    store.append(RunId(1), &[batch(2, of(2))]).unwrap();
    let page = |offset, limit| -> Vec<String> {
        let verdict = Some(Verdict::Up);
        let filter = Filter { verdict, offset, limit, ..Filter::default() };
        backend.reader().monitors(&filter).unwrap().into_iter().map(|view| view.name).collect()
    };
    let all = ["01", "02", "04", "05", "07", "08", "10", "11"].map(|at| format!("monitor-{at}"));
    assert_eq!(page(0, usize::MAX), all);
    for (offset, limit) in [(0, 3), (1, 2), (3, 4), (7, 9), (8, 1)] {
        let to = all.len().min(offset + limit);
        assert_eq!(page(offset, limit), all[offset..to], "{limit} from {offset}");
    }
}

fn a_good_answer_without_words_ends_the_streak_over_a_restart(backend: &dyn Backend) {
    let mut store = backend.store();
    let id = monitors(&mut *store, 1)[0];
    let against = Sample { verdict: Verdict::Up, ..refused(id.0, T0 + 1) };
    store.append(RunId(1), &[batch(1, vec![sample(id.0, T0), against])]).unwrap();
    drop(store);
    let mut store = backend.store();
    assert_eq!(store.load_states().unwrap()[&id].streak, 1);
    store.append(RunId(1), &[batch(2, vec![sample(id.0, T0 + 2)])]).unwrap();
    drop(store);
    assert_eq!(backend.store().load_states().unwrap()[&id].streak, 0);
}

/// What the model test does to a store.
#[derive(Clone, Debug)]
enum Action {
    /// A check of a monitor, and whether its words fell to the share of the second.
    Check {
        monitor: usize,
        found: Found,
        worded: bool,
    },
    Commit,
    /// Holds the batch back, as a spool does.
    Hold,
    /// Gives the oldest batch held back.
    Replay,
    WriteStates,
    Compact,
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Found {
    Good,
    Bad,
    Missed,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let found = prop::sample::select(vec![Found::Good, Found::Good, Found::Bad, Found::Missed]);
    let check = (0..4usize, found, any::<bool>())
        .prop_map(|(monitor, found, worded)| Action::Check { monitor, found, worded });
    let other = prop::sample::select(vec![
        Action::Commit,
        Action::Commit,
        Action::Commit,
        Action::Hold,
        Action::Replay,
        Action::WriteStates,
        Action::Compact,
        Action::Restart,
    ]);
    prop::collection::vec(prop_oneof![3 => check, 2 => other], 1..60)
}

/// A shard of four monitors that go down after two failures and up after one good answer.
struct Shard {
    ids: Vec<MonitorId>,
    states: Vec<State>,
    now_ms: u64,
    batch: SampleBatch,
}

impl Shard {
    fn check(&mut self, monitor: usize, found: Found, worded: bool) {
        self.now_ms += 1_000;
        let (id, due_ms) = (self.ids[monitor].0, self.now_ms);
        let mut row = match found {
            Found::Good => sample(id, due_ms),
            Found::Bad => refused(id, due_ms),
            Found::Missed => Sample { code: Code(Missed::Overrun as u16), ..sample(id, due_ms) },
        };
        let timing = engine::monitor::Timing {
            interval_ms: 1_000,
            timeout_ms: 500,
            retry_delay_ms: 0,
            confirm_ms: 0,
            retries: 0,
            fall: 2,
            rise: 1,
        };
        let state = &mut self.states[monitor];
        let code_before = state.code;
        let result = row.code.result();
        let changed = engine::monitor::verdict::apply(state, &timing, result, due_ms, true);
        row.verdict = state.verdict;
        let first_up = changed == Some(Verdict::Pending) && row.verdict == Verdict::Up;
        let told = changed.filter(|_| !first_up);
        let missed = matches!(found, Found::Missed);
        let news = told.is_some() || (row.code != code_before && !missed);
        if news || (worded && !missed) {
            let at = self.batch.samples.len() as u16;
            self.batch.words.push(words(at, &format!("said at {due_ms}")));
        }
        let id = MonitorId(id);
        let (to, code) = (row.verdict, row.code);
        let change = told.map(|from| Transition { monitor: id, at_ms: due_ms, from, to, code });
        self.batch.transitions.extend(change);
        self.batch.samples.push(row);
    }

    fn seal(&mut self) -> SampleBatch {
        let next = batch(self.batch.seq + 1, Vec::new());
        std::mem::replace(&mut self.batch, next)
    }
}

/// Does the actions to one store, and to another that has its states written after each commit.
/// Both must read the same at every moment, and what a restart loads must be what the shard knew.
/// Once a batch has come late, since when a first good answer holds may differ: it is no change
/// that is recorded, and a state that was written before the late one came keeps its time.
fn whenever_states_are_written_everything_reads_the_same(_: &dyn Backend) {
    let config = ProptestConfig { cases: 16, failure_persistence: None, ..Default::default() };
    proptest!(config, |(actions in actions())| {
        let (lazy, eager) = (Sqlite::new(), Sqlite::new());
        let mut stores = [lazy.store(), eager.store()];
        let ids = monitors(&mut *stores[0], 4);
        monitors(&mut *stores[1], 4);
        let states = vec![State::default(); 4];
        let mut shard = Shard { ids, states, now_ms: T0, batch: batch(1, Vec::new()) };
        let mut held: Vec<SampleBatch> = Vec::new();
        let mut late = false;
        for action in actions {
            let given = match action {
                Action::Check { monitor, found, worded } => {
                    shard.check(monitor, found, worded);
                    None
                }
                Action::Commit => Some(shard.seal()),
                Action::Hold => {
                    held.push(shard.seal());
                    None
                }
                Action::Replay if held.is_empty() => None,
                Action::Replay => {
                    late = true;
                    Some(held.remove(0))
                }
                Action::WriteStates => {
                    write_states(&mut *stores[0], shard.now_ms);
                    None
                }
                Action::Compact => {
                    stores.iter_mut().for_each(|store| {
                        maintain_all(&mut **store, shard.now_ms + 3 * WINDOW_MS)
                    });
                    None
                }
                Action::Restart => {
                    drop(stores);
                    stores = [lazy.store(), eager.store()];
                    None
                }
            };
            if let Some(given) = given {
                for store in &mut stores {
                    store.append(RunId(1), std::slice::from_ref(&given)).unwrap();
                }
                write_states(&mut *stores[1], shard.now_ms);
                let mut both = [listed(&lazy), listed(&eager)];
                if late {
                    both.iter_mut().flatten().for_each(|view| view.since_ms = None);
                }
                prop_assert_eq!(&both[0], &both[1]);
            }
        }
        late |= !held.is_empty();
        for held in held.into_iter().chain([shard.seal()]) {
            stores.iter_mut().for_each(|store| {
                store.append(RunId(1), std::slice::from_ref(&held)).unwrap();
            });
        }
        drop(stores);
        let loaded = lazy.store().load_states().unwrap();
        let written = eager.store().load_states().unwrap();
        for (id, known) in shard.ids.iter().zip(&shard.states) {
            let since_ms = if late { loaded[id].since_ms } else { known.since_ms };
            prop_assert_eq!(&loaded[id], &State { since_ms, ..written[id] });
            prop_assert!(late || loaded[id] == *known, "{:?} and {:?}", loaded[id], known);
        }
    });
}

#[test]
fn lanes_are_written_apart_and_each_once_in_a_period() {
    let backend = Sqlite::new();
    let mut store = backend.store();
    let lanes = 8;
    let rows: Vec<Sample> = (0..lanes).map(|lane| sample(lane << LANE_BITS, T0)).collect();
    store.append(RunId(1), &[batch(1, rows)]).unwrap();
    let advanced = |backend: &Sqlite| -> u64 {
        let sql = "SELECT count(*) FROM lane";
        backend.shell().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
    };
    maintain_all(&mut *store, T0);
    assert_eq!(advanced(&backend), 0);
    maintain_all(&mut *store, T0 + STATES_EVERY_MS / 2);
    let half = advanced(&backend);
    assert!((2..=6).contains(&half), "{half} of {lanes} in half a period");
    maintain_all(&mut *store, T0 + STATES_EVERY_MS);
    assert_eq!(advanced(&backend), lanes);
}
