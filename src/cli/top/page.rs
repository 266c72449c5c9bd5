//! The metrics page of a running engine as numbers, and rates between two of them.
//!
//! Owns: reading the lines that our own page has. What is not there counts as nothing.

use std::time::Instant;

/// One scrape.
#[derive(Clone, Debug)]
pub struct Page {
    taken: Instant,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Page {
    /// Reads the text of a page that was taken at `taken`; lines of others are left out.
    pub fn read(text: &str, taken: Instant) -> Page {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Page { taken, samples: lines.filter_map(sample).collect() }
    }

    /// The sum of all samples of `name` that have the label.
    pub fn sum(&self, name: &str, label: (&str, &str)) -> f64 {
        let fits = |sample: &&Sample| sample.name == name && sample.has(label);
        self.samples.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// The sum of all samples of `name`.
    pub fn total(&self, name: &str) -> f64 {
        let of_name = self.samples.iter().filter(|sample| sample.name == name);
        of_name.map(|sample| sample.value).sum()
    }

    /// The values of a label among the samples of `name`, each once, in their order.
    pub fn values(&self, name: &str, label: &str) -> Vec<String> {
        let mut values: Vec<String> = Vec::new();
        for sample in self.samples.iter().filter(|sample| sample.name == name) {
            let found = sample.labels.iter().find(|(known, _)| known == label);
            if let Some((_, value)) = found
                && !values.contains(value)
            {
                values.push(value.clone());
            }
        }
        values
    }

    /// What the counters of `name` that have all these labels rose each second since `before`;
    /// nothing where there is none before.
    pub fn rate(&self, before: Option<&Page>, name: &str, labels: &[(&str, &str)]) -> f64 {
        let Some(before) = before else { return 0.0 };
        let sum = |page: &Page| {
            let of_name = page.samples.iter().filter(|sample| sample.name == name);
            let fits = of_name.filter(|sample| labels.iter().all(|label| sample.has(*label)));
            fits.map(|sample| sample.value).sum::<f64>()
        };
        let seconds = self.taken.saturating_duration_since(before.taken).as_secs_f64();
        (sum(self) - sum(before)).max(0.0) / seconds.max(0.001)
    }

    /// The end of the bucket that holds the quantile of what was recorded since `before`, in
    /// seconds; `None` where nothing was.
    pub fn quantile(
        &self,
        before: Option<&Page>,
        name: &str,
        label: (&str, &str),
        quantile: f64,
    ) -> Option<f64> {
        let bucket = format!("{name}_bucket");
        let ends = self.values(&bucket, "le");
        let below = |page: &Page, end: &str| {
            let fits = |sample: &&Sample| {
                sample.name == bucket && sample.has(label) && sample.has(("le", end))
            };
            page.samples.iter().filter(fits).map(|sample| sample.value).sum::<f64>()
        };
        let recorded =
            |end: &str| below(self, end) - before.map_or(0.0, |before| below(before, end));
        let all = recorded("+Inf");
        let end = ends.iter().find(|end| all > 0.0 && recorded(end) >= all * quantile)?;
        end.parse().ok().filter(|end: &f64| end.is_finite())
    }
}

impl Sample {
    fn has(&self, (name, value): (&str, &str)) -> bool {
        self.labels.iter().any(|(known, found)| known == name && found == value)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, read_labels(rest.strip_suffix('}')?)?),
        None => (series, Vec::new()),
    };
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

fn read_labels(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.push((name.to_owned(), value));
        text = rest[end + 1..].trim_start_matches(',');
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TEXT: &str = "# TYPE a_total counter\na_total{shard=\"0\",x=\"q\\\"}, 1\"} 5\n\
        a_total{shard=\"1\"} 7\nb 2.5\nl_bucket{shard=\"0\",le=\"0.1\"} 8\n\
        l_bucket{shard=\"0\",le=\"1.0\"} 10\nl_bucket{shard=\"0\",le=\"+Inf\"} 10\nbroken{ 1\n";

    #[test]
    fn sums_rates_and_quantiles_come_from_the_lines() {
        let start = Instant::now();
        let one = Page::read(TEXT, start);
        assert_eq!((one.total("a_total"), one.total("b")), (12.0, 2.5));
        assert_eq!(one.sum("a_total", ("x", "q\"}, 1")), 5.0);
        assert_eq!(one.values("a_total", "shard"), ["0", "1"]);
        let two = TEXT.replace("} 7", "} 27").replace("\"0.1\"} 8", "\"0.1\"} 9");
        let two = two.replace("\"1.0\"} 10", "\"1.0\"} 15").replace("f\"} 10", "f\"} 16");
        let two = Page::read(&two, start + Duration::from_secs(2));
        assert_eq!(two.rate(Some(&one), "a_total", &[("shard", "1")]), 10.0);
        assert_eq!(two.rate(None, "a_total", &[("shard", "1")]), 0.0);
        let label = ("shard", "0");
        assert_eq!(two.quantile(Some(&one), "l", label, 0.1), Some(0.1));
        assert_eq!(two.quantile(Some(&one), "l", label, 0.5), Some(1.0));
        assert_eq!(two.quantile(Some(&one), "l", label, 0.99), None, "past the last end");
        assert_eq!(one.quantile(Some(&one), "l", label, 0.5), None);
    }
}
