//! Names for numbers that must not be mixed up.
//!
//! Owns: the newtypes, and sets of monitors. Nothing else.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A monitor's number: given once by the store, never used again for another.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Default,
    ToSchema,
)]
#[serde(transparent)]
pub struct MonitorId(pub u64);

/// One core's thread and all it owns, 0 to `cores - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// A place in a shard's table. Reused after a monitor is removed: keep a [`SlotRef`] where the
/// monitor may be gone by the time it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A slot and the generation of the monitor that sat there: stale ones are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotRef {
    /// The place.
    pub slot: Slot,
    /// Raised each time the place gets another monitor.
    pub generation: u32,
}

/// Scheduler time: units of [`crate::limits::TICK_MS`] milliseconds since the Unix epoch, on a
/// clock that never steps (see [`crate::clock`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The start of this tick in milliseconds since the Unix epoch.
    pub fn millis(self) -> u64 {
        self.0.saturating_mul(crate::limits::TICK_MS)
    }

    /// The tick that holds this instant, in milliseconds since the Unix epoch.
    pub fn at_millis(millis: u64) -> Tick {
        Tick(millis / crate::limits::TICK_MS)
    }
}

/// A set of monitors. Stores give numbers one after the other, so 64 of them share a word: a
/// million take half a megabyte.
#[derive(Clone, Debug, Default)]
pub struct IdSet(HashMap<u64, u64>);

impl IdSet {
    /// Adds one; true where it was not there.
    pub fn insert(&mut self, id: MonitorId) -> bool {
        let (word, bit) = (self.0.entry(id.0 / 64).or_default(), 1 << (id.0 % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes one out.
    pub fn remove(&mut self, id: MonitorId) {
        if let Some(word) = self.0.get_mut(&(id.0 / 64)) {
            *word &= !(1 << (id.0 % 64));
        }
    }

    /// True where it is in the set.
    pub fn contains(&self, id: MonitorId) -> bool {
        self.0.get(&(id.0 / 64)).is_some_and(|word| word & 1 << (id.0 % 64) != 0)
    }
}

impl fmt::Display for MonitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_not_taken_out() {
        let mut set = IdSet::default();
        let ids = [0, 1, 63, 64, 1_000_000, u64::MAX].map(MonitorId);
        assert!(ids.into_iter().all(|id| set.insert(id)));
        assert!(!ids.into_iter().any(|id| set.insert(id)));
        set.remove(MonitorId(63));
        set.remove(MonitorId(65));
        let held = |id: &u64| set.contains(MonitorId(*id));
        let found: Vec<u64> = [0, 1, 2, 62, 63, 64, 65, 1_000_000, u64::MAX - 1, u64::MAX]
            .into_iter()
            .filter(held)
            .collect();
        assert_eq!(found, [0, 1, 64, 1_000_000, u64::MAX]);
    }
}
