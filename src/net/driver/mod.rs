//! Carries the probes of one shard from launch to outcome.
//!
//! Owns: the ring, the probes on the wire, their deadlines. Knows no schedule: the shard launches
//! and takes from [`Driver::finished`]. A panic inside a probe ends that probe as our own fault.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use probes::http::Http;
use probes::spec::{Host, HttpSpec, HttpUrl, TlsOptions};
use probes::tcp::Tcp;
use probes::tls::{Policy, Tls, server_name};
use probes::{Failure, Nanos, Outcome, Phase, ProbeSpec, Timings};

use crate::attempt::Attempt;
use crate::clock::Clock;
use crate::fault::Fault;
use crate::ids::{SlotRef, Tick};
use crate::limits::{LATE_MS_MAX, RING_ENTRIES, TICK_MS};
use crate::monitor::{Monitor, address};
use crate::net::echo::EchoEvent;
use crate::net::flight::{Flight, Flights, Stage};
use crate::net::resolve::{Resolved, Resolver, ResolverConfig};
use crate::net::ring::{Interest, Ring};
use crate::net::stream::{AnyMachine, Buffers, Progress, Stream};
use crate::net::trust::Trust;
use crate::sched::wheel::Wheel;

mod echoing;
mod resolving;

use echoing::EchoSide;

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
    flights: Flights,
    in_flight_max: usize,
    deadlines: Wheel,
    resolver: Resolver,
    echo: [EchoSide; 2],
    buffers: Buffers,
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
            flights: Flights::default(),
            in_flight_max,
            deadlines: Wheel::new(clock.tick(now)),
            resolver: Resolver::new(resolver),
            echo: [EchoSide::Unopened, EchoSide::Unopened],
            buffers: Buffers::default(),
            finished: Vec::new(),
            echo_events: Vec::new(),
            resolved: Vec::new(),
            expired: Vec::new(),
            turned: now,
            stalled_until: Nanos(0),
            stalls: 0,
            inbox_ready: false,
            panics: 0,
            echo_late: 0,
        })
    }

    /// Probes that may be launched now.
    pub fn room(&self) -> usize {
        self.in_flight_max.saturating_sub(self.flights.len())
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
    pub fn launch(&mut self, at: SlotRef, monitor: &Monitor, now: Nanos) {
        let place = self.flights.insert(Flight {
            at,
            spec: Arc::clone(&monitor.spec),
            started: now,
            hop_started: now,
            url: None,
            hops: 0,
            timings: Timings::NONE,
            address: None,
            stage: Stage::Resolving,
        });
        let deadline_ms = self.clock.unix_millis(now) + u64::from(monitor.timing.timeout_ms);
        self.deadlines.arm(place, Tick(deadline_ms.div_ceil(TICK_MS)));
        self.start_hop(place, now);
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
        Ok(now)
    }

    /// Ends every probe as cancelled: the engine leaves.
    pub fn cancel_all(&mut self) {
        for place in self.flights.taken() {
            self.fail(place, Fault::Cancelled, String::new());
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
                    self.advance(place, now);
                }
            }
            KIND_INBOX => self.inbox_ready = true,
            KIND_ECHO => self.receive_echo((token & PAYLOAD_MASK) as usize, true),
            KIND_RESOLVER => self.on_resolver_ready(token & PAYLOAD_MASK, now),
            _ => {}
        }
    }

    /// Begins the exchange of this hop: finds the address, connects.
    fn start_hop(&mut self, place: u32, now: Nanos) {
        let Some(flight) = self.flights.get(place) else { return };
        flight.hop_started = now;
        flight.stage = Stage::Resolving;
        let spec = Arc::clone(&flight.spec);
        let url = flight.url.clone();
        let host = url.as_deref().map_or_else(|| spec.host(), |url| &url.host);
        match host {
            Host::Addr { ip, scope } => self.connect(place, *ip, *scope, now),
            Host::Name(name) => self.look_up(place, name, spec.family(), now),
        }
    }

    /// The address is known: opens the connection or sends the echo request.
    fn connect(&mut self, place: u32, ip: IpAddr, scope: u32, now: Nanos) {
        let Some(flight) = self.flights.get(place) else { return };
        flight.address = Some(ip);
        let spec = Arc::clone(&flight.spec);
        if matches!(*spec, ProbeSpec::Icmp(_)) {
            return self.queue_echo(place, ip, scope);
        }
        let (url, hops) = (flight.url.clone(), flight.hops);
        let port = url.as_ref().map_or_else(|| spec.port(), |url| url.port);
        let to = match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope)),
        };
        let opened = self.machine(&spec, url.as_deref(), hops, now).and_then(|machine| {
            Stream::connect(to, machine, now)
                .map_err(|(fault, errno)| (fault, format!("{to}: {}", errno.desc())))
        });
        match opened {
            Ok(stream) => {
                if let Some(flight) = self.flights.get(place) {
                    flight.stage = Stage::Streaming { stream, armed: None };
                }
                self.advance(place, now);
            }
            Err((fault, text)) => self.fail(place, fault, text),
        }
    }

    /// The machine for this hop.
    fn machine(
        &self,
        spec: &ProbeSpec,
        url: Option<&HttpUrl>,
        hops: u8,
        now: Nanos,
    ) -> Result<AnyMachine, (Fault, String)> {
        let wall_s = crate::clock::wall_millis() / 1_000;
        match spec {
            ProbeSpec::Tcp(tcp) => Ok(AnyMachine::Tcp(Tcp::new(tcp.expect_closed, now))),
            ProbeSpec::Http(http) => {
                let HttpSpec { url: first, options } = http.as_ref();
                let url = url.unwrap_or(first);
                let machine = Http::new(url, options, now);
                if !url.tls {
                    return Ok(AnyMachine::Http(Box::new(machine)));
                }
                // A name given for the first host says nothing about where a redirect leads.
                let server_name = options.tls.server_name.clone().filter(|_| hops == 0);
                let asked = TlsOptions { server_name, ..options.tls.clone() };
                let policy = Policy { verify: asked.verify, expire_days: None };
                self.tls(&url.host, &asked, policy, machine, now, wall_s)
                    .map(|tls| AnyMachine::Https(Box::new(tls)))
            }
            ProbeSpec::Tls(tls) => {
                let policy = Policy { verify: tls.tls.verify, expire_days: Some(tls.expire_days) };
                let machine = Tcp::new(false, now);
                self.tls(&tls.host, &tls.tls, policy, machine, now, wall_s)
                    .map(|tls| AnyMachine::Tls(Box::new(tls)))
            }
            ProbeSpec::Icmp(_) => unreachable!("an echo has no stream"),
        }
    }

    fn tls<M: probes::Machine>(
        &self,
        host: &Host,
        options: &TlsOptions,
        policy: Policy,
        inner: M,
        now: Nanos,
        wall_s: u64,
    ) -> Result<Tls<M>, (Fault, String)> {
        let setup = |text: String| (Fault::TlsSetup, text);
        let config = self.trust.get(options).ok_or_else(|| {
            setup(format!("{}: not loaded", options.ca_file.as_deref().unwrap_or("system roots")))
        })?;
        let name = server_name(host, options).map_err(|error| setup(error.to_string()))?;
        Tls::new(&config, name, policy, inner, now, wall_s)
            .map_err(|error| setup(error.to_string()))
    }

    /// Lets a stream go on as far as it can.
    fn advance(&mut self, place: u32, now: Nanos) {
        let Some(flight) = self.flights.get(place) else { return };
        let Stage::Streaming { stream, .. } = &mut flight.stage else { return };
        let (buffers, clock) = (&mut self.buffers, &self.clock);
        let progress = catch_unwind(AssertUnwindSafe(|| stream.advance(buffers, clock)));
        self.on_progress(place, progress.ok(), now);
    }

    /// `None` stands for a panic in the machine.
    fn on_progress(&mut self, place: u32, progress: Option<Progress>, now: Nanos) {
        match progress {
            Some(Progress::Wait(interest)) => self.arm(place, interest),
            Some(Progress::Done(outcome)) => self.on_outcome(place, outcome, now),
            Some(Progress::Failed(fault, errno)) => {
                self.fail(place, fault, errno.desc().to_string());
            }
            None => {
                self.panics += 1;
                self.fail(place, Fault::Panic, "the probe panicked".to_string());
            }
        }
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

    /// The exchange of this hop is over: follows a redirect, or ends the attempt.
    fn on_outcome(&mut self, place: u32, mut outcome: Outcome, now: Nanos) {
        let Some(flight) = self.flights.get(place) else { return };
        let Some(location) = outcome.redirect.take() else {
            return self.finish(place, outcome);
        };
        let spec = Arc::clone(&flight.spec);
        let ProbeSpec::Http(http) = &*spec else { return self.finish(place, outcome) };
        let base = flight.url.as_deref().unwrap_or(&http.url);
        let refused = if flight.hops >= http.options.redirects_max {
            let text = format!("more than {} redirects; last to {location}", flight.hops);
            Some((Failure::RedirectLimit, text))
        } else {
            match address::redirect(base, &location) {
                Ok(url) => {
                    flight.url = Some(Box::new(url));
                    None
                }
                Err(error) => Some((Failure::RedirectInvalid, error.to_string())),
            }
        };
        if let Some((failure, text)) = refused {
            let http = outcome.http;
            let failed = Outcome::failed(failure, Phase::Transfer, outcome.timings, text);
            return self.finish(place, Outcome { http, cert: outcome.cert, ..failed });
        }
        flight.hops += 1;
        flight.timings.add(&outcome.timings);
        self.disarm(place);
        self.flights.renew(place);
        self.start_hop(place, now);
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

    /// The attempt is over by the target's doing.
    fn finish(&mut self, place: u32, mut outcome: Outcome) {
        self.disarm(place);
        self.deadlines.disarm(place);
        let Some(flight) = self.flights.remove(place) else { return };
        let mut timings = flight.timings;
        timings.add(&outcome.timings);
        outcome.timings = timings;
        if let Some(http) = &mut outcome.http {
            http.redirects = flight.hops;
        }
        if let (Some(detail), Some(url)) = (&mut outcome.detail, &flight.url) {
            detail.url = url.to_string();
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
        self.disarm(place);
        self.deadlines.disarm(place);
        let Some(flight) = self.flights.remove(place) else { return };
        let total_us = self.clock.now().micros_since(flight.started);
        let mut attempt = Attempt::of_fault(fault, text, total_us);
        attempt.outcome.timings = flight.timings;
        attempt.address = flight.address;
        self.finished.push((flight.at, attempt));
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
        self.advance(place, now);
        let dropped_now = self.receive_dropped();
        let Some(flight) = self.flights.get(place) else { return };
        if self.stalled_until > flight.started {
            let text = "the shard was stalled during this check".to_string();
            return self.fail(place, Fault::Late, text);
        }
        match &mut flight.stage {
            Stage::Resolving => {
                let text = "no answer from any name server within the timeout".to_string();
                self.fail(place, Fault::Resolver, text);
            }
            Stage::Streaming { stream, .. } => {
                let ended = catch_unwind(AssertUnwindSafe(|| stream.time_out(now)));
                self.on_progress(place, ended.ok(), now);
            }
            Stage::Echoing { dropped } => {
                if dropped_now > *dropped {
                    let text = "replies were dropped in our own receive buffer".to_string();
                    return self.fail(place, Fault::ReceiveBuffer, text);
                }
                let failed = Outcome::failed(
                    Failure::TimedOut,
                    Phase::Connect,
                    Timings::NONE,
                    String::new(),
                );
                self.finish(place, failed);
            }
        }
    }
}
