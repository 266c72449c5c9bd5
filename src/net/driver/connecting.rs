//! From the start of a hop to an open connection.
//!
//! Owns: the order in which the addresses of a name are asked, the share of the deadline that each
//! may take, and the machine of a hop.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use probes::http::Http;
use probes::spec::{Host, HttpSpec, TlsOptions};
use probes::tcp::Tcp;
use probes::tls::{Policy, Resume, Tls, server_name};
use probes::{Nanos, ProbeSpec, Timings};

use crate::clock::wall_millis;
use crate::fault::Fault;
use crate::limits::CONNECT_SHARE_MS_MIN;
use crate::net::driver::Driver;
use crate::net::flight::{Flight, Stage};
use crate::net::stream::{AnyMachine, Stream};

impl Driver {
    /// Begins the exchange of this hop: finds the address, connects.
    pub(super) fn start_hop(&mut self, place: u32, now: Nanos) {
        let Some(flight) = self.flights.get(place) else { return };
        flight.hop_started = now;
        flight.stage = Stage::Resolving;
        flight.addresses = Arc::default();
        flight.tried = 0;
        let (spec, hop) = (Arc::clone(&flight.spec), flight.hop.clone());
        let host = hop.as_deref().map_or_else(|| spec.host(), |hop| &hop.url.host);
        match host {
            Host::Addr { ip, scope } => self.connect(place, *ip, *scope),
            Host::Name(name) => self.look_up(place, name, spec.family(), now),
        }
    }

    /// Goes on with the next address of the name; ends the attempt where there is none.
    pub(super) fn connect_next(&mut self, place: u32) {
        let next = self.flights.get(place).and_then(Flight::next_address);
        match next {
            Some(ip) => self.connect(place, ip, 0),
            None => self.fail(place, Fault::Other, "the name has no address left".to_string()),
        }
    }

    /// Leaves an address that could not be connected to for the next one. Returns false where
    /// there is none, or no time.
    pub(super) fn leave_address(&mut self, place: u32, spent: &Timings) -> bool {
        let now = self.clock.now();
        let Some(flight) = self.flights.get(place) else { return false };
        if !flight.is_connecting() || flight.untried() == 0 || now >= flight.deadline {
            return false;
        }
        flight.timings.add(spent);
        self.disarm(place);
        self.flights.renew(place);
        self.connect_next(place);
        true
    }

    /// The address is known: opens the connection or sends the echo request.
    fn connect(&mut self, place: u32, ip: IpAddr, scope: u32) {
        let Some(flight) = self.flights.get(place) else { return };
        flight.address = Some(ip);
        if self.egress.as_ref().is_some_and(|egress| !egress.allows(ip)) {
            return self.fail(place, Fault::Egress, ip.to_string());
        }
        let Some(flight) = self.flights.get(place) else { return };
        if matches!(*flight.spec, ProbeSpec::Icmp(_)) {
            return self.queue_echo(place, ip, scope);
        }
        // The time of this connect, not of the turn: hundreds begin in one.
        let now = self.clock.now();
        self.share_deadline(place, now);
        let Some(flight) = self.flights.get(place) else { return };
        let port = flight.hop.as_ref().map_or_else(|| flight.spec.port(), |hop| hop.url.port);
        let to = match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope)),
        };
        let (spec, hop) = (Arc::clone(&flight.spec), flight.hop.clone());
        let url = hop.as_deref().or(http_of(&spec));
        if url.is_some_and(|url| self.go_on(place, to, url)) {
            return;
        }
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let machine = self.machine(place, &spec, url, now)?;
            Stream::connect(to, machine, now)
                .map_err(|(fault, errno)| (fault, format!("{to}: {}", errno.desc())))
        }));
        match opened {
            Ok(Ok(stream)) => {
                if let Some(flight) = self.flights.get(place) {
                    flight.stage = Stage::Streaming { stream, armed: None };
                }
                self.advance(place);
            }
            // Another address may lie on a network that we do reach.
            Ok(Err((Fault::NoRoute, _))) if self.has_untried(place) => self.connect_next(place),
            Ok(Err((fault, text))) => self.fail(place, fault, text),
            Err(panic) => self.fail_panicked(place, panic),
        }
    }

    fn has_untried(&mut self, place: u32) -> bool {
        self.flights.get(place).is_some_and(|flight| flight.untried() > 0)
    }

    /// Gives the address that is asked now an equal share of the time that is left; the last one
    /// all of it.
    fn share_deadline(&mut self, place: u32, now: Nanos) {
        let Some(flight) = self.flights.get(place) else { return };
        if flight.addresses.len() < 2 {
            return;
        }
        let left = flight.deadline.0.saturating_sub(now.0);
        let share = left / (flight.untried() as u64 + 1);
        let share = share.max(CONNECT_SHARE_MS_MIN * 1_000_000).min(left);
        self.deadlines.arm(place, self.clock.tick_after(Nanos(now.0 + share)));
    }

    /// The machine for this hop; `http` is its request where there is one.
    fn machine(
        &mut self,
        place: u32,
        spec: &ProbeSpec,
        http: Option<&HttpSpec>,
        now: Nanos,
    ) -> Result<AnyMachine, (Fault, String)> {
        match (spec, http) {
            (ProbeSpec::Tcp(tcp), _) => Ok(AnyMachine::Tcp(Tcp::new(tcp.expect_closed, now))),
            (ProbeSpec::Tls(tls), _) => {
                let policy = Policy { verify: tls.tls.verify, expire_days: Some(tls.expire_days) };
                let machine = Tcp::new(false, now);
                let tls = self.tls(&tls.host, &tls.tls, policy, machine, now, Resume::Never)?;
                Ok(AnyMachine::Tls(Box::new(tls)))
            }
            (_, Some(HttpSpec { url, options })) => {
                let machine = Http::new(url, options, now);
                if !url.tls {
                    return Ok(AnyMachine::Http(Box::new(machine)));
                }
                let policy = Policy { verify: options.tls.verify, expire_days: None };
                let resume = self.resume(place, options.tls.resume);
                let tls = self.tls(&url.host, &options.tls, policy, machine, now, resume)?;
                Ok(AnyMachine::Https(Box::new(tls)))
            }
            (ProbeSpec::Icmp(_) | ProbeSpec::Http(_), None) => {
                unreachable!("an echo has no stream, and a web check has a request")
            }
        }
    }

    fn tls<M: probes::Machine>(
        &self,
        host: &Host,
        options: &TlsOptions,
        policy: Policy,
        inner: M,
        now: Nanos,
        resume: Resume,
    ) -> Result<Tls<M>, (Fault, String)> {
        let setup = |text: String| (Fault::TlsSetup, text);
        let config = self.trust.get(options).ok_or_else(|| {
            setup(format!("{}: not loaded", options.ca_file.as_deref().unwrap_or("system roots")))
        })?;
        let name = server_name(host, options).map_err(|error| setup(error.to_string()))?;
        Tls::new(&config, name, policy, inner, now, wall_millis() / 1_000, resume)
            .map_err(|error| setup(error.to_string()))
    }
}

fn http_of(spec: &ProbeSpec) -> Option<&HttpSpec> {
    match spec {
        ProbeSpec::Http(http) => Some(http),
        _ => None,
    }
}
