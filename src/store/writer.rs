//! The store thread: takes batches from the shards and keeps them until they are recorded.
//!
//! Owns: when to commit, what to do when a commit fails, and the order of a stop. A batch is safe
//! when it is committed, or durable in the spool while the database refuses or is slow; only then
//! is a transition passed on. When the database is back, what is live goes first in every turn and
//! then a bounded slice of the spool. Where the spool fails too, batches are kept and tried again;
//! when `STORE_PENDING_BATCHES_MAX` are waiting, the thread takes no more, the channel fills, and
//! the shards keep and count. Maintenance runs between commits, one bounded piece at a time.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use probes::Nanos;

use super::counters::add;
use super::spool::{RunKey, Slice, Spool};
use super::{Appended, NewMonitor, Recall, RunId, Store, StoreCounters, StoreError, SyncReport};
use crate::clock::Clock;
use crate::ids::MonitorId;
use crate::limits::{
    COMMIT_BATCHES_MAX, COMMIT_MS, COMMIT_SLOW_MS, MAINTAIN_MS, STORE_PENDING_BATCHES_MAX,
    STORE_RETRY_MS_MAX, STORE_RETRY_MS_MIN,
};
use crate::monitor::State;
use crate::pg::{Kind, PgError};
use crate::sample::{SampleBatch, Transition};

type Seen = dyn FnMut(&[SampleBatch]) + Send;

/// Called with batches once they are recorded, in the database or the spool, on the store thread.
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
    /// Add or change monitors; where the database is away, say which are known.
    Put {
        /// Which file or API they are from.
        source: String,
        /// Those to add or change.
        rows: Vec<NewMonitor>,
        /// Gets the report.
        reply: Sender<Result<SyncReport, StoreError>>,
    },
    /// Change some monitors of a source; see [`Store::edit_monitors`].
    Edit {
        /// Which file or API they are from.
        source: String,
        /// Those to add or change.
        rows: Vec<NewMonitor>,
        /// Those to remove.
        gone: Vec<MonitorId>,
        /// Gets the report.
        reply: Sender<Result<SyncReport, StoreError>>,
    },
    /// Give the monitors of a source; see [`Store::monitors_of`].
    Of {
        /// Which file or API they are from.
        source: String,
        /// Gets them.
        reply: Sender<Result<Vec<MonitorId>, StoreError>>,
    },
    /// Give the last known states; see [`Store::load_states`].
    States {
        /// Only those of these monitors.
        of: Option<Vec<MonitorId>>,
        /// Gets them.
        reply: Sender<Result<HashMap<MonitorId, State>, StoreError>>,
    },
    /// Show what is recorded from now on.
    Tap(Tap),
    /// Record now; the reply comes when all that was sent before is safe.
    Flush(Sender<()>),
    /// Record what was sent before, mark the clean stop and end.
    Stop,
}

/// The store thread, seen from the one that starts and stops it.
#[derive(Debug)]
pub struct StoreThread {
    thread: JoinHandle<Result<(), StoreError>>,
    give_up: Arc<AtomicBool>,
}

impl StoreThread {
    /// Starts the thread `store`. It begins a run, records what comes through `inbox` and what is
    /// in the spool, and calls `tell` with transitions after they are safe. It ends at
    /// [`ToStore::Stop`] or when all senders are gone.
    ///
    /// # Errors
    ///
    /// The run could not be begun, `ForeignSpool`, or the operating system gives no thread.
    pub fn start(
        store: Box<dyn Store>,
        spool: Spool,
        inbox: Receiver<ToStore>,
        tell: impl FnMut(Vec<Transition>) + Send + 'static,
        counters: Arc<StoreCounters>,
    ) -> Result<StoreThread, StoreError> {
        StoreThread::start_known(store, None, spool, inbox, tell, counters)
    }

    /// As [`StoreThread::start`], for a database that may be away: then the run begins with what
    /// `recall` knows of it.
    ///
    /// # Errors
    ///
    /// As for [`StoreThread::start`].
    pub fn start_known(
        mut store: Box<dyn Store>,
        mut recall: Option<Recall>,
        spool: Spool,
        inbox: Receiver<ToStore>,
        tell: impl FnMut(Vec<Transition>) + Send + 'static,
        counters: Arc<StoreCounters>,
    ) -> Result<StoreThread, StoreError> {
        let clock = Clock::start();
        let (run, adopted) = begin(&mut *store, &mut recall, &spool, &clock)?;
        let reached = adopted.contains(&run);
        counters.away.store(u64::from(!reached), Ordering::Relaxed);
        if !spool.is_empty() {
            let records = spool.numbers().records;
            tracing::info!(records, "results of an earlier run are in the spool");
        }
        let give_up = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            store,
            recall,
            spool,
            run,
            adopted,
            inbox,
            tell: Box::new(tell),
            taps: Vec::new(),
            counters,
            clock,
            give_up: Arc::clone(&give_up),
            pending: Vec::new(),
            flushes: Vec::new(),
            standing: if reached { Standing::Accepting } else { Standing::Away },
            retry: Retry::default(),
            spool_retry: Retry::default(),
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

    /// A stop waits while database and spool refuse; after this it waits no longer, and what is
    /// not safe is lost and counted in the error of [`StoreThread::join`].
    pub fn give_up(&self) {
        self.give_up.store(true, Ordering::Relaxed);
    }

    /// Waits for the end; a panic of the thread goes on here.
    ///
    /// # Errors
    ///
    /// `Unsaved` after [`StoreThread::give_up`].
    pub fn join(self) -> Result<(), StoreError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Begins a run, in the database or, where that is away and its identity is known, without it.
/// Gives the runs that the database has, too.
fn begin(
    store: &mut dyn Store,
    recall: &mut Option<Recall>,
    spool: &Spool,
    clock: &Clock,
) -> Result<(RunKey, BTreeSet<RunKey>), StoreError> {
    let started_ms = clock.unix_millis(clock.now());
    let mut adopted = BTreeSet::new();
    let mut in_database = || {
        for run in spool.runs() {
            store.adopt_run(run)?;
            adopted.insert(run);
        }
        let run = store.begin_run(started_ms)?;
        if let (Some(recall), Some(identity)) = (recall.as_mut(), store.identity()?) {
            recall.set_database(identity);
        }
        Ok(run)
    };
    let begun: Result<RunId, StoreError> = in_database();
    match (begun, recall.as_ref().and_then(Recall::database)) {
        (Ok(run), _) => {
            let run = RunKey { run, started_ms };
            adopted.insert(run);
            Ok((run, adopted))
        }
        (Err(error), Some(identity)) if error.is_passing() => {
            tracing::error!(%error, "started without the database: results go to the spool");
            Ok((RunKey { run: RunId::away(identity), started_ms }, adopted))
        }
        (Err(error), _) => Err(error),
    }
}

/// Whether the database takes results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Accepting,
    /// It refuses, or takes too long.
    Away,
    /// It has no room, which maintenance may make.
    Full,
}

/// When to try again after errors, and whether this one was said already.
#[derive(Debug, Default)]
struct Retry {
    pause_ms: u64,
    at: Nanos,
    said: String,
}

impl Retry {
    fn failed(&mut self, what: &str, error: &str, now: Nanos) {
        self.pause_ms = (self.pause_ms * 2).clamp(STORE_RETRY_MS_MIN, STORE_RETRY_MS_MAX);
        self.at = now.plus_millis(self.pause_ms);
        if error != self.said {
            tracing::error!(error, "{what}; it is tried again until it succeeds");
            self.said = error.to_owned();
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
    /// What is known of the database while it is away.
    recall: Option<Recall>,
    spool: Spool,
    run: RunKey,
    /// Runs that the database is known to have.
    adopted: BTreeSet<RunKey>,
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
    standing: Standing,
    /// When the store is tried again, where it is not accepting.
    retry: Retry,
    spool_retry: Retry,
    maintain_at: Nanos,
    maintain_retry: Retry,
    stopping: bool,
}

impl Writer {
    fn run(mut self) -> Result<(), StoreError> {
        let mut record_at = self.clock.now().plus_millis(COMMIT_MS);
        loop {
            self.receive(self.wake_at(record_at));
            let give_up = self.give_up.load(Ordering::Relaxed);
            if give_up {
                self.take_rest();
            }
            let now = self.clock.now();
            if now >= record_at || self.is_urgent() {
                record_at = now.plus_millis(COMMIT_MS);
                self.record(give_up);
            }
            if self.stopping && self.pending.is_empty() {
                self.finish();
                return Ok(());
            }
            if self.stopping && give_up {
                return Err(self.unsaved());
            }
            if self.stopping {
                continue;
            }
            self.replay();
            if self.maintain_due().is_some_and(|due| now >= due) {
                self.maintain();
            }
        }
    }

    /// When to look again if nothing comes: at once while the spool is replayed.
    fn wake_at(&self, record_at: Nanos) -> Nanos {
        let replay_at = (!self.spool.is_empty()).then_some(self.retry.at);
        [replay_at, self.maintain_due()].into_iter().flatten().fold(record_at, Nanos::min)
    }

    /// When maintenance is due: it makes room in a full database; one that is away is left alone.
    fn maintain_due(&self) -> Option<Nanos> {
        let due = self.maintain_at.max(self.maintain_retry.at);
        (self.standing != Standing::Away).then_some(due)
    }

    /// True where recording does not wait for its time.
    fn is_urgent(&self) -> bool {
        let changes = || self.pending.iter().any(|batch| !batch.transitions.is_empty());
        self.stopping
            || self.pending.len() >= COMMIT_BATCHES_MAX
            || !self.flushes.is_empty()
            || (self.standing != Standing::Accepting && changes())
    }

    /// Takes what is there, waiting until `wake_at` for the first message. Takes nothing while too
    /// much is waiting, so that the channel fills.
    fn receive(&mut self, wake_at: Nanos) {
        let wait_us = wake_at.micros_since(self.clock.now());
        let wait = Duration::from_micros(wait_us.into());
        if self.stopping || self.pending.len() >= STORE_PENDING_BATCHES_MAX {
            // Nothing wakes this sleep, so it is short enough for a stop that gives up.
            let pause = Duration::from_millis(STORE_RETRY_MS_MIN);
            let failing = !self.pending.is_empty() && self.spool_retry.pause_ms > 0;
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
            ToStore::Put { source, rows, reply } => {
                // Whoever asked may be gone: then nobody wants the report.
                let _ = reply.send(self.put(&source, &rows));
            }
            ToStore::Edit { source, rows, gone, reply } => {
                let _ = reply.send(self.store.edit_monitors(&source, &rows, &gone));
            }
            ToStore::Of { source, reply } => {
                let _ = reply.send(self.store.monitors_of(&source));
            }
            ToStore::States { of, reply } => {
                let states = self.states(of.as_deref());
                let kept = self.recall.is_some().then(|| states.clone());
                let _ = reply.send(states);
                if let (Some(Ok(states)), Some(recall)) = (kept, &mut self.recall) {
                    recall.keep_states(&states);
                }
            }
            ToStore::Tap(tap) => self.taps.push(tap),
            ToStore::Flush(reply) => self.flushes.push(reply),
            ToStore::Stop => self.stopping = true,
        }
    }

    /// Adds or changes monitors; where the database is away, finds those that are known.
    fn put(&mut self, source: &str, rows: &[NewMonitor]) -> Result<SyncReport, StoreError> {
        let away = self.not_reached();
        let put = match away {
            None => self.store.edit_monitors(source, rows, &[]),
            Some(error) => Err(error),
        };
        match (put, &mut self.recall) {
            (Ok(report), Some(recall)) => {
                recall.keep_names(source, rows, &report);
                Ok(report)
            }
            (Err(error), Some(recall)) if error.is_passing() => recall.find(source, rows),
            (put, _) => put,
        }
    }

    /// The last known states, with the changes that wait in the spool.
    fn states(
        &mut self,
        of: Option<&[MonitorId]>,
    ) -> Result<HashMap<MonitorId, State>, StoreError> {
        let loaded = match (self.not_reached(), of) {
            (Some(error), _) => Err(error),
            (None, None) => self.store.load_states(),
            (None, Some(monitors)) => self.store.load_states_of(monitors),
        };
        let mut states = match (loaded, &self.recall) {
            (Err(error), Some(recall)) if error.is_passing() => recall.states(of)?,
            (loaded, _) => loaded?,
        };
        self.spool.correct(&mut states);
        Ok(states)
    }

    /// That the database was not reached since the start, where it was not: nobody is to wait for
    /// another try of it.
    fn not_reached(&self) -> Option<StoreError> {
        let text = "not reached since the start";
        let error = || PgError::new(Kind::Away, text).into();
        (self.recall.is_some() && !self.adopted.contains(&self.run)).then(error)
    }

    /// Records what is waiting: in the database while it accepts, else in the spool, and where
    /// that fails too, in the database if it is time to try.
    fn record(&mut self, last_try: bool) {
        if self.standing == Standing::Accepting {
            self.commit();
        }
        if self.standing != Standing::Accepting {
            self.spool_pending(last_try);
            if last_try || self.clock.now() >= self.retry.at {
                self.commit();
            }
        }
        let counters = &self.counters;
        counters.batches_pending.store(self.pending.len() as u64, Ordering::Relaxed);
        self.publish();
        if self.pending.is_empty() {
            for reply in self.flushes.drain(..) {
                let _ = reply.send(());
            }
        }
    }

    /// Commits what is waiting, in bounded transactions, as long as they succeed.
    fn commit(&mut self) {
        while !self.pending.is_empty() {
            let count = self.pending.len().min(COMMIT_BATCHES_MAX);
            let start = self.clock.now();
            let result = match self.adopt(self.run) {
                Ok(()) => self.store.append(self.run.run, &self.pending[..count]),
                Err(error) => Err(error),
            };
            if !self.judge(start, &result) {
                return;
            }
            self.acknowledge(count);
            if self.standing != Standing::Accepting {
                return;
            }
        }
    }

    /// Makes sure that the database has this run, once.
    fn adopt(&mut self, run: RunKey) -> Result<(), StoreError> {
        if !self.adopted.contains(&run) {
            self.store.adopt_run(run)?;
            self.adopted.insert(run);
        }
        Ok(())
    }

    /// Takes the result of a commit into account; true where it took place.
    fn judge(&mut self, start: Nanos, result: &Result<Appended, StoreError>) -> bool {
        let now = self.clock.now();
        let commit_us = u64::from(now.micros_since(start));
        match result {
            Err(error) => {
                add(&self.counters.errors, 1);
                let full = *error == StoreError::Full;
                self.standing = if full { Standing::Full } else { Standing::Away };
                self.retry.failed("results cannot be recorded", &error.to_string(), now);
            }
            Ok(appended) => {
                self.counters.committed(appended, commit_us);
                if commit_us > COMMIT_SLOW_MS * 1_000 {
                    self.standing = Standing::Away;
                    self.retry.failed("results cannot be recorded", "commits are slow", now);
                } else {
                    self.standing = Standing::Accepting;
                    self.retry.succeeded("recording results");
                }
            }
        }
        result.is_ok()
    }

    /// Makes what is waiting durable in the spool, unless a pause after an error goes on.
    fn spool_pending(&mut self, last_try: bool) {
        while !self.pending.is_empty() {
            let now = self.clock.now();
            if now < self.spool_retry.at && !last_try {
                return;
            }
            match self.spool.append(self.run, self.clock.unix_millis(now), &self.pending) {
                Ok(count) => {
                    self.spool_retry.succeeded("the spool");
                    self.acknowledge(count);
                }
                Err(error) => {
                    add(&self.counters.spool_errors, 1);
                    self.spool_retry.failed("results cannot be spooled", &error.to_string(), now);
                    return;
                }
            }
        }
    }

    /// These batches are safe: tells of their changes and forgets them.
    fn acknowledge(&mut self, count: usize) {
        if let Some(recall) = &mut self.recall {
            recall.note(&self.pending[..count]);
        }
        self.taps.iter_mut().for_each(|Tap(tap)| tap(&self.pending[..count]));
        let safe = self.pending.drain(..count);
        let transitions: Vec<Transition> = safe.flat_map(|batch| batch.transitions).collect();
        if !transitions.is_empty() {
            (self.tell)(transitions);
        }
    }

    /// Gives a slice of the spool to the store, after what is live. Where the store is not
    /// accepting, this is how it is tried again: nobody waits for these batches.
    fn replay(&mut self) {
        if self.clock.now() < self.retry.at {
            return;
        }
        if self.spool.is_empty() {
            if self.pending.is_empty() {
                match self.adopt(self.run) {
                    Ok(()) => self.standing = Standing::Accepting,
                    Err(error) => {
                        let now = self.clock.now();
                        self.retry.failed("results cannot be recorded", &error.to_string(), now);
                    }
                }
            }
            return;
        }
        let slice = match self.spool.next(COMMIT_BATCHES_MAX) {
            Ok(Some(slice)) => slice,
            Ok(None) => return,
            Err(error) => {
                add(&self.counters.spool_errors, 1);
                let now = self.clock.now();
                return self.retry.failed("the spool cannot be read", &error.to_string(), now);
            }
        };
        let start = self.clock.now();
        let result = self.replay_slice(&slice);
        if self.judge(start, &result) {
            self.spool.done(&slice);
            if self.spool.is_empty() {
                tracing::info!("everything in the spool is recorded");
            }
        }
        self.publish();
    }

    fn replay_slice(&mut self, slice: &Slice) -> Result<Appended, StoreError> {
        self.adopt(slice.run)?;
        let run = slice.run.run;
        for gap in &slice.gaps {
            self.store.record_gap(run, gap)?;
        }
        let mut appended = Appended::default();
        if !slice.batches.is_empty() {
            appended = self.store.append(run, &slice.batches)?;
        }
        if let Some(at_ms) = slice.stopped_ms {
            self.store.end_run(run, at_ms)?;
        }
        Ok(appended)
    }

    /// Marks the clean stop, in the database or in the spool. Everything is safe by then: without
    /// the mark the next start only checks more than it must.
    fn finish(&mut self) {
        let now_ms = self.clock.unix_millis(self.clock.now());
        let marked = match self.standing {
            Standing::Accepting => self.store.end_run(self.run.run, now_ms),
            Standing::Away | Standing::Full => Err(StoreError::Database(self.retry.said.clone())),
        };
        if let Err(Err(error)) = marked.map_err(|_| self.spool.append_stop(self.run, now_ms)) {
            tracing::warn!(%error, "the clean stop could not be marked");
        }
        self.publish();
        let left = self.spool.numbers();
        if !self.spool.is_empty() {
            tracing::warn!(
                records = left.records,
                bytes = left.bytes,
                "stopped with results in the spool: they are recorded after the next start"
            );
        }
    }

    fn maintain(&mut self) {
        let now = self.clock.now();
        match self.store.maintain(self.clock.unix_millis(now)) {
            Ok(done) => {
                self.maintain_retry.succeeded("maintenance");
                self.maintain_at = if done.more { now } else { now.plus_millis(MAINTAIN_MS) };
                for row in &done.damaged {
                    tracing::error!(row, "stored results are damaged and were set aside");
                }
                if done.over_size && self.counters.over_size.load(Ordering::Relaxed) == 0 {
                    tracing::error!("the database is too large without any result: raise the size");
                }
                self.counters.maintained(&done);
            }
            Err(error) => {
                add(&self.counters.errors, 1);
                self.maintain_retry.failed("maintenance failed", &error.to_string(), now);
            }
        }
    }

    fn publish(&self) {
        let away = u64::from(self.standing != Standing::Accepting);
        self.counters.away.store(away, Ordering::Relaxed);
        let now_ms = self.clock.unix_millis(self.clock.now());
        self.counters.spooled(&self.spool.numbers(), now_ms);
    }

    fn unsaved(&self) -> StoreError {
        let rows = self.pending.iter().map(|batch| batch.samples.len() as u64).sum();
        let reason = format!("{}; {}", self.retry.said, self.spool_retry.said);
        StoreError::Unsaved { rows, reason }
    }
}

#[cfg(test)]
mod tests;
