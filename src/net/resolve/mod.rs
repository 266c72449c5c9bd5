//! Names to addresses for one shard: a stub resolver (RFC 1034 section 5.3.1) that never blocks.
//!
//! Owns: the cache, the queries in flight and their sockets. Leaves to others: polling and clocks.
//! The caller does four things: [`Resolver::lookup`]; a one-shot poll for each socket that
//! [`Resolver::take_watches`] names, after every call that takes the time; [`Resolver::on_ready`]
//! when one fires; [`Resolver::on_time`] no later than [`Resolver::next_deadline`]. A poll is never
//! cancelled: a socket that is given up is shut down, so its poll fires, and its key is stale. The
//! polls must be with the kernel before the next call here, which may close their descriptors.
//!
//! A hit costs one hash of the name. A hundred thousand monitors of one name are one query.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use probes::Nanos;
use probes::spec::Family;

use self::cache::Cache;
use self::exchange::{Exchange, Step};
use self::flight::{Flight, Flights, Waiter};
use self::message::{Answer, Question, RecordKind};
use crate::fault::{Owner, owner_of};
use crate::limits::{
    RESOLVE_INFLIGHT_MAX, RESOLVE_SERVER_DOWN_MS, RESOLVE_STALE_WAIT_MS, RESOLVE_WAITING_MAX,
};
use crate::net::random::Random;

mod lookup;

mod config;

pub mod message;

mod exchange;

mod cache;

mod flight;

#[cfg(test)]
mod tests;

pub use config::{ConfigUnreadable, Hosts, ResolverConfig};
pub use lookup::{Addresses, Lookup, ResolveCounters, ResolveError, Resolved, Watch, WatchKey};

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    /// Silent or refusing: asked last until then.
    down_until: Nanos,
}

/// The stub resolver of one shard.
#[derive(Debug)]
pub struct Resolver {
    config: ResolverConfig,
    servers: Vec<Server>,
    rotation: usize,
    /// By [`RecordKind`].
    caches: [Cache; 2],
    flights: Flights,
    /// Flights not started yet.
    queue: VecDeque<u32>,
    /// Flights started.
    inflight: usize,
    /// Points in time of flights; those of flights that ended are passed over when they come up.
    deadlines: BinaryHeap<Reverse<(Nanos, u32)>>,
    watches: Vec<WatchKey>,
    done: Vec<Resolved>,
    random: Random,
    serial: u32,
    counters: ResolveCounters,
}

impl Resolver {
    /// A resolver with an empty cache. No socket is opened before the first query.
    pub fn new(config: ResolverConfig) -> Resolver {
        Resolver {
            servers: servers(&config),
            config,
            rotation: 0,
            caches: Default::default(),
            flights: Flights::default(),
            queue: VecDeque::new(),
            inflight: 0,
            deadlines: BinaryHeap::new(),
            watches: Vec::new(),
            done: Vec::new(),
            random: Random::default(),
            serial: 0,
            counters: ResolveCounters::default(),
        }
    }

    /// Takes other servers, options and hosts from now on; the cache and queries in flight stay.
    pub fn reconfigure(&mut self, config: ResolverConfig) {
        self.servers = servers(&config);
        self.config = config;
    }

    /// Looks up an absolute name in lower case without trailing dot. A token waits once: a second
    /// lookup with it takes the place of the first. With [`Family::Any`] the addresses are IPv4
    /// where there are any, else IPv6.
    pub fn lookup(&mut self, name: &str, family: Family, token: u64, now: Nanos) -> Lookup {
        self.counters.lookups += 1;
        if let Some(list) = self.config.hosts.get(name, family) {
            self.counters.hosts_hits += 1;
            return Lookup::Ready(Addresses { list, stale: false });
        }
        self.cancel(token);
        let lookup = self.ask(name, token, Waiter { family, since: now }, now);
        match &lookup {
            Lookup::Ready(Addresses { stale: false, .. })
            | Lookup::Failed(ResolveError::NameNotFound | ResolveError::NoAddress) => {
                self.counters.cache_hits += 1;
            }
            _ => self.start_queued(now),
        }
        lookup
    }

    /// Ends the wait of a token. The query goes on, for the cache. A token that does not wait is
    /// passed over.
    pub fn cancel(&mut self, token: u64) {
        if !self.flights.leave(token) {
            self.done.retain(|resolved| resolved.token != token);
        }
    }

    /// Names every socket that is to be polled once from now on, and forgets that it did.
    pub fn take_watches(&mut self, mut watch: impl FnMut(Watch<'_>)) {
        for key in self.watches.drain(..) {
            let flight = self.flights.by_key(key);
            if let Some(exchange) = flight.and_then(|flight| flight.exchange.as_ref()) {
                watch(Watch { key, fd: exchange.as_fd(), write: exchange.wants_write() });
            }
        }
    }

    /// Goes on with a socket whose poll fired, for readiness, error or hang-up alike. The key of
    /// a socket that is gone is passed over.
    pub fn on_ready(&mut self, key: WatchKey, now: Nanos, out: &mut Vec<Resolved>) {
        self.go_on(key, now);
        self.start_queued(now);
        out.append(&mut self.done);
    }

    /// Ends the tries whose time is over.
    pub fn on_time(&mut self, now: Nanos, out: &mut Vec<Resolved>) {
        while let Some(&Reverse((at, place))) = self.deadlines.peek()
            && at <= now
        {
            self.deadlines.pop();
            self.serve_stale(place, now);
            self.end_try(place, now);
        }
        self.start_queued(now);
        out.append(&mut self.done);
    }

    /// When [`Resolver::on_time`] is to be called at the latest: at once where something was
    /// resolved meanwhile. It may have nothing to do then.
    pub fn next_deadline(&self) -> Option<Nanos> {
        if !self.done.is_empty() {
            return Some(Nanos(0));
        }
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// What was done so far.
    pub fn counters(&self) -> ResolveCounters {
        self.counters
    }

    /// Names in the cache, over both record types.
    pub fn names(&self) -> usize {
        self.caches.iter().map(Cache::len).sum()
    }

    /// Lookups that wait.
    pub fn waiting(&self) -> usize {
        self.flights.waiting()
    }

    /// Asks for A or AAAA or, for any family, for AAAA after A has none.
    fn ask(&mut self, name: &str, token: u64, waiter: Waiter, now: Nanos) -> Lookup {
        let kind = match waiter.family {
            Family::Any | Family::V4 => RecordKind::A,
            Family::V6 => RecordKind::Aaaa,
        };
        match self.ask_kind(name, kind, token, waiter, now) {
            Lookup::Failed(ResolveError::NoAddress) if waiter.family == Family::Any => {
                self.ask_kind(name, RecordKind::Aaaa, token, waiter, now)
            }
            lookup => lookup,
        }
    }

    fn ask_kind(
        &mut self,
        name: &str,
        kind: RecordKind,
        token: u64,
        waiter: Waiter,
        now: Nanos,
    ) -> Lookup {
        let (mut held, mut last_good, mut flight) = (None, None, None);
        if let Some(entry) = self.caches[kind as usize].get(name) {
            match entry.fresh(now) {
                Some(Ok(list)) => return Lookup::Ready(Addresses { list, stale: false }),
                Some(Err(error)) => return Lookup::Failed(error),
                None => (held, last_good) = (entry.held(now), entry.last_good(now)),
            }
            flight = entry.flight;
        }
        if let Some(list) = &last_good
            && (held.is_some() || self.is_hopeless(flight, now))
        {
            if held.is_none() && flight.is_none() && self.queue.len() < RESOLVE_INFLIGHT_MAX {
                self.queue_flight(name, kind, Some(now));
            }
            self.counters.stale += 1;
            return Lookup::Ready(Addresses { list: list.clone(), stale: true });
        }
        if let Some(error) = held {
            return Lookup::Failed(error);
        }
        let full = self.flights.waiting().max(self.flights.len()) >= RESOLVE_WAITING_MAX;
        let place = match flight {
            _ if full => {
                self.counters.refused += 1;
                return Lookup::Failed(ResolveError::Local(Errno::ENOBUFS));
            }
            Some(place) => {
                self.counters.joined += 1;
                place
            }
            None => {
                let stale_at = last_good.map(|_| now.plus_millis(RESOLVE_STALE_WAIT_MS));
                self.queue_flight(name, kind, stale_at)
            }
        };
        self.flights.join(place, token, waiter);
        Lookup::Pending
    }

    /// True where stale addresses, if there are any, are better than waiting: the flight took long
    /// already, or every server is silent.
    fn is_hopeless(&mut self, flight: Option<u32>, now: Nanos) -> bool {
        let flight = flight.and_then(|place| self.flights.get(place));
        flight.and_then(|flight| flight.stale_at).is_some_and(|at| at <= now)
            || self.servers.iter().all(|server| server.down_until > now)
    }

    fn queue_flight(&mut self, name: &str, kind: RecordKind, stale_at: Option<Nanos>) -> u32 {
        let place = self.flights.insert(Flight::new(name, kind, stale_at));
        let (entry, evicted) = self.caches[kind as usize].get_or_insert(name);
        entry.flight = Some(place);
        self.counters.evicted += u64::from(evicted);
        self.deadlines.extend(stale_at.map(|at| Reverse((at, place))));
        self.queue.push_back(place);
        place
    }

    /// Starts flights while there is room. One that nobody waits for any more is dropped, unless
    /// it is to refresh stale addresses.
    fn start_queued(&mut self, now: Nanos) {
        while self.inflight < RESOLVE_INFLIGHT_MAX
            && let Some(place) = self.queue.pop_front()
        {
            let first_server = self.first_server(now);
            let Some(flight) = self.flights.get(place) else { continue };
            if flight.waiters.is_empty() && flight.stale_at.is_none() {
                let (name, kind) = (std::mem::take(&mut flight.name), flight.kind);
                self.flights.remove(place);
                if let Some(entry) = self.caches[kind as usize].get(&name) {
                    entry.flight = None;
                }
                continue;
            }
            flight.first_server = first_server;
            self.inflight += 1;
            self.begin_try(place, now);
        }
    }

    /// The place of the server to ask first: the first healthy one, or the next in turn.
    fn first_server(&mut self, now: Nanos) -> usize {
        self.rotation = self.rotation.wrapping_add(usize::from(self.config.rotate));
        let turn = self.rotation.checked_rem(self.servers.len()).unwrap_or(0);
        let in_turn = (0..self.servers.len()).cycle().skip(turn).take(self.servers.len());
        let mut healthy = in_turn.filter(|at| self.servers[*at].down_until <= now);
        healthy.next().unwrap_or(turn)
    }

    /// Asks the next server; ends the flight when all were asked often enough.
    fn begin_try(&mut self, place: u32, now: Nanos) {
        let tries_max = self.servers.len() * self.config.rounds as usize;
        loop {
            let Some(flight) = self.flights.get(place) else { return };
            let server = (flight.first_server + flight.tries).checked_rem(self.servers.len());
            let server = server.filter(|_| flight.tries < tries_max);
            let Some(server) = server.and_then(|at| self.servers.get(at)) else {
                let error = flight.error.unwrap_or(ResolveError::AllServersFailed);
                return self.finish(place, Err(error), now);
            };
            let Some(question) = Question::new(&flight.name, flight.kind) else {
                // What DNS cannot carry does not exist in it.
                return self.finish(place, Err(ResolveError::NameNotFound), now);
            };
            flight.tries += 1;
            let exchange = Exchange::datagram(server.address, question, self.random.next() as u16);
            if self.watch(place, exchange, now) {
                return;
            }
        }
    }

    /// Makes `exchange` the current one of a flight. Returns false where it failed at once.
    fn watch(&mut self, place: u32, exchange: Result<Exchange, Errno>, now: Nanos) -> bool {
        let Some(flight) = self.flights.get(place) else { return false };
        match exchange {
            Ok(exchange) => {
                self.serial = self.serial.wrapping_add(1);
                let deadline = now.plus_millis(self.config.try_ms);
                flight.exchange = Some(exchange);
                flight.serial = self.serial;
                flight.deadline = Some(deadline);
                self.deadlines.push(Reverse((deadline, place)));
                self.watches.push(WatchKey::new(place, self.serial));
                self.counters.queries += 1;
                true
            }
            Err(errno) => {
                flight.exchange = None;
                flight.note(ResolveError::Local(errno));
                self.counters.socket_errors += 1;
                false
            }
        }
    }

    fn go_on(&mut self, key: WatchKey, now: Nanos) {
        let place = key.place();
        let Some(flight) = self.flights.by_key(key) else { return };
        let Some(exchange) = &mut flight.exchange else { return };
        let (server, foreign) = (exchange.server(), exchange.foreign());
        let step = exchange.on_ready();
        self.counters.foreign += u64::from(exchange.foreign() - foreign);
        match step {
            Step::Wait => self.watches.push(key),
            Step::Answer(answer) => {
                self.mark(server, Nanos(0));
                self.counters.answers += 1;
                self.finish(place, Ok(answer), now);
            }
            Step::ServerError => {
                flight.note(ResolveError::AllServersFailed);
                self.counters.server_errors += 1;
                self.begin_try(place, now);
            }
            Step::NeedsStream => {
                let question = exchange.question().clone();
                let stream = Exchange::stream(server, question, self.random.next() as u16);
                self.counters.stream_queries += u64::from(stream.is_ok());
                if !self.watch(place, stream, now) {
                    self.begin_try(place, now);
                }
            }
            Step::Failed(errno) => {
                // ECONNREFUSED and the like came from the server's host or on the way to it.
                flight.note(match owner_of(errno, true) {
                    Owner::Target(_) => ResolveError::AllServersFailed,
                    Owner::Engine(_) => ResolveError::Local(errno),
                });
                self.mark(server, now.plus_millis(RESOLVE_SERVER_DOWN_MS));
                self.counters.socket_errors += 1;
                self.begin_try(place, now);
            }
        }
    }

    /// Notes until when a server is to be asked last.
    fn mark(&mut self, address: SocketAddr, down_until: Nanos) {
        if let Some(server) = self.servers.iter_mut().find(|server| server.address == address) {
            server.down_until = down_until;
        }
    }

    /// Gives stale addresses to those who waited long enough for fresh ones.
    fn serve_stale(&mut self, place: u32, now: Nanos) {
        let Some(flight) = self.flights.get(place) else { return };
        if flight.stale_at.is_none_or(|at| at > now) {
            return;
        }
        let entry = self.caches[flight.kind as usize].get(&flight.name);
        let Some(list) = entry.and_then(|entry| entry.last_good(now)) else { return };
        for token in std::mem::take(&mut flight.waiters) {
            if let Some(waiter) = self.flights.unseat(token) {
                self.counters.stale += 1;
                self.tell(token, Ok(Addresses { list: list.clone(), stale: true }), waiter, now);
            }
        }
    }

    /// Goes on to the next server where the time of the current try is over.
    fn end_try(&mut self, place: u32, now: Nanos) {
        let Some(flight) = self.flights.get(place) else { return };
        if flight.deadline.is_none_or(|at| at > now) {
            return;
        }
        flight.note(ResolveError::TimedOut);
        self.counters.timeouts += 1;
        if let Some(server) = flight.exchange.as_ref().map(Exchange::server) {
            self.mark(server, now.plus_millis(RESOLVE_SERVER_DOWN_MS));
        }
        self.begin_try(place, now);
    }

    /// Ends a started flight: keeps what was said and goes on with everybody who waits.
    fn finish(&mut self, place: u32, result: Result<Answer, ResolveError>, now: Nanos) {
        let Some(flight) = self.flights.remove(place) else { return };
        self.inflight -= 1;
        let (entry, _) = self.caches[flight.kind as usize].get_or_insert(&flight.name);
        entry.flight = None;
        match result {
            Ok(answer) => entry.store(answer, now),
            Err(error) => entry.store_failure(error, now),
        }
        for token in flight.waiters {
            let Some(waiter) = self.flights.unseat(token) else { continue };
            match self.ask(&flight.name, token, waiter, now) {
                Lookup::Pending => {}
                Lookup::Ready(addresses) => self.tell(token, Ok(addresses), waiter, now),
                Lookup::Failed(error) => self.tell(token, Err(error), waiter, now),
            }
        }
    }

    fn tell(
        &mut self,
        token: u64,
        result: Result<Addresses, ResolveError>,
        waiter: Waiter,
        now: Nanos,
    ) {
        self.done.push(Resolved { token, result, took_us: now.micros_since(waiter.since) });
    }
}

fn servers(config: &ResolverConfig) -> Vec<Server> {
    let up = |address: &SocketAddr| Server { address: *address, down_until: Nanos(0) };
    config.servers.iter().map(up).collect()
}
