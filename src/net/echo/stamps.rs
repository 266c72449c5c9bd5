//! Round trips from the kernel's receive stamps.
//!
//! Owns: turning a stamp, which is wall time, into monotonic time, and not believing it after a
//! step of the wall clock. Leaves to others: reading clocks. Under load the stamp is 30 to 60 %
//! below the time at which the reply is read, which counts our own queue as the target's.

use probes::Nanos;

use crate::clock::BothClocks;

/// A difference of the two clocks that changed by more than this since the last batch is a step of
/// the wall clock, in nanoseconds; slewing (0.5 ms a second at most) stays below it under load.
const STEP_NS_MAX: u64 = 1_000_000;

/// Both clocks as they were when a batch was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadAt {
    monotonic: Nanos,
    /// Wall minus monotonic; `None` where the wall clock stepped since the last batch.
    wall_ahead_ns: Option<u64>,
}

/// Remembers the difference of the clocks from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    wall_ahead_ns: Option<u64>,
}

impl Stamps {
    /// Begins a batch that was just read.
    pub(super) fn begin(&mut self, clocks: BothClocks) -> ReadAt {
        let ahead = clocks.wall_ns.saturating_sub(clocks.monotonic.0);
        let before = self.wall_ahead_ns.replace(ahead);
        let steady = before.is_none_or(|before| before.abs_diff(ahead) <= STEP_NS_MAX);
        ReadAt { monotonic: clocks.monotonic, wall_ahead_ns: steady.then_some(ahead) }
    }
}

impl ReadAt {
    /// When a packet of this batch arrived, by the kernel's stamp in nanoseconds since the Unix
    /// epoch, for a reply to what was sent at `sent`. `None` without a stamp and for one that is
    /// not between `sent` and the reading: the time of reading has to do then.
    pub(super) fn arrival(&self, stamp_ns: Option<u64>, sent: Nanos) -> Option<Nanos> {
        let arrived = stamp_ns?.checked_sub(self.wall_ahead_ns?)?;
        // Two clocks are never read at quite the same instant: a little outside counts as the end.
        let low = sent.0.saturating_sub(STEP_NS_MAX);
        let high = self.monotonic.0.saturating_add(STEP_NS_MAX);
        let plausible = (low..=high).contains(&arrived) && sent <= self.monotonic;
        plausible.then(|| Nanos(arrived.clamp(sent.0, self.monotonic.0)))
    }

    /// When the batch was read.
    pub(super) fn monotonic(&self) -> Nanos {
        self.monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_800_000_000_000_000_000;
    const MS: u64 = 1_000_000;

    fn clocks(monotonic_ms: u64, wall_ms: i64) -> BothClocks {
        BothClocks {
            monotonic: Nanos(monotonic_ms * MS),
            wall_ns: WALL.saturating_add_signed(wall_ms * MS as i64),
        }
    }

    #[test]
    fn stamp_becomes_the_instant_of_arrival() {
        let read = Stamps::default().begin(clocks(500, 500));
        assert_eq!(read.arrival(Some(WALL + 120 * MS), Nanos(100 * MS)), Some(Nanos(120 * MS)));
        assert_eq!(read.arrival(None, Nanos(100 * MS)), None);
    }

    #[test]
    fn stamp_a_little_outside_counts_as_the_end_and_one_far_outside_is_not_believed() {
        let read = Stamps::default().begin(clocks(500, 500));
        let sent = Nanos(100 * MS);
        assert_eq!(read.arrival(Some(WALL + 100 * MS - 1), sent), Some(sent));
        assert_eq!(read.arrival(Some(WALL + 500 * MS + 1), sent), Some(Nanos(500 * MS)));
        assert_eq!(read.arrival(Some(WALL + 98 * MS), sent), None);
        assert_eq!(read.arrival(Some(WALL + 502 * MS), sent), None);
        assert_eq!(read.arrival(Some(WALL + 450 * MS), Nanos(900 * MS)), None);
    }

    #[test]
    fn step_of_the_wall_clock_spoils_one_batch_in_either_direction() {
        for step in [-3_600_000, -2, 2, 3_600_000] {
            let mut stamps = Stamps::default();
            stamps.begin(clocks(500, 500));
            let stamp = |ms: i64| Some(WALL.saturating_add_signed(ms * MS as i64));
            let during = stamps.begin(clocks(600, 600 + step));
            assert_eq!(during.arrival(stamp(550 + step), Nanos(540 * MS)), None, "{step}");
            let after = stamps.begin(clocks(700, 700 + step));
            let arrival = after.arrival(stamp(650 + step), Nanos(640 * MS));
            assert_eq!(arrival, Some(Nanos(650 * MS)), "{step}");
        }
    }
}
