//! Interval logs of HdrHistogram, version 1.3: a line for each histogram, V2 and deflate in base64.
//!
//! Owns: writing and reading `.hlog` files. Histograms are in microseconds, the column of the
//! maximum is in milliseconds, and the head says so. Reads the logs of others too.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::Series;

/// The lines before the first histogram of a log that starts at `start_ms`.
pub fn head(start_ms: u64) -> String {
    let start = seconds(start_ms);
    format!(
        "#[Histogram log format version 1.3]\n\
         #[engine {}: durations in microseconds, Interval_Max in milliseconds]\n\
         #[StartTime: {start} (seconds since epoch)]\n\
         #[BaseTime: 0.000 (seconds since epoch)]\n\
         #[MaxValueDivisor: 1000.000]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\
         \"Interval_Compressed_Histogram\"\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// One line for each series.
pub fn lines(all: &[Series]) -> String {
    let mut out = String::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut bytes = Vec::new();
    for series in all {
        bytes.clear();
        // Writing to memory cannot fail, and the counts fit.
        if serializer.serialize(&series.durations, &mut bytes).is_err() {
            continue;
        }
        let max = series.durations.max() as f64 / 1_000.0;
        let (from, length) = (seconds(series.from_ms), seconds(series.length_ms));
        let _ = write!(out, "Tag={},{from},{length},{max:.3},", series.tag);
        STANDARD.encode_string(&bytes, &mut out);
        out.push('\n');
    }
    out
}

/// Milliseconds as seconds with three places.
fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

/// The series of a log, in its order. A line without a tag has the tag `untagged`.
///
/// # Errors
///
/// What cannot be read, in words.
pub fn read(text: &[u8]) -> Result<Vec<Series>, String> {
    let (mut base_ms, mut start_ms) = (None, None);
    let mut all = Vec::new();
    let mut deserializer = Deserializer::new();
    for entry in IntervalLogIterator::new(text) {
        let interval = match entry.map_err(|error| format!("no interval log: {error:?}"))? {
            LogEntry::BaseTime(at) => {
                base_ms = Some(millis(at));
                continue;
            }
            LogEntry::StartTime(at) => {
                start_ms = Some(millis(at));
                continue;
            }
            LogEntry::Interval(interval) => interval,
        };
        let tag = interval.tag().map_or("untagged", |tag| tag.as_str()).to_owned();
        let bytes = STANDARD
            .decode(interval.encoded_histogram())
            .map_err(|error| format!("{tag}: the histogram is no base64: {error}"))?;
        let durations = deserializer
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("{tag}: the histogram is no V2: {error}"))?;
        let at_ms = millis(interval.start_timestamp());
        // Without a base, small times count from the start (HistogramLogReader of HdrHistogram).
        let base = base_ms.or(start_ms.filter(|start_ms| at_ms + YEAR_MS < *start_ms));
        all.push(Series {
            tag,
            from_ms: base.unwrap_or(0) + at_ms,
            length_ms: millis(interval.duration()),
            durations,
        });
    }
    Ok(all)
}

const YEAR_MS: u64 = 365 * 24 * 3_600 * 1_000;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2).min(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latency::durations;

    fn series(tag: &str, values: impl Iterator<Item = u64>) -> Series {
        let mut durations = durations();
        values.for_each(|value| durations.saturating_record(value));
        Series { tag: tag.into(), from_ms: 1_795_444_849_123, length_ms: 10_500, durations }
    }

    #[test]
    fn what_is_written_is_read_back_without_loss() {
        let all = [
            series("ping_web:total", (0..5_000).map(|value| value * value)),
            series("ping_web:lag:shard-0", std::iter::once(0)),
        ];
        let text = head(1_795_444_849_000) + &lines(&all);
        assert_eq!(read(text.as_bytes()).unwrap(), all);
    }

    #[test]
    fn a_broken_log_is_told_and_never_a_panic() {
        let text = head(0) + &lines(&[series("a", 1..9)]);
        for at in 0..text.len() {
            let _ = read(&text.as_bytes()[..at]);
        }
        let error = read(b"Tag=x,1.0,1.0,1.0,!!!\n").unwrap_err();
        assert!(error.starts_with("x: the histogram is no base64"), "{error}");
        let error = read(b"Tag=x,1.0,1.0,1.0,AAAAAAAAAAA=\n").unwrap_err();
        assert!(error.starts_with("x: the histogram is no V2"), "{error}");
    }
}
