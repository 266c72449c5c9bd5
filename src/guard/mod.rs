//! The guard: is this host cut off? One thread that asks canaries and tells all shards.
//!
//! Owns: the rounds. Each asks every canary once, through a driver of its own, looks at the routes
//! of this host and at what the shards have counted; [`judge`] decides, [`vantage`] carries it.
//!
//! What is promised: a loss of the way that lasts longer than `interval + 2 × timeout` of the
//! guard turns no guarded monitor down, whenever its checks end. A failure is believed only when a
//! round of canaries that began after it has found nothing, and while there is one signal alone it
//! waits, at most `GUARD_TRIAL_MS`. A shorter loss is a matter of the confirm rule (`fall`).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use probes::Nanos;

use crate::attempt::Attempt;
use crate::clock::Clock;
use crate::config::guard::{Canary, GuardPlan};
use crate::fault::Fault;
use crate::ids::{MonitorId, Slot, SlotRef, Tick};
use crate::limits::{GUARD_CANARIES_MAX, GUARD_WAIT_MS_MAX, TICK_MS};
use crate::messages::GuardChange;
use crate::metrics::page::Counts;
use crate::monitor::{Kind, Monitor, Preset, Timing};
use crate::net::driver::Driver;
use crate::net::resolve::ResolverConfig;
use crate::net::trust::Trust;
use crate::sample::CheckResult;

pub mod judge;
pub mod local;
pub mod vantage;

use judge::{Evidence, Judge, Signals};
use vantage::{Standing, Tally, Vantage};

/// Time until a failure can be believed under this plan, in ticks.
pub fn recheck_ticks(plan: &GuardPlan) -> u64 {
    plan.detection_ms().div_ceil(TICK_MS)
}

/// What the metrics page shows of the guard.
#[derive(Debug, Default)]
pub struct GuardCounts {
    /// Rounds that have ended.
    pub rounds: AtomicU64,
    /// Canaries that answered in the last one.
    pub answered: AtomicU64,
    /// 0 clear, 1 suspect, 2 isolated.
    pub standing: AtomicU64,
    /// Isolations since the start.
    pub isolations: AtomicU64,
}

impl GuardCounts {
    /// Adds them to those of the page.
    pub fn add_to(&self, counts: &mut Counts) {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        counts.counters.extend([
            ("engine_guard_rounds", "Rounds of canaries", of(&self.rounds)),
            ("engine_guard_isolations", "Times this host was cut off", of(&self.isolations)),
        ]);
        counts.gauges.extend([
            ("engine_guard_canaries_up", "Canaries that answered last", of(&self.answered)),
            ("engine_guard_standing", "0 clear, 1 suspect, 2 isolated", of(&self.standing)),
        ]);
    }
}

/// What the guard's thread is given.
pub struct Setup {
    /// What to do.
    pub plan: GuardPlan,
    /// The schedule clock.
    pub clock: Clock,
    /// Name servers and hosts.
    pub resolver: ResolverConfig,
    /// Where shards look.
    pub vantage: Arc<Vantage>,
    /// Where the metrics page looks.
    pub counts: Arc<GuardCounts>,
}

/// Hears of isolations.
pub type Listener = Box<dyn FnMut(GuardChange) + Send>;

type Listeners = Arc<Mutex<Vec<Listener>>>;

/// The running guard. It stops when this is dropped.
pub struct Guard {
    stop: Arc<AtomicBool>,
    listeners: Listeners,
    thread: Option<JoinHandle<()>>,
}

impl Guard {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The errno of io_uring_setup(2) or of the thread.
    pub fn start(setup: Setup) -> io::Result<Guard> {
        let stop = Arc::new(AtomicBool::new(false));
        let listeners = Listeners::default();
        let (stopped, hearing) = (Arc::clone(&stop), Arc::clone(&listeners));
        let (ready, started) = std::sync::mpsc::channel();
        let run = move || {
            // A ring belongs to the thread that made it.
            let rounds = Rounds::new(setup);
            let (rounds, told) = match rounds {
                Ok(rounds) => (Some(rounds), Ok(())),
                Err(error) => (None, Err(error)),
            };
            let _ = ready.send(told);
            if let Some(rounds) = rounds {
                rounds.run(&stopped, &hearing);
            }
        };
        let thread = std::thread::Builder::new().name("guard".to_owned()).spawn(run)?;
        match started.recv() {
            Ok(told) => told?,
            Err(_) => return Err(io::Error::other("the guard has ended at its start")),
        }
        Ok(Guard { stop, listeners, thread: Some(thread) })
    }

    /// Calls `tell` on the guard's thread whenever an isolation begins or ends.
    pub fn on_change(&self, tell: Listener) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(tell);
    }

    /// True where the thread has ended although nobody asked for it.
    pub fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been told by its hook.
            let _ = thread.join();
        }
    }
}

struct Rounds {
    plan: GuardPlan,
    monitors: Vec<Monitor>,
    clock: Clock,
    driver: Driver,
    vantage: Arc<Vantage>,
    counts: Arc<GuardCounts>,
    judge: Judge,
    isolated_ms: u64,
    trusted_from: Tick,
}

impl Rounds {
    fn new(setup: Setup) -> io::Result<Rounds> {
        let Setup { plan, clock, resolver, vantage, counts } = setup;
        let monitors = plan.canaries.iter().map(|canary| monitor(canary, plan.timeout_ms));
        let rounds = plan.detection_ms().div_ceil(plan.interval_ms) + 1;
        Ok(Rounds {
            monitors: monitors.collect(),
            driver: Driver::new(clock, Trust::default(), resolver, GUARD_CANARIES_MAX)?,
            judge: Judge::new(rounds as usize),
            plan,
            clock,
            vantage,
            counts,
            isolated_ms: 0,
            trusted_from: Tick(0),
        })
    }

    fn run(mut self, stop: &AtomicBool, listeners: &Listeners) {
        let mut next = self.clock.now();
        while self.wait(next, stop) {
            let began = self.clock.now();
            let Some(attempts) = self.ask(stop) else { return };
            if let Some(change) = self.judge(&attempts, began) {
                let mut listeners = listeners.lock().unwrap_or_else(PoisonError::into_inner);
                listeners.iter_mut().for_each(|tell| tell(change));
            }
            let due = Nanos(next.0 + self.plan.interval_ms * 1_000_000);
            // A round that took longer than the interval is followed by the next one at once.
            next = due.max(self.clock.now());
        }
    }

    /// Lets the driver turn until `until`; false where the guard is to stop or cannot go on.
    fn wait(&mut self, until: Nanos, stop: &AtomicBool) -> bool {
        while self.clock.now() < until {
            if !self.turn(until, stop) {
                return false;
            }
        }
        !stop.load(Ordering::Relaxed)
    }

    fn turn(&mut self, until: Nanos, stop: &AtomicBool) -> bool {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let soon = self.clock.now().plus_millis(GUARD_WAIT_MS_MAX);
        let turned = self.driver.turn(Some(until.min(soon)));
        if let Err(error) = &turned {
            tracing::error!(%error, "the guard cannot go on");
        }
        turned.is_ok()
    }

    /// Asks every canary once; `None` where the guard is to stop.
    fn ask(&mut self, stop: &AtomicBool) -> Option<Vec<Attempt>> {
        for (index, monitor) in self.monitors.iter().enumerate() {
            self.driver.launch(SlotRef { slot: Slot(index as u32), generation: 0 }, monitor);
        }
        let mut attempts = Vec::with_capacity(self.monitors.len());
        loop {
            attempts.extend(self.driver.finished().drain(..).map(|(_, attempt)| attempt));
            if attempts.len() == self.monitors.len() {
                return Some(attempts);
            }
            let until = self.clock.now().plus_millis(GUARD_WAIT_MS_MAX);
            if !self.turn(until, stop) {
                return None;
            }
        }
    }

    fn judge(&mut self, attempts: &[Attempt], began: Nanos) -> Option<GuardChange> {
        let (answered, mute) = count(attempts);
        let mut tally = self.vantage.tally();
        let (queries_lost, queries_answered) = self.driver.queries();
        tally.add(Tally { queries_lost, queries_answered, ..Tally::default() });
        let evidence = Evidence {
            canaries: answered + mute < self.plan.quorum,
            no_way_out: local::no_way_out(),
            tally,
        };
        let now = self.clock.now();
        let now_ms = self.clock.unix_millis(now);
        let changed = self.judge.round(evidence, now_ms);
        let standing = self.judge.standing();
        if changed && standing != Standing::Isolated {
            self.trusted_from = self.clock.tick_after(now);
        }
        self.vantage.tell(standing, self.trusted_from, self.clock.tick(began));
        self.counts.rounds.fetch_add(1, Ordering::Relaxed);
        self.counts.answered.store(answered as u64, Ordering::Relaxed);
        self.counts.standing.store(standing as u64, Ordering::Relaxed);
        changed.then(|| self.change(standing, now_ms))
    }

    fn change(&mut self, standing: Standing, now_ms: u64) -> GuardChange {
        let Signals { canaries, local, mass } = self.judge.signals();
        let isolated = standing == Standing::Isolated;
        if isolated {
            self.isolated_ms = now_ms;
            self.counts.isolations.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                canaries,
                local,
                mass,
                "this host is cut off: failures are unknown, not down, until it is back"
            );
        } else {
            let lasted_s = now_ms.saturating_sub(self.isolated_ms) / 1_000;
            tracing::warn!(lasted_s, "this host is not cut off any more");
        }
        let since_ms = self.isolated_ms;
        GuardChange { at_ms: now_ms, isolated, since_ms, canaries, local, mass }
    }
}

/// Canaries that answered, and those that a fault of ours kept from being asked: they say nothing.
fn count(attempts: &[Attempt]) -> (usize, usize) {
    let answered = attempts.iter().filter(|attempt| attempt.result == CheckResult::Up).count();
    let mute = attempts.iter().filter(|attempt| match attempt.result {
        CheckResult::Unknown(fault) => !matches!(fault, Fault::NoRoute | Fault::Resolver),
        CheckResult::Up | CheckResult::Down(_) | CheckResult::Missed(_) => false,
    });
    (answered, mute.count())
}

fn monitor(canary: &Canary, timeout_ms: u32) -> Monitor {
    let timing = Timing {
        interval_ms: 0,
        timeout_ms,
        retry_delay_ms: 0,
        retries: 0,
        confirm_ms: 0,
        fall: 1,
        rise: 1,
    };
    Monitor {
        id: MonitorId(0),
        kind: Kind::Tcp,
        preset: Preset::Standard,
        paused: false,
        guarded: false,
        timing,
        spec: Arc::new(canary.spec.clone()),
    }
}
