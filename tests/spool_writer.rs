//! The store thread with a database that goes away, is slow, and comes back.
//!
//! The database is a script: each call to record waits until the test lets it go on and says how
//! it ends. So the order of what happens is the test's and not the clock's.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::ids::{MonitorId, ShardId};
use engine::limits::{COMMIT_BATCHES_MAX, COMMIT_SLOW_MS};
use engine::monitor::State;
use engine::sample::{Code, Marks, Sample, SampleBatch, Transition, Verdict};
use engine::store::cursor::Cursor;
use engine::store::spool::disk::Disk;
use engine::store::spool::{Bounds, RunKey, Spool};
use engine::store::{
    Appended, Gap, Maintained, NewMonitor, RunId, Store, StoreCounters, StoreError, StoreThread,
    SyncReport, ToStore,
};
use probes::Timings;
use tempfile::TempDir;

/// How a call to record ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    /// Done, but only after longer than a commit may take.
    Late,
    Failed,
    /// It took place, and the answer was lost.
    InDoubt,
}

/// What the database has: the numbers of each call that took place, new ones only.
type Log = Arc<Mutex<Vec<Vec<u64>>>>;

struct Script {
    ends: Receiver<End>,
    called: Sender<Vec<u64>>,
    log: Log,
    cursors: HashMap<(RunId, ShardId), Cursor>,
    stopped: Arc<Mutex<Vec<RunId>>>,
}

impl Store for Script {
    fn edit_monitors(
        &mut self,
        _: &str,
        _: &[NewMonitor],
        _: &[MonitorId],
    ) -> Result<SyncReport, StoreError> {
        Ok(SyncReport::default())
    }
    fn monitors_of(&mut self, _: &str) -> Result<Vec<MonitorId>, StoreError> {
        Ok(Vec::new())
    }
    fn load_states(&mut self) -> Result<HashMap<MonitorId, State>, StoreError> {
        Ok(HashMap::from([(MonitorId(1), State::default())]))
    }
    fn begin_run(&mut self, _: u64) -> Result<RunId, StoreError> {
        Ok(RunId(5))
    }
    fn knows_run(&mut self, run: RunKey) -> Result<bool, StoreError> {
        Ok(run.run <= RunId(5))
    }
    fn append(&mut self, run: RunId, batches: &[SampleBatch]) -> Result<Appended, StoreError> {
        let offered = batches.iter().map(|batch| batch.seq).collect();
        // The test may have ended, and wants no more.
        let _ = self.called.send(offered);
        let end = self.ends.recv().unwrap_or(End::Failed);
        if let End::Failed = end {
            return Err(StoreError::Database("away".to_owned()));
        }
        let mut new = Vec::new();
        for batch in batches {
            if self.cursors.entry((run, batch.shard)).or_default().take(batch.seq) {
                new.push(batch.seq);
            }
        }
        self.log.lock().unwrap().push(new);
        match end {
            End::InDoubt => return Err(StoreError::Database("connection lost".to_owned())),
            End::Late => std::thread::sleep(Duration::from_millis(COMMIT_SLOW_MS + 50)),
            End::Done | End::Failed => {}
        }
        Ok(Appended::default())
    }
    fn record_gap(&mut self, _: RunId, _: &Gap) -> Result<(), StoreError> {
        Ok(())
    }
    fn maintain(&mut self, _: u64) -> Result<Maintained, StoreError> {
        Ok(Maintained::default())
    }
    fn end_run(&mut self, run: RunId, _: u64) -> Result<(), StoreError> {
        self.stopped.lock().unwrap().push(run);
        Ok(())
    }
}

struct Bench {
    folder: TempDir,
    ends: Sender<End>,
    called: Receiver<Vec<u64>>,
    log: Log,
    stopped: Arc<Mutex<Vec<RunId>>>,
    to_store: SyncSender<ToStore>,
    told: Receiver<Vec<Transition>>,
    counters: Arc<StoreCounters>,
    thread: StoreThread,
}

fn start(folder: TempDir) -> Bench {
    let spool = Spool::in_folder(folder.path()).unwrap();
    start_with(folder, spool)
}

fn start_with(folder: TempDir, spool: Spool) -> Bench {
    let (ends, script_ends) = channel();
    let (call, called) = channel();
    let log = Log::default();
    let stopped = Arc::default();
    let store = Script {
        ends: script_ends,
        called: call,
        log: Arc::clone(&log),
        cursors: HashMap::new(),
        stopped: Arc::clone(&stopped),
    };
    let (to_store, inbox) = sync_channel(4_096);
    let (tell, told) = channel();
    let tell = move |transitions| tell.send(transitions).unwrap();
    let counters = Arc::new(StoreCounters::default());
    let thread =
        StoreThread::start(Box::new(store), spool, inbox, tell, Arc::clone(&counters)).unwrap();
    Bench { folder, ends, called, log, stopped, to_store, told, counters, thread }
}

/// A disk that does nothing it is asked.
struct Broken;

fn broken<T>() -> io::Result<T> {
    Err(io::Error::other("broken"))
}

impl Disk for Broken {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        Ok(Vec::new())
    }
    fn read(&mut self, _: &str, _: u64, _: usize) -> io::Result<Vec<u8>> {
        broken()
    }
    fn create(&mut self, _: &str) -> io::Result<()> {
        broken()
    }
    fn write(&mut self, _: &str, _: u64, _: &[u8]) -> io::Result<usize> {
        broken()
    }
    fn reserve(&mut self, _: &str, _: u64) -> io::Result<()> {
        broken()
    }
    fn cut(&mut self, _: &str, _: u64) -> io::Result<()> {
        broken()
    }
    fn sync(&mut self, _: &str) -> io::Result<()> {
        broken()
    }
    fn rename(&mut self, _: &str, _: &str) -> io::Result<()> {
        broken()
    }
    fn remove(&mut self, _: &str) -> io::Result<()> {
        broken()
    }
    fn sync_names(&mut self) -> io::Result<()> {
        broken()
    }
}

/// A batch with one change, to down for an even number.
fn batch(seq: u64) -> SampleBatch {
    let (from, to) = match seq % 2 {
        0 => (Verdict::Up, Verdict::Down),
        _ => (Verdict::Down, Verdict::Up),
    };
    let change = Transition {
        monitor: MonitorId(1),
        at_ms: seq,
        from,
        to,
        code: Code(10),
        marks: Marks::NONE,
    };
    SampleBatch {
        shard: ShardId(2),
        seq,
        samples: Vec::new(),
        words: Vec::new(),
        transitions: vec![change],
    }
}

fn sample() -> Sample {
    Sample {
        monitor: MonitorId(1),
        due_ms: 1,
        lag_us: 0,
        timings: Timings::NONE,
        total_us: 1,
        body_bytes: 0,
        code: Code::GOOD,
        http_status: 0,
        phase: 1,
        attempts: 1,
        verdict: Verdict::Up,
    }
}

impl Bench {
    fn send(&self, numbers: std::ops::RangeInclusive<u64>) {
        for seq in numbers {
            self.to_store.send(ToStore::Batch(batch(seq))).unwrap();
        }
    }

    /// Asks that everything sent is safe; the answer comes when it is.
    fn flush(&self) -> Receiver<()> {
        let (reply, done) = channel();
        self.to_store.send(ToStore::Flush(reply)).unwrap();
        done
    }

    /// Lets the next call end so, after it has begun. Gives the numbers it was called with.
    fn next_call(&self, end: End) -> Vec<u64> {
        let offered = self.called.recv().unwrap();
        self.ends.send(end).unwrap();
        offered
    }

    /// Waits until as many changes are told, no more.
    fn told_numbers(&self, count: usize) -> Vec<u64> {
        let mut told = Vec::new();
        while told.len() < count {
            told.extend(self.told.recv().unwrap().iter().map(|change| change.at_ms));
        }
        assert_eq!(told.len(), count, "{told:?}");
        told
    }

    /// Waits for a gauge or counter to have a value.
    fn wait_for(&self, name: &str, value: u64) {
        let number = || {
            let counts = self.counters.by_name();
            let mut all = counts.counters.into_iter().chain(counts.gauges);
            all.find(|(found, ..)| *found == name).unwrap().2
        };
        while number() != value {
            std::thread::yield_now();
        }
    }

    fn stop(self) -> TempDir {
        self.to_store.send(ToStore::Stop).unwrap();
        self.thread.join().unwrap();
        self.folder
    }
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn batches_go_to_the_spool_while_the_database_is_away_and_back_in_order_with_live_ones_first() {
    let bench = start(tempfile::tempdir().unwrap());
    let slice = COMMIT_BATCHES_MAX as u64;
    bench.send(1..=1);
    assert_eq!(bench.next_call(End::Failed), [1]);
    assert_eq!(bench.told_numbers(1), [1], "told after it is in the spool");
    bench.send(2..=2 * slice + 10);
    // Whatever is tried meanwhile is the oldest, and nobody waits for it.
    let mut told = Vec::new();
    while told.last() != Some(&(2 * slice + 10)) {
        told.extend(bench.told.try_iter().flatten().map(|change| change.at_ms));
        for offered in bench.called.try_iter() {
            assert_eq!(offered[0], 1);
            bench.ends.send(End::Failed).unwrap();
        }
        std::thread::yield_now();
    }
    assert_eq!(told, numbers(2..=2 * slice + 10));
    assert!(bench.log.lock().unwrap().is_empty());

    // The first call that succeeds is held until a live batch waits.
    let mut offered = bench.called.recv().unwrap();
    let live = 2 * slice + 11;
    bench.send(live..=live);
    let done = bench.flush();
    bench.ends.send(End::Done).unwrap();
    assert_eq!(offered, numbers(1..=slice));
    offered = bench.next_call(End::Done);
    assert_eq!(offered, [live], "live first");
    done.recv().unwrap();
    assert_eq!(bench.told_numbers(1), [live]);
    assert_eq!(bench.next_call(End::Done), numbers(slice + 1..=2 * slice));
    assert_eq!(bench.next_call(End::Done), numbers(2 * slice + 1..=2 * slice + 10));
    bench.wait_for("engine_spool_records", 0);
    bench.wait_for("engine_store_away", 0);
    let log = bench.log.lock().unwrap().clone();
    assert_eq!((log.len(), log.iter().flatten().count() as u64), (4, live), "each once");
    bench.stop();
}

#[test]
fn a_commit_in_doubt_counts_once() {
    let bench = start(tempfile::tempdir().unwrap());
    bench.send(1..=1);
    assert_eq!(bench.next_call(End::InDoubt), [1]);
    assert_eq!(bench.told_numbers(1), [1]);
    assert_eq!(bench.next_call(End::Done), [1], "replayed");
    bench.wait_for("engine_spool_records", 0);
    assert_eq!(*bench.log.lock().unwrap(), [vec![1], vec![]]);
    bench.stop();
}

#[test]
fn nobody_waits_for_a_slow_database_to_hear_of_a_change() {
    let bench = start(tempfile::tempdir().unwrap());
    bench.send(1..=1);
    assert_eq!(bench.next_call(End::Late), [1]);
    assert_eq!(bench.told_numbers(1), [1]);
    // No call is let go on before this is told.
    bench.send(2..=2);
    assert_eq!(bench.told_numbers(1), [2]);
    assert_eq!(bench.next_call(End::Done), [2]);
    bench.wait_for("engine_store_away", 0);
    assert_eq!(*bench.log.lock().unwrap(), [vec![1], vec![2]]);
    bench.stop();
}

#[test]
fn a_stop_with_the_database_away_leaves_everything_in_the_spool_for_the_next_start() {
    let bench = start(tempfile::tempdir().unwrap());
    bench.send(1..=40);
    bench.to_store.send(ToStore::Stop).unwrap();
    assert_eq!(bench.next_call(End::Failed), numbers(1..=40));
    assert_eq!(bench.told_numbers(40), numbers(1..=40));
    bench.thread.join().unwrap();
    assert!(bench.stopped.lock().unwrap().is_empty(), "an absent database is not asked");

    let again = start(bench.folder);
    let (reply, states) = channel();
    assert_eq!(again.called.recv().unwrap(), numbers(1..=40));
    again.to_store.send(ToStore::States { of: None, reply }).unwrap();
    again.ends.send(End::Failed).unwrap();
    let state = states.recv().unwrap().unwrap()[&MonitorId(1)];
    assert_eq!((state.verdict, state.since_ms), (Verdict::Down, 40), "as the spool knows it");
    assert_eq!(again.next_call(End::Done), numbers(1..=40));
    again.wait_for("engine_spool_records", 0);
    assert_eq!(*again.stopped.lock().unwrap(), [RunId(5)], "the clean stop of the run before");
    assert!(again.told.try_recv().is_err(), "nobody is told twice");
    again.stop();
}

#[test]
fn with_database_and_spool_away_batches_are_kept_and_nobody_is_told_until_one_is_back() {
    let spool = Spool::open(Box::new(Broken), Bounds::of(1 << 20)).unwrap();
    let bench = start_with(tempfile::tempdir().unwrap(), spool);
    bench.send(1..=3);
    let done = bench.flush();
    assert_eq!(bench.next_call(End::Failed)[0], 1);
    assert_eq!(bench.next_call(End::Failed)[0], 1, "tried again");
    assert!(bench.told.try_recv().is_err() && done.try_recv().is_err());
    let mut recorded = bench.next_call(End::Done);
    if recorded.len() < 3 {
        recorded.extend(bench.next_call(End::Done));
    }
    assert_eq!(recorded, [1, 2, 3]);
    done.recv().unwrap();
    bench.stop();
}

#[test]
fn a_stop_with_both_away_waits_until_told_to_give_up_and_counts_the_loss() {
    let spool = Spool::open(Box::new(Broken), Bounds::of(1 << 20)).unwrap();
    let bench = start_with(tempfile::tempdir().unwrap(), spool);
    let mut batch = batch(1);
    batch.samples = vec![sample(); 7];
    bench.to_store.send(ToStore::Batch(batch)).unwrap();
    bench.to_store.send(ToStore::Stop).unwrap();
    bench.next_call(End::Failed);
    bench.next_call(End::Failed);
    bench.thread.give_up();
    drop(bench.ends);
    let error = bench.thread.join().unwrap_err();
    assert!(matches!(error, StoreError::Unsaved { rows: 7, .. }), "{error}");
    assert!(error.to_string().contains("away") && error.to_string().contains("broken"), "{error}");
}
