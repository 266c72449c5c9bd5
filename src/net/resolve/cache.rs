//! What is known about names of one record type, and until when.
//!
//! Owns: the entries and their bound. Leaves to others: asking. Time is an argument. A hit costs
//! one hash of the name and no allocation.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use probes::Nanos;

use super::ResolveError;
use super::message::Answer;
use crate::limits::{RESOLVE_DOUBT_MS, RESOLVE_HOLD_MS, RESOLVE_NAMES_MAX, RESOLVE_STALE_MS_MAX};

/// Entries looked at to find one to drop.
const EVICTION_SAMPLE: usize = 16;

/// What is known about one name.
#[derive(Debug, Default)]
pub(super) struct Entry {
    answer: Option<Result<Arc<[IpAddr]>, ResolveError>>,
    until: Nanos,
    /// When the answer came.
    stored: Nanos,
    hold: Option<ResolveError>,
    hold_until: Nanos,
    /// Raised with each doubt: which server is asked first.
    pub(super) turn: usize,
    /// The flight that asks for it now.
    pub(super) flight: Option<u32>,
}

impl Entry {
    /// The answer while it holds: addresses, or that there are none.
    pub(super) fn fresh(&self, now: Nanos) -> Option<Result<Arc<[IpAddr]>, ResolveError>> {
        self.answer.clone().filter(|_| now < self.until)
    }

    /// Addresses that were good once, fresh or not too long past their end.
    pub(super) fn last_good(&self, now: Nanos) -> Option<Arc<[IpAddr]>> {
        let usable = now < self.until.plus_millis(RESOLVE_STALE_MS_MAX);
        self.answer.as_ref()?.as_ref().ok().filter(|_| usable).cloned()
    }

    /// Why the last query failed, while it is not to be repeated.
    pub(super) fn held(&self, now: Nanos) -> Option<ResolveError> {
        self.hold.filter(|_| now < self.hold_until)
    }

    /// Ends the time of an answer; addresses stay for [`Entry::last_good`]. One that was asked for
    /// after this doubt arose, or is being asked for, is as new as can be.
    pub(super) fn doubt(&mut self, now: Nanos) {
        let recent = self.stored.plus_millis(RESOLVE_DOUBT_MS) > now;
        if self.flight.is_some() || self.answer.is_none() || recent {
            return;
        }
        self.until = self.until.min(now);
        self.turn = self.turn.wrapping_add(1);
    }

    /// Keeps what a server said.
    pub(super) fn store(&mut self, answer: Answer, now: Nanos) {
        let (answer, ttl) = match answer {
            Answer::Addresses(list, ttl) => (Ok(list), ttl),
            Answer::NameNotFound(ttl) => (Err(ResolveError::NameNotFound), ttl),
            Answer::NoAddress(ttl) => (Err(ResolveError::NoAddress), ttl),
        };
        self.answer = Some(answer);
        self.until = now.plus_millis(u64::from(ttl) * 1_000);
        self.stored = now;
        self.hold = None;
    }

    /// Notes that no server gave an answer; what was good stays for [`Entry::last_good`].
    pub(super) fn store_failure(&mut self, error: ResolveError, now: Nanos) {
        self.hold = Some(error);
        self.hold_until = now.plus_millis(RESOLVE_HOLD_MS);
    }
}

/// The names of one record type.
#[derive(Debug)]
pub(super) struct Cache {
    names: HashMap<Box<str>, Entry>,
    names_max: usize,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache { names: HashMap::new(), names_max: RESOLVE_NAMES_MAX }
    }
}

impl Cache {
    /// The entry of a name.
    pub(super) fn get(&mut self, name: &str) -> Option<&mut Entry> {
        self.names.get_mut(name)
    }

    /// The entry of a name, made where there is none. Returns true where another one had to go.
    pub(super) fn get_or_insert(&mut self, name: &str) -> (&mut Entry, bool) {
        let full = self.names.len() >= self.names_max && !self.names.contains_key(name);
        let evicted = full && self.evict();
        (self.names.entry(name.into()).or_default(), evicted)
    }

    /// Drops the entry that ends first among a few that nobody waits for.
    fn evict(&mut self) -> bool {
        let idle = self.names.iter().filter(|(_, entry)| entry.flight.is_none());
        let first = idle.take(EVICTION_SAMPLE).min_by_key(|(_, entry)| entry.until);
        let Some(name) = first.map(|(name, _)| name.clone()) else { return false };
        self.names.remove(&name).is_some()
    }

    /// Names known.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at: u64) -> Nanos {
        Nanos(at * 1_000_000_000)
    }

    fn addresses() -> Arc<[IpAddr]> {
        Arc::new([IpAddr::from([192, 0, 2, 1])])
    }

    #[test]
    fn answer_is_fresh_for_its_ttl_and_good_for_a_day_more() {
        let mut entry = Entry::default();
        entry.store(Answer::Addresses(addresses(), 60), second(100));
        assert_eq!(entry.fresh(second(159)), Some(Ok(addresses())));
        assert_eq!(entry.fresh(second(160)), None);
        assert_eq!(entry.last_good(second(160 + 86_399)), Some(addresses()));
        assert_eq!(entry.last_good(second(160 + 86_400)), None);
    }

    #[test]
    fn a_doubt_ends_an_answer_and_turns_to_another_server_but_not_for_one_that_just_came() {
        let mut entry = Entry::default();
        entry.store(Answer::Addresses(addresses(), 60), second(100));
        entry.doubt(second(101));
        assert!(entry.fresh(second(102)).is_some());
        entry.doubt(second(110));
        assert_eq!((entry.fresh(second(110)), entry.turn), (None, 1));
        assert_eq!(entry.last_good(second(110)), Some(addresses()));
        entry.flight = Some(1);
        entry.doubt(second(120));
        assert_eq!(entry.turn, 1);
    }

    #[test]
    fn failure_is_held_and_leaves_what_was_good() {
        let mut entry = Entry::default();
        entry.store(Answer::Addresses(addresses(), 1), second(0));
        entry.store_failure(ResolveError::TimedOut, second(10));
        assert_eq!(entry.held(second(14)), Some(ResolveError::TimedOut));
        assert_eq!(entry.held(second(15)), None);
        assert_eq!(entry.last_good(second(15)), Some(addresses()));
    }

    #[test]
    fn name_that_is_said_to_be_gone_has_nothing_good_left() {
        let mut entry = Entry::default();
        entry.store(Answer::Addresses(addresses(), 1), second(0));
        entry.store(Answer::NameNotFound(5), second(10));
        assert_eq!(entry.fresh(second(11)), Some(Err(ResolveError::NameNotFound)));
        assert_eq!(entry.last_good(second(11)), None);
    }

    #[test]
    fn full_cache_drops_an_idle_name_and_never_one_in_flight() {
        let mut cache = Cache { names_max: 3, ..Cache::default() };
        for (name, flight) in [("a", Some(1)), ("b", None), ("c", Some(2))] {
            let (entry, evicted) = cache.get_or_insert(name);
            entry.flight = flight;
            assert!(!evicted);
        }
        assert!(cache.get_or_insert("d").1);
        assert_eq!(cache.len(), 3);
        assert!(cache.get("b").is_none() && cache.get("a").is_some() && cache.get("c").is_some());
        assert!(!cache.get_or_insert("a").1);
    }
}
