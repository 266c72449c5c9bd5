//! How long a monitor had which verdict.
//!
//! Owns: making times out of changes. Up percent is up of up and down; time in which we could not
//! tell, or did not look, counts for neither.

use serde::Serialize;
use utoipa::ToSchema;

use crate::sample::Verdict;
use crate::store::view::{MonitorView, TransitionView};

/// A day, in milliseconds. Days are those of UTC.
pub const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// A time with one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Span {
    /// Its start, in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// What was held to be true.
    pub verdict: Verdict,
}

/// How much of a time had which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Share {
    /// Start of the time, in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// Milliseconds up.
    pub up_ms: u64,
    /// Milliseconds down.
    pub down_ms: u64,
    /// Milliseconds in which we could not tell.
    pub unknown_ms: u64,
    /// Up of up and down, in percent; `None` where there is neither.
    pub up_percent: Option<f64>,
}

/// The times of a monitor's life, oldest first, out of its changes, newest first. Before the first
/// of `changes_max` changes nothing is known.
pub fn spans(
    monitor: &MonitorView,
    changes: &[TransitionView],
    changes_max: usize,
    now_ms: u64,
) -> Vec<Span> {
    let Some(first) = changes.last() else {
        let (from_ms, verdict) = (monitor.created_ms.min(now_ms), monitor.verdict);
        return vec![Span { from_ms, to_ms: now_ms, verdict }];
    };
    let mut spans = Vec::with_capacity(changes.len() + 1);
    if changes.len() < changes_max && monitor.created_ms < first.at_ms {
        let (from_ms, to_ms) = (monitor.created_ms, first.at_ms);
        spans.push(Span { from_ms, to_ms, verdict: first.from });
    }
    let ends = changes.iter().rev().skip(1).map(|change| change.at_ms).chain([now_ms]);
    for (change, to_ms) in changes.iter().rev().zip(ends) {
        let to_ms = to_ms.max(change.at_ms);
        spans.push(Span { from_ms: change.at_ms, to_ms, verdict: change.to });
    }
    spans
}

/// The part of `spans` from `from_ms` to `to_ms`.
pub fn share(spans: &[Span], from_ms: u64, to_ms: u64) -> Share {
    let mut share = Share { from_ms, to_ms, ..Share::default() };
    for span in spans {
        let common = span.to_ms.min(to_ms).saturating_sub(span.from_ms.max(from_ms));
        match span.verdict {
            Verdict::Up => share.up_ms += common,
            Verdict::Down => share.down_ms += common,
            Verdict::Unknown => share.unknown_ms += common,
            Verdict::Pending | Verdict::Paused => {}
        }
    }
    let known = share.up_ms + share.down_ms;
    share.up_percent = (known > 0).then(|| share.up_ms as f64 * 100.0 / known as f64);
    share
}

/// The last `days` days, today last.
pub fn days(spans: &[Span], days: u64, now_ms: u64) -> Vec<Share> {
    let today = now_ms - now_ms % DAY_MS;
    let starts = (0..days).rev().map(|back| today.saturating_sub(back * DAY_MS));
    starts.map(|from_ms| share(spans, from_ms, (from_ms + DAY_MS).min(now_ms))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fleet::tests::row;
    use super::*;
    use crate::ids::MonitorId;

    fn change(at_ms: u64, from: Verdict, to: Verdict) -> TransitionView {
        let (name, message) = (String::new(), String::new());
        TransitionView {
            monitor: MonitorId(1),
            name,
            at_ms,
            from,
            to,
            code: 0,
            result: "ok",
            message,
        }
    }

    #[test]
    fn the_life_of_a_monitor_is_without_gaps() {
        let monitor = row(1, "a", &[], Verdict::Up);
        let changes =
            [change(8_000, Verdict::Down, Verdict::Up), change(5_000, Verdict::Up, Verdict::Down)];
        let spans = spans(&monitor, &changes, 10, 20_000);
        let span = |from_ms, to_ms, verdict| Span { from_ms, to_ms, verdict };
        let wanted = [
            span(1_000, 5_000, Verdict::Up),
            span(5_000, 8_000, Verdict::Down),
            span(8_000, 20_000, Verdict::Up),
        ];
        assert_eq!(spans, wanted);
        let share = share(&spans, 0, 20_000);
        assert_eq!((share.up_ms, share.down_ms), (16_000, 3_000));
        assert_eq!(share.up_percent, Some(1_600.0 / 19.0));
    }

    #[test]
    fn a_monitor_without_changes_has_its_verdict_since_it_exists() {
        let monitor = row(1, "a", &[], Verdict::Up);
        let spans = spans(&monitor, &[], 10, 9_000);
        assert_eq!(share(&spans, 0, 9_000).up_ms, 8_000);
    }

    #[test]
    fn what_is_before_the_oldest_change_read_is_not_known() {
        let monitor = row(1, "a", &[], Verdict::Up);
        let changes = [change(8_000, Verdict::Down, Verdict::Up)];
        assert_eq!(spans(&monitor, &changes, 1, 9_000)[0].from_ms, 8_000);
    }

    #[test]
    fn days_end_now_and_unknown_time_counts_for_neither() {
        let now_ms = 10 * DAY_MS + 500;
        let span = |from_ms, to_ms, verdict| Span { from_ms, to_ms, verdict };
        let spans =
            [span(8 * DAY_MS, 9 * DAY_MS, Verdict::Unknown), span(9 * DAY_MS, now_ms, Verdict::Up)];
        let days = days(&spans, 3, now_ms);
        assert_eq!(days.iter().map(|day| day.up_ms).collect::<Vec<_>>(), [0, DAY_MS, 500]);
        assert_eq!((days[0].up_percent, days[1].up_percent), (None, Some(100.0)));
        assert_eq!(days[2].to_ms, now_ms);
    }
}
