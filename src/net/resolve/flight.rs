//! The questions being asked now: one flight per name and record type, however many wait for it.
//!
//! Owns: flights and who waits for each. Leaves to others: what they ask and what the answers mean.

use std::collections::HashMap;

use probes::Nanos;
use probes::spec::Family;

use super::exchange::Exchange;
use super::message::RecordKind;
use super::{ResolveError, WatchKey};

/// One question on its way to an answer.
#[derive(Debug)]
pub(super) struct Flight {
    /// What is asked for.
    pub(super) name: Box<str>,
    /// Of which type.
    pub(super) kind: RecordKind,
    /// The tokens that wait, each of them known to [`Flights`].
    pub(super) waiters: Vec<u64>,
    /// The query to the current server; `None` before the first try.
    pub(super) exchange: Option<Exchange>,
    /// Tells the sockets of a place apart, so that a late readiness is recognised.
    pub(super) serial: u32,
    /// Place in the list of the server asked first.
    pub(super) first_server: usize,
    /// Tries begun.
    pub(super) tries: usize,
    /// When the current try ends.
    pub(super) deadline: Option<Nanos>,
    /// When those who wait are given stale addresses instead.
    pub(super) stale_at: Option<Nanos>,
    /// The weightiest reason why the tries so far failed.
    pub(super) error: Option<ResolveError>,
}

impl Flight {
    /// A question that was not asked yet.
    pub(super) fn new(name: &str, kind: RecordKind, stale_at: Option<Nanos>) -> Flight {
        Flight {
            name: name.into(),
            kind,
            waiters: Vec::new(),
            exchange: None,
            serial: 0,
            first_server: 0,
            tries: 0,
            deadline: None,
            stale_at,
            error: None,
        }
    }

    /// Notes why a try failed. A server that answered badly says more than one that was silent,
    /// and that says more than a trouble of ours with one of them.
    pub(super) fn note(&mut self, error: ResolveError) {
        let weight = |error| match error {
            ResolveError::AllServersFailed => 3,
            ResolveError::TimedOut => 2,
            _ => 1,
        };
        if self.error.is_none_or(|noted| weight(error) > weight(noted)) {
            self.error = Some(error);
        }
    }
}

/// One lookup that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    /// The family it wants: `Any` goes on with AAAA where there is no A.
    pub(super) family: Family,
    /// When the lookup began.
    pub(super) since: Nanos,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    waiter: Waiter,
    place: u32,
    index: usize,
}

/// All flights of a resolver, by place, and all lookups that wait, by token.
#[derive(Debug, Default)]
pub(super) struct Flights {
    places: Vec<Option<Flight>>,
    free: Vec<u32>,
    seats: HashMap<u64, Seat>,
}

impl Flights {
    /// Gives a flight a place.
    pub(super) fn insert(&mut self, flight: Flight) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(flight);
            return place;
        }
        self.places.push(Some(flight));
        (self.places.len() - 1) as u32
    }

    /// The flight at a place.
    pub(super) fn get(&mut self, place: u32) -> Option<&mut Flight> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// The flight whose current socket has this key; `None` for the key of an earlier socket.
    pub(super) fn by_key(&mut self, key: WatchKey) -> Option<&mut Flight> {
        self.get(key.place()).filter(|flight| flight.serial == key.serial())
    }

    /// Takes a flight out; its place is free again.
    pub(super) fn remove(&mut self, place: u32) -> Option<Flight> {
        let flight = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(flight)
    }

    /// Flights, started or not.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Lookups that wait.
    pub(super) fn waiting(&self) -> usize {
        self.seats.len()
    }

    /// Lets a lookup wait for the flight at `place`.
    pub(super) fn join(&mut self, place: u32, token: u64, waiter: Waiter) {
        self.leave(token);
        let Some(flight) = self.get(place) else { return };
        let index = flight.waiters.len();
        flight.waiters.push(token);
        self.seats.insert(token, Seat { waiter, place, index });
    }

    /// Ends the wait of a lookup; the flight goes on. Returns false where none waits.
    pub(super) fn leave(&mut self, token: u64) -> bool {
        let Some(Seat { place, index, .. }) = self.seats.remove(&token) else { return false };
        let Some(flight) = self.get(place) else { return true };
        flight.waiters.swap_remove(index);
        let moved = flight.waiters.get(index).copied();
        if let Some(seat) = moved.and_then(|token| self.seats.get_mut(&token)) {
            seat.index = index;
        }
        true
    }

    /// Takes the lookup of a token off its flight, whose list the caller has taken already.
    pub(super) fn unseat(&mut self, token: u64) -> Option<Waiter> {
        self.seats.remove(&token).map(|seat| seat.waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITER: Waiter = Waiter { family: Family::Any, since: Nanos(0) };

    #[test]
    fn those_who_leave_in_any_order_leave_the_others_waiting() {
        let mut flights = Flights::default();
        let place = flights.insert(Flight::new("a", RecordKind::A, None));
        for token in 0..6 {
            flights.join(place, token, WAITER);
        }
        for token in [0, 5, 3, 3] {
            flights.leave(token);
        }
        let mut waiters = flights.get(place).unwrap().waiters.clone();
        waiters.sort_unstable();
        assert_eq!(waiters, [1, 2, 4]);
        for token in [4, 1, 2] {
            assert!(flights.leave(token));
        }
        assert!(flights.get(place).unwrap().waiters.is_empty());
        assert_eq!(flights.waiting(), 0);
    }

    #[test]
    fn token_that_joins_again_waits_once() {
        let mut flights = Flights::default();
        let first = flights.insert(Flight::new("a", RecordKind::A, None));
        let second = flights.insert(Flight::new("b", RecordKind::A, None));
        flights.join(first, 7, WAITER);
        flights.join(second, 7, WAITER);
        assert!(flights.get(first).unwrap().waiters.is_empty());
        assert_eq!(flights.get(second).unwrap().waiters, [7]);
        assert_eq!(flights.waiting(), 1);
    }

    #[test]
    fn key_of_an_earlier_socket_finds_nothing() {
        let mut flights = Flights::default();
        let place = flights.insert(Flight::new("a", RecordKind::A, None));
        flights.get(place).unwrap().serial = 8;
        assert!(flights.by_key(WatchKey::new(place, 7)).is_none());
        assert!(flights.by_key(WatchKey::new(place, 8)).is_some());
        flights.remove(place);
        assert!(flights.by_key(WatchKey::new(place, 8)).is_none());
    }

    #[test]
    fn an_answer_outweighs_silence_and_silence_a_trouble_of_ours() {
        let mut flight = Flight::new("a", RecordKind::A, None);
        flight.note(ResolveError::Local(nix::errno::Errno::ENETUNREACH));
        flight.note(ResolveError::TimedOut);
        flight.note(ResolveError::Local(nix::errno::Errno::EMFILE));
        assert_eq!(flight.error, Some(ResolveError::TimedOut));
        flight.note(ResolveError::AllServersFailed);
        flight.note(ResolveError::TimedOut);
        assert_eq!(flight.error, Some(ResolveError::AllServersFailed));
    }
}
