//! Sums of one monitor and hour: what percentiles over long times are made of.
//!
//! Owns: what is summed up, and the stored form. An [`Hour`] has counts and a histogram of good
//! answers whose buckets are pairs of those of `metrics::buckets`, so it is right within 1.6 % and
//! hours add up without any further loss, in any order. The hours of 128 monitors share a blob of
//! columns, see `pack`: at an interval of 60 s 12 bytes for a monitor and hour, measured in
//! `tests/store/hours.rs`. The statements are each backend's own.

use std::collections::BTreeMap;

use pco::DeltaSpec;
use serde::Serialize;
use utoipa::ToSchema;

use super::blob::{self, BlobError, Columns};
use crate::ids::MonitorId;
use crate::limits::{COMPACT_SAMPLES_MAX, HOUR_GROUP_BITS};
use crate::metrics::buckets::{BUCKETS, bucket_of, start_of};
use crate::sample::{CheckResult, Code};

/// Length of an hour, in milliseconds.
pub const HOUR_MS: u64 = 3_600_000;
/// Columns of `pco` 1.x: the layout of [`pack`].
const CODEC_HOURS: u8 = 2;
/// Columns with one number for each monitor.
const MONITOR_COLUMNS: usize = 7;

/// The start of the hour that holds a time, in milliseconds since the Unix epoch.
pub fn hour_start(at_ms: u64) -> u64 {
    at_ms - at_ms % HOUR_MS
}

/// Checks by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counts {
    /// Good answers.
    pub up: u64,
    /// Bad ones.
    pub down: u64,
    /// Our own trouble.
    pub unknown: u64,
    /// Not run.
    pub missed: u64,
}

/// Hours of one monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hours {
    /// By their start, in milliseconds since the Unix epoch.
    pub hours: BTreeMap<u64, Hour>,
    /// Stored blobs that could not be read, by name and reason.
    pub damaged: Vec<String>,
}

/// What is kept of the results of one monitor in an hour, or in several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    /// Results by sort.
    pub counts: Counts,
    /// Good answers by bucket.
    times: BTreeMap<u16, u32>,
}

impl Hour {
    /// Takes a result into account.
    pub fn add(&mut self, code: Code, total_us: Option<u32>) {
        let count = match code.result() {
            CheckResult::Up => &mut self.counts.up,
            CheckResult::Down(_) => &mut self.counts.down,
            CheckResult::Unknown(_) => &mut self.counts.unknown,
            CheckResult::Missed(_) => &mut self.counts.missed,
        };
        *count += 1;
        if let (CheckResult::Up, Some(total_us)) = (code.result(), total_us) {
            *self.times.entry(bucket_of(total_us) / 2).or_default() += 1;
        }
    }

    /// Adds another hour up.
    pub fn merge(&mut self, other: &Hour) {
        let (counts, more) = (&mut self.counts, &other.counts);
        counts.up += more.up;
        counts.down += more.down;
        counts.unknown += more.unknown;
        counts.missed += more.missed;
        for (bucket, count) in &other.times {
            *self.times.entry(*bucket).or_default() += count;
        }
    }

    /// Durations of good answers in microseconds, each the middle of its bucket, with their number.
    pub fn times(&self) -> impl Iterator<Item = (u32, u32)> {
        self.times.iter().map(|(bucket, count)| (start_of(bucket * 2 + 1), *count))
    }

    /// The duration that so many of 100 good answers do not exceed, in microseconds.
    pub fn percentile(&self, percent: u64) -> Option<u32> {
        let all: u64 = self.times().map(|(_, count)| u64::from(count)).sum();
        let rank = (all * percent).div_ceil(100).max(1);
        let mut passed = 0;
        let reaches = |(_, count): &(u32, u32)| {
            passed += u64::from(*count);
            passed >= rank
        };
        self.times().find(reaches).map(|(micros, _)| micros)
    }
}

/// The hours of some monitors while their chunks are read.
#[derive(Debug, Default)]
pub(super) struct Sums {
    hours: BTreeMap<MonitorId, Hour>,
    results: usize,
}

impl Sums {
    /// Adds a chunk.
    pub fn add(&mut self, base: u64, t0_ms: u64, data: &[u8]) -> Result<(), BlobError> {
        let samples = blob::unpack(base, t0_ms, data)?;
        self.results += samples.len();
        for of_one in samples.chunk_by(|a, b| a.monitor == b.monitor) {
            let hour = self.hours.entry(of_one[0].monitor).or_default();
            for sample in of_one {
                hour.add(sample.code, Some(sample.total_us).filter(|micros| *micros != u32::MAX));
            }
        }
        Ok(())
    }

    /// True where this is as much as one step takes.
    pub fn is_full(&self) -> bool {
        self.results >= COMPACT_SAMPLES_MAX
    }

    /// The hours, by the groups that share a blob.
    pub fn groups(self) -> BTreeMap<u64, BTreeMap<MonitorId, Hour>> {
        let mut groups: BTreeMap<u64, BTreeMap<MonitorId, Hour>> = BTreeMap::new();
        for (monitor, hour) in self.hours {
            groups.entry(monitor.0 >> HOUR_GROUP_BITS).or_default().insert(monitor, hour);
        }
        groups
    }
}

/// Adds what is stored of a group already.
pub(super) fn add_known(
    grp: u64,
    hours: &mut BTreeMap<MonitorId, Hour>,
    data: &[u8],
) -> Result<(), BlobError> {
    for (monitor, known) in unpack(grp, data)? {
        hours.entry(monitor).or_default().merge(&known);
    }
    Ok(())
}

/// Packs the hours of a group: numbers of monitors and of buckets, then the columns offset, up,
/// down, unknown, missed, buckets and first bucket of each monitor, the distances from bucket to
/// bucket, and the count of each bucket.
pub(super) fn pack(grp: u64, hours: &BTreeMap<MonitorId, Hour>) -> Result<Vec<u8>, BlobError> {
    let mut columns: [Vec<u32>; MONITOR_COLUMNS] = Default::default();
    let (mut steps, mut counts) = (Vec::new(), Vec::new());
    let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    for (monitor, hour) in hours {
        let offset = monitor.0.wrapping_sub(grp << HOUR_GROUP_BITS);
        if offset >> HOUR_GROUP_BITS != 0 {
            return Err(BlobError::Malformed(format!("monitor {monitor} not here")));
        }
        let first = hour.times.keys().next().copied().unwrap_or_default();
        let Counts { up, down, unknown, missed } = hour.counts;
        let row = [offset, up, down, unknown, missed, hour.times.len() as u64, first.into()];
        columns.iter_mut().zip(row).for_each(|(column, number)| column.push(small(number)));
        let buckets: Vec<u16> = hour.times.keys().copied().collect();
        steps.extend(buckets.windows(2).map(|pair| u32::from(pair[1] - pair[0])));
        counts.extend(hour.times.values());
    }
    let mut out = blob::begin();
    out.extend((hours.len() as u32).to_le_bytes());
    out.extend((counts.len() as u32).to_le_bytes());
    out.extend((steps.len() as u32).to_le_bytes());
    for column in columns.iter().chain([&steps, &counts]) {
        blob::put(&mut out, column, DeltaSpec::NoOp)?;
    }
    blob::seal(&mut out, CODEC_HOURS);
    Ok(out)
}

/// Unpacks what [`pack`] made of the same group.
pub(super) fn unpack(grp: u64, data: &[u8]) -> Result<Vec<(MonitorId, Hour)>, BlobError> {
    let malformed = |what: &str| BlobError::Malformed(what.to_owned());
    let mut columns = Columns::of(data, CODEC_HOURS)?;
    let (monitors, buckets, steps) = (columns.number()?, columns.number()?, columns.number()?);
    let most = 1 << HOUR_GROUP_BITS;
    if monitors > most || buckets > most * usize::from(BUCKETS) || steps > buckets {
        return Err(BlobError::Malformed(format!("{monitors} monitors, {buckets} buckets")));
    }
    let mut rows = vec![[0_u32; MONITOR_COLUMNS]; monitors];
    let mut column = vec![0; monitors];
    for at in 0..MONITOR_COLUMNS {
        columns.next_into(&mut column)?;
        rows.iter_mut().zip(&column).for_each(|(row, number)| row[at] = *number);
    }
    let (mut distances, mut counts) = (vec![0; steps], vec![0; buckets]);
    columns.next_into(&mut distances)?;
    columns.next_into(&mut counts)?;
    let (mut distances, mut counts) = (distances.into_iter(), counts.into_iter());
    let mut found = Vec::with_capacity(monitors);
    for [offset, up, down, unknown, missed, length, first] in rows {
        let [up, down, unknown, missed] = [up, down, unknown, missed].map(u64::from);
        let mut hour = Hour { counts: Counts { up, down, unknown, missed }, ..Hour::default() };
        let mut bucket = first;
        for at in 0..length {
            if at > 0 {
                let distance = distances.next().ok_or_else(|| malformed("too few steps"))?;
                bucket = bucket.saturating_add(distance);
            }
            let place = u16::try_from(bucket).ok().filter(|place| *place < BUCKETS);
            let place = place.ok_or_else(|| malformed("bucket out of range"))?;
            let count = counts.next().ok_or_else(|| malformed("too few counts"))?;
            hour.times.insert(place, count);
        }
        found.push((MonitorId((grp << HOUR_GROUP_BITS) + u64::from(offset)), hour));
    }
    Ok(found)
}

impl Hours {
    /// Adds what the sums of an hour have of a monitor.
    pub(super) fn add(&mut self, monitor: MonitorId, t0_ms: u64, data: &[u8]) {
        let grp = monitor.0 >> HOUR_GROUP_BITS;
        match unpack(grp, data) {
            Ok(all) => {
                if let Some((_, hour)) = all.iter().find(|(known, _)| *known == monitor) {
                    self.hours.entry(t0_ms).or_default().merge(hour);
                }
            }
            Err(error) => self.damaged.push(format!("hour {grp} {t0_ms}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use probes::Failure;

    fn hour(times_us: &[u32]) -> Hour {
        let mut hour = Hour::default();
        times_us.iter().for_each(|micros| hour.add(Code::GOOD, Some(*micros)));
        hour
    }

    #[test]
    fn percentiles_are_right_within_two_percent() {
        let times: Vec<u32> = (1..=1_000).map(|time| time * 100).collect();
        let hour = hour(&times);
        for (percent, wanted) in [(50, 50_000), (90, 90_000), (99, 99_000), (100, 100_000)] {
            let found = hour.percentile(percent).unwrap();
            assert!(found.abs_diff(wanted) <= wanted / 50, "{percent}: {found}");
        }
        assert_eq!(Hour::default().percentile(50), None);
    }

    #[test]
    fn only_good_answers_have_a_duration() {
        let mut hour = hour(&[1_000]);
        hour.add(CheckResult::Down(Failure::Refused).into(), Some(9));
        assert_eq!((hour.counts.up, hour.counts.down, hour.times().count()), (1, 1, 1));
    }

    proptest! {
        #[test]
        fn hours_add_up_as_if_they_had_been_one(
            one in prop::collection::vec(any::<u32>(), 0..50),
            two in prop::collection::vec(any::<u32>(), 0..50),
        ) {
            let mut merged = hour(&one);
            merged.merge(&hour(&two));
            prop_assert_eq!(merged, hour(&[one, two].concat()));
        }

        #[test]
        fn what_was_packed_comes_back(
            times in prop::collection::vec(prop::collection::vec(any::<u32>(), 0..30), 1..128),
        ) {
            let group: BTreeMap<MonitorId, Hour> = times.iter().enumerate()
                .map(|(at, times)| (MonitorId(256 + at as u64), hour(times))).collect();
            let data = pack(2, &group).unwrap();
            let found: BTreeMap<_, _> = unpack(2, &data).unwrap().into_iter().collect();
            prop_assert_eq!(found, group);
        }

        #[test]
        fn no_payload_with_a_right_checksum_panics(payload: Vec<u8>) {
            let mut data = blob::begin();
            data.extend(payload);
            blob::seal(&mut data, CODEC_HOURS);
            let _ = unpack(0, &data);
        }
    }
}
