//! Starts and stops the engine in order.
//!
//! Owns: the order. Start: store, shards, monitors. Stop: shards drain, then the store records
//! what is left; each step has a deadline. Blocks: the control thread calls it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use crate::api::v1::fleet::Index;
use crate::clock::{Clock, wall_millis};
use crate::config::guard::GuardPlan;
use crate::guard::vantage::Vantage;
use crate::guard::{self, Guard, GuardCounts};
use crate::ids::{IdSet, MonitorId};
use crate::limits::{APPLY_AGAIN_MS, DRAIN_MS_MAX, STORE_QUEUE_BATCHES_MAX, STORE_STOP_MS_MAX};
use crate::messages::{Assign, BatchSink, GuardChange};
use crate::metrics::page::Counts;
use crate::metrics::snapshot::Published;
use crate::monitor::Monitor;
use crate::net::resolve::{ConfigUnreadable, ResolverConfig};
use crate::net::trust::{Trust, TrustError};
use crate::sample::Transition;
use crate::store::spool::Spool;
use crate::store::{Retention, StoreCounters, StoreError, StoreHandle, StoreThread};

mod adopt;

mod apply;

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
    /// What runs: the state of these is with their shards.
    running: IdSet,
    marking: Marking,
    /// When what could only be done in part without the database is to be done again.
    again_at: Option<Instant>,
    on_removed: Vec<Box<dyn Fn() + Send + Sync>>,
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
            running: IdSet::default(),
            again_at: None,
            on_removed: Vec::new(),
        })
    }

    /// Takes the plan of a source, and what is known of those that others depend on.
    fn mark(
        &mut self,
        source: &str,
        plan: Plan,
        ids: &[Option<MonitorId>],
    ) -> Result<(), EngineError> {
        let parents = self.marking.plan(source, plan, ids);
        if !parents.is_empty() {
            let known = self.handle.states(Some(parents))?;
            self.marking.seed(known.into_iter().map(|(id, state)| (id, state.verdict)));
        }
        Ok(())
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

    /// Sends these monitors to their shards, with what is known of those that are new.
    fn assign(&mut self, monitors: Vec<Monitor>) -> Result<(), EngineError> {
        let new = monitors.iter().map(|monitor| monitor.id);
        let new: Vec<_> = new.filter(|id| !self.running.contains(*id)).collect();
        let states = match new.is_empty() {
            true => HashMap::new(),
            false => self.handle.states(Some(new))?,
        };
        let assigns = monitors.into_iter().map(|monitor| {
            let state = states.get(&monitor.id).copied().unwrap_or_default();
            Assign { monitor, state }
        });
        self.upsert(assigns.collect())
    }

    /// Adds these monitors, or changes those that run; their shards leave equal ones alone.
    ///
    /// # Errors
    ///
    /// A shard has ended.
    pub fn upsert(&mut self, assigns: Vec<Assign>) -> Result<(), EngineError> {
        let new = assigns.iter().filter(|assign| self.running.insert(assign.monitor.id)).count();
        if new > 0 {
            self.marking.arrived();
        }
        self.shards.assign(assigns).map_err(|_| EngineError::ShardsDied)
    }

    /// Takes these monitors away.
    ///
    /// # Errors
    ///
    /// A shard has ended.
    pub fn remove(&mut self, monitors: &[MonitorId]) -> Result<(), EngineError> {
        monitors.iter().for_each(|id| self.running.remove(*id));
        self.marking.forget(monitors);
        if !monitors.is_empty() {
            self.on_removed.iter().for_each(|tell| tell());
        }
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
    /// that went down or came up; checks at once what a monitor depends on that failed first. Call
    /// it at least once a second, with the list of all monitors.
    ///
    /// # Errors
    ///
    /// A shard has ended.
    pub fn turn(&mut self, index: &Arc<Index>) -> Result<(), EngineError> {
        for order in self.marking.turn(wall_millis(), index, &self.running) {
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
        let asked = self.marking.standing().take_asked();
        if asked.is_empty() { Ok(()) } else { self.check_now(&asked) }
    }

    /// The way to the store thread.
    pub fn store(&self) -> StoreHandle {
        self.handle.clone()
    }

    /// Calls `tell` whenever monitors were taken away, from now on.
    pub fn on_removed(&mut self, tell: impl Fn() + Send + Sync + 'static) {
        self.on_removed.push(Box::new(tell));
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
