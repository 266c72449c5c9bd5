//! The only loop of a shard.
//!
//! Owns: the order of a turn, and the hand-over to the store. Runs as the one task of a pinned
//! glommio executor. It sleeps in its own ring (see [`crate::net::ring`]) and gives glommio a turn
//! once a second.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use probes::Nanos;

use crate::clock::{Clock, thread_cpu_micros};
use crate::guard::vantage::{Tally, Vantage};
use crate::ids::{ShardId, Tick};
use crate::limits::{BATCH_AGE_MS_MAX, COMMANDS_PER_TURN_MAX};
use crate::memory::thread_allocations;
use crate::messages::{BatchSink, Command, Inbox, Refused};
use crate::metrics::snapshot::{Published, Snapshot};
use crate::net::driver::Driver;
use crate::sched::due::Room;
use crate::shard::{Now, Shard};

/// What a shard is given.
pub struct Setup {
    /// Which shard.
    pub id: ShardId,
    /// The schedule clock.
    pub clock: Clock,
    /// Where commands come from.
    pub inbox: Inbox,
    /// Where batches go.
    pub store: Box<dyn BatchSink>,
    /// Where the numbers go once a second.
    pub published: Published,
    /// Carries the probes. Made on the shard's own thread.
    pub driver: Driver,
    /// What the guard says.
    pub vantage: Arc<Vantage>,
}

const PUBLISH_NS: u64 = 1_000_000_000;

/// One core's loop, until it is told to leave.
pub struct Loop {
    shard: Shard,
    driver: Driver,
    clock: Clock,
    inbox: Inbox,
    store: Box<dyn BatchSink>,
    published: Published,
    vantage: Arc<Vantage>,
    /// When the open batch is to be sealed, if it holds anything.
    seal_at: Option<Nanos>,
    publish_at: Nanos,
    turns: u64,
    in_flight_max: usize,
    /// There may be more commands in the inbox, which nobody watches meanwhile.
    inbox_open: bool,
    leave: bool,
}

impl Loop {
    /// A loop that has not turned yet.
    pub fn new(setup: Setup) -> Loop {
        let now = setup.clock.now();
        Loop {
            shard: Shard::new(setup.id, setup.clock.tick(now)),
            driver: setup.driver,
            clock: setup.clock,
            inbox: setup.inbox,
            store: setup.store,
            published: setup.published,
            vantage: setup.vantage,
            seal_at: None,
            publish_at: now,
            turns: 0,
            in_flight_max: 0,
            inbox_open: false,
            leave: false,
        }
    }

    /// Turns until the shard is told to leave or is drained.
    ///
    /// # Errors
    ///
    /// The errno of io_uring_enter(2): the shard cannot go on.
    pub async fn run(mut self) -> io::Result<()> {
        self.driver.watch_inbox(self.inbox.as_fd())?;
        loop {
            let until = self.wake_at();
            let now = self.driver.turn(until)?;
            self.turn(now)?;
            if self.leave || self.shard.is_drained() {
                return self.finish();
            }
            if now >= self.publish_at {
                self.publish_at = Nanos(now.0 + PUBLISH_NS);
                self.publish();
                glommio::executor().yield_now().await;
            }
        }
    }

    fn turn(&mut self, nanos: Nanos) -> io::Result<()> {
        self.turns += 1;
        let now = self.at(nanos);
        if self.driver.take_inbox_ready() {
            self.inbox.clear_wake();
            self.inbox_open = true;
        }
        if self.inbox_open && self.take_commands(now) {
            self.inbox_open = false;
            self.driver.watch_inbox(self.inbox.as_fd())?;
        }
        let forgotten = self.shard.take_forgotten();
        if !forgotten.is_empty() {
            self.driver.forget(&forgotten);
        }
        self.shard.look(self.vantage.view());
        self.shard.on_tick(now);
        let (room, driver) = (self.room(), &mut self.driver);
        self.shard.start_due(room, now, |at, monitor, confirms| {
            if confirms {
                driver.doubt(monitor);
            }
            driver.launch(at, monitor);
        });
        self.in_flight_max = self.in_flight_max.max(self.driver.in_flight());
        self.take_finished(now);
        self.hand_over(nanos);
        Ok(())
    }

    /// Takes some commands; the rest waits for the next turn, so that sockets are looked at in
    /// between. True where the inbox is empty.
    fn take_commands(&mut self, now: Now) -> bool {
        for _ in 0..COMMANDS_PER_TURN_MAX {
            let Some(command) = self.inbox.try_next() else { return true };
            self.leave |= matches!(command, Command::Quit);
            self.shard.on_command(command, now);
        }
        false
    }

    fn take_finished(&mut self, now: Now) {
        let mut finished = std::mem::take(self.driver.finished());
        for (at, attempt) in finished.drain(..) {
            self.shard.on_attempt(at, attempt, now);
        }
        *self.driver.finished() = finished;
        let (queries_lost, queries_answered) = self.driver.queries();
        let tally = Tally { queries_lost, queries_answered, ..self.shard.tally() };
        self.vantage.report(self.shard.id(), tally);
    }

    /// Seals the open batch when it is full or old, and passes on what is sealed.
    fn hand_over(&mut self, now: Nanos) {
        let outbox = self.shard.outbox();
        if outbox.open_len() == 0 {
            self.seal_at = None;
        } else {
            let seal_at = *self.seal_at.get_or_insert(now.plus_millis(BATCH_AGE_MS_MAX));
            if now >= seal_at {
                outbox.seal();
                self.seal_at = None;
            }
        }
        while let Some(batch) = outbox.pop() {
            match self.store.offer(batch) {
                Ok(()) => {}
                Err(Refused::Full(batch)) => return outbox.put_back(batch),
                Err(Refused::Gone) => self.leave = true,
            }
        }
    }

    fn room(&self) -> Room {
        Room::new(self.driver.room(), self.driver.room_max())
    }

    /// When the next turn is due at the latest.
    fn wake_at(&self) -> Option<Nanos> {
        if self.inbox_open || self.shard.can_start(self.room()) {
            return Some(Nanos(0));
        }
        let tick = self.shard.next_tick().map(|tick: Tick| self.clock.nanos(tick));
        [tick, self.seal_at, Some(self.publish_at)].into_iter().flatten().min()
    }

    fn at(&self, nanos: Nanos) -> Now {
        Now { nanos, tick: self.clock.tick(nanos), unix_us: self.clock.unix_micros(nanos) }
    }

    fn publish(&mut self) {
        let cpu = thread_cpu_micros();
        let snapshot = Snapshot {
            in_flight: self.driver.in_flight() as u64,
            in_flight_max: self.in_flight_max as u64,
            turns: self.turns,
            stalls: self.driver.stalls(),
            cpu_user_us: cpu.0,
            cpu_system_us: cpu.1,
            allocations: thread_allocations(),
            net: self.driver.counters(),
            ..self.shard.snapshot()
        };
        self.published.publish(snapshot);
        self.shard.hand_over(self.published.handover());
    }

    /// Ends what is in flight as cancelled and waits for the store to take the rest.
    fn finish(mut self) -> io::Result<()> {
        let now = self.at(self.clock.now());
        self.shard.on_command(Command::Drain, now);
        self.driver.cancel_all();
        self.take_finished(now);
        self.shard.outbox().seal();
        self.publish();
        self.shard.leave(self.published.handover());
        while let Some(batch) = self.shard.outbox().pop() {
            if self.store.give(batch).is_err() {
                break;
            }
        }
        Ok(())
    }
}
