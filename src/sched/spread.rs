//! Due times: `phase(id) + k · interval`, the same before and after a restart.
//!
//! Owns: the hash that spreads monitors over their interval. It never changes, or all phases
//! would move at an upgrade: golden values in the tests hold it.

use crate::ids::{MonitorId, Tick};
use crate::limits::TICK_MS;

/// A well-mixed number of this monitor (SplitMix64, Steele and others 2014).
pub fn mix(id: MonitorId) -> u64 {
    let mut z = id.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Ticks from due to due; at least one.
pub fn interval_ticks(interval_ms: u64) -> u64 {
    (interval_ms / TICK_MS).max(1)
}

/// The first due tick strictly after `after`.
pub fn next_due(id: MonitorId, interval_ms: u64, after: Tick) -> Tick {
    let interval = interval_ticks(interval_ms);
    let phase = mix(id) % interval;
    let since_phase = (after.0 + interval - phase) % interval;
    Tick(after.0 + interval - since_phase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_of_a_monitor_never_changes() {
        let due = |id| next_due(MonitorId(id), 60_000, Tick(0)).0;
        assert_eq!([due(1), due(2), due(1_000_000)], [2_465, 2_110, 5_847]);
    }

    #[test]
    fn due_times_are_one_interval_apart_and_after_the_given_tick() {
        for id in 0..500 {
            let first = next_due(MonitorId(id), 5_000, Tick(123_456));
            let second = next_due(MonitorId(id), 5_000, first);
            assert!(first > Tick(123_456) && first.0 <= 123_456 + 500);
            assert_eq!(second.0 - first.0, 500);
        }
    }

    #[test]
    fn monitors_spread_evenly_over_their_interval() {
        let mut per_second = [0u32; 60];
        for id in 1..=60_000 {
            let due = next_due(MonitorId(id), 60_000, Tick(0)).0 % 6_000;
            per_second[(due / 100) as usize] += 1;
        }
        // 1,000 expected a second; ten standard deviations are about 310.
        assert!(per_second.iter().all(|count| (690..1_310).contains(count)), "{per_second:?}");
    }
}
