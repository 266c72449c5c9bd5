//! The driver's dealings with the resolver of its shard.

use std::io;

use probes::spec::Family;
use probes::{Nanos, Outcome, Phase, Timings};

use crate::fault::Fault;
use crate::net::driver::{Driver, KIND_RESOLVER, KIND_SHIFT};
use crate::net::resolve::{Addresses, Lookup, ResolveError, Resolved, WatchKey};
use crate::net::ring::Interest;
use crate::sample::CheckResult;

impl Driver {
    /// Looks the name up. The answer comes now or in a later turn.
    pub(super) fn look_up(&mut self, place: u32, name: &str, family: Family, now: Nanos) {
        let token = self.flights.token(place);
        match self.resolver.lookup(name, family, token, now) {
            Lookup::Ready(addresses) => self.on_resolved(place, Ok(addresses), now),
            Lookup::Failed(error) => self.on_resolved(place, Err(error), now),
            Lookup::Pending => {}
        }
    }

    /// Arms the sockets that the resolver opened since.
    pub(super) fn arm_resolver(&mut self) -> io::Result<()> {
        let ring = &mut self.ring;
        let mut result = Ok(());
        self.resolver.take_watches(|watch| {
            let interest = if watch.write { Interest::Write } else { Interest::Read };
            let token = KIND_RESOLVER << KIND_SHIFT | watch.key.0;
            if let Err(error) = ring.poll(watch.fd, interest, token) {
                result = Err(error);
            }
        });
        result
    }

    /// A socket of the resolver is ready.
    pub(super) fn on_resolver_ready(&mut self, key: u64, now: Nanos) {
        let mut resolved = std::mem::take(&mut self.resolved);
        self.resolver.on_ready(WatchKey(key), now, &mut resolved);
        self.hand_over(resolved, now);
    }

    /// Ends the queries whose time is over.
    pub(super) fn resolve_on_time(&mut self, now: Nanos) {
        if self.resolver.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let mut resolved = std::mem::take(&mut self.resolved);
        self.resolver.on_time(now, &mut resolved);
        self.hand_over(resolved, now);
    }

    /// What became of the queries to name servers, for the guard.
    /// Lost ones and answered ones so far.
    pub fn queries(&self) -> (u64, u64) {
        let done = self.resolver.counters();
        (done.timeouts, done.answers + done.server_errors)
    }

    /// Adds what the resolver did.
    pub(super) fn count_resolver(&self, counters: &mut Vec<(&'static str, u64)>) {
        let done = self.resolver.counters();
        counters.extend([
            ("resolve_lookups", done.lookups),
            ("resolve_cache_hits", done.cache_hits + done.hosts_hits),
            ("resolve_stale", done.stale),
            ("resolve_queries", done.queries),
            ("resolve_timeouts", done.timeouts),
            ("resolve_server_errors", done.server_errors),
            ("resolve_foreign", done.foreign),
            ("resolve_refused", done.refused),
        ]);
    }

    fn hand_over(&mut self, mut resolved: Vec<Resolved>, now: Nanos) {
        for Resolved { token, result, .. } in resolved.drain(..) {
            if let Some(place) = self.flights.find(token) {
                self.on_resolved(place, result, now);
            }
        }
        self.resolved = resolved;
    }

    fn on_resolved(&mut self, place: u32, result: Result<Addresses, ResolveError>, now: Nanos) {
        let Some(flight) = self.flights.get(place) else { return };
        let mut timings = Timings::NONE;
        timings.set(Phase::Resolve, flight.hop_started, now);
        let error = match result {
            Ok(addresses) if !addresses.list.is_empty() => {
                flight.timings.add(&timings);
                flight.addresses = addresses.list;
                return self.connect_next(place);
            }
            Ok(_) => ResolveError::NoAddress,
            Err(error) => error,
        };
        match error.result() {
            CheckResult::Down(failure) => {
                let failed = Outcome::failed(failure, Phase::Resolve, timings, error.to_string());
                self.finish(place, failed);
            }
            CheckResult::Unknown(fault) => self.fail(place, fault, error.to_string()),
            CheckResult::Up | CheckResult::Missed(_) => {
                self.fail(place, Fault::Other, error.to_string());
            }
        }
    }
}
