//! The control thread: signals, the page of metrics, reload and stop.
//!
//! Owns: what happens at SIGHUP, SIGUSR1, SIGTERM and SIGINT, and the order of a stop. A first one
//! drains; a second one is immediate and still records what is known. Changes of monitors that
//! other threads learn of are made here, one after the other.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::alert::AlertCounters;
use crate::api;
use crate::api::legacy::Legacy;
use crate::api::v1;
use crate::api::v1::fleet::Fleet;
use crate::boot::{Engine, EngineError};
use crate::clock::wall_millis;
use crate::limits::{ANSWERS_STOP_MS, CONTROL_NICE, DRAIN_MS_MAX};
use crate::messages::{Change, ChangeInbox, Pending};
use crate::metrics::delta::DeltaTimes;
use crate::metrics::page::{Counts, Page, Reloads};

pub mod directory;
pub mod histograms;
pub mod view;

use histograms::Histograms;

/// How often the control thread looks whether every thread lives.
const WATCH: Duration = Duration::from_millis(100);

/// What the control thread does for its caller.
pub struct Control<F, R, S> {
    /// Called once signals are understood: from now on the engine can be told to reload and stop.
    pub started: F,
    /// Called at SIGHUP: reads the monitors anew.
    pub reload: R,
    /// Changes of monitors that other threads have learned of.
    pub changes: ChangeInbox,
    /// Called ten times a second: true where the engine is to stop.
    pub stop: S,
    /// The latency histograms.
    pub histograms: Histograms,
    /// What became of the last reading of the monitors.
    pub reloads: Arc<Reloads>,
}

/// Why the control thread ended.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The address of the metrics page cannot be used.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen {
        /// As asked for.
        address: SocketAddr,
        /// The error of bind(2) or listen(2).
        source: io::Error,
    },
    /// The operating system refuses a signal handler, a timer or a thread.
    #[error("the control thread cannot work: {0}")]
    System(#[from] io::Error),
    /// The engine failed or could not record everything.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A page of metrics that is being listened on: taken before the engine starts, so that a taken
/// port is an error at start.
pub struct Listener(std::net::TcpListener);

impl Listener {
    /// Listens on `address`.
    ///
    /// # Errors
    ///
    /// `Listen` with the address and what to do.
    pub fn bind(address: SocketAddr) -> Result<Listener, ControlError> {
        let bound = std::net::TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        bound.map(Listener).map_err(|source| ControlError::Listen { address, source })
    }

    /// The address, with the port that the system chose where it was asked to.
    ///
    /// # Errors
    ///
    /// The error of getsockname(2).
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// What the control thread serves beside the metrics.
pub struct Served {
    /// What the original's API works with.
    pub legacy: Legacy,
    /// What the API works with.
    pub v1: v1::Setup,
    /// What others count, for the metrics.
    pub counts: Box<dyn Fn() -> Counts + Send + Sync>,
    /// Times between checks, where they are kept.
    pub deltas: Option<DeltaTimes>,
    /// What alerting counts; `None` where nobody is told.
    pub alerts: Option<Arc<AlertCounters>>,
}

/// Gives the calling thread less weight than shards have. Lowering it needs no right.
fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, CONTROL_NICE) {
        tracing::warn!(%error, "the control thread competes with the checks");
    }
}

/// Runs the control thread until the engine has stopped, for whatever reason.
///
/// # Errors
///
/// A thread of the engine ended by itself, or not everything could be recorded.
pub fn run(
    mut engine: Engine,
    listener: Listener,
    served: Served,
    mut control: Control<impl FnMut(), impl FnMut(&mut Engine), impl FnMut() -> bool>,
) -> Result<(), ControlError> {
    give_way();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(give_way)
        .build()?;
    let fleet = Arc::clone(&served.v1.fleet);
    let ended = runtime.block_on(async {
        let (of_store, of_api) = (engine.store_counts(), Arc::clone(&served.v1.counters));
        let (of_others, of_alerts) = (served.counts, served.alerts.clone());
        let (tail, reloads) = (Arc::clone(&served.v1.tail), Arc::clone(&control.reloads));
        let others = move || {
            let mut counts = of_store();
            of_api.add_to(&mut counts);
            of_alerts.iter().for_each(|alerts| alerts.add_to(&mut counts, wall_millis()));
            let others = of_others();
            counts.counters.extend(others.counters);
            counts.gauges.extend(others.gauges);
            let help = "Batches that programs that follow were too slow for";
            counts.counters.push(("engine_tail_dropped_batches", help, tail.dropped()));
            counts
        };
        let page = Page::new(engine.published(), reloads, served.deltas, others);
        let listener = TcpListener::from_std(listener.0)?;
        let routes = api::routes(page, served.legacy, served.v1);
        let service = routes.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, service).into_future();
        tokio::select! {
            ended = watch(&mut engine, &fleet, &mut control) => ended,
            served = server => Err(ControlError::System(served.err().unwrap_or_else(|| {
                io::Error::other("the metrics page has ended")
            }))),
        }
    });
    // Threads that are left end here, and what is known is recorded, whatever went wrong before.
    let finished = engine.finish();
    control.histograms.end();
    // Somebody may still be reading a large table for an answer that nobody waits for.
    runtime.shutdown_timeout(Duration::from_millis(ANSWERS_STOP_MS));
    ended?;
    Ok(finished?)
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    dump: Signal,
    tick: Interval,
}

enum Event {
    Hangup,
    Stop,
    Dump,
    Tick,
    Change(Pending),
}

impl Signals {
    fn new() -> io::Result<Signals> {
        let mut tick = interval(WATCH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            dump: signal(SignalKind::user_defined1())?,
            tick,
        })
    }

    /// The next event; where changes are not asked for, without them.
    async fn next(&mut self, changes: Option<&mut ChangeInbox>) -> Event {
        let change = async {
            match changes {
                Some(changes) => changes.next().await,
                None => None,
            }
        };
        tokio::select! {
            _ = self.hangup.recv() => Event::Hangup,
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.dump.recv() => Event::Dump,
            _ = self.tick.tick() => Event::Tick,
            Some(pending) = change => Event::Change(pending),
        }
    }
}

async fn watch(
    engine: &mut Engine,
    fleet: &Fleet,
    control: &mut Control<impl FnMut(), impl FnMut(&mut Engine), impl FnMut() -> bool>,
) -> Result<(), ControlError> {
    let mut signals = Signals::new()?;
    (control.started)();
    loop {
        match signals.next(Some(&mut control.changes)).await {
            Event::Hangup => {
                (control.reload)(engine);
                fleet.outdate();
            }
            Event::Change(pending) => pending.make(|change| match change {
                Change::Upsert(assigns) => {
                    fleet.outdate();
                    engine.upsert(assigns)
                }
                Change::Remove(monitors) => {
                    fleet.outdate();
                    engine.remove(&monitors)
                }
                Change::CheckNow(monitors) => engine.check_now(&monitors),
            })?,
            Event::Stop => break,
            Event::Dump => control.histograms.dump_now(),
            Event::Tick => {
                engine.turn(&fleet.index())?;
                if engine.takes_again() {
                    (control.reload)(engine);
                    fleet.outdate();
                }
                control.histograms.turn();
                if let Some(failure) = engine.failure() {
                    return Err(failure.into());
                }
                if (control.stop)() {
                    break;
                }
            }
        }
    }
    tracing::info!("stopping: checks in flight end; a second signal cancels them");
    engine.drain();
    drain(engine, &mut signals).await;
    Ok(())
}

async fn drain(engine: &Engine, signals: &mut Signals) {
    let deadline = Instant::now() + Duration::from_millis(DRAIN_MS_MAX);
    while !engine.is_drained() && Instant::now() < deadline {
        if matches!(signals.next(None).await, Event::Stop) {
            tracing::info!("stopping now: checks in flight are cancelled");
            return engine.quit();
        }
    }
}
