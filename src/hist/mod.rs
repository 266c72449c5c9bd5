//! Latency histograms as files and pictures, in the formats that the usual viewers read.
//!
//! Owns: what a series is, its tag, merging and comparing. The formats are below: [`log`] reads and
//! writes interval logs, [`text`] writes percentiles and JSON, [`plot`] draws: pure functions from
//! histograms to text and back. Only [`dump`] opens files.

use std::collections::BTreeMap;

use crate::ids::ShardId;
use crate::metrics::latency::{Durations, Measure, Set, Sets, Subject, merged};

pub mod dump;
pub mod log;
pub mod plot;
pub mod text;

/// The quantiles that tables and JSON show, with their names.
pub const QUANTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// Durations in microseconds over one stretch of time, and whose they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// `subject:measure`, or `subject:measure:shard-N`; in logs of others whatever they have.
    pub tag: String,
    /// Start, in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Length, in milliseconds.
    pub length_ms: u64,
    /// The durations.
    pub durations: Durations,
}

impl Series {
    /// The parts of the tag: subject, measure and shard; empty where it has none.
    pub fn parts(&self) -> (&str, &str, &str) {
        let mut parts = self.tag.splitn(3, ':');
        let mut next = || parts.next().unwrap_or_default();
        (next(), next(), next())
    }
}

/// Which series are wanted; what is `None` does not narrow.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The subject of the tag, such as `ping_web` or `monitor-42`.
    pub subject: Option<String>,
    /// The measure of the tag, such as `connect` or `total`.
    pub measure: Option<String>,
}

impl Wanted {
    /// True where a series fits.
    pub fn fits(&self, series: &Series) -> bool {
        let (subject, measure, _) = series.parts();
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        fits(&self.subject, subject) && fits(&self.measure, measure)
    }
}

/// The series of what a collector has from `from_ms` to `to_ms`, shards apart or as one. Empty
/// histograms are left out.
pub fn series(sets: &Sets, by_shard: bool, from_ms: u64, to_ms: u64) -> Vec<Series> {
    let mut series = Vec::new();
    let mut add = |shard: Option<ShardId>, subject: Subject, set: &Set| {
        for measure in Measure::ALL {
            let durations = set.get(measure);
            if durations.is_empty() {
                continue;
            }
            let mut tag = format!("{}:{}", subject.word(), measure.name());
            if let Some(shard) = shard {
                tag.push_str(&format!(":shard-{shard}"));
            }
            let length_ms = to_ms.saturating_sub(from_ms);
            series.push(Series { tag, from_ms, length_ms, durations: durations.clone() });
        }
    };
    if by_shard {
        sets.iter().for_each(|((shard, subject), set)| add(Some(*shard), *subject, set));
    } else {
        merged(sets).iter().for_each(|(subject, set)| add(None, *subject, set));
    }
    series
}

/// Series with one tag become one: counts add up, nothing is lost. In the order of the tags.
///
/// # Errors
///
/// The tag of a series whose durations are out of the bounds of those before.
pub fn merge(all: impl IntoIterator<Item = Series>) -> Result<Vec<Series>, String> {
    let mut by_tag: BTreeMap<String, Series> = BTreeMap::new();
    for series in all {
        let Some(known) = by_tag.get_mut(&series.tag) else {
            by_tag.insert(series.tag.clone(), series);
            continue;
        };
        known.durations.add(&series.durations).map_err(|_| series.tag.clone())?;
        let to_ms = |series: &Series| series.from_ms + series.length_ms;
        let end_ms = to_ms(known).max(to_ms(&series));
        known.from_ms = known.from_ms.min(series.from_ms);
        known.length_ms = end_ms - known.from_ms;
    }
    Ok(by_tag.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latency::durations;

    fn series(tag: &str, from_ms: u64, values: &[u64]) -> Series {
        let mut durations = durations();
        values.iter().for_each(|value| durations.saturating_record(*value));
        Series { tag: tag.into(), from_ms, length_ms: 1_000, durations }
    }

    #[test]
    fn series_of_one_tag_become_one_over_the_whole_time() {
        let all = [
            series("tcp:total", 5_000, &[10, 20]),
            series("tcp:lag", 5_000, &[1]),
            series("tcp:total", 1_000, &[30]),
        ];
        let merged = merge(all).unwrap();
        let told: Vec<_> = merged
            .iter()
            .map(|one| (one.tag.as_str(), one.from_ms, one.length_ms, one.durations.len()))
            .collect();
        assert_eq!(told, [("tcp:lag", 5_000, 1_000, 1), ("tcp:total", 1_000, 5_000, 3)]);
    }

    #[test]
    fn a_wish_narrows_by_subject_and_by_measure() {
        let one = series("tcp:total:shard-1", 0, &[1]);
        assert_eq!(one.parts(), ("tcp", "total", "shard-1"));
        let wanted = |subject: &str, measure: &str| Wanted {
            subject: (!subject.is_empty()).then(|| subject.into()),
            measure: (!measure.is_empty()).then(|| measure.into()),
        };
        assert!(wanted("", "").fits(&one) && wanted("tcp", "total").fits(&one));
        assert!(!wanted("tcp", "lag").fits(&one) && !wanted("ping_web", "").fits(&one));
    }
}
