//! `engine hist`: latency histograms of a running engine or of logs, shown, written, added up and
//! compared.
//!
//! Owns: where they are read from, and the tables. A running engine is asked for a log, so that
//! files and engines take the same way.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::args::{
    HistArgs, HistCommand, HistDiff, HistDump, HistMerge, HistShow, RemoteArgs, SeriesArgs,
};
use crate::cli::look::hours_of;
use crate::cli::remote::Remote;
use crate::cli::settle::{Refusal, failed};
use crate::cli::style::{Color, Style, duration_us, printable};
use crate::cli::table::{self, Cell, Column};
use crate::cli::{exit, json as as_json};
use crate::clock::wall_millis;
use crate::hist::{Series, Wanted, dump, log, merge, text};
use crate::limits::HIST_ANSWER_BYTES_MAX;
use crate::metrics::latency::{Durations, Measure};

/// The quantiles that a comparison shows, with their names.
const COMPARED: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
/// A change from which on a line of a comparison is marked.
const MARKED_FROM: f64 = 0.1;
/// Widest bar, in columns.
const BAR_COLUMNS: usize = 50;

/// Does what was asked; returns the exit code.
pub fn run(args: &HistArgs, style: &Style) -> u8 {
    let done = match &args.what {
        HistCommand::Show(show) => self::show(show, style),
        HistCommand::Dump(dump) => self::dump(dump),
        HistCommand::Merge(merge) => self::merge_logs(merge),
        HistCommand::Diff(diff) => self::diff(diff, style),
    };
    match done {
        Ok(text) => {
            print!("{text}");
            exit::OK
        }
        Err(Refusal { code, text }) => {
            eprintln!("{text}");
            code
        }
    }
}

/// The chosen series of logs, or of the running engine where no log is named.
fn read(
    files: &[PathBuf],
    chosen: &SeriesArgs,
    remote: &RemoteArgs,
) -> Result<Vec<Series>, Refusal> {
    let measure = chosen.measure.as_deref();
    if measure.is_some_and(|name| Measure::from_name(name).is_none()) {
        let names = Measure::ALL.map(Measure::name).join(", ");
        return Err(Refusal {
            code: exit::USAGE,
            text: format!("error: --measure: write one of {names}"),
        });
    }
    let mut all = if files.is_empty() {
        let by = if chosen.by_shard { "?by=shard" } else { "" };
        let path = format!("/api/v1/histograms{by}");
        let body = Remote::of(&remote.into())?.get(&path, HIST_ANSWER_BYTES_MAX)?;
        log::read(&body).map_err(failed)?
    } else {
        read_logs(files)?
    };
    if !chosen.by_shard {
        for series in &mut all {
            let (subject, measure, shard) = series.parts();
            if !shard.is_empty() {
                series.tag = format!("{subject}:{measure}");
            }
        }
    }
    let wanted = Wanted { subject: chosen.subject.clone(), measure: chosen.measure.clone() };
    all.retain(|series| wanted.fits(series));
    merged(all)
}

fn read_logs(files: &[PathBuf]) -> Result<Vec<Series>, Refusal> {
    let mut all = Vec::new();
    for file in files {
        let told = |error: String| failed(format!("{}: {error}", file.display()));
        let bytes = fs::read(file).map_err(|error| told(error.to_string()))?;
        all.extend(log::read(&bytes).map_err(told)?);
    }
    Ok(all)
}

fn merged(all: Vec<Series>) -> Result<Vec<Series>, Refusal> {
    merge(all).map_err(|tag| {
        failed(format!("{tag}: its histograms have other bounds; they do not add up without loss"))
    })
}

fn show(args: &HistShow, style: &Style) -> Result<String, Refusal> {
    let all = match &args.monitor {
        Some(name) => {
            let to_ms = args.to.unwrap_or_else(wall_millis);
            let one = hours_of(&args.remote.data_dir, name, args.from, to_ms).map_err(failed)?;
            Vec::from_iter(Some(one).filter(|one| !one.durations.is_empty()))
        }
        None => read(&args.files, &args.series, &args.remote)?,
    };
    if args.json {
        let told: Vec<Value> = all.iter().map(text::json).collect();
        return as_json(&told).map(|text| text + "\n").map_err(failed);
    }
    if all.is_empty() {
        return Ok("nothing recorded\n".to_owned());
    }
    let mut out = table_of(&all, style);
    if let [one] = &all[..] {
        out.push('\n');
        out.push_str(&bars(&one.durations, style));
    }
    Ok(out)
}

fn table_of(all: &[Series], style: &Style) -> String {
    let columns = [
        Column::left("SUBJECT"),
        Column::left("MEASURE"),
        Column::left("SHARD"),
        Column::right("COUNT"),
        Column::right("MIN"),
        Column::right("P50"),
        Column::right("P90"),
        Column::right("P99"),
        Column::right("P99.9"),
        Column::right("MAX"),
        Column::right("MEAN"),
    ];
    let by_shard = all.iter().any(|series| !series.parts().2.is_empty());
    let keep = |at: usize| by_shard || at != 2;
    let rows = all.iter().map(|series| {
        let (subject, measure, shard) = series.parts();
        let durations = &series.durations;
        let quantile = |quantile| micros(durations.value_at_quantile(quantile));
        let cells: [Cell; 11] = [
            subject.into(),
            measure.into(),
            shard.trim_start_matches("shard-").into(),
            durations.len().to_string().into(),
            micros(durations.min()).into(),
            quantile(0.5).into(),
            quantile(0.9).into(),
            quantile(0.99).into(),
            quantile(0.999).into(),
            micros(durations.max()).into(),
            micros(durations.mean() as u64).into(),
        ];
        kept(cells, keep)
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    table::render(&kept(columns, keep), &rows, style)
}

fn kept<T, const N: usize>(all: [T; N], keep: impl Fn(usize) -> bool) -> Vec<T> {
    all.into_iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, one)| one).collect()
}

/// A line for each step of 1, 2, 5, 10 and so on that holds anything.
fn bars(durations: &Durations, style: &Style) -> String {
    let ends = (0..10).flat_map(|power| [1, 2, 5].map(|step| step * 10_u64.pow(power)));
    let mut steps = Vec::new();
    let mut below = 0;
    for end in ends {
        let upto = durations.count_between(0, end);
        steps.push((end, upto - below));
        below = upto;
    }
    let first = steps.iter().position(|(_, count)| *count > 0).unwrap_or(0);
    let last = steps.iter().rposition(|(_, count)| *count > 0).unwrap_or(0);
    let most = steps.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let mut out = String::new();
    for (end, count) in &steps[first..=last] {
        let eighths = (*count as f64 / most as f64 * 8.0 * BAR_COLUMNS as f64).ceil() as usize;
        let mut bar = "█".repeat(eighths / 8);
        bar.extend("▏▎▍▌▋▊▉".chars().nth((eighths % 8).wrapping_sub(1)));
        let bar = style.paint(Color::Cyan, &bar);
        let _ = writeln!(out, "{:>10}  {count:>10}  {bar}", format!("≤ {}", micros(*end)));
    }
    out
}

fn micros(micros: u64) -> String {
    duration_us(u32::try_from(micros).unwrap_or(u32::MAX))
}

fn dump(args: &HistDump) -> Result<String, Refusal> {
    let all = read(&args.files, &args.series, &args.remote)?;
    dump::write_whole(&args.dir, &all).map_err(failed)?;
    Ok(format!("{} series written to {}\n", all.len(), args.dir.display()))
}

fn merge_logs(args: &HistMerge) -> Result<String, Refusal> {
    let all = merged(read_logs(&args.files)?)?;
    let start_ms = all.iter().map(|series| series.from_ms).min().unwrap_or(0);
    let text = log::head(start_ms) + &log::lines(&all);
    dump::replace(&args.output, &text).map_err(failed)?;
    Ok(format!("{} series written to {}\n", all.len(), args.output.display()))
}

/// One quantile of one series before and after.
struct Change<'a> {
    tag: &'a str,
    quantile: &'static str,
    before: u64,
    after: u64,
}

impl Change<'_> {
    /// After over before, less one.
    fn ratio(&self) -> f64 {
        self.after as f64 / self.before.max(1) as f64 - 1.0
    }
}

fn diff(args: &HistDiff, style: &Style) -> Result<String, Refusal> {
    let remote = RemoteArgs::default();
    let side = |file: &PathBuf| read(std::slice::from_ref(file), &args.series, &remote);
    let (before, after) = (side(&args.before)?, side(&args.after)?);
    let pairs = before.iter().filter_map(|old| {
        let new = after.iter().find(|new| new.tag == old.tag)?;
        Some((old, new))
    });
    let changes: Vec<Change> = pairs.flat_map(|(old, new)| compared(old, new)).collect();
    if args.json {
        let told = changes.iter().map(|change| {
            json!({
                "series": change.tag,
                "quantile": change.quantile,
                "before_us": change.before,
                "after_us": change.after,
                "change": change.ratio(),
            })
        });
        return as_json(&told.collect::<Vec<_>>()).map(|text| text + "\n").map_err(failed);
    }
    let mut out = compared_table(&changes, style);
    let alone = |these: &[Series], those: &[Series], file: &PathBuf| {
        let lone = these.iter().filter(|one| those.iter().all(|other| other.tag != one.tag));
        let name = file.display();
        lone.map(|one| format!("only in {name}: {}\n", printable(&one.tag))).collect::<String>()
    };
    out.push_str(&alone(&before, &after, &args.before));
    out.push_str(&alone(&after, &before, &args.after));
    Ok(out)
}

fn compared<'a>(old: &'a Series, new: &Series) -> Vec<Change<'a>> {
    let change = |(name, quantile): (&'static str, f64)| Change {
        tag: &old.tag,
        quantile: name,
        before: old.durations.value_at_quantile(quantile),
        after: new.durations.value_at_quantile(quantile),
    };
    COMPARED.into_iter().map(change).collect()
}

fn compared_table(changes: &[Change<'_>], style: &Style) -> String {
    let columns = [
        Column::left("SERIES"),
        Column::left("QUANTILE"),
        Column::right("BEFORE"),
        Column::right("AFTER"),
        Column::right("CHANGE"),
    ];
    let rows = changes.iter().map(|change| {
        let ratio = change.ratio();
        let text = format!("{:+.0} %", ratio * 100.0);
        let shown = match ratio {
            _ if ratio >= MARKED_FROM => Cell::colored(text, Color::Red),
            _ if ratio <= -MARKED_FROM => Cell::colored(text, Color::Green),
            _ => text.as_str().into(),
        };
        let name = if change.quantile == COMPARED[0].0 { change.tag } else { "" };
        vec![
            name.into(),
            change.quantile.into(),
            micros(change.before).into(),
            micros(change.after).into(),
            shown,
        ]
    });
    table::render(&columns, &rows.collect::<Vec<_>>(), style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latency::durations;

    fn series(tag: &str, values: impl Iterator<Item = u64>) -> Series {
        let mut durations = durations();
        values.for_each(|value| durations.saturating_record(value));
        Series { tag: tag.into(), from_ms: 0, length_ms: 1_000, durations }
    }

    #[test]
    fn bars_are_as_long_as_there_are_durations_in_each_step() {
        let one = series("a", [900, 1_500, 1_500, 30_000].into_iter());
        let bars = bars(&one.durations, &Style::plain());
        let lines: Vec<&str> = bars.lines().collect();
        assert_eq!(lines.len(), 6, "from 1 ms to 50 ms without a gap: {bars}");
        let bar = |line: &str| line.chars().filter(|c| *c == '█').count();
        assert_eq!(lines.iter().map(|line| bar(line)).collect::<Vec<_>>(), [25, 50, 0, 0, 0, 25]);
        assert!(lines[0].starts_with(" ≤ 1.00 ms           1  "), "{bars}");
    }

    #[test]
    fn a_comparison_says_by_how_much_each_quantile_moved() {
        let old = series("tcp:total", (1..=100).map(|value| value * 1_000));
        let new = series("tcp:total", (1..=100).map(|value| value * 1_500));
        let table = compared_table(&compared(&old, &new), &Style::plain());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 1 + COMPARED.len());
        assert!(lines[1].starts_with("tcp:total  p50"), "{table}");
        for line in &lines[1..] {
            // Durations are kept within 1 %.
            let near = ["+49 %", "+50 %", "+51 %"].iter().any(|end| line.ends_with(end));
            assert!(near, "{table}");
        }
    }
}
