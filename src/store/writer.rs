//! The store thread: takes batches from the shards and keeps them until they are recorded.
//!
//! Owns: when to commit, what to do when a commit fails, and the order of a stop. A transition is
//! passed on only after it is recorded. A batch that the database refuses is kept and tried again;
//! when `STORE_PENDING_BATCHES_MAX` are waiting, the thread takes no more, the channel fills, and
//! the shards keep and count. Maintenance runs between commits, one bounded piece at a time.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use probes::Nanos;

use super::{Maintained, NewMonitor, RunId, Store, StoreError, SyncReport};
use crate::clock::Clock;
use crate::ids::MonitorId;
use crate::limits::{
    COMMIT_BATCHES_MAX, COMMIT_MS, MAINTAIN_MS, STORE_PENDING_BATCHES_MAX, STORE_RETRY_MS_MAX,
    STORE_RETRY_MS_MIN,
};
use crate::monitor::State;
use crate::sample::{SampleBatch, Transition};

type Seen = dyn FnMut(&[SampleBatch]) + Send;

/// Called with the batches of each commit, after it, on the store thread.
pub struct Tap(pub Box<Seen>);

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// What the store thread is told.
#[derive(Debug)]
pub enum ToStore {
    /// Record these results.
    Batch(SampleBatch),
    /// Make the monitors of a source exactly these; see [`Store::sync_monitors`].
    Sync {
        /// Which file or API they are from.
        source: String,
        /// All of its monitors.
        rows: Vec<NewMonitor>,
        /// Gets the report.
        reply: Sender<Result<SyncReport, StoreError>>,
    },
    /// Give the last known states; see [`Store::load_states`].
    States {
        /// Gets them.
        reply: Sender<Result<HashMap<MonitorId, State>, StoreError>>,
    },
    /// Show what is recorded from now on.
    Tap(Tap),
    /// Commit now; the reply comes when all that was sent before is recorded.
    Flush(Sender<()>),
    /// Record what was sent before, mark the clean stop and end.
    Stop,
}

/// Numbers about the store. Written by its thread only, read by anyone.
#[derive(Debug, Default)]
pub struct StoreCounters {
    /// Results recorded.
    pub rows: AtomicU64,
    /// Transactions with results.
    pub commits: AtomicU64,
    /// Bytes of packed results.
    pub bytes: AtomicU64,
    /// Batches skipped because they were recorded before.
    pub batches_skipped: AtomicU64,
    /// Batches waiting to be recorded.
    pub batches_pending: AtomicU64,
    /// Commits and maintenance steps that failed.
    pub errors: AtomicU64,
    /// Time in commits, in microseconds.
    pub commit_us: AtomicU64,
    /// The longest commit, in microseconds.
    pub commit_us_max: AtomicU64,
    /// Results moved to chunks.
    pub samples_compacted: AtomicU64,
    /// Bytes of chunks written.
    pub chunk_bytes: AtomicU64,
    /// Chunks deleted for age or size.
    pub chunks_deleted: AtomicU64,
    /// Head rows set aside because they could not be unpacked.
    pub damaged: AtomicU64,
    /// 1 while the database is larger than allowed and has no result left to delete.
    pub over_size: AtomicU64,
}

impl StoreCounters {
    /// Every number with its name and its help, for the metrics page. Sizes and states that may
    /// fall are left out of the counters.
    pub fn by_name(&self) -> Vec<(&'static str, &'static str, u64)> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        vec![
            ("engine_store_rows", "Results recorded", load(&self.rows)),
            ("engine_store_commits", "Transactions with results", load(&self.commits)),
            ("engine_store_bytes", "Bytes of packed results", load(&self.bytes)),
            ("engine_store_batches_skipped", "Recorded before", load(&self.batches_skipped)),
            ("engine_store_errors", "Failed commits and maintenance", load(&self.errors)),
            ("engine_store_commit_microseconds", "Time in commits", load(&self.commit_us)),
            ("engine_store_compacted", "Results moved to chunks", load(&self.samples_compacted)),
            ("engine_store_chunk_bytes", "Bytes of chunks written", load(&self.chunk_bytes)),
            ("engine_store_chunks_deleted", "Deleted for age or size", load(&self.chunks_deleted)),
            ("engine_store_damaged", "Rows set aside as damaged", load(&self.damaged)),
        ]
    }
}

/// The store thread, seen from the one that starts and stops it.
#[derive(Debug)]
pub struct StoreThread {
    thread: JoinHandle<Result<(), StoreError>>,
    give_up: Arc<AtomicBool>,
}

impl StoreThread {
    /// Starts the thread `store`. It begins a run, records what comes through `inbox`, and calls
    /// `tell` with the transitions of each commit after it. It ends at [`ToStore::Stop`] or when
    /// all senders are gone.
    ///
    /// # Errors
    ///
    /// The run could not be begun, or the operating system gives no thread.
    pub fn start(
        mut store: Box<dyn Store>,
        inbox: Receiver<ToStore>,
        tell: impl FnMut(Vec<Transition>) + Send + 'static,
        counters: Arc<StoreCounters>,
    ) -> Result<StoreThread, StoreError> {
        let clock = Clock::start();
        let run = store.begin_run(clock.unix_millis(clock.now()))?;
        let give_up = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            store,
            run,
            inbox,
            tell: Box::new(tell),
            taps: Vec::new(),
            counters,
            clock,
            give_up: Arc::clone(&give_up),
            pending: Vec::new(),
            flushes: Vec::new(),
            retry: Retry::default(),
            maintain_at: Nanos(0),
            maintain_retry: Retry::default(),
            stopping: false,
        };
        let builder = std::thread::Builder::new().name("store".to_owned());
        let thread = builder
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Database(format!("no thread: {error}")))?;
        Ok(StoreThread { thread, give_up })
    }

    /// True when the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// A stop waits while the database refuses; after this it waits no longer, and what is not
    /// recorded is lost and counted in the error of [`StoreThread::join`].
    pub fn give_up(&self) {
        self.give_up.store(true, Ordering::Relaxed);
    }

    /// Waits for the end; a panic of the thread goes on here.
    ///
    /// # Errors
    ///
    /// `Unsaved` after [`StoreThread::give_up`]; the database's where the stop could not be marked.
    pub fn join(self) -> Result<(), StoreError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// When to try again after errors, and whether this one was said already.
#[derive(Debug, Default)]
struct Retry {
    pause_ms: u64,
    at: Nanos,
    said: String,
}

impl Retry {
    fn failed(&mut self, what: &str, error: &StoreError, now: Nanos) {
        self.pause_ms = (self.pause_ms * 2).clamp(STORE_RETRY_MS_MIN, STORE_RETRY_MS_MAX);
        self.at = now.plus_millis(self.pause_ms);
        let text = error.to_string();
        if text != self.said {
            tracing::error!(error = %text, "{what}; it is tried again until it succeeds");
            self.said = text;
        }
    }

    fn succeeded(&mut self, what: &str) {
        if !self.said.is_empty() {
            tracing::info!("{what} works again");
        }
        *self = Retry::default();
    }
}

struct Writer {
    store: Box<dyn Store>,
    run: RunId,
    inbox: Receiver<ToStore>,
    tell: Box<dyn FnMut(Vec<Transition>) + Send>,
    taps: Vec<Tap>,
    counters: Arc<StoreCounters>,
    clock: Clock,
    give_up: Arc<AtomicBool>,
    /// Oldest first.
    pending: Vec<SampleBatch>,
    /// Wait for `pending` to be empty.
    flushes: Vec<Sender<()>>,
    retry: Retry,
    maintain_at: Nanos,
    maintain_retry: Retry,
    stopping: bool,
}

impl Writer {
    fn run(mut self) -> Result<(), StoreError> {
        let mut commit_at = self.clock.now().plus_millis(COMMIT_MS);
        loop {
            let maintain_at = self.maintain_at.max(self.maintain_retry.at);
            self.receive(commit_at.min(maintain_at));
            let give_up = self.give_up.load(Ordering::Relaxed);
            if give_up {
                self.take_rest();
            }
            let now = self.clock.now();
            let full = self.pending.len() >= COMMIT_BATCHES_MAX;
            if now >= commit_at || full || self.stopping || !self.flushes.is_empty() {
                commit_at = now.plus_millis(COMMIT_MS);
                self.commit(give_up);
            }
            if !self.stopping {
                if now >= maintain_at {
                    self.maintain();
                }
            } else if self.pending.is_empty() {
                return self.store.end_run(self.run, self.clock.unix_millis(now));
            } else if give_up {
                return Err(self.unsaved());
            }
        }
    }

    /// Takes what is there, waiting until `wake_at` for the first message. Takes nothing while too
    /// much is waiting, so that the channel fills.
    fn receive(&mut self, wake_at: Nanos) {
        let wait_us = wake_at.micros_since(self.clock.now());
        let wait = Duration::from_micros(wait_us.into());
        if self.stopping || self.pending.len() >= STORE_PENDING_BATCHES_MAX {
            // Nothing wakes this sleep, so it is short enough for a stop that gives up.
            let pause = Duration::from_millis(STORE_RETRY_MS_MIN);
            let failing = !self.pending.is_empty() && self.retry.pause_ms > 0;
            std::thread::sleep(if failing { pause } else { Duration::ZERO });
            return;
        }
        match self.inbox.recv_timeout(wait) {
            Ok(message) => self.take(message),
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => self.stopping = true,
        }
        while !self.stopping && self.pending.len() < COMMIT_BATCHES_MAX {
            match self.inbox.try_recv() {
                Ok(message) => self.take(message),
                Err(_) => return,
            }
        }
    }

    /// Takes all that is still in the channel: the last try is for everything.
    fn take_rest(&mut self) {
        self.stopping = true;
        while let Ok(message) = self.inbox.try_recv() {
            self.take(message);
        }
    }

    fn take(&mut self, message: ToStore) {
        match message {
            ToStore::Batch(batch) => self.pending.push(batch),
            ToStore::Sync { source, rows, reply } => {
                // Whoever asked may be gone: then nobody wants the report.
                let _ = reply.send(self.store.sync_monitors(&source, &rows));
            }
            ToStore::States { reply } => {
                let _ = reply.send(self.store.load_states());
            }
            ToStore::Tap(tap) => self.taps.push(tap),
            ToStore::Flush(reply) => self.flushes.push(reply),
            ToStore::Stop => self.stopping = true,
        }
    }

    /// Records what is waiting, in bounded transactions, unless a pause after an error goes on.
    fn commit(&mut self, last_try: bool) {
        while !self.pending.is_empty() {
            let start = self.clock.now();
            if start < self.retry.at && !last_try {
                break;
            }
            let count = self.pending.len().min(COMMIT_BATCHES_MAX);
            let appended = match self.store.append(self.run, &self.pending[..count]) {
                Ok(appended) => appended,
                Err(error) => {
                    add(&self.counters.errors, 1);
                    self.retry.failed("results cannot be recorded", &error, self.clock.now());
                    break;
                }
            };
            self.retry.succeeded("recording results");
            let commit_us = u64::from(self.clock.now().micros_since(start));
            add(&self.counters.commits, 1);
            add(&self.counters.rows, appended.rows);
            add(&self.counters.bytes, appended.bytes);
            add(&self.counters.batches_skipped, appended.batches_skipped);
            add(&self.counters.commit_us, commit_us);
            self.counters.commit_us_max.fetch_max(commit_us, Ordering::Relaxed);

            self.taps.iter_mut().for_each(|Tap(tap)| tap(&self.pending[..count]));
            let recorded = self.pending.drain(..count);
            let transitions: Vec<Transition> =
                recorded.flat_map(|batch| batch.transitions).collect();
            if !transitions.is_empty() {
                (self.tell)(transitions);
            }
        }
        self.counters.batches_pending.store(self.pending.len() as u64, Ordering::Relaxed);
        if self.pending.is_empty() {
            for reply in self.flushes.drain(..) {
                let _ = reply.send(());
            }
        }
    }

    fn maintain(&mut self) {
        let now = self.clock.now();
        match self.store.maintain(self.clock.unix_millis(now)) {
            Ok(done) => {
                self.maintain_retry.succeeded("maintenance");
                self.maintain_at = if done.more { now } else { now.plus_millis(MAINTAIN_MS) };
                self.count(&done);
            }
            Err(error) => {
                add(&self.counters.errors, 1);
                self.maintain_retry.failed("maintenance failed", &error, now);
            }
        }
    }

    fn count(&self, done: &Maintained) {
        let counters = &self.counters;
        add(&counters.samples_compacted, done.samples_compacted);
        add(&counters.chunk_bytes, done.chunk_bytes);
        add(&counters.chunks_deleted, done.chunks_deleted);
        add(&counters.damaged, done.damaged.len() as u64);
        for row in &done.damaged {
            tracing::error!(row, "stored results are damaged and were set aside");
        }
        if done.over_size && counters.over_size.load(Ordering::Relaxed) == 0 {
            tracing::error!("the database is too large without any result: raise the size");
        }
        counters.over_size.store(u64::from(done.over_size), Ordering::Relaxed);
    }

    fn unsaved(&self) -> StoreError {
        let rows = self.pending.iter().map(|batch| batch.samples.len() as u64).sum();
        StoreError::Unsaved { rows, reason: self.retry.said.clone() }
    }
}

/// Adds to a counter that this thread alone writes.
fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::mpsc::{SyncSender, channel, sync_channel};

    use probes::Timings;
    use tempfile::TempDir;

    use super::*;
    use crate::ids::ShardId;
    use crate::limits::WINDOW_MS;
    use crate::sample::{Code, Sample, Verdict};
    use crate::store::view::Range;
    use crate::store::{Appended, Read, Retention, SqliteReader, SqliteStore};

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
            let set =
                self.store.conn.pragma_update_and_check(None, "max_page_count", pages, |row| {
                    row.get::<_, i64>(0)
                });
            set.unwrap();
            &mut self.store
        }
    }

    impl Store for Limited {
        fn sync_monitors(
            &mut self,
            source: &str,
            rows: &[NewMonitor],
        ) -> Result<SyncReport, StoreError> {
            self.store().sync_monitors(source, rows)
        }
        fn load_states(&mut self) -> Result<HashMap<MonitorId, State>, StoreError> {
            self.store().load_states()
        }
        fn begin_run(&mut self, now_ms: u64) -> Result<RunId, StoreError> {
            self.store().begin_run(now_ms)
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
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), Retention::default()).unwrap();
        let pages_max = Arc::new(AtomicU32::new(NO_LIMIT));
        let store = Limited { store, pages_max: Arc::clone(&pages_max) };
        let counters = Arc::new(StoreCounters::default());
        let (to_store, inbox) = sync_channel(64);
        let (tell, told) = channel();
        let tell = move |transitions| tell.send(transitions).unwrap();
        let thread =
            StoreThread::start(Box::new(store), inbox, tell, Arc::clone(&counters)).unwrap();
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

        /// Makes the file full and waits until a commit has failed for it.
        fn fill_disk(&self, seq: u64) {
            self.pages_max.store(1, Ordering::Relaxed);
            let errors = self.number(|counters| &counters.errors);
            self.send(seq);
            while self.number(|counters| &counters.batches_pending) == 0
                || self.number(|counters| &counters.errors) == errors
            {
                std::thread::yield_now();
            }
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
    fn a_full_disk_keeps_batches_and_transitions_until_there_is_room() {
        let bench = start();
        bench.send(1);
        bench.flush().recv().unwrap();
        assert_eq!(bench.told.recv().unwrap()[0].at_ms, 1);
        bench.fill_disk(2);
        let done = bench.flush();
        assert!(done.try_recv().is_err(), "nothing is recorded yet");
        assert!(bench.told.try_recv().is_err(), "nobody is told of what is not recorded");
        assert_eq!(bench.number(|counters| &counters.rows), 20_000);

        bench.pages_max.store(NO_LIMIT, Ordering::Relaxed);
        done.recv().unwrap();
        assert_eq!(bench.told.recv().unwrap()[0].at_ms, 2);
        assert_eq!(bench.number(|counters| &counters.rows), 40_000);
        assert_eq!(bench.number(|counters| &counters.batches_pending), 0);
        bench.to_store.send(ToStore::Stop).unwrap();
        bench.thread.join().unwrap();
    }

    #[test]
    fn a_stop_on_a_full_disk_waits_until_told_to_give_up_and_counts_the_loss() {
        let bench = start();
        bench.fill_disk(1);
        bench.to_store.send(ToStore::Stop).unwrap();
        bench.thread.give_up();
        let error = bench.thread.join().unwrap_err();
        assert!(matches!(error, StoreError::Unsaved { rows: 20_000, .. }), "{error}");
        assert!(error.to_string().contains("disk"), "{error}");
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
        let sync = ToStore::Sync { source: "a".to_owned(), rows: vec![row], reply };
        bench.to_store.send(sync).unwrap();
        let id = report.recv().unwrap().unwrap().ids[0].unwrap();
        let (reply, states) = channel();
        bench.to_store.send(ToStore::States { reply }).unwrap();
        assert_eq!(states.recv().unwrap().unwrap()[&id], State::default());
        bench.to_store.send(ToStore::Stop).unwrap();
        bench.thread.join().unwrap();
    }
}
