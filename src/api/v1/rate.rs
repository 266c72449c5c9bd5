//! How many requests each caller may send.
//!
//! Owns: one bucket of requests for each caller, refilled with time. Time is an argument. Callers
//! are bounded: when there are too many, those with full buckets are forgotten, which changes
//! nothing for them.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::limits::{API_BURST_MAX, API_CALLERS_MAX, API_RATE_PER_S_MAX};

/// Who is counted apart: an address, since that is known before anybody is let in.
type Caller = Option<IpAddr>;

/// The buckets.
#[derive(Debug, Default)]
pub struct Rate {
    callers: HashMap<Caller, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Requests left, in thousandths.
    left: u64,
    at_ms: u64,
}

const FULL: u64 = API_BURST_MAX * 1_000;

impl Bucket {
    fn turn(&mut self, now_ms: u64) {
        // A clock that was set back refills nothing.
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        self.left = FULL.min(self.left + passed_ms.min(60_000) * API_RATE_PER_S_MAX);
        self.at_ms = now_ms;
    }
}

impl Rate {
    /// True where one more request of this caller is fine.
    pub fn take(&mut self, caller: Caller, now_ms: u64) -> bool {
        if self.callers.len() >= API_CALLERS_MAX && !self.callers.contains_key(&caller) {
            self.callers.retain(|_, bucket| {
                bucket.turn(now_ms);
                bucket.left < FULL
            });
            if self.callers.len() >= API_CALLERS_MAX {
                return false;
            }
        }
        let bucket = self.callers.entry(caller).or_insert(Bucket { left: FULL, at_ms: now_ms });
        bucket.turn(now_ms);
        let fine = bucket.left >= 1_000;
        if fine {
            bucket.left -= 1_000;
        }
        fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Caller {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn a_burst_is_fine_then_the_rate_holds_for_each_caller_apart() {
        let mut rate = Rate::default();
        let taken = (0..API_BURST_MAX + 50).filter(|_| rate.take(address(1), 0)).count();
        assert_eq!(taken as u64, API_BURST_MAX);
        assert!(rate.take(address(2), 0));
        let later = (0..API_BURST_MAX).filter(|_| rate.take(address(1), 500)).count();
        assert_eq!(later as u64, API_RATE_PER_S_MAX / 2);
    }

    #[test]
    fn callers_are_bounded_and_idle_ones_make_room() {
        let mut rate = Rate::default();
        assert!((0..API_CALLERS_MAX as u32).all(|number| rate.take(address(number), 0)));
        assert!(!rate.take(address(u32::MAX), 0), "nobody is idle");
        assert!(rate.take(address(u32::MAX), 1_000));
        assert!(rate.callers.len() <= API_CALLERS_MAX);
    }
}
