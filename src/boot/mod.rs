//! Starts and stops the engine in order.
//!
//! Owns: the order. Start: store, shards, monitors. Stop: shards drain, then the store records
//! what is left; each step has a deadline. Blocks: the control thread calls it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use probes::ProbeSpec;

use crate::clock::{Clock, wall_millis};
use crate::config::guard::GuardPlan;
use crate::config::{Entry, Loaded};
use crate::guard::vantage::Vantage;
use crate::guard::{self, Guard, GuardCounts};
use crate::ids::MonitorId;
use crate::limits::{
    APPLY_AGAIN_MS, COMMAND_MONITORS_MAX, DRAIN_MS_MAX, INTERVAL_MS_DEFAULT,
    STORE_QUEUE_BATCHES_MAX, STORE_STOP_MS_MAX,
};
use crate::messages::{Assign, BatchSink, GuardChange};
use crate::metrics::page::Counts;
use crate::metrics::snapshot::Published;
use crate::monitor::row::MonitorRow;
use crate::monitor::{About, Kind, Monitor, address};
use crate::net::resolve::{ConfigUnreadable, ResolverConfig};
use crate::net::trust::{Trust, TrustError};
use crate::sample::Transition;
use crate::store::spool::Spool;
use crate::store::{NewMonitor, Retention, StoreCounters, StoreError, StoreHandle, StoreThread};

pub mod backend;

mod marking;

pub mod once;

pub mod prober;

pub mod shards;

pub mod standing;

use backend::Backend;
use marking::{Marking, Plan};
use shards::{Common, ShardError, Shards};
use standing::Standing;

/// The folder of the spool in the data folder.
const SPOOL_FOLDER: &str = "spool";

/// Everything that a start needs to know, settled.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of the spool, and of the database where that is a file.
    pub data_dir: PathBuf,
    /// Where monitors and results are kept.
    pub backend: Backend,
    /// One shard on each.
    pub cpus: Vec<usize>,
    /// Probes in flight per shard.
    pub in_flight_max: usize,
    /// How long and how much is kept.
    pub retention: Retention,
    /// What the guard is to do; `None` for no guard.
    pub guard: Option<GuardPlan>,
    /// A PEM file with the roots that handshakes trust; `None` for the system's.
    pub roots: Option<PathBuf>,
}

/// Why the engine does not start, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The guard.
    #[error("the guard cannot go on: {0}; `engine doctor` says why")]
    Guard(io::Error),
    /// A shard.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The roots of TLS.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The files that say how names are resolved.
    #[error(transparent)]
    Resolver(#[from] ConfigUnreadable),
    /// The operating system refuses a ring, a descriptor or a thread.
    #[error("checks that are asked for cannot be made: {0}; `engine doctor` says why")]
    System(#[from] std::io::Error),
    /// The shards are gone.
    #[error("the shards have ended; the last log lines say why")]
    ShardsDied,
}

impl EngineError {
    /// True where another try may succeed without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        matches!(self, EngineError::Store(error) if error.is_passing())
    }
}

/// What came of a list of monitors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Monitors that run.
    pub running: usize,
    /// Monitors that cannot run: name and reason.
    pub bad: Vec<(String, String)>,
    /// New names.
    pub added: usize,
    /// Known names with another definition.
    pub changed: usize,
    /// Names that are gone.
    pub removed: usize,
}

/// The running engine.
pub struct Engine {
    shards: Shards,
    guard: Option<Guard>,
    guard_counts: Arc<GuardCounts>,
    store: Option<StoreThread>,
    handle: StoreHandle,
    counters: Arc<StoreCounters>,
    trust: Trust,
    /// A hash of each monitor that runs, so that a reload touches only what changed.
    running: HashMap<MonitorId, u64>,
    marking: Marking,
    /// When what could only be done in part without the database is to be done again.
    again_at: Option<Instant>,
}

impl Engine {
    /// Starts the store and the shards. `tell` gets the transitions of each commit, after it.
    ///
    /// # Errors
    ///
    /// What could not be started, with what to do about it. Nothing is left running.
    pub fn start(
        options: &Options,
        tell: impl FnMut(Vec<Transition>) + Send + 'static,
    ) -> Result<Engine, EngineError> {
        let trust = Trust::of(options.roots.as_deref())?;
        let resolver =
            ResolverConfig::from_system(Path::new("/etc/hosts"), Path::new("/etc/resolv.conf"))?;
        let (store, recall) = options.backend.open(&options.data_dir, options.retention)?;
        let spool = Spool::in_folder(&options.data_dir.join(SPOOL_FOLDER))?;
        let (to_store, inbox) = sync_channel(STORE_QUEUE_BATCHES_MAX);
        let counters = Arc::new(StoreCounters::default());
        let counted = Arc::clone(&counters);
        let thread = StoreThread::start_known(store, recall, spool, inbox, tell, counted)?;
        let recheck_ticks = options.guard.as_ref().map_or(0, guard::recheck_ticks);
        let vantage = Arc::new(Vantage::new(options.cpus.len(), recheck_ticks));
        let common = Common {
            clock: Clock::start(),
            trust: trust.clone(),
            resolver,
            in_flight_max: options.in_flight_max,
            vantage,
        };
        let handle = StoreHandle::new(to_store);
        let sink = || Box::new(handle.clone()) as Box<dyn BatchSink>;
        let shards = Shards::start(&options.cpus, &common, sink)?;
        let guard_counts = Arc::default();
        let guard = start_guard(options, common, &guard_counts).map_err(EngineError::Guard)?;
        let marking = Marking::starting();
        let standing = marking.standing();
        handle.tap(move |batches| standing.record(batches))?;
        Ok(Engine {
            shards,
            marking,
            guard,
            guard_counts,
            store: Some(thread),
            handle,
            counters,
            trust,
            running: HashMap::new(),
            again_at: None,
        })
    }

    /// Makes the monitors of `source` exactly these. Those that cannot run are stored with their
    /// reason and shown; what did not change is not touched.
    ///
    /// # Errors
    ///
    /// The database's, or the store or a shard has ended.
    pub fn apply(&mut self, source: &str, loaded: Loaded) -> Result<Applied, EngineError> {
        let mut applied = Applied::default();
        let plan = Plan::of(&loaded);
        let mut rows = Vec::with_capacity(loaded.monitors.len());
        let mut good = Vec::with_capacity(loaded.monitors.len());
        for entry in loaded.monitors {
            let (row, monitor) = self.prepare(entry);
            if let Some(problem) = &row.problem {
                applied.bad.push((row.about.name.clone(), problem.clone()));
            }
            rows.push(row);
            good.push(monitor);
        }
        let report = self.handle.sync(source, rows)?;
        if report.away {
            self.apply_again();
        }
        for refused in &report.refused {
            applied.bad.push((format!("entry {}", refused.index + 1), refused.reason.clone()));
        }
        applied.added = report.added;
        applied.changed = report.changed;
        applied.removed = report.removed.len();
        let parents = self.marking.plan(source, plan, &report.ids);
        let (mut monitors, mut gone) = (Vec::with_capacity(good.len()), report.removed);
        for (id, monitor) in report.ids.into_iter().zip(good) {
            match (id, monitor) {
                (Some(id), Some(monitor)) => monitors.push(Monitor { id, ..monitor }),
                (Some(id), None) => gone.push(id),
                (None, _) => {}
            }
        }
        applied.running = monitors.len();
        self.remove(&gone)?;
        self.assign(monitors)?;
        if !parents.is_empty() {
            let known = self.handle.states(Some(parents))?;
            self.marking.seed(known.into_iter().map(|(id, state)| (id, state.verdict)));
        }
        Ok(applied)
    }

    /// True while the database does not take results, or was not reached yet.
    pub fn is_away(&self) -> bool {
        self.counters.is_away()
    }

    /// Notes that monitors have to be applied again when the database is back.
    pub fn apply_again(&mut self) {
        self.again_at = Some(Instant::now() + Duration::from_millis(APPLY_AGAIN_MS));
    }

    /// True, once, where monitors have to be applied again and the database is back.
    pub fn takes_again(&mut self) -> bool {
        let is_due = self.again_at.is_some_and(|at| at <= Instant::now()) && !self.is_away();
        if is_due {
            self.again_at = None;
        }
        is_due
    }

    /// Runs these monitors: sends what is new or changed to the shards.
    fn assign(&mut self, monitors: Vec<Monitor>) -> Result<(), EngineError> {
        let is_new = |monitor: &&Monitor| !self.running.contains_key(&monitor.id);
        let new: Vec<_> = monitors.iter().filter(is_new).map(|monitor| monitor.id).collect();
        let states = match (new.is_empty(), self.running.is_empty()) {
            (true, _) => HashMap::new(),
            (false, true) => self.handle.states(None)?,
            (false, false) => self.handle.states(Some(new))?,
        };
        let mut assigns = monitors.into_iter().map(|monitor| {
            let state = states.get(&monitor.id).copied().unwrap_or_default();
            Assign { monitor, state }
        });
        // In parts: the first are checked while the last are on their way.
        loop {
            let part: Vec<_> = assigns.by_ref().take(COMMAND_MONITORS_MAX).collect();
            if part.is_empty() {
                return Ok(());
            }
            self.upsert(part)?;
        }
    }

    /// Adds these monitors, or changes those that run; equal ones are not touched.
    ///
    /// # Errors
    ///
    /// A shard has ended.
    pub fn upsert(&mut self, assigns: Vec<Assign>) -> Result<(), EngineError> {
        let mut changed = Vec::with_capacity(assigns.len());
        for assign in assigns {
            let hash = hash_of(&assign.monitor);
            if self.running.insert(assign.monitor.id, hash) != Some(hash) {
                changed.push(assign);
            }
        }
        self.shards.assign(changed).map_err(|_| EngineError::ShardsDied)
    }

    /// Takes these monitors away.
    ///
    /// # Errors
    ///
    /// A shard has ended.
    pub fn remove(&mut self, monitors: &[MonitorId]) -> Result<(), EngineError> {
        for id in monitors {
            self.running.remove(id);
        }
        self.marking.forget(monitors);
        self.shards.remove(monitors).map_err(|_| EngineError::ShardsDied)
    }

    /// Checks these monitors now, beside their schedule.
    ///
    /// # Errors
    ///
    /// A shard has ended.
    pub fn check_now(&self, monitors: &[MonitorId]) -> Result<(), EngineError> {
        self.shards.check_now(monitors).map_err(|_| EngineError::ShardsDied)
    }

    /// Marks the monitors whose window of maintenance begins or ends, and those behind something
    /// that went down or came up. Call it at least once a second.
    ///
    /// # Errors
    ///
    /// A shard has ended.
    pub fn turn(&mut self) -> Result<(), EngineError> {
        for order in self.marking.turn(wall_millis()) {
            tracing::info!(
                mark = order.mark.names().join(","),
                on = order.on,
                monitors = order.monitors.len(),
                "marks"
            );
            self.shards
                .mark(order.mark, order.on, &order.monitors)
                .map_err(|_| EngineError::ShardsDied)?;
        }
        Ok(())
    }

    /// The row to be stored, and the monitor where it can run, still without its number.
    fn prepare(&self, entry: Entry) -> (NewMonitor, Option<Monitor>) {
        let trusted = entry.checked.map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(|problem| problem.to_string()).collect();
            problems.join("; ")
        });
        let checked = trusted.and_then(|checked| match self.load_roots(&checked.spec) {
            Ok(()) => Ok(checked),
            Err(error) => Err(error.to_string()),
        });
        match checked {
            Ok(checked) => {
                let (about, monitor) = checked.parts(MonitorId(0));
                let row = NewMonitor {
                    about,
                    kind: Some(monitor.kind),
                    row_json: entry.row_json.into(),
                    problem: None,
                    interval_ms: monitor.timing.interval_ms,
                    paused: monitor.paused,
                };
                (row, Some(monitor))
            }
            Err(problem) => {
                let written: MonitorRow = serde_json::from_str(&entry.row_json).unwrap_or_default();
                let row = NewMonitor {
                    about: about_bad(&written, entry.line),
                    kind: written.kind.as_deref().and_then(Kind::from_name),
                    row_json: entry.row_json.into(),
                    problem: Some(problem),
                    interval_ms: INTERVAL_MS_DEFAULT,
                    paused: false,
                };
                (row, None)
            }
        }
    }

    fn load_roots(&self, spec: &ProbeSpec) -> Result<(), TrustError> {
        match spec {
            ProbeSpec::Http(http) => self.trust.load(&http.options.tls),
            ProbeSpec::Tls(tls) => self.trust.load(&tls.tls),
            ProbeSpec::Tcp(_) | ProbeSpec::Icmp(_) => Ok(()),
        }
    }

    /// The way to the store thread.
    pub fn store(&self) -> StoreHandle {
        self.handle.clone()
    }

    /// Calls `tell` whenever an isolation of this host begins or ends, from now on, on the guard's
    /// thread.
    pub fn on_guard(&self, tell: impl FnMut(GuardChange) + Send + 'static) {
        if let Some(guard) = &self.guard {
            guard.on_change(Box::new(tell));
        }
    }

    /// What stands against telling of monitors: windows of maintenance, and what is down.
    pub fn standing(&self) -> Standing {
        self.marking.standing()
    }

    /// Where the snapshots of the shards are found.
    pub fn published(&self) -> Vec<Published> {
        self.shards.published()
    }

    /// What the store counts, for the metrics page.
    pub fn store_counts(&self) -> impl Fn() -> Counts + Send + Sync + 'static {
        let counters = Arc::clone(&self.counters);
        let guard = self.guard.as_ref().map(|_| Arc::clone(&self.guard_counts));
        move || {
            let mut counts = counters.by_name();
            if let Some(guard) = &guard {
                guard.add_to(&mut counts);
            }
            counts
        }
    }

    /// What the store counts.
    pub fn store_counters(&self) -> Arc<StoreCounters> {
        Arc::clone(&self.counters)
    }

    /// The first thread that ended although nobody asked for it.
    pub fn failure(&mut self) -> Option<EngineError> {
        if self.store.as_ref().is_some_and(StoreThread::is_finished) {
            return Some(StoreError::Ended.into());
        }
        if self.guard.as_ref().is_some_and(Guard::is_dead) {
            return Some(EngineError::Guard(io::Error::other("its thread has ended")));
        }
        self.shards.take_dead().map(EngineError::Shard)
    }

    /// Begins a stop: nothing new starts, what is in flight ends.
    pub fn drain(&self) {
        self.shards.drain();
    }

    /// Cuts a stop short: what is in flight is cancelled.
    pub fn quit(&self) {
        self.shards.quit();
    }

    /// True when every shard has left.
    pub fn is_drained(&self) -> bool {
        self.shards.all_ended()
    }

    /// Ends a stop: the shards leave, drained or not, and the store records what is left, in the
    /// spool where the database is away.
    ///
    /// # Errors
    ///
    /// `Store` with what neither of them has taken within the deadline.
    pub fn finish(mut self) -> Result<(), EngineError> {
        self.guard.take();
        if !self.shards.all_ended() {
            self.shards.quit();
            self.shards.wait(Instant::now() + Duration::from_millis(DRAIN_MS_MAX / 4));
        }
        let Some(store) = self.store.take() else { return Ok(()) };
        let deadline = Instant::now() + Duration::from_millis(STORE_STOP_MS_MAX);
        // The channel may be full while a commit hangs: give up at the deadline, not before.
        let mut told = false;
        while !store.is_finished() {
            told = told || self.handle.try_stop();
            if Instant::now() >= deadline {
                store.give_up();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(store.join()?)
    }
}

/// A hash that tells one definition from another: the chance that it misses a change is 2^-64.
fn hash_of(monitor: &Monitor) -> u64 {
    let mut hasher = DefaultHasher::new();
    monitor.hash(&mut hasher);
    hasher.finish()
}

/// Starts the guard where there is one.
fn start_guard(
    options: &Options,
    common: Common,
    counts: &Arc<GuardCounts>,
) -> io::Result<Option<Guard>> {
    let Some(plan) = options.guard.clone() else { return Ok(None) };
    let Common { clock, resolver, vantage, .. } = common;
    let setup = guard::Setup { plan, clock, resolver, vantage, counts: Arc::clone(counts) };
    Guard::start(setup).map(Some)
}

/// How a monitor is shown that cannot run.
fn about_bad(row: &MonitorRow, line: u32) -> About {
    let target = row.target.as_deref().map(address::masked_widely).unwrap_or_default();
    About {
        name: row.name.clone().unwrap_or_else(|| format!("line {line}")),
        target,
        tags: row.tags.clone().unwrap_or_default(),
    }
}
