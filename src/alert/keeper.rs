//! The alerts' thread: takes changes, makes notices, hands them to the senders, notes the answers.
//!
//! Owns: the outbox, the pauses of channels, and the catch-up with the store: at the start and
//! every half minute it reads the changes that nobody told it of, so that a kill between commit
//! and telling loses none. What it is told goes into the outbox in one transaction a turn.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::channel::{Channel, Registry};
use super::counters::{AlertCounters, add};
use super::http::{Again, Roots, chance};
use super::outbox::{Outbox, Ready, State, finish, postpone, set_cursor};
use super::plan::{Singles, Turn};
use super::senders::{Done, Job, Senders};
use super::{AlertError, Change, Directory, flaps};
use crate::clock::wall_millis;
use crate::limits::{
    ALERT_CATCH_UP_MS, ALERT_CATCH_UP_ROWS, ALERT_CHANNEL_FAILURES_MAX, ALERT_CHANNEL_SENDS_MAX,
    ALERT_GONE_MS, ALERT_HOLD_MS, ALERT_QUEUE_MAX, ALERT_RETRY_MS_MAX, ALERT_RETRY_MS_MIN,
    ALERT_SENDERS_FAILING_MAX, ALERT_TURN_MS,
};
use crate::messages::GuardChange;

/// Notices of one channel that are read ahead.
const AHEAD: usize = 256;
/// Answers and lists of changes taken in one turn.
const MESSAGES_PER_TURN_MAX: usize = 256;
/// Time between two counts of what waits, in milliseconds.
const COUNT_MS: u64 = 1_000;
/// How long it is waited for more monitors to be taken away, in milliseconds.
const GONE_WAIT_MS: u64 = 1_000;
/// How long a stop waits for the answers of deliveries on their way.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// What the alerts' thread is told.
#[derive(Debug)]
pub enum ToAlerts {
    /// Verdicts changed.
    Changes(Vec<Change>),
    /// Monitors were taken away.
    Removed,
    /// The engine is cut off, or no longer so.
    Guard(GuardChange),
    /// A delivery ended.
    Done(Done),
    /// End.
    Stop,
}

/// What alerting is started with.
#[derive(Debug)]
pub struct Setup {
    /// The channels of the configuration.
    pub channels: Vec<Channel>,
    /// What further channels trust.
    pub roots: Roots,
    /// Host of the original's web interface, for links.
    pub domain: Option<String>,
    /// How long a change to down is held before it is told, in milliseconds.
    pub hold_ms: u64,
    /// Shortest pause before a further attempt, in milliseconds.
    pub retry_ms: u64,
    /// True where other engines write changes to the same store and it cannot be told whose: then
    /// only what this engine tells of counts, and a kill between recording and telling loses a
    /// notice.
    pub shared: bool,
}

impl Setup {
    /// These channels, with the usual times.
    pub fn of(channels: Vec<Channel>, roots: Roots, domain: Option<String>) -> Setup {
        let (hold_ms, retry_ms) = (ALERT_HOLD_MS, ALERT_RETRY_MS_MIN);
        Setup { channels, roots, domain, hold_ms, retry_ms, shared: false }
    }
}

/// Alerting, seen from the rest of the engine. Clones tell the same thread.
#[derive(Clone, Debug)]
pub struct Teller {
    inbox: Sender<ToAlerts>,
    queued: Arc<AtomicUsize>,
    overflowed: Arc<AtomicBool>,
    counters: Arc<AlertCounters>,
}

impl Teller {
    /// Tells of changes, after they are recorded. Never waits: what there is no room for is read
    /// from the store.
    pub fn changes(&self, changes: Vec<Change>) {
        if self.queued.fetch_add(1, Ordering::Relaxed) >= ALERT_QUEUE_MAX {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            add(&self.counters.overflowed, 1);
            self.overflowed.store(true, Ordering::Relaxed);
            return;
        }
        self.tell(ToAlerts::Changes(changes));
    }

    /// Tells that monitors were taken away.
    pub fn monitors_removed(&self) {
        self.tell(ToAlerts::Removed);
    }

    /// Tells that the engine is cut off, or no longer so.
    pub fn guard(&self, change: GuardChange) {
        self.tell(ToAlerts::Guard(change));
    }

    fn tell(&self, message: ToAlerts) {
        // After a stop nobody listens; what it would have said is in the store.
        let _ = self.inbox.send(message);
    }
}

/// The running thread.
#[derive(Debug)]
pub struct Alerts {
    teller: Teller,
    thread: JoinHandle<()>,
}

impl Alerts {
    /// Opens the outbox in the data folder and starts the thread `alerts`.
    ///
    /// # Errors
    ///
    /// The outbox cannot be opened, or the operating system gives no thread.
    pub fn start(
        data_dir: &Path,
        setup: Setup,
        directory: Box<dyn Directory>,
    ) -> Result<Alerts, AlertError> {
        let outbox = Outbox::open(data_dir)?;
        let (inbox, messages) = channel();
        let queued = Arc::<AtomicUsize>::default();
        let overflowed = Arc::<AtomicBool>::default();
        let counters = Arc::<AlertCounters>::default();
        let keeper = Keeper {
            outbox,
            messages,
            queued: Arc::clone(&queued),
            overflowed: Arc::clone(&overflowed),
            counters: Arc::clone(&counters),
            directory,
            registry: Registry::new(setup.channels, setup.roots, setup.domain),
            senders: Senders::new(inbox.clone()),
            lines: HashMap::new(),
            singles: Singles::new(),
            hold_ms: setup.hold_ms,
            retry_ms: setup.retry_ms,
            shared: setup.shared,
            catch_up_ms: 0,
            tidy_ms: 0,
            counted_ms: 0,
            gone_ms: wall_millis() + ALERT_GONE_MS,
            began: false,
            behind: false,
            starting: 0,
        };
        let builder = std::thread::Builder::new().name("alerts".to_owned());
        let thread = builder.spawn(move || keeper.run())?;
        Ok(Alerts { teller: Teller { inbox, queued, overflowed, counters }, thread })
    }

    /// The way to tell it something.
    pub fn teller(&self) -> Teller {
        self.teller.clone()
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<AlertCounters> {
        Arc::clone(&self.teller.counters)
    }

    /// True when the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Takes what was told, waits a moment for deliveries on their way, and ends. What is not
    /// delivered is so after the next start.
    pub fn stop(self) {
        self.teller.tell(ToAlerts::Stop);
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// What is known of a channel while the engine runs.
#[derive(Default)]
struct Line {
    /// Subjects of notices on their way.
    flying: HashSet<i64>,
    ahead: VecDeque<Ready>,
    /// Failed deliveries in a row.
    failures: u32,
    /// Nothing is sent before this time.
    held_ms: u64,
}

/// A pause that doubles with each failure, less a part by chance.
fn pause_ms(shortest_ms: u64, failures: u32) -> u64 {
    let whole = shortest_ms.saturating_mul(1 << failures.min(20)).min(ALERT_RETRY_MS_MAX);
    whole - chance(usize::try_from(whole / 2).unwrap_or(0)) as u64
}

struct Keeper {
    outbox: Outbox,
    messages: Receiver<ToAlerts>,
    queued: Arc<AtomicUsize>,
    /// Changes were not taken in; see [`Teller::changes`].
    overflowed: Arc<AtomicBool>,
    counters: Arc<AlertCounters>,
    directory: Box<dyn Directory>,
    registry: Registry,
    senders: Senders,
    lines: HashMap<String, Line>,
    singles: Singles,
    hold_ms: u64,
    retry_ms: u64,
    shared: bool,
    catch_up_ms: u64,
    tidy_ms: u64,
    counted_ms: u64,
    gone_ms: u64,
    /// What an earlier run left behind in the store was read.
    began: bool,
    /// More was due than one turn does.
    behind: bool,
    /// Where the next look for something to send begins: no channel is always the last.
    starting: usize,
}

impl Keeper {
    fn run(mut self) {
        let mut work_at = Instant::now();
        loop {
            let (messages, mut stopping) = self.receive(work_at);
            let due = Instant::now() >= work_at || stopping;
            if due {
                work_at = Instant::now() + Duration::from_millis(ALERT_TURN_MS);
            }
            if let Err(error) = self.turn(&messages, due) {
                add(&self.counters.outbox_errors, 1);
                tracing::error!(%error, "alerts: the outbox refuses; the changes are read again");
                // What was told is lost with the transaction: the store still has it.
                self.catch_up_ms = 0;
                std::thread::sleep(Duration::from_millis(ALERT_TURN_MS));
            }
            if stopping {
                stopping = self.wait_for_answers();
            }
            if stopping {
                return;
            }
            if self.behind {
                work_at = Instant::now();
            }
        }
    }

    /// What came until it is time to work, and whether to stop.
    fn receive(&mut self, work_at: Instant) -> (Vec<ToAlerts>, bool) {
        let mut messages = Vec::new();
        let mut wait = work_at.saturating_duration_since(Instant::now());
        while messages.len() < MESSAGES_PER_TURN_MAX {
            match self.messages.recv_timeout(wait) {
                Ok(ToAlerts::Stop) => return (messages, true),
                Ok(message) => {
                    if let ToAlerts::Changes(_) = message {
                        self.queued.fetch_sub(1, Ordering::Relaxed);
                    }
                    messages.push(message);
                }
                Err(RecvTimeoutError::Timeout) => break,
                // The senders hold a way in, so this does not come.
                Err(RecvTimeoutError::Disconnected) => return (messages, true),
            }
            wait = Duration::ZERO;
        }
        (messages, false)
    }

    /// Takes the answers of what is on its way; what does not answer in time is sent again after
    /// the next start.
    fn wait_for_answers(&mut self) -> bool {
        let deadline = Instant::now() + STOP_WAIT;
        while self.senders.busy() > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(message) = self.messages.recv_timeout(left) else { break };
            if let ToAlerts::Done(done) = message
                && let Err(error) = self.note(&[ToAlerts::Done(done)])
            {
                tracing::error!(%error, "alerts: a delivery is not noted and comes again");
            }
        }
        true
    }

    fn turn(&mut self, messages: &[ToAlerts], due: bool) -> rusqlite::Result<()> {
        let now_ms = wall_millis();
        // Before anything that was told: what comes before it may not have been.
        let overflowed = self.overflowed.swap(false, Ordering::Relaxed);
        if overflowed || now_ms >= self.catch_up_ms || self.misses_one(messages, now_ms)? {
            self.catch_up_ms = now_ms + ALERT_CATCH_UP_MS;
            self.catch_up(now_ms)?;
        }
        self.note(messages)?;
        if due {
            self.work()?;
        }
        self.dispatch()
    }

    /// Writes down what was told and what was answered.
    fn note(&mut self, messages: &[ToAlerts]) -> rusqlite::Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let now_ms = wall_millis();
        for message in messages {
            if let ToAlerts::Done(done) = message {
                self.senders.ended();
                self.answered(done, now_ms);
            }
        }
        let transaction = self.outbox.conn.transaction()?;
        for message in messages {
            let mut turn = Turn {
                transaction: &transaction,
                registry: &mut self.registry,
                directory: self.directory.as_mut(),
                counters: &self.counters,
                singles: &mut self.singles,
                hold_ms: self.hold_ms,
                now_ms,
            };
            match message {
                ToAlerts::Changes(changes) => {
                    for change in changes {
                        let fresh = turn.take(change)?;
                        let counters = &self.counters;
                        if !change.is_of_verdict() {
                            continue;
                        }
                        add(if fresh { &counters.changes } else { &counters.repeated }, 1);
                    }
                }
                // Together with what else is taken away now.
                ToAlerts::Removed => self.gone_ms = self.gone_ms.min(now_ms + GONE_WAIT_MS),
                ToAlerts::Guard(change) => turn.tell_all(change)?,
                ToAlerts::Done(done) => match &done.outcome {
                    Ok(()) => finish(&transaction, done.id, State::Delivered, "", now_ms)?,
                    Err(failed) => match failed.again {
                        Again::Never => {
                            finish(&transaction, done.id, State::Refused, &failed.text, now_ms)?;
                        }
                        Again::Later => {
                            let next_ms = now_ms + pause_ms(self.retry_ms, done.attempts);
                            postpone(&transaction, done.id, &failed.text, next_ms)?;
                        }
                        Again::After(pause_ms) => {
                            postpone(&transaction, done.id, &failed.text, now_ms + pause_ms)?;
                        }
                    },
                },
                ToAlerts::Stop => {}
            }
        }
        transaction.commit()
    }

    /// True where one of these changes does not follow from what was taken.
    fn misses_one(&mut self, messages: &[ToAlerts], now_ms: u64) -> rusqlite::Result<bool> {
        let transaction = self.outbox.conn.transaction()?;
        let turn = Turn {
            transaction: &transaction,
            registry: &mut self.registry,
            directory: self.directory.as_mut(),
            counters: &self.counters,
            singles: &mut self.singles,
            hold_ms: self.hold_ms,
            now_ms,
        };
        let changes = messages.iter().filter_map(|message| match message {
            ToAlerts::Changes(changes) => Some(changes),
            _ => None,
        });
        for change in changes.flatten() {
            if turn.misses_one(change)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What an answer says about its channel.
    fn answered(&mut self, done: &Done, now_ms: u64) {
        let shortest_ms = self.retry_ms;
        let pauses = done.outcome.as_ref().err().map(|failed| failed.again);
        let line = self.lines.entry(done.channel.clone()).or_default();
        line.flying.remove(&done.subject);
        let Some(again) = pauses else {
            if line.failures >= ALERT_CHANNEL_FAILURES_MAX {
                tracing::info!(channel = done.channel, "notices are taken again");
            }
            (line.failures, line.held_ms) = (0, 0);
            return add(&self.counters.delivered, 1);
        };
        let error = done.outcome.as_ref().err().map_or("", |failed| &failed.text);
        if again == Again::Never {
            tracing::warn!(channel = done.channel, error, "a notice is refused for good");
            return add(&self.counters.refused, 1);
        }
        add(&self.counters.failed, 1);
        line.failures += 1;
        if line.failures == ALERT_CHANNEL_FAILURES_MAX {
            tracing::warn!(channel = done.channel, error, "notices are not taken; they wait");
        }
        // Nothing else of this monitor goes out before it.
        line.ahead.retain(|ready| ready.subject != done.subject);
        if let Again::After(pause_ms) = again {
            line.held_ms = line.held_ms.max(now_ms + pause_ms);
        } else if let Some(more) = line.failures.checked_sub(ALERT_CHANNEL_FAILURES_MAX) {
            line.held_ms = line.held_ms.max(now_ms + pause_ms(shortest_ms, more));
        }
    }

    /// Makes notices of what is due, catches up with the store, and tidies up.
    fn work(&mut self) -> rusqlite::Result<()> {
        let now_ms = wall_millis();
        let transaction = self.outbox.conn.transaction()?;
        let mut turn = Turn {
            transaction: &transaction,
            registry: &mut self.registry,
            directory: self.directory.as_mut(),
            counters: &self.counters,
            singles: &mut self.singles,
            hold_ms: self.hold_ms,
            now_ms,
        };
        // Tables tell of rows that are gone one by one: they are looked for at times.
        if now_ms >= self.gone_ms {
            self.gone_ms = now_ms + ALERT_GONE_MS;
            turn.look_for_gone()?;
        }
        self.behind = turn.work()?;
        transaction.commit()?;
        if now_ms >= self.tidy_ms {
            self.tidy_ms = now_ms + ALERT_CATCH_UP_MS;
            let expired = self.outbox.expire(now_ms)?;
            add(&self.counters.expired, expired);
            self.outbox.prune(now_ms)?;
        }
        if now_ms < self.counted_ms {
            return Ok(());
        }
        self.counted_ms = now_ms + COUNT_MS;
        let (waiting, outages, oldest_ms, held) = self.outbox.totals()?;
        let counters = &self.counters;
        counters.held.store(held, Ordering::Relaxed);
        counters.waiting.store(waiting, Ordering::Relaxed);
        counters.outages.store(outages, Ordering::Relaxed);
        counters.oldest_ms.store(oldest_ms, Ordering::Relaxed);
        counters.sending.store(self.senders.busy() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Reads from the store what nobody told of.
    fn catch_up(&mut self, now_ms: u64) -> rusqlite::Result<()> {
        let newest = match self.directory.newest_change() {
            Ok(newest) => newest,
            Err(error) => {
                self.counters.directory_failed(&error);
                return Ok(());
            }
        };
        if self.shared {
            let transaction = self.outbox.conn.transaction()?;
            set_cursor(&transaction, newest)?;
            if !std::mem::replace(&mut self.began, true) {
                flaps::forget(&transaction, now_ms)?;
            }
            return transaction.commit();
        }
        let cursor = match self.outbox.cursor()? {
            // What was before the first start with alerts is nobody's news.
            None => newest,
            // Another store, or one whose old changes are gone: those known are not told again.
            Some(cursor) if cursor > newest => 0,
            Some(cursor) => cursor,
        };
        let mut after = cursor;
        loop {
            let page = match self.directory.changes_after(after, ALERT_CATCH_UP_ROWS) {
                Ok(page) => page,
                Err(error) => {
                    self.counters.directory_failed(&error);
                    return Ok(());
                }
            };
            let transaction = self.outbox.conn.transaction()?;
            let mut turn = Turn {
                transaction: &transaction,
                registry: &mut self.registry,
                directory: self.directory.as_mut(),
                counters: &self.counters,
                singles: &mut self.singles,
                hold_ms: self.hold_ms,
                now_ms,
            };
            for change in &page.changes {
                if turn.take(change)? {
                    add(&self.counters.changes, 1);
                    add(&self.counters.caught_up, 1);
                }
            }
            after = page.last.unwrap_or(after);
            set_cursor(&transaction, after)?;
            if !page.more && !std::mem::replace(&mut self.began, true) {
                flaps::forget(&transaction, now_ms)?;
            }
            transaction.commit()?;
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Hands notices to the senders, as long as there is room.
    fn dispatch(&mut self) -> rusqlite::Result<()> {
        if self.senders.room() == 0 {
            return Ok(());
        }
        let now_ms = wall_millis();
        let mut names = self.outbox.channels_waiting()?;
        if !names.is_empty() {
            let first = self.starting % names.len();
            names.rotate_left(first);
            self.starting = self.starting.wrapping_add(1);
        }
        for name in names {
            let found = self.registry.get(&name, self.directory.as_mut(), now_ms);
            // A channel that is gone, or not known now: its notices wait, and become too old.
            let Ok(Some(channel)) = found else { continue };
            self.dispatch_to(&channel, now_ms)?;
        }
        Ok(())
    }

    fn dispatch_to(&mut self, channel: &Arc<Channel>, now_ms: u64) -> rusqlite::Result<()> {
        let failing: usize = self
            .lines
            .values()
            .filter(|line| line.failures > 0)
            .map(|line| line.flying.len())
            .sum();
        let line = self.lines.entry(channel.name.clone()).or_default();
        if now_ms < line.held_ms {
            return Ok(());
        }
        let at_once = match line.failures {
            ALERT_CHANNEL_FAILURES_MAX.. => 1,
            _ => ALERT_CHANNEL_SENDS_MAX,
        };
        let mut room = at_once.saturating_sub(line.flying.len()).min(self.senders.room());
        if line.failures > 0 {
            room = room.min(ALERT_SENDERS_FAILING_MAX.saturating_sub(failing));
        }
        while room > 0 {
            if line.ahead.is_empty() {
                let ready = self.outbox.ready(&channel.name, now_ms, AHEAD)?;
                line.ahead.extend(ready);
                line.ahead.retain(|ready| !line.flying.contains(&ready.subject));
            }
            let Some(ready) = line.ahead.pop_front() else { break };
            // Read ahead while an earlier one of this subject was on its way.
            if !line.flying.insert(ready.subject) {
                continue;
            }
            self.senders.start(Job { ready, channel: Arc::clone(channel) });
            room -= 1;
        }
        Ok(())
    }
}
