//! Carries the probes of one shard from launch to outcome.
//!
//! Owns: the ring, the probes on the wire, their deadlines. Knows no schedule: the shard launches
//! and takes from [`Driver::finished`]. A panic inside a probe ends that probe as our own fault.

use std::any::Any;
use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use probes::{Failure, Nanos, Outcome, Phase, ProbeSpec, Timings};

use crate::attempt::Attempt;
use crate::clock::Clock;
use crate::fault::Fault;
use crate::ids::{MonitorId, SlotRef};
use crate::limits::{FAULT_LOG_MS, LATE_MS_MAX, RING_ENTRIES, TICK_MS};
use crate::monitor::Monitor;
use crate::net::echo::EchoEvent;
use crate::net::egress::Egress;
use crate::net::flight::{Flight, Flights, Stage};
use crate::net::resolve::{Resolved, Resolver, ResolverConfig};
use crate::net::ring::{Interest, Ring};
use crate::net::stream::{Buffers, Progress};
use crate::net::trust::Trust;
use crate::sched::wheel::Wheel;

mod connecting;
mod echoing;
mod keeping;
mod redirecting;
mod resolving;

#[cfg(test)]
mod tests;

use echoing::EchoSide;
use keeping::Keeping;

/// The top byte of a ring token says whose event it is; a probe's has a zero there.
const KIND_SHIFT: u32 = 56;
const KIND_PROBE: u64 = 0;
const KIND_INBOX: u64 = 1;
const KIND_ECHO: u64 = 2;
const KIND_RESOLVER: u64 = 3;
const PAYLOAD_MASK: u64 = (1 << KIND_SHIFT) - 1;

/// Carries the probes of one shard.
pub struct Driver {
    ring: Ring,
    clock: Clock,
    trust: Trust,
    /// Where probes may go; everywhere where there is none.
    egress: Option<Egress>,
    flights: Flights,
    in_flight_max: usize,
    deadlines: Wheel,
    resolver: Resolver,
    echo: [EchoSide; 2],
    buffers: Buffers,
    keeping: Keeping,
    finished: Vec<(SlotRef, Attempt)>,
    echo_events: Vec<EchoEvent>,
    resolved: Vec<Resolved>,
    expired: Vec<u32>,
    /// End of the last turn's wait.
    turned: Nanos,
    /// End of the last time that the shard could not look at its sockets for long.
    stalled_until: Nanos,
    stalls: u64,
    inbox_ready: bool,
    panics: u64,
    /// No log line about a fault of ours before.
    log_again: Nanos,
    /// Replies whose check was over: late ones and duplicates.
    echo_late: u64,
}

impl Driver {
    /// A driver for at most `in_flight_max` probes at once.
    ///
    /// # Errors
    ///
    /// The errno of io_uring_setup(2).
    pub fn new(
        clock: Clock,
        trust: Trust,
        resolver: ResolverConfig,
        in_flight_max: usize,
    ) -> io::Result<Driver> {
        let now = clock.now();
        Ok(Driver {
            ring: Ring::new(RING_ENTRIES)?,
            clock,
            trust,
            egress: None,
            flights: Flights::default(),
            in_flight_max,
            deadlines: Wheel::new(clock.tick(now)),
            resolver: Resolver::new(resolver),
            echo: [EchoSide::Unopened, EchoSide::Unopened],
            buffers: Buffers::default(),
            keeping: Keeping::default(),
            finished: Vec::new(),
            echo_events: Vec::new(),
            resolved: Vec::new(),
            expired: Vec::new(),
            turned: now,
            stalled_until: Nanos(0),
            stalls: 0,
            inbox_ready: false,
            panics: 0,
            log_again: Nanos(0),
            echo_late: 0,
        })
    }

    /// From now on probes go only where this allows: for checks that somebody else asks for.
    pub fn confine(&mut self, egress: Egress) {
        self.egress = Some(egress);
    }

    /// Probes that may be launched now.
    pub fn room(&self) -> usize {
        self.in_flight_max.saturating_sub(self.flights.len())
    }

    /// Probes that may be on the wire at once.
    pub fn room_max(&self) -> usize {
        self.in_flight_max
    }

    /// Probes on the wire.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Watches the inbox, until [`Driver::take_inbox_ready`] says that something came; then it is
    /// to be watched anew.
    ///
    /// # Errors
    ///
    /// The errno of io_uring_enter(2).
    pub fn watch_inbox(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.ring.poll(fd, Interest::Read, KIND_INBOX << KIND_SHIFT)
    }

    /// True once after something came to the inbox.
    pub fn take_inbox_ready(&mut self) -> bool {
        std::mem::take(&mut self.inbox_ready)
    }

    /// Starts an attempt. Its outcome comes through [`Driver::finished`], at once or later.
    pub fn launch(&mut self, at: SlotRef, monitor: &Monitor) {
        let now = self.clock.now();
        let flight = Flight::new(at, monitor, now);
        let deadline = self.clock.tick_after(flight.deadline);
        let place = self.flights.insert(flight);
        self.keeping.make_room(self.flights.len(), self.in_flight_max);
        self.deadlines.arm(place, deadline);
        self.start_hop(place, now);
    }

    /// True where nothing is left of any attempt: none on the wire, no deadline armed, no lookup
    /// that somebody waits for, no outcome that was not fetched.
    pub fn is_idle(&self) -> bool {
        let waiting = self.resolver.waiting();
        self.flights.is_empty()
            && self.deadlines.is_empty()
            && waiting == 0
            && self.finished.is_empty()
    }

    /// Attempts that ended since this was last drained.
    pub fn finished(&mut self) -> &mut Vec<(SlotRef, Attempt)> {
        &mut self.finished
    }

    /// One turn: submits, waits until something is ready or `until`, and carries every probe on as
    /// far as it goes. Does not wait where attempts have ended already. Returns the time after the
    /// wait.
    ///
    /// # Errors
    ///
    /// The errno of io_uring_enter(2): the shard cannot go on.
    pub fn turn(&mut self, until: Option<Nanos>) -> io::Result<Nanos> {
        let before = self.clock.now();
        self.flush_echo()?;
        self.arm_resolver()?;
        let retry = self.echo_waits().then(|| before.plus_millis(TICK_MS));
        let until = [until, self.next_deadline(), retry].into_iter().flatten().min();
        let timeout = if self.finished.is_empty() {
            until.map(|until| Duration::from_nanos(until.0.saturating_sub(before.0)))
        } else {
            Some(Duration::ZERO)
        };
        self.ring.wait(timeout)?;
        let now = self.clock.now();
        self.note_stall(before, until, now);

        let ready = self.ring.take_ready();
        for token in &ready {
            self.on_ready(*token, now);
        }
        self.ring.recycle(ready);
        self.resolve_on_time(now);
        self.expire(now);
        self.keeping.expire(now);
        Ok(now)
    }

    /// Ends every probe as cancelled: the engine leaves.
    pub fn cancel_all(&mut self) {
        for place in self.flights.taken() {
            self.fail(place, Fault::Cancelled, String::new());
        }
    }

    /// Drops these attempts: nobody waits for their outcome, and their room is free at once.
    pub fn forget(&mut self, attempts: &HashSet<SlotRef>) {
        for place in self.flights.taken() {
            if self.flights.get(place).is_some_and(|flight| attempts.contains(&flight.at)) {
                self.take_off(place);
            }
        }
    }

    /// Times that the shard could not look at its sockets for long.
    pub fn stalls(&self) -> u64 {
        self.stalls
    }

    /// Counts by name, for the metrics page.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut counters = vec![("probe_panics", self.panics), ("echo_late", self.echo_late)];
        self.count_echo(&mut counters);
        self.keeping.count(&mut counters);
        self.count_resolver(&mut counters);
        counters
    }

    /// A gap in which nothing was looked at: our own work took long, or the wait ended late.
    fn note_stall(&mut self, before: Nanos, until: Option<Nanos>, now: Nanos) {
        let busy = before.0.saturating_sub(self.turned.0);
        let overslept = until.map_or(0, |until| now.0.saturating_sub(until.0.max(before.0)));
        if busy.max(overslept) > LATE_MS_MAX * 1_000_000 {
            self.stalled_until = now;
            self.stalls += 1;
        }
        self.turned = now;
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let deadline = self.deadlines.next_expiry().map(|tick| self.clock.nanos(tick));
        [deadline, self.resolver.next_deadline()].into_iter().flatten().min()
    }

    fn on_ready(&mut self, token: u64, now: Nanos) {
        match token >> KIND_SHIFT {
            KIND_PROBE => {
                let Some(place) = self.flights.find(token) else { return };
                if let Some(Flight { stage: Stage::Streaming { armed, .. }, .. }) =
                    self.flights.get(place)
                {
                    *armed = None;
                    self.advance(place);
                }
            }
            KIND_INBOX => self.inbox_ready = true,
            KIND_ECHO => self.receive_echo((token & PAYLOAD_MASK) as usize, true),
            KIND_RESOLVER => self.on_resolver_ready(token & PAYLOAD_MASK, now),
            _ => {}
        }
    }

    /// Lets a stream go on as far as it can.
    fn advance(&mut self, place: u32) {
        let Some(flight) = self.flights.get(place) else { return };
        let Stage::Streaming { stream, .. } = &mut flight.stage else { return };
        let (buffers, clock) = (&mut self.buffers, &self.clock);
        let progress = catch_unwind(AssertUnwindSafe(|| stream.advance(buffers, clock)));
        self.on_progress(place, progress);
    }

    fn on_progress(&mut self, place: u32, progress: std::thread::Result<Progress>) {
        match progress {
            Ok(Progress::Wait(interest)) => self.arm(place, interest),
            Ok(Progress::Done(outcome)) => self.on_outcome(place, outcome),
            Ok(Progress::Failed(fault, errno)) => self.fail(place, fault, errno.desc().to_string()),
            Err(panic) => self.fail_panicked(place, panic),
        }
    }

    fn fail_panicked(&mut self, place: u32, panic: Box<dyn Any + Send>) {
        self.panics += 1;
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let text = format!("the probe panicked: {}", text.unwrap_or("without a word"));
        self.fail(place, Fault::Panic, text);
    }

    fn arm(&mut self, place: u32, interest: Interest) {
        let token = self.flights.token(place);
        let Some(flight) = self.flights.get(place) else { return };
        let Stage::Streaming { stream, armed } = &mut flight.stage else { return };
        if *armed == Some(interest) {
            return;
        }
        if armed.is_some() {
            self.flights.renew(place);
            return self.rearm(place, token, interest);
        }
        *armed = Some(interest);
        if let Err(error) = self.ring.poll(stream.as_fd(), interest, token) {
            self.fail(place, Fault::Other, error.to_string());
        }
    }

    /// Replaces a poll that waits for something else. Its token is void already.
    fn rearm(&mut self, place: u32, old: u64, interest: Interest) {
        let cancelled = self.ring.cancel(old);
        if let Some(Flight { stage: Stage::Streaming { armed, .. }, .. }) = self.flights.get(place)
        {
            *armed = None;
        }
        match cancelled {
            Ok(()) => self.arm(place, interest),
            Err(error) => self.fail(place, Fault::Other, error.to_string()),
        }
    }

    /// Takes the hold of the ring off a stream that is about to close.
    fn disarm(&mut self, place: u32) {
        let token = self.flights.token(place);
        let armed = match self.flights.get(place).map(|flight| &mut flight.stage) {
            Some(Stage::Streaming { armed, .. }) => armed.take(),
            Some(Stage::Resolving) => {
                self.resolver.cancel(token);
                None
            }
            _ => None,
        };
        if armed.is_some()
            && let Err(error) = self.ring.cancel(token)
        {
            tracing::error!(%error, "a poll could not be cancelled");
        }
    }

    /// Takes a probe off the wire, with its poll, its lookup and its deadline.
    fn take_off(&mut self, place: u32) -> Option<Flight> {
        self.disarm(place);
        self.deadlines.disarm(place);
        self.flights.remove(place)
    }

    /// The attempt is over by the target's doing.
    fn finish(&mut self, place: u32, mut outcome: Outcome) {
        let Some(flight) = self.take_off(place) else { return };
        let mut timings = flight.timings;
        timings.add(&outcome.timings);
        outcome.timings = timings;
        if let Some(http) = &mut outcome.http {
            http.redirects = flight.hops;
        }
        if let (Some(detail), Some(hop)) = (&mut outcome.detail, &flight.hop) {
            detail.url = hop.url.to_string();
        }
        let total_us = match (&*flight.spec, timings.get(Phase::Connect)) {
            (ProbeSpec::Icmp(_), Some(round_trip)) => round_trip,
            // The phases were measured during this turn: its own time is before them.
            _ => self.clock.now().micros_since(flight.started),
        };
        let attempt = Attempt::of_target(outcome, total_us, flight.address);
        self.finished.push((flight.at, attempt));
    }

    /// The attempt is over by our own fault.
    fn fail(&mut self, place: u32, fault: Fault, text: String) {
        let Some(flight) = self.take_off(place) else { return };
        let now = self.clock.now();
        self.log_fault(flight.monitor, fault, &text, now);
        let mut attempt = Attempt::of_fault(fault, text, now.micros_since(flight.started));
        attempt.outcome.timings = flight.timings;
        attempt.address = flight.address;
        self.finished.push((flight.at, attempt));
    }

    /// Writes down the faults whose cause only we can find.
    fn log_fault(&mut self, monitor: MonitorId, fault: Fault, text: &str, now: Nanos) {
        if matches!(fault, Fault::Panic | Fault::Other) && now >= self.log_again {
            self.log_again = now.plus_millis(FAULT_LOG_MS);
            tracing::error!(%monitor, fault = fault.name(), text, "a check failed by our fault");
        }
    }

    /// Ends the probes whose deadline has passed. Everything that was ready has been read before.
    fn expire(&mut self, now: Nanos) {
        let mut expired = std::mem::take(&mut self.expired);
        self.deadlines.expire(self.clock.tick(now), |place, _| expired.push(place));
        if expired.iter().any(|place| self.is_echoing(*place)) {
            self.receive_echo(0, false);
            self.receive_echo(1, false);
        }
        for place in expired.drain(..) {
            self.time_out(place, now);
        }
        self.expired = expired;
    }

    fn is_echoing(&mut self, place: u32) -> bool {
        self.flights.get(place).is_some_and(|flight| matches!(flight.stage, Stage::Echoing { .. }))
    }

    fn time_out(&mut self, place: u32, now: Nanos) {
        // An answer that is there already is an answer, however late we look.
        self.advance(place);
        if self.deadlines.due(place).is_some() {
            // It has gone on to another address, which has its own share of the time.
            return;
        }
        let dropped_now = self.receive_dropped();
        let Some(flight) = self.flights.get(place) else { return };
        if now < flight.deadline {
            if !flight.is_connecting() || flight.untried() == 0 {
                // The share of an address is over, and it did connect.
                return self.deadlines.arm(place, self.clock.tick_after(flight.deadline));
            }
        } else if self.stalled_until > flight.started {
            let text = "the shard was stalled during this check".to_string();
            return self.fail(place, Fault::Late, text);
        }
        match &mut flight.stage {
            Stage::Resolving => {
                let text = "no answer from any name server within the timeout".to_string();
                self.fail(place, Fault::Resolver, text);
            }
            Stage::Ended => {}
            Stage::Streaming { stream, .. } => {
                let ended = catch_unwind(AssertUnwindSafe(|| stream.time_out(now)));
                self.on_progress(place, ended);
            }
            Stage::Echoing { dropped } if dropped_now > *dropped => {
                let text = "replies were dropped in our own receive buffer".to_string();
                self.fail(place, Fault::ReceiveBuffer, text);
            }
            Stage::Echoing { .. } => {
                let (timings, text) = (Timings::NONE, String::new());
                let failed = Outcome::failed(Failure::TimedOut, Phase::Connect, timings, text);
                self.finish(place, failed);
            }
        }
    }
}
