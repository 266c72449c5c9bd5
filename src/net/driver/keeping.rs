//! What an exchange leaves for the next: its connection (`keep_alive`), its session
//! (`tls_resume`).
//!
//! Owns: when something is kept, when it is used, and that it is never the reason of a failure:
//! what goes wrong with it is asked again over a connection of its own. Monitors that ask for
//! neither have no [`Peer`] and pay nothing.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use probes::spec::HttpSpec;
use probes::tls::{Resume, Session};
use probes::{Failure, Nanos, Outcome};

use crate::clock::wall_millis;
use crate::limits::{CONNECTION_IDLE_MS_MAX, TLS_SESSIONS_MAX};
use crate::net::driver::Driver;
use crate::net::flight::Stage;
use crate::net::pool::{Peer, Peers, Pool};
use crate::net::stream::Stream;

/// What the exchanges of a shard leave.
#[derive(Default)]
pub(super) struct Keeping {
    peers: Peers,
    connections: Pool<Stream>,
    sessions: Pool<Box<Session>>,
    /// Exchanges that were begun anew because what was kept was of no use.
    anew: u64,
}

impl Keeping {
    /// Makes room for a descriptor where `in_flight` probes and the connections use up `max`.
    pub fn make_room(&mut self, in_flight: usize, max: usize) {
        self.connections.shrink(max.saturating_sub(in_flight));
    }

    /// Closes connections that were idle for too long.
    pub fn expire(&mut self, now: Nanos) {
        let idle = CONNECTION_IDLE_MS_MAX * 1_000_000;
        self.connections.expire(Nanos(now.0.saturating_sub(idle)));
    }

    /// Adds what was kept.
    pub fn count(&self, counters: &mut Vec<(&'static str, u64)>) {
        counters.extend([
            ("connections_reused", self.connections.reused()),
            ("connections_evicted", self.connections.evicted()),
            ("tls_sessions_offered", self.sessions.reused()),
            ("tls_sessions_evicted", self.sessions.evicted()),
            ("exchanges_begun_anew", self.anew),
        ]);
    }
}

impl Driver {
    /// Notes the peer of this hop where something is kept of it, and goes on over a connection that
    /// was kept. Returns false where one is to be made.
    pub(super) fn go_on(&mut self, place: u32, to: SocketAddr, http: &HttpSpec) -> bool {
        let peer = self.keeping.peers.of(to, http);
        let Some(flight) = self.flights.get(place) else { return false };
        flight.peer = peer;
        let Some(peer) = peer.filter(|_| http.options.keep_alive && !flight.anew) else {
            return false;
        };
        let wall = wall_millis() / 1_000;
        let found = self.keeping.connections.take(peer, |stream| stream.is_usable(wall));
        let Some(mut stream) = found else { return false };
        let (buffers, clock) = (&mut self.buffers, &self.clock);
        let progress = catch_unwind(AssertUnwindSafe(|| {
            stream.again(&http.url, &http.options, buffers, clock)
        }));
        flight.stage = Stage::Streaming { stream, armed: None };
        self.on_progress(place, progress);
        true
    }

    /// The session for the handshake that is about to begin.
    pub(super) fn resume(&mut self, place: u32, may_resume: bool) -> Resume {
        let Some(flight) = self.flights.get(place) else { return Resume::Never };
        match flight.peer.filter(|_| may_resume) {
            None => Resume::Never,
            Some(_) if flight.anew => Resume::Next,
            Some(peer) => {
                let wall_unix_s = wall_millis() / 1_000;
                let found = self.keeping.sessions.take(peer, |known| known.holds(wall_unix_s));
                found.map_or(Resume::Next, Resume::This)
            }
        }
    }

    /// The exchange of this hop is over: keeps what it leaves.
    pub(super) fn keep(&mut self, place: u32) {
        let Some(flight) = self.flights.get(place) else { return };
        let Some(peer) = flight.peer.take() else { return };
        let now = self.clock.now();
        let Stage::Streaming { stream, .. } = &mut flight.stage else { return };
        if let Some(session) = stream.take_session() {
            self.keeping.sessions.put(peer, session, now, TLS_SESSIONS_MAX);
        }
        if stream.is_kept() {
            self.put_by(place, peer, now);
        }
    }

    /// Takes the connection off the probe, into the pool.
    fn put_by(&mut self, place: u32, peer: Peer, now: Nanos) {
        self.disarm(place);
        // What comes for the connection from now on is not for this probe.
        self.flights.renew(place);
        let Some(flight) = self.flights.get(place) else { return };
        let stage = std::mem::replace(&mut flight.stage, Stage::Ended);
        if let Stage::Streaming { stream, .. } = stage {
            let max = self.in_flight_max.saturating_sub(self.flights.len());
            self.keeping.connections.put(peer, stream, now, max);
        }
    }

    /// Begins this hop anew, with nothing that was kept, where that may be why it failed. Returns
    /// false where the outcome stands.
    pub(super) fn begin_anew(&mut self, place: u32, outcome: &Outcome) -> bool {
        if outcome.failure.is_none() || outcome.failure == Some(Failure::TimedOut) {
            return false;
        }
        let Some(flight) = self.flights.get(place) else { return false };
        let Stage::Streaming { stream, .. } = &mut flight.stage else { return false };
        if flight.anew || !stream.is_doubtful() {
            return false;
        }
        flight.anew = true;
        self.keeping.anew += 1;
        self.disarm(place);
        self.flights.renew(place);
        self.start_hop(place, self.clock.now());
        true
    }
}
