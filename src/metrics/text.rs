//! Metrics as text, in OpenMetrics and in the older form of Prometheus.
//!
//! Owns: the two grammars: where `_total` stands, units, escaping and the end. Writes into one
//! buffer; whoever streams takes it away in between. Nothing is registered and nothing is kept.

use std::fmt::{self, Write as _};

/// The media type of OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of the older form.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper ends of the buckets of durations, in seconds. Fixed for all time: dashboards depend on
/// them.
pub const SECONDS_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Prometheus,
}

impl Format {
    /// The form that the `Accept` field asks for; the older one where it says nothing of
    /// OpenMetrics.
    pub fn accepted(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") {
            Format::OpenMetrics
        } else {
            Format::Prometheus
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => OPENMETRICS,
            Format::Prometheus => PROMETHEUS,
        }
    }
}

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Only rises. Its samples end in `_total`, its name does not.
    Counter,
    /// May fall.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Always 1, with what it says in its labels. Its samples end in `_info`, its name does not.
    Info,
}

/// A label and its value.
pub type Label<'a> = (&'a str, &'a str);

/// The text while it is written.
#[derive(Debug)]
pub struct Text {
    format: Format,
    out: String,
    name: String,
    sort: Sort,
}

impl Text {
    /// Nothing yet.
    pub fn new(format: Format) -> Text {
        Text { format, out: String::new(), name: String::new(), sort: Sort::Gauge }
    }

    /// Begins a family; the samples that follow are its own. `name` is without `_total` and
    /// `_info`.
    pub fn family(&mut self, name: &str, help: &str, sort: Sort) {
        name.clone_into(&mut self.name);
        self.sort = sort;
        let open = self.format == Format::OpenMetrics;
        let (suffix, word) = match (sort, open) {
            (Sort::Counter, true) => ("", "counter"),
            (Sort::Counter, false) => ("_total", "counter"),
            (Sort::Info, true) => ("", "info"),
            (Sort::Info, false) => ("_info", "gauge"),
            (Sort::Gauge, _) => ("", "gauge"),
            (Sort::Histogram, _) => ("", "histogram"),
        };
        // Writing to memory cannot fail.
        let _ = writeln!(self.out, "# HELP {name}{suffix} {help}");
        let _ = writeln!(self.out, "# TYPE {name}{suffix} {word}");
        let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit));
        if let Some(unit) = unit.filter(|_| open) {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
    }

    /// One sample of the family.
    pub fn sample(&mut self, labels: &[Label<'_>], value: f64) {
        let suffix = match self.sort {
            Sort::Counter => "_total",
            Sort::Info => "_info",
            Sort::Gauge | Sort::Histogram => "",
        };
        self.line(suffix, labels, None, value);
    }

    /// One histogram of the family: the ends of its buckets, how many are in each, the last of them
    /// past the largest end, and their sum.
    pub fn histogram(&mut self, labels: &[Label<'_>], ends: &[f64], counts: &[u64], sum: f64) {
        let mut below = 0;
        for (at, count) in counts.iter().enumerate() {
            below += count;
            let end = ends.get(at).copied().unwrap_or(f64::INFINITY);
            self.line("_bucket", labels, Some(end), below as f64);
        }
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, below as f64);
    }

    /// Ends the text.
    pub fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
    }

    /// Bytes that are written and not taken.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// True where nothing is written that is not taken.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Takes what is written so far.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], end: Option<f64>, value: f64) {
        self.out.push_str(&self.name);
        self.out.push_str(suffix);
        let mut separator = '{';
        for (name, value) in labels {
            self.out.push(separator);
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape(value, &mut self.out);
            self.out.push('"');
            separator = ',';
        }
        if let Some(end) = end {
            let _ = write!(self.out, "{separator}le=\"{}\"", End(end));
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

/// The end of a bucket in the canonical form of OpenMetrics: `0.001`, `1.0`, `+Inf`.
struct End(f64);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_infinite() { f.write_str("+Inf") } else { write!(f, "{:?}", self.0) }
    }
}

fn escape(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

/// Durations in the fixed buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// How many are in each, the last past the largest end.
    pub counts: [u64; SECONDS_BUCKETS.len() + 1],
    /// Their sum, in microseconds.
    pub sum_us: u64,
}

impl Buckets {
    /// Adds one.
    pub fn record(&mut self, micros: u32) {
        let seconds = f64::from(micros) / 1e6;
        self.counts[SECONDS_BUCKETS.partition_point(|end| *end < seconds)] += 1;
        self.sum_us += u64::from(micros);
    }

    /// Adds what another one holds.
    pub fn add(&mut self, other: &Buckets) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.sum_us += other.sum_us;
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Text)) -> [String; 2] {
        [Format::OpenMetrics, Format::Prometheus].map(|format| {
            let mut text = Text::new(format);
            write(&mut text);
            text.end();
            text.take()
        })
    }

    #[test]
    fn each_form_names_counters_and_infos_in_its_own_way() {
        let [open, old] = both(|text| {
            text.family("a_seconds", "Help.", Sort::Counter);
            text.sample(&[("x", "1"), ("y", "2")], 1.5);
            text.family("b", "Help.", Sort::Info);
            text.sample(&[("v", "0.1")], 1.0);
        });
        let wanted = "# HELP a_seconds Help.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
            a_seconds_total{x=\"1\",y=\"2\"} 1.5\n# HELP b Help.\n# TYPE b info\n\
            b_info{v=\"0.1\"} 1\n# EOF\n";
        assert_eq!(open, wanted);
        let wanted = "# HELP a_seconds_total Help.\n# TYPE a_seconds_total counter\n\
            a_seconds_total{x=\"1\",y=\"2\"} 1.5\n# HELP b_info Help.\n# TYPE b_info gauge\n\
            b_info{v=\"0.1\"} 1\n";
        assert_eq!(old, wanted);
    }

    #[test]
    fn a_hostile_label_stays_one_label() {
        let [_, old] = both(|text| {
            text.family("a", "Help.", Sort::Gauge);
            text.sample(&[("x", "\"} 9\nb 1\\")], 0.0);
            text.sample(&[], 2.0);
        });
        assert!(old.ends_with("a{x=\"\\\"} 9\\nb 1\\\\\"} 0\na 2\n"), "{old}");
    }

    #[test]
    fn a_duration_at_the_end_of_a_bucket_is_in_it() {
        let mut buckets = Buckets::default();
        [1_000, 1_001, 70_000_000].into_iter().for_each(|micros| buckets.record(micros));
        let [open, _] = both(|text| {
            text.family("d_seconds", "Help.", Sort::Histogram);
            let sum = buckets.sum_us as f64 / 1e6;
            text.histogram(&[("t", "x")], &SECONDS_BUCKETS, &buckets.counts, sum);
        });
        for line in [
            "d_seconds_bucket{t=\"x\",le=\"0.001\"} 1\n",
            "d_seconds_bucket{t=\"x\",le=\"0.0025\"} 2\n",
            "d_seconds_bucket{t=\"x\",le=\"1.0\"} 2\n",
            "d_seconds_bucket{t=\"x\",le=\"+Inf\"} 3\n",
            "d_seconds_sum{t=\"x\"} 70.002001\nd_seconds_count{t=\"x\"} 3\n",
        ] {
            assert!(open.contains(line), "{line} is not in\n{open}");
        }
    }
}
