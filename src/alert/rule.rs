//! When an ongoing outage is told again over a channel.
//!
//! Owns: the rule of reminders, with the original's throttles as one form of it. Pure. That an
//! outage is told once and its end once is no rule but always so.

use super::Facts;
use crate::limits::ALERT_DAILY_MS;

/// How an ongoing outage is told again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remind {
    /// Never.
    #[default]
    Never,
    /// Each time so many milliseconds have passed.
    Every(u64),
    /// As the original does.
    Original(Throttle),
}

/// The original's throttle of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// True where only the first failure of an outage is told, `None` where the monitor says so.
    pub first_only: Option<bool>,
    /// Shortest time between two notices, in milliseconds.
    pub every_ms: u64,
    /// Failures in a row after which `extended_ms` holds where that is longer.
    pub extended_after: u32,
    /// In milliseconds; 0 for never.
    pub extended_ms: u64,
}

impl Remind {
    /// When the outage may be told again, after a notice at `sent_ms`; `None` for never.
    pub fn next_ms(&self, facts: &Facts, failures: u32, sent_ms: u64) -> Option<u64> {
        match self {
            Remind::Never => None,
            Remind::Every(every_ms) => Some(sent_ms.saturating_add(*every_ms)),
            Remind::Original(throttle) => {
                Some(sent_ms.saturating_add(throttle.pause_ms(facts, failures)))
            }
        }
    }
}

impl Throttle {
    fn pause_ms(&self, facts: &Facts, failures: u32) -> u64 {
        if self.first_only.unwrap_or(facts.repeat != Some(1)) {
            return ALERT_DAILY_MS;
        }
        let extended = failures > self.extended_after;
        let pause = if extended { self.every_ms.max(self.extended_ms) } else { self.every_ms };
        pause.min(ALERT_DAILY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TELEGRAM: Throttle =
        Throttle { first_only: None, every_ms: 30_000, extended_after: 5, extended_ms: 300_000 };

    fn facts(repeat: Option<i32>) -> Facts {
        Facts { repeat, ..Facts::default() }
    }

    #[test]
    fn only_a_monitor_that_allows_it_is_told_more_than_once_a_day() {
        let remind = Remind::Original(TELEGRAM);
        assert_eq!(remind.next_ms(&facts(Some(1)), 1, 1_000), Some(31_000));
        for repeat in [None, Some(0), Some(2)] {
            assert_eq!(remind.next_ms(&facts(repeat), 1, 1_000), Some(86_041_000));
        }
    }

    #[test]
    fn after_five_failures_in_a_row_the_longer_pause_holds() {
        let remind = Remind::Original(TELEGRAM);
        assert_eq!(remind.next_ms(&facts(Some(1)), 5, 0), Some(30_000));
        assert_eq!(remind.next_ms(&facts(Some(1)), 6, 0), Some(300_000));
        let never_longer = Throttle { extended_ms: 0, ..TELEGRAM };
        assert_eq!(Remind::Original(never_longer).next_ms(&facts(Some(1)), 6, 0), Some(30_000));
    }

    #[test]
    fn a_channel_that_is_always_throttled_does_not_ask_the_monitor() {
        let remind = Remind::Original(Throttle { first_only: Some(true), ..TELEGRAM });
        assert_eq!(remind.next_ms(&facts(Some(1)), 1, 0), Some(ALERT_DAILY_MS));
        assert_eq!(Remind::Never.next_ms(&facts(Some(1)), 1, 0), None);
    }
}
