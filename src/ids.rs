//! Names for numbers that must not be mixed up.
//!
//! Owns: the newtypes. Nothing else.

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
