//! Histograms written to a folder: logs, percentile text, JSON and pictures.
//!
//! Owns: the names of the files and how they are replaced. Every file but the growing log is
//! written beside itself and renamed, so that a reader never sees half of one. Blocks.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Series, log, plot, text};
use crate::limits::HIST_LOG_BYTES_MAX;

/// Everything since the start as an interval log with one interval.
const WHOLE: &str = "since-start.hlog";
/// One stretch after the other as an interval log.
const INTERVALS: &str = "intervals.hlog";

/// Writes what was measured over one stretch of time: a log, JSON, percentile text for each series
/// and a picture for each subject and one that compares them.
///
/// # Errors
///
/// The system's, with the path.
pub fn write_whole(folder: &Path, all: &[Series]) -> io::Result<()> {
    fs::create_dir_all(folder).map_err(|error| named(folder, error))?;
    let start_ms = all.iter().map(|series| series.from_ms).min().unwrap_or(0);
    replace(&folder.join(WHOLE), &(log::head(start_ms) + &log::lines(all)))?;
    let told: Vec<Value> = all.iter().map(text::json).collect();
    replace(&folder.join("histograms.json"), &format!("{:#}\n", Value::Array(told)))?;
    for series in all {
        let file = folder.join(format!("{}.hgrm", file_name(&series.tag)));
        replace(&file, &text::hgrm(&series.durations))?;
    }
    for (name, picture) in pictures(all) {
        replace(&folder.join(format!("{}.svg", file_name(&name))), &picture)?;
    }
    Ok(())
}

/// One picture for each subject with a curve for each measure, and one with the total of each
/// subject; each with its name.
pub fn pictures(all: &[Series]) -> Vec<(String, String)> {
    let mut by_subject: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    let mut totals = Vec::new();
    for series in all {
        let (subject, measure, shard) = series.parts();
        let name = |word: &str| [word, shard].join(" ").trim().to_owned();
        by_subject.entry(subject).or_default().push((name(measure), &series.durations));
        if measure == "total" {
            totals.push((name(subject), &series.durations));
        }
    }
    let one = |(subject, curves): (&str, Vec<_>)| (subject.to_owned(), plot::svg(subject, &curves));
    let mut pictures: Vec<_> = by_subject.into_iter().map(one).collect();
    pictures.push(("total".to_owned(), plot::svg("total by type", &totals)));
    pictures
}

/// Adds one interval to the growing log; past its bound the log is kept once under another name
/// and begun anew.
///
/// # Errors
///
/// The system's, with the path.
pub fn append_interval(folder: &Path, all: &[Series]) -> io::Result<()> {
    fs::create_dir_all(folder).map_err(|error| named(folder, error))?;
    let path = folder.join(INTERVALS);
    let grown = fs::metadata(&path).map_or(0, |found| found.len());
    if grown > HIST_LOG_BYTES_MAX {
        let old = folder.join(format!("{INTERVALS}.1"));
        fs::rename(&path, &old).map_err(|error| named(&old, error))?;
    }
    let opened = OpenOptions::new().append(true).create(true).open(&path);
    let mut file = opened.map_err(|error| named(&path, error))?;
    let mut text = log::lines(all);
    if file.metadata().map_err(|error| named(&path, error))?.len() == 0 {
        let start_ms = all.first().map_or(0, |series| series.from_ms);
        text.insert_str(0, &log::head(start_ms));
    }
    file.write_all(text.as_bytes()).map_err(|error| named(&path, error))
}

/// Writes `text` to `path`, whole or not at all.
///
/// # Errors
///
/// The system's, with the path.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| named(path, error))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A tag as a name for a file: letters, digits, `_`, `-` and `.`, and no dot in front.
fn file_name(tag: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let name: String = tag.chars().map(|c| if good(c) { c } else { '-' }).collect();
    name.trim_start_matches('.').chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latency::durations;

    fn series(tag: &str, from_ms: u64) -> Series {
        let mut durations = durations();
        durations.saturating_record(1_500);
        Series { tag: tag.into(), from_ms, length_ms: 1_000, durations }
    }

    #[test]
    fn intervals_follow_each_other_in_one_log() {
        let folder = tempfile::tempdir().unwrap();
        let all = [series("tcp:total", 1_000), series("tcp:total", 2_000)];
        append_interval(folder.path(), &all[..1]).unwrap();
        append_interval(folder.path(), &all[1..]).unwrap();
        let text = fs::read(folder.path().join(INTERVALS)).unwrap();
        assert_eq!(log::read(&text).unwrap(), all);
    }

    #[test]
    fn a_whole_dump_has_every_form() {
        let folder = tempfile::tempdir().unwrap();
        let deeper = folder.path().join("hist");
        write_whole(&deeper, &[series("tcp:total", 5), series("../x:lag:shard-0", 5)]).unwrap();
        let mut names: Vec<_> = fs::read_dir(&deeper)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let wanted = [
            "-x-lag-shard-0.hgrm",
            "-x.svg",
            "histograms.json",
            "since-start.hlog",
            "tcp-total.hgrm",
            "tcp.svg",
            "total.svg",
        ];
        assert_eq!(names, wanted);
    }
}
