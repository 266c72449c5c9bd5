//! The probes on the wire, by place.
//!
//! Owns: the places and the tokens by which sockets, the resolver and the echo socket say whose
//! event it is. A token dies with the connection it was given for: late events find nothing.

use std::net::IpAddr;
use std::sync::Arc;

use probes::spec::HttpSpec;
use probes::{Nanos, ProbeSpec, Timings};

use crate::ids::{MonitorId, SlotRef};
use crate::limits::CONNECT_ADDRESSES_MAX;
use crate::monitor::Monitor;
use crate::net::pool::Peer;
use crate::net::ring::Interest;
use crate::net::stream::Stream;

/// Where a probe is.
pub enum Stage {
    /// Its name is being resolved.
    Resolving,
    /// On a TCP connection, armed for readiness or not.
    Streaming {
        /// The connection.
        stream: Stream,
        /// What it is armed for.
        armed: Option<Interest>,
    },
    /// Over; its connection was taken off to be kept.
    Ended,
    /// An echo request is out.
    Echoing {
        /// Packets dropped in our own receive buffers before.
        dropped: u64,
    },
}

/// One probe on the wire.
pub struct Flight {
    /// Whose attempt.
    pub at: SlotRef,
    /// Whose attempt, for the log.
    pub monitor: MonitorId,
    /// What is done.
    pub spec: Arc<ProbeSpec>,
    /// When the attempt began.
    pub started: Nanos,
    /// When the attempt is over at the latest.
    pub deadline: Nanos,
    /// When the exchange of this hop began to connect or resolve.
    pub hop_started: Nanos,
    /// The request of this hop, after a redirect.
    pub hop: Option<Arc<HttpSpec>>,
    /// Redirects followed.
    pub hops: u8,
    /// Phases of the hops before this one; of this one, the resolve and the addresses given up.
    pub timings: Timings,
    /// The addresses that the name of this hop has.
    pub addresses: Arc<[IpAddr]>,
    /// How many of them were asked.
    pub tried: usize,
    /// The address asked last.
    pub address: Option<IpAddr>,
    /// Whose connection and session are kept, where any are.
    pub peer: Option<Peer>,
    /// This attempt makes its connection anew: with what was kept it failed.
    pub anew: bool,
    /// Where it is.
    pub stage: Stage,
}

impl Flight {
    /// The probe that `monitor` asks for, begun at `now`.
    pub fn new(at: SlotRef, monitor: &Monitor, now: Nanos) -> Flight {
        Flight {
            at,
            monitor: monitor.id,
            spec: Arc::clone(&monitor.spec),
            started: now,
            deadline: now.plus_millis(u64::from(monitor.timing.timeout_ms)),
            hop_started: now,
            hop: None,
            hops: 0,
            timings: Timings::NONE,
            addresses: Arc::default(),
            tried: 0,
            address: None,
            peer: None,
            anew: false,
            stage: Stage::Resolving,
        }
    }

    /// The next address to ask, in the order of the resolver.
    pub fn next_address(&mut self) -> Option<IpAddr> {
        let next = self.addresses.get(self.tried).copied();
        self.tried += usize::from(next.is_some());
        next
    }

    /// Addresses that may be asked yet.
    pub fn untried(&self) -> usize {
        self.addresses.len().min(CONNECT_ADDRESSES_MAX).saturating_sub(self.tried)
    }

    /// True while a connection is being made.
    pub fn is_connecting(&self) -> bool {
        matches!(&self.stage, Stage::Streaming { stream, .. } if !stream.is_connected())
    }
}

/// The probes on the wire, by place.
#[derive(Default)]
pub struct Flights {
    places: Vec<(u32, Option<Flight>)>,
    free: Vec<u32>,
}

/// Bits of a token that hold the generation; the kind of event sits above.
const GENERATION_BITS: u32 = 24;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

impl Flights {
    /// Probes on the wire.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives a probe a place.
    pub fn insert(&mut self, flight: Flight) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        self.places[place as usize].1 = Some(flight);
        place
    }

    /// Takes a probe off; its tokens are void.
    pub fn remove(&mut self, place: u32) -> Option<Flight> {
        let flight = self.places.get_mut(place as usize)?.1.take()?;
        self.renew(place);
        self.free.push(place);
        Some(flight)
    }

    /// Voids the tokens given out for a place: what comes for the old connection is ignored.
    pub fn renew(&mut self, place: u32) {
        let generation = &mut self.places[place as usize].0;
        *generation = (*generation + 1) & GENERATION_MASK;
    }

    /// The probe in a place.
    pub fn get(&mut self, place: u32) -> Option<&mut Flight> {
        self.places.get_mut(place as usize)?.1.as_mut()
    }

    /// The token by which events find the probe in this place: 24 bits of generation over 32 bits
    /// of place. The top 8 bits are zero.
    pub fn token(&self, place: u32) -> u64 {
        u64::from(self.places[place as usize].0) << 32 | u64::from(place)
    }

    /// The place of a token, unless its connection is over.
    pub fn find(&self, token: u64) -> Option<u32> {
        let place = token as u32;
        let (generation, flight) = self.places.get(place as usize)?;
        (u64::from(*generation) == token >> 32 && flight.is_some()).then_some(place)
    }

    /// The places that are taken.
    pub fn taken(&self) -> Vec<u32> {
        let taken = self.places.iter().enumerate().filter(|(_, (_, flight))| flight.is_some());
        taken.map(|(place, _)| place as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::ids::Slot;
    use crate::monitor::{Kind, Preset, Timing};
    use probes::spec::{Family, Host, IcmpSpec};

    fn flight() -> Flight {
        let host = Host::ip(Ipv4Addr::LOCALHOST);
        let monitor = Monitor {
            id: MonitorId(1),
            kind: Kind::PingIcmp,
            preset: Preset::Standard,
            paused: false,
            guarded: false,
            timing: Timing {
                interval_ms: 1_000,
                timeout_ms: 500,
                retry_delay_ms: 0,
                retries: 0,
                confirm_ms: 0,
                fall: 1,
                rise: 1,
            },
            spec: Arc::new(ProbeSpec::Icmp(IcmpSpec { host, family: Family::Any })),
        };
        Flight::new(SlotRef { slot: Slot(1), generation: 1 }, &monitor, Nanos(0))
    }

    #[test]
    fn a_token_of_an_ended_probe_does_not_find_the_next_one_in_its_place() {
        let mut flights = Flights::default();
        let first = flights.insert(flight());
        let stale = flights.token(first);
        assert_eq!(flights.find(stale), Some(first));
        flights.remove(first);
        assert_eq!(flights.find(stale), None);
        assert_eq!(flights.insert(flight()), first);
        assert_eq!(flights.find(stale), None);
        assert_eq!(flights.find(flights.token(first)), Some(first));
        assert_eq!(flights.len(), 1);
    }

    #[test]
    fn tokens_leave_the_top_byte_free() {
        let mut flights = Flights::default();
        let place = flights.insert(flight());
        for _ in 0..1 << 10 {
            flights.renew(place);
            assert_eq!(flights.token(place) >> 56, 0);
        }
    }

    #[test]
    fn addresses_are_asked_in_order_once_each_and_up_to_a_bound() {
        let mut flight = flight();
        assert_eq!((flight.untried(), flight.next_address()), (0, None));
        flight.addresses = (0..20).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        let mut asked = Vec::new();
        while flight.untried() > 0 {
            asked.extend(flight.next_address());
        }
        let first = |last: u8| IpAddr::from([192, 0, 2, last]);
        assert_eq!(asked, (0..CONNECT_ADDRESSES_MAX as u8).map(first).collect::<Vec<_>>());
    }
}
