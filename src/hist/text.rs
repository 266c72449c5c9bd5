//! Histograms as percentile text (`.hgrm`) and as JSON.
//!
//! Owns: the two forms. The percentile text is what `outputPercentileDistribution` of HdrHistogram
//! writes, in milliseconds with five steps for each halving of the distance to 100 %.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{QUANTILES, Series};
use crate::metrics::latency::Durations;

/// Percentile steps for each halving of the distance to 100 %: as HdrHistogram's default.
const STEPS_PER_HALVING: u32 = 5;

/// The percentile distribution in milliseconds.
pub fn hgrm(durations: &Durations) -> String {
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut count = 0;
    for step in durations.iter_quantiles(STEPS_PER_HALVING) {
        count += step.count_since_last_iteration();
        let value = millis(step.value_iterated_to());
        let quantile = step.quantile_iterated_to();
        let _ = write!(out, "{value:12.3} {quantile:14.12} {count:10}");
        if quantile >= 1.0 {
            out.push('\n');
            break; // The iterator may give the end twice.
        }
        let _ = writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile));
    }
    let (mean, deviation) = (durations.mean() / 1e3, durations.stdev() / 1e3);
    let max = millis(durations.max());
    let (buckets, all) = (durations.buckets(), durations.len());
    let sub_buckets = sub_buckets(durations);
    let _ = writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(out, "#[Max     = {max:12.3}, Total count    = {all:12}]");
    let _ = writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]");
    out
}

/// The buckets within one: a power of two above twice the digits kept.
fn sub_buckets(durations: &Durations) -> u64 {
    (2 * 10_u64.pow(u32::from(durations.sigfig()))).next_power_of_two()
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

/// Count, extremes, mean and quantiles in microseconds.
pub fn json(series: &Series) -> Value {
    let (subject, measure, shard) = series.parts();
    let durations = &series.durations;
    let quantiles: Map<String, Value> = QUANTILES
        .iter()
        .map(|(name, quantile)| ((*name).to_owned(), durations.value_at_quantile(*quantile).into()))
        .collect();
    json!({
        "subject": subject,
        "measure": measure,
        "shard": shard.strip_prefix("shard-").and_then(|number| number.parse::<u16>().ok()),
        "from_ms": series.from_ms,
        "length_ms": series.length_ms,
        "count": durations.len(),
        "min_us": durations.min(),
        "max_us": durations.max(),
        "mean_us": durations.mean().round(),
        "stddev_us": durations.stdev().round(),
        "quantiles_us": quantiles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latency::durations;

    fn sample() -> Durations {
        let mut durations = durations();
        (1..=1_000).for_each(|value| durations.saturating_record(value * 100));
        durations
    }

    #[test]
    fn percentile_text_has_the_layout_of_hdrhistogram_and_ends_at_all() {
        let text = hgrm(&sample());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[2], "       0.100 0.000000000000          1           1.00");
        let rows: Vec<Vec<&str>> = lines[2..lines.len() - 3]
            .iter()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows.last().unwrap()[1..], ["1.000000000000", "1000"]);
        assert!(rows[..rows.len() - 1].iter().all(|row| row.len() == 4), "{text}");
        let half = rows.iter().find(|row| row[1] == "0.500000000000").unwrap();
        assert!((half[0].parse::<f64>().unwrap() / 50.0 - 1.0).abs() < 0.01, "{half:?}");
        assert_eq!(
            lines.last().unwrap(),
            &"#[Buckets =           25, SubBuckets     =          256]"
        );
    }

    #[test]
    fn json_says_whose_they_are_and_how_many() {
        let tag = "tcp:total:shard-1".to_owned();
        let found = json(&Series { tag, from_ms: 1, length_ms: 2, durations: sample() });
        assert_eq!((&found["subject"], &found["shard"]), (&json!("tcp"), &json!(1)));
        assert_eq!((&found["count"], &found["min_us"]), (&json!(1_000), &json!(100)));
        let p99 = found["quantiles_us"]["p99"].as_f64().unwrap();
        assert!((p99 / 99_000.0 - 1.0).abs() < 0.01, "{found}");
    }
}
