//! When an ongoing outage is told again over a channel.
//!
//! Owns: the rule of reminders, with the original's throttles as one form of it. Pure. That an
//! outage is told once and its end once is no rule but always so.

use super::Facts;
use crate::config::channels::{Remind, Throttle};
use crate::limits::ALERT_DAILY_MS;

/// When an outage may be told again, after a notice at `sent_ms`; `None` for never.
pub fn next_ms(remind: &Remind, facts: &Facts, failures: u32, sent_ms: u64) -> Option<u64> {
    let pause_ms = match remind {
        Remind::Never => return None,
        Remind::Every(every_ms) => *every_ms,
        Remind::Original(throttle) => pause_ms(throttle, facts, failures),
    };
    Some(sent_ms.saturating_add(pause_ms))
}

fn pause_ms(throttle: &Throttle, facts: &Facts, failures: u32) -> u64 {
    if throttle.first_only.unwrap_or(facts.repeat != Some(1)) {
        return ALERT_DAILY_MS;
    }
    let extended = failures > throttle.extended_after;
    let every_ms = throttle.every_ms;
    let pause = if extended { every_ms.max(throttle.extended_ms) } else { every_ms };
    pause.min(ALERT_DAILY_MS)
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
        assert_eq!(next_ms(&remind, &facts(Some(1)), 1, 1_000), Some(31_000));
        for repeat in [None, Some(0), Some(2)] {
            assert_eq!(next_ms(&remind, &facts(repeat), 1, 1_000), Some(86_041_000));
        }
    }

    #[test]
    fn after_five_failures_in_a_row_the_longer_pause_holds() {
        let remind = Remind::Original(TELEGRAM);
        assert_eq!(next_ms(&remind, &facts(Some(1)), 5, 0), Some(30_000));
        assert_eq!(next_ms(&remind, &facts(Some(1)), 6, 0), Some(300_000));
        let never_longer = Throttle { extended_ms: 0, ..TELEGRAM };
        let remind = Remind::Original(never_longer);
        assert_eq!(next_ms(&remind, &facts(Some(1)), 6, 0), Some(30_000));
    }

    #[test]
    fn a_channel_that_is_always_throttled_does_not_ask_the_monitor() {
        let remind = Remind::Original(Throttle { first_only: Some(true), ..TELEGRAM });
        assert_eq!(next_ms(&remind, &facts(Some(1)), 1, 0), Some(ALERT_DAILY_MS));
        assert_eq!(next_ms(&Remind::Never, &facts(Some(1)), 1, 0), None);
    }
}
