//! One core's work, synchronous: commands, ticks and outcomes in; starts and samples out.
//!
//! Owns: the monitors of one shard, when they start, what became of every due check. Opens no
//! socket and reads no clock: `run` drives it with the real ones, the simulator in `ci/sim` with
//! its own. After every call each enabled monitor is armed, and at most one check of it is open.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use hdrhistogram::Histogram;
use probes::{Failure, Nanos, Timings};

use crate::attempt::Attempt;
use crate::fault::Fault;
use crate::guard::vantage::{Tally, View};
use crate::ids::{MonitorId, ShardId, Slot, SlotRef, Tick};
use crate::limits::{STALL_MS, STARTS_PER_TURN_MAX, TICK_MS, WORDS_PER_SECOND_MAX};
use crate::messages::{Assign, Command};
use crate::metrics::latency::{Handover, Latency};
use crate::metrics::ledger::Ledger;
use crate::metrics::snapshot::{Snapshot, lag_histogram};
use crate::metrics::text::Buckets;
use crate::monitor::message::{self, Told};
use crate::monitor::table::{Activity, Table};
use crate::monitor::{Kind, Monitor, verdict};
use crate::sample::{CheckResult, Code, Marks, Missed, Sample, Transition, Verdict, Words};
use crate::sched::due::{DueList, Room, Waiting};
use crate::sched::spread::{interval_ticks, next_due};
use crate::sched::wheel::Wheel;

pub mod batch;
mod doubt;
pub mod run;

use batch::Outbox;

/// One moment, in the three forms that are needed; taken once per turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Monotonic.
    pub nanos: Nanos,
    /// Scheduler time.
    pub tick: Tick,
    /// Scheduler time in microseconds since the Unix epoch.
    pub unix_us: u64,
}

impl Now {
    /// Scheduler time in whole seconds since the Unix epoch.
    fn unix_seconds(self) -> i64 {
        (self.unix_us / 1_000_000) as i64
    }
}

/// One core's monitors and all that is known of them.
pub struct Shard {
    id: ShardId,
    table: Table,
    wheel: Wheel,
    due: DueList,
    ledger: Ledger,
    lag: Histogram<u32>,
    latency: Box<Latency>,
    durations: [Buckets; Kind::ALL.len()],
    outbox: Outbox,
    /// What the guard says.
    view: View,
    /// What the guard is told.
    tally: Tally,
    confirmations: u64,
    draining: bool,
    monitors: [u64; 5],
    /// Messages of earlier attempts of checks that are being retried.
    attempts: HashMap<Slot, Vec<Box<str>>>,
    /// The leaf last handed to the store, by monitor, as a hash.
    leaves: HashMap<MonitorId, u64>,
    /// Attempts on the wire whose monitor was removed.
    forgotten: HashSet<SlotRef>,
    words_left: u32,
    words_second: u64,
    words_skipped: u64,
    /// Scratch of `on_tick`, kept for its memory.
    fired: Vec<(u32, Tick)>,
}

impl Shard {
    /// A shard without monitors, starting at `now`.
    pub fn new(id: ShardId, now: Tick) -> Shard {
        Shard {
            id,
            table: Table::default(),
            wheel: Wheel::new(now),
            due: DueList::default(),
            ledger: Ledger::default(),
            lag: lag_histogram(),
            latency: Box::default(),
            durations: Default::default(),
            outbox: Outbox::new(id),
            view: View::default(),
            tally: Tally::default(),
            confirmations: 0,
            draining: false,
            monitors: [0; 5],
            attempts: HashMap::new(),
            leaves: HashMap::new(),
            forgotten: HashSet::new(),
            words_left: WORDS_PER_SECOND_MAX,
            words_second: 0,
            words_skipped: 0,
            fired: Vec::new(),
        }
    }

    /// Does what it is told. [`Command::Quit`] is the loop's business and means a drain here.
    pub fn on_command(&mut self, command: Command, now: Now) {
        match command {
            Command::Assign(monitors) => {
                for assign in monitors {
                    self.assign(assign, now);
                }
            }
            Command::Remove(ids) => {
                for id in ids {
                    self.remove(id);
                }
            }
            Command::Mark { monitors, mark, on } => {
                for id in monitors {
                    self.mark(id, mark, on, now);
                }
            }
            Command::CheckNow(ids) => {
                for id in ids {
                    self.check_now(id, now);
                }
            }
            Command::Drain | Command::Quit => self.drain(),
        }
    }

    /// Takes what the guard says, until the next time.
    pub fn look(&mut self, view: View) {
        self.view = view;
    }

    /// What the guard is to know of the results so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Which shard this is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Takes note of everything that became due up to `now`.
    pub fn on_tick(&mut self, now: Now) {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.expire(now.tick, |key, due| fired.push((key, due)));
        self.table.warm(fired.iter().map(|(key, _)| Slot(*key)));
        for (key, due) in fired.drain(..) {
            self.on_due(Slot(key), due, now);
        }
        self.fired = fired;
        self.due.ripen(now.tick);
    }

    /// Starts what is due, oldest first, while `room` lasts; the rest waits its turn. `launch` is
    /// told whether the check confirms a failed one.
    pub fn start_due(
        &mut self,
        mut room: Room,
        now: Now,
        mut launch: impl FnMut(SlotRef, &Monitor, bool),
    ) {
        for _ in 0..STARTS_PER_TURN_MAX {
            let Some(waiting) = self.due.pop(room) else { break };
            let Some((hot, monitor)) = self.table.find(waiting.slot) else { continue };
            let confirms = doubt::is_to_confirm(hot, monitor, waiting.due);
            if confirms {
                hot.begin(waiting.due, true);
                self.confirmations += 1;
            } else if hot.due != waiting.due || !hot.activity.waits() {
                continue; // A confirmation that a later check has taken the place of.
            }
            if hot.activity == Activity::Waiting {
                let due_us = waiting.due.millis() * 1_000;
                let lag_us = now.unix_us.saturating_sub(due_us).min(u64::from(u32::MAX - 1));
                hot.lag_us = lag_us as u32;
                self.lag.saturating_record(lag_us);
                self.ledger.start();
            }
            hot.activity = Activity::InFlight;
            hot.attempts += 1;
            room.free -= 1;
            launch(waiting.slot, monitor, confirms);
        }
    }

    /// Takes what an attempt found. Returns false for one whose monitor has gone meanwhile.
    pub fn on_attempt(&mut self, at: SlotRef, attempt: Attempt, now: Now) -> bool {
        let Some((hot, monitor)) = self.table.find(at) else { return false };
        if hot.activity != Activity::InFlight {
            return false;
        }
        let again = hot.attempts <= monitor.timing.retries && worth_retrying(attempt.result);
        if again && !self.draining && !monitor.paused {
            hot.activity = Activity::Retrying;
            doubt::note_failure(hot, attempt.result, now.tick);
            let told = Told::of(monitor, &attempt, hot.attempts, &[], now.unix_seconds());
            let text = message::attempt_message(&told).into_boxed_str();
            let pause = u64::from(monitor.timing.retry_delay_ms).div_ceil(TICK_MS);
            let waiting = Waiting { slot: at, due: hot.due };
            self.attempts.entry(at.slot).or_default().push(text);
            self.due.push_later(Tick(now.tick.0 + pause.max(1)), waiting);
            return true;
        }
        self.finish(at.slot, attempt, now);
        true
    }

    /// Attempts on the wire that nobody waits for any more, since their monitor was removed.
    pub fn take_forgotten(&mut self) -> HashSet<SlotRef> {
        std::mem::take(&mut self.forgotten)
    }

    /// The tick at which there is work again without anything coming in; `None` for never.
    pub fn next_tick(&self) -> Option<Tick> {
        match (self.wheel.next_expiry(), self.due.next_later()) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        }
    }

    /// True where a check could start now in this room.
    pub fn can_start(&self, room: Room) -> bool {
        self.due.can_start(room)
    }

    /// True once a drain was asked for and no check is open.
    pub fn is_drained(&self) -> bool {
        self.draining && self.ledger.open() == 0
    }

    /// True once a drain was asked for.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Samples on their way to the store.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Hands the latency histograms over, where somebody has asked for them.
    pub fn hand_over(&mut self, handover: &Handover) {
        handover.exchange(&mut self.latency);
    }

    /// Hands over what is left of them at the end.
    pub fn leave(&mut self, handover: &Handover) {
        handover.leave(std::mem::take(&mut self.latency));
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The monitors.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The tick a slot is armed for: every enabled monitor has one.
    pub fn armed(&self, slot: Slot) -> Option<Tick> {
        self.wheel.due(slot.0)
    }

    /// What the shard publishes, as far as it knows it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            ledger: self.ledger.clone(),
            lag: self.lag.clone(),
            durations: self.durations.clone(),
            monitors: self.monitors,
            waiting: self.due.ready() as u64,
            samples_dropped: self.outbox.dropped(),
            backlog: self.outbox.backlog() as u64,
            words_skipped: self.words_skipped,
            confirmations: self.confirmations,
            ..Snapshot::empty(self.id)
        }
    }

    fn assign(&mut self, assign: Assign, now: Now) {
        let Assign { monitor, state } = assign;
        let (id, interval_ms, paused) = (monitor.id, monitor.timing.interval_ms, monitor.paused);
        self.latency.prepare(monitor.kind);
        let Some(slot) = self.table.slot(id) else {
            let slot = self.table.insert(monitor, state);
            self.monitors[state.verdict as usize] += 1;
            self.wheel.arm(slot.0, next_due(id, interval_ms, now.tick));
            self.pause_or_resume(slot, paused, now);
            return;
        };
        let Some((_, old)) = self.table.get(slot) else { return };
        if *old == monitor {
            return;
        }
        if old.timing.interval_ms != interval_ms {
            self.wheel.arm(slot.0, next_due(id, interval_ms, now.tick));
        }
        self.table.replace(slot, monitor);
        self.pause_or_resume(slot, paused, now);
    }

    /// Brings the verdict in line with whether the monitor is paused.
    fn pause_or_resume(&mut self, slot: Slot, paused: bool, now: Now) {
        let Some((hot, monitor)) = self.table.get_mut(slot) else { return };
        let to = match (paused, hot.state.verdict) {
            (true, Verdict::Paused) | (false, Verdict::Pending) => return,
            (true, _) => Verdict::Paused,
            (false, Verdict::Paused) => Verdict::Pending,
            (false, _) => return,
        };
        let from = hot.state.verdict;
        let at_ms = now.unix_us / 1_000;
        hot.state.verdict = to;
        hot.state.since_ms = at_ms;
        let (code, marks) = (hot.state.code, hot.marks);
        let transition = Transition { monitor: monitor.id, at_ms, from, to, code, marks };
        self.monitors[from as usize] -= 1;
        self.monitors[to as usize] += 1;
        self.outbox.push_transition(transition);
    }

    fn mark(&mut self, id: MonitorId, mark: Marks, on: bool, now: Now) {
        let Some((hot, _)) = self.table.slot(id).and_then(|slot| self.table.get_mut(slot)) else {
            return;
        };
        let marks = hot.marks.set(mark, on);
        if std::mem::replace(&mut hot.marks, marks) != marks {
            let (verdict, code) = (hot.state.verdict, hot.state.code);
            let (monitor, at_ms, from, to) = (id, now.unix_us / 1_000, verdict, verdict);
            let transition = Transition { monitor, at_ms, from, to, code, marks };
            self.outbox.push_transition(transition);
        }
    }

    fn remove(&mut self, id: MonitorId) {
        let Some(slot) = self.table.slot(id) else { return };
        self.wheel.disarm(slot.0);
        self.attempts.remove(&slot);
        self.leaves.remove(&id);
        let Some((hot, monitor)) = self.table.get(slot) else { return };
        if matches!(hot.activity, Activity::InFlight | Activity::Retrying) {
            self.ledger.finish(monitor.kind, CheckResult::Unknown(Fault::Cancelled));
        }
        if hot.activity == Activity::InFlight {
            self.forgotten.insert(self.table.reference(slot));
        }
        self.monitors[hot.state.verdict as usize] -= 1;
        self.table.remove(slot);
    }

    /// Makes a check due beside the schedule, whose phase stays. The tick of the last check, and
    /// one at which the next is due, are left to those: a due time has one sample.
    fn check_now(&mut self, id: MonitorId, now: Now) {
        let Some(slot) = self.table.slot(id) else { return };
        let Some((hot, monitor)) = self.table.get(slot) else { return };
        let is_free = hot.activity == Activity::Idle && hot.due < now.tick;
        let comes = self.wheel.due(slot.0).is_some_and(|due| due <= now.tick);
        if is_free && !comes && !monitor.paused && !self.draining {
            self.wait(slot, now.tick);
        }
    }

    /// Puts a new check into the line of those that are due.
    fn wait(&mut self, slot: Slot, due: Tick) {
        let waiting = Waiting { slot: self.table.reference(slot), due };
        let Some((hot, _)) = self.table.get_mut(slot) else { return };
        hot.begin(due, false);
        self.due.push(waiting, doubt::is_doubtful(hot));
    }

    fn on_due(&mut self, slot: Slot, due: Tick, now: Now) {
        let Some((hot, monitor)) = self.table.get(slot) else { return };
        let interval = interval_ticks(monitor.timing.interval_ms);
        let slept = now.tick.0.saturating_sub(due.0) / interval;
        self.wheel.arm(slot.0, Tick(due.0 + (slept + 1) * interval));
        let (activity, paused) = (hot.activity, monitor.paused);

        if paused {
            (0..=slept).for_each(|_| self.ledger.pause());
            return;
        }
        if slept > 0 {
            self.ledger.miss(Missed::Stall, slept);
        }
        let late_ms = now.tick.millis().saturating_sub(due.millis());
        let missed = match activity {
            _ if self.draining => Missed::Stopping,
            Activity::InFlight | Activity::Retrying => Missed::Overrun,
            Activity::Waiting => Missed::Capacity,
            Activity::Idle if late_ms > STALL_MS => Missed::Stall,
            Activity::Idle => return self.wait(slot, due),
        };
        self.miss(slot, due, missed);
    }

    /// A due check is not run: counted, and stored as a sample of its own.
    fn miss(&mut self, slot: Slot, due: Tick, reason: Missed) {
        self.ledger.miss(reason, 1);
        let Some((hot, monitor)) = self.table.get(slot) else { return };
        let sample = Sample {
            monitor: monitor.id,
            due_ms: due.millis(),
            lag_us: u32::MAX,
            timings: Timings::NONE,
            total_us: 0,
            body_bytes: 0,
            code: Code::from(CheckResult::Missed(reason)),
            http_status: 0,
            phase: u8::MAX,
            attempts: 0,
            verdict: hot.state.verdict,
        };
        self.outbox.push(sample, None, None);
    }

    /// Puts a failed check that has not settled the verdict to a further one, before the next is
    /// due.
    fn confirm_soon(&mut self, slot: Slot, result: CheckResult, view: View, now: Now) {
        let (at, next) = (self.table.reference(slot), self.wheel.due(slot.0));
        let Some((hot, monitor)) = self.table.get_mut(slot) else { return };
        let (false, CheckResult::Down(_), Some(next)) = (self.draining, result, next) else {
            return;
        };
        if let Some(due) = doubt::confirm_at(hot, monitor, view, now.tick, next) {
            hot.confirm_at = due;
            self.due.push_later(due, Waiting { slot: at, due });
        }
    }

    /// A check has its result: verdict, ledger, sample.
    fn finish(&mut self, slot: Slot, mut attempt: Attempt, now: Now) {
        let Some((hot, monitor)) = self.table.get_mut(slot) else { return };
        let earlier = match hot.attempts {
            ..=1 => Vec::new(),
            _ => self.attempts.remove(&slot).unwrap_or_default(),
        };
        let (id, kind) = (monitor.id, monitor.kind);
        let (at_ms, code_before) = (hot.due.millis(), hot.state.code);
        let never_told = hot.state.since_ms == 0;
        let view = if monitor.guarded { self.view } else { View::default() };
        let may_fall = doubt::weigh(hot, &mut attempt, view, &mut self.tally, now);
        let changed = if monitor.paused {
            None
        } else {
            verdict::apply(&mut hot.state, &monitor.timing, attempt.result, at_ms, may_fall)
        };
        let to = hot.state.verdict;
        let marked = doubt::note_flapping(hot, attempt.result);
        let marks = hot.marks;
        hot.activity = Activity::Idle;
        let sample = sample_of(id, at_ms, hot.lag_us, hot.attempts, to, &attempt);
        let attempts = hot.attempts;
        // A turn has one `now`, and a quick attempt ends within the turn that started it.
        let known = u64::from(sample.lag_us) + u64::from(sample.total_us);
        let since_due_us = now.unix_us.saturating_sub(at_ms * 1_000).max(known);
        self.latency.record(kind, &sample, since_due_us, monitor.timing.interval_ms * 1_000);
        if matches!(attempt.result, CheckResult::Up | CheckResult::Down(_)) {
            self.durations[kind as usize].record(sample.total_us);
        }
        if let Some(from) = changed {
            self.monitors[from as usize] -= 1;
            self.monitors[to as usize] += 1;
        }
        // The first good answer is no change that anybody must be told of, and a million of them
        // come in the first minute. After a pause it may end an outage.
        let first_up = changed == Some(Verdict::Pending) && to == Verdict::Up && never_told;
        let from = changed.filter(|_| !first_up).or(marked.then_some(to));
        let code = sample.code;
        let transition = from.map(|from| Transition { monitor: id, at_ms, from, to, code, marks });
        self.ledger.finish(kind, attempt.result);
        self.confirm_soon(slot, attempt.result, view, now);
        let news = match (transition.is_some() || sample.code != code_before, first_up) {
            (true, _) => News::Change,
            (false, true) => News::First,
            (false, false) => News::None,
        };
        let words = self.words(slot, attempt, attempts, earlier, news, now);
        self.outbox.push(sample, words, transition);
    }

    /// The words that go with a result: always with a change, else while this second's share
    /// lasts; none for a good one like the one before.
    fn words(
        &mut self,
        slot: Slot,
        attempt: Attempt,
        attempts: u8,
        earlier: Vec<Box<str>>,
        news: News,
        now: Now,
    ) -> Option<Words> {
        let (_, monitor) = self.table.get(slot)?;
        let new_leaf = is_new_leaf(&mut self.leaves, monitor.id, &attempt);
        if attempt.result == CheckResult::Up && news == News::None && !new_leaf {
            return None;
        }
        let second = now.unix_us / 1_000_000;
        if second != self.words_second {
            self.words_second = second;
            self.words_left = WORDS_PER_SECOND_MAX;
        }
        if news != News::Change && !new_leaf {
            if self.words_left == 0 {
                self.words_skipped += 1;
                return None;
            }
            self.words_left -= 1;
        }
        let told = Told::of(monitor, &attempt, attempts, &earlier, now.unix_seconds());
        let message = message::message(&told).into_boxed_str();
        let Attempt { outcome, .. } = attempt;
        Some(Words {
            sample: 0,
            message,
            detail: outcome.detail,
            cert: outcome.cert,
            attempts: earlier,
        })
    }

    /// Starts nothing more. What waits is missed; what waits for a further attempt is cancelled.
    fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        let waiting: Vec<_> = self.due.drain().collect();
        for Waiting { slot: at, due } in waiting {
            let Some((hot, monitor)) = self.table.find(at) else { continue };
            if hot.due != due || !hot.activity.waits() {
                continue; // A confirmation: not due before it starts.
            }
            let retrying = std::mem::take(&mut hot.activity) == Activity::Retrying;
            if retrying {
                let cancelled = Attempt::of_fault(Fault::Cancelled, String::new(), 0);
                let verdict = hot.state.verdict;
                let due_ms = due.millis();
                let sample =
                    sample_of(monitor.id, due_ms, hot.lag_us, hot.attempts, verdict, &cancelled);
                self.ledger.finish(monitor.kind, cancelled.result);
                self.outbox.push(sample, None, None);
            } else {
                self.miss(at.slot, due, Missed::Stopping);
            }
        }
    }
}

/// How much a result has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// It is like the one before.
    None,
    /// It is the first, and good.
    First,
    /// The verdict or the reason is another one than before.
    Change,
}

/// A further attempt can change the result: not for what is read off a certificate.
fn worth_retrying(result: CheckResult) -> bool {
    match result {
        CheckResult::Up | CheckResult::Missed(_) => false,
        CheckResult::Down(failure) => failure != Failure::CertExpiresSoon,
        CheckResult::Unknown(fault) => fault != Fault::Cancelled,
    }
}

/// True where the certificate is another one than the store was last told of.
fn is_new_leaf(leaves: &mut HashMap<MonitorId, u64>, id: MonitorId, attempt: &Attempt) -> bool {
    let Some(leaf) = attempt.outcome.cert.as_ref().and_then(|cert| cert.chain.first()) else {
        return false;
    };
    let mut hasher = DefaultHasher::new();
    leaf.sha256.hash(&mut hasher);
    let hash = hasher.finish();
    match leaves.entry(id) {
        Entry::Occupied(mut known) => known.insert(hash) != hash,
        Entry::Vacant(place) => {
            place.insert(hash);
            true
        }
    }
}

fn sample_of(
    monitor: MonitorId,
    due_ms: u64,
    lag_us: u32,
    attempts: u8,
    verdict: Verdict,
    attempt: &Attempt,
) -> Sample {
    let outcome = &attempt.outcome;
    let http = outcome.http.unwrap_or_default();
    Sample {
        monitor,
        due_ms,
        lag_us,
        timings: outcome.timings,
        total_us: attempt.total_us,
        body_bytes: http.decoded_bytes.min(u64::from(u32::MAX)) as u32,
        code: Code::from(attempt.result),
        http_status: http.status,
        phase: outcome.phase.map_or(u8::MAX, |phase| phase as u8),
        attempts,
        verdict,
    }
}
