//! Monotonic time as the machines see it: nanoseconds since an arbitrary start.
//!
//! Owns: the type and its saturating arithmetic. Reads no clock: the caller passes the time, so
//! tests and the simulator choose it.

/// A point on the monotonic clock, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Whole microseconds from `earlier` to `self`; 0 where `earlier` is later, and
    /// `u32::MAX - 1` (71 minutes) at the most, so that it never reads as an absent phase.
    pub fn micros_since(self, earlier: Nanos) -> u32 {
        let micros = self.0.saturating_sub(earlier.0) / 1_000;
        micros.min(u64::from(u32::MAX - 1)) as u32
    }

    /// The point `millis` milliseconds later.
    pub fn plus_millis(self, millis: u64) -> Nanos {
        Nanos(self.0.saturating_add(millis.saturating_mul(1_000_000)))
    }
}
