//! The store thread over a disk that is full, and then is not.

use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::mpsc::{SyncSender, channel, sync_channel};

use probes::Timings;
use tempfile::TempDir;

use super::*;
use crate::ids::ShardId;
use crate::limits::WINDOW_MS;
use crate::sample::{Code, Marks, Sample, Verdict};
use crate::store::view::Range;
use crate::store::{Gap, Maintained, Read, Retention, RunId, SqliteReader, SqliteStore};

/// Pages for a file without a limit.
const NO_LIMIT: u32 = 1 << 30;

/// A store whose file may have so many pages: a disk that is full, and then is not.
struct Limited {
    store: SqliteStore,
    pages_max: Arc<AtomicU32>,
}

impl Limited {
    fn store(&mut self) -> &mut SqliteStore {
        let pages = self.pages_max.load(Ordering::Relaxed);
        let set = self
            .store
            .conn
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0));
        set.unwrap();
        &mut self.store
    }
}

impl Store for Limited {
    fn edit_monitors(
        &mut self,
        source: &str,
        rows: &[NewMonitor],
        gone: &[MonitorId],
    ) -> Result<SyncReport, StoreError> {
        self.store().edit_monitors(source, rows, gone)
    }
    fn monitors_of(&mut self, source: &str) -> Result<Vec<MonitorId>, StoreError> {
        self.store().monitors_of(source)
    }
    fn load_states(&mut self) -> Result<HashMap<MonitorId, State>, StoreError> {
        self.store().load_states()
    }
    fn begin_run(&mut self, now_ms: u64) -> Result<RunId, StoreError> {
        self.store().begin_run(now_ms)
    }
    fn knows_run(&mut self, run: RunKey) -> Result<bool, StoreError> {
        self.store().knows_run(run)
    }
    fn record_gap(&mut self, run: RunId, gap: &Gap) -> Result<(), StoreError> {
        self.store().record_gap(run, gap)
    }
    fn append(&mut self, run: RunId, batches: &[SampleBatch]) -> Result<Appended, StoreError> {
        self.store().append(run, batches)
    }
    fn maintain(&mut self, now_ms: u64) -> Result<Maintained, StoreError> {
        self.store().maintain(now_ms)
    }
    fn end_run(&mut self, run: RunId, now_ms: u64) -> Result<(), StoreError> {
        self.store().end_run(run, now_ms)
    }
}

struct Bench {
    folder: TempDir,
    pages_max: Arc<AtomicU32>,
    counters: Arc<StoreCounters>,
    to_store: SyncSender<ToStore>,
    told: Receiver<Vec<Transition>>,
    thread: StoreThread,
}

fn start() -> Bench {
    start_in(tempfile::tempdir().unwrap())
}

fn start_in(folder: TempDir) -> Bench {
    // The changes of these batches are of 1970: maintenance must not take them for too old.
    let retention = Retention { events_ms: u64::MAX, ..Retention::default() };
    let store = SqliteStore::open(folder.path(), retention).unwrap();
    let pages_max = Arc::new(AtomicU32::new(NO_LIMIT));
    let store = Limited { store, pages_max: Arc::clone(&pages_max) };
    let counters = Arc::new(StoreCounters::default());
    let (to_store, inbox) = sync_channel(64);
    let (tell, told) = channel();
    let tell = move |transitions| tell.send(transitions).unwrap();
    let spool = Spool::in_folder(&folder.path().join("spool")).unwrap();
    let thread =
        StoreThread::start(Box::new(store), spool, inbox, tell, Arc::clone(&counters)).unwrap();
    Bench { folder, pages_max, counters, to_store, told, thread }
}

/// Rows that fill some hundred kilobytes, with one transition.
fn large_batch(seq: u64) -> SampleBatch {
    let now_ms = crate::clock::wall_millis();
    let rows = (0..20_000u64).map(|n| Sample {
        monitor: MonitorId(n * 7_919 % 60_000),
        due_ms: now_ms - n * n % WINDOW_MS,
        lag_us: (n * n) as u32,
        timings: Timings::NONE,
        total_us: (n * n * n) as u32,
        body_bytes: (n * n * 31) as u32,
        code: Code::GOOD,
        http_status: 200,
        phase: 4,
        attempts: 1,
        verdict: Verdict::Up,
    });
    let transition = Transition {
        monitor: MonitorId(1),
        at_ms: seq,
        from: Verdict::Pending,
        to: Verdict::Up,
        code: Code::GOOD,
        marks: Marks::NONE,
    };
    SampleBatch {
        shard: ShardId(0),
        seq,
        samples: rows.collect(),
        words: Vec::new(),
        transitions: vec![transition],
    }
}

impl Bench {
    fn send(&self, seq: u64) {
        self.to_store.send(ToStore::Batch(large_batch(seq))).unwrap();
    }

    fn flush(&self) -> Receiver<()> {
        let (reply, done) = channel();
        self.to_store.send(ToStore::Flush(reply)).unwrap();
        done
    }

    fn number(&self, counter: impl Fn(&StoreCounters) -> &AtomicU64) -> u64 {
        counter(&self.counters).load(Ordering::Relaxed)
    }
}

#[test]
fn a_transition_is_told_after_its_results_can_be_read() {
    let bench = start();
    bench.send(1);
    let told = bench.told.recv().unwrap();
    assert_eq!(told.len(), 1);
    let mut reader = SqliteReader::open(bench.folder.path()).unwrap();
    assert_eq!(reader.results(MonitorId(0), &Range::default()).unwrap().results.len(), 1);
    bench.to_store.send(ToStore::Stop).unwrap();
    bench.thread.join().unwrap();
}

#[test]
fn a_full_database_sends_batches_to_the_spool_and_takes_them_once_when_there_is_room() {
    let bench = start();
    bench.send(1);
    bench.flush().recv().unwrap();
    assert_eq!(bench.told.recv().unwrap()[0].at_ms, 1);
    bench.pages_max.store(1, Ordering::Relaxed);
    bench.send(2);
    bench.flush().recv().unwrap();
    assert_eq!(bench.told.recv().unwrap()[0].at_ms, 2, "told as soon as it is in the spool");
    assert_eq!(bench.number(|counters| &counters.rows), 20_000);

    bench.pages_max.store(NO_LIMIT, Ordering::Relaxed);
    while bench.number(|counters| &counters.rows) < 40_000 {
        std::thread::yield_now();
    }
    bench.to_store.send(ToStore::Stop).unwrap();
    bench.thread.join().unwrap();
    assert!(bench.told.try_recv().is_err(), "nobody is told twice");
    let mut spool = Spool::in_folder(&bench.folder.path().join("spool")).unwrap();
    assert!(spool.is_empty() && spool.next(1).unwrap().is_none());
}

#[test]
fn a_stop_with_a_full_database_loses_nothing_and_the_next_start_records_it() {
    let bench = start();
    bench.pages_max.store(1, Ordering::Relaxed);
    bench.send(1);
    bench.to_store.send(ToStore::Stop).unwrap();
    let Bench { folder, thread, counters, .. } = bench;
    thread.join().unwrap();
    assert_eq!(counters.rows.load(Ordering::Relaxed), 0);

    let again = start_in(folder);
    while again.number(|counters| &counters.rows) < 20_000 {
        std::thread::yield_now();
    }
    again.to_store.send(ToStore::Stop).unwrap();
    again.thread.join().unwrap();
    let store = SqliteStore::open(again.folder.path(), Retention::default()).unwrap();
    let number = |sql| store.conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let rows = "SELECT (SELECT total(n) FROM head) + (SELECT total(n) FROM chunk)";
    assert_eq!(store.conn.query_row(rows, [], |row| row.get::<_, f64>(0)).unwrap(), 20_000.0);
    assert_eq!(number("SELECT count(*) FROM run WHERE stopped_ms IS NULL"), 0);
    assert_eq!(number("SELECT count(*) FROM transition"), 1);
}

#[test]
fn a_spool_of_another_database_is_refused_and_kept() {
    let bench = start();
    bench.pages_max.store(1, Ordering::Relaxed);
    bench.send(1);
    bench.to_store.send(ToStore::Stop).unwrap();
    bench.thread.join().unwrap();
    let other = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(other.path(), Retention::default()).unwrap();
    let spool = Spool::in_folder(&bench.folder.path().join("spool")).unwrap();
    let (_, inbox) = sync_channel(1);
    let counters = Arc::new(StoreCounters::default());
    let error = StoreThread::start(Box::new(store), spool, inbox, |_| {}, counters).unwrap_err();
    assert!(error.to_string().contains("another database"), "{error}");
    assert!(!Spool::in_folder(&bench.folder.path().join("spool")).unwrap().is_empty());
}

#[test]
fn a_stop_records_what_was_sent_before_and_marks_the_run() {
    let bench = start();
    bench.send(1);
    bench.send(2);
    bench.to_store.send(ToStore::Stop).unwrap();
    bench.thread.join().unwrap();
    let store = SqliteStore::open(bench.folder.path(), Retention::default()).unwrap();
    let number = |sql| store.conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT sum(n) FROM head"), 40_000);
    assert_eq!(number("SELECT count(*) FROM run WHERE stopped_ms IS NULL"), 0);
}

#[test]
fn the_end_of_all_senders_is_a_stop() {
    let bench = start();
    bench.send(1);
    drop(bench.to_store);
    bench.thread.join().unwrap();
    assert_eq!(bench.counters.rows.load(Ordering::Relaxed), 20_000);
    assert_eq!(bench.told.recv().unwrap().len(), 1);
}

#[test]
fn monitors_and_states_are_served_between_batches() {
    let bench = start();
    let row = NewMonitor {
        about: crate::monitor::About {
            name: "x".to_owned(),
            target: "t".to_owned(),
            tags: Vec::new(),
        },
        kind: None,
        row_json: String::new(),
        problem: None,
        interval_ms: 1_000,
        paused: false,
    };
    let (reply, report) = channel();
    let sync = ToStore::Put { source: "a".to_owned(), rows: vec![row], reply };
    bench.to_store.send(sync).unwrap();
    let id = report.recv().unwrap().unwrap().ids[0].unwrap();
    let (reply, states) = channel();
    bench.to_store.send(ToStore::States { of: None, reply }).unwrap();
    assert_eq!(states.recv().unwrap().unwrap()[&id], State::default());
    bench.to_store.send(ToStore::Stop).unwrap();
    bench.thread.join().unwrap();
}
