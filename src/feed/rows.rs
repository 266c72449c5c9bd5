//! One row of the original's `monitor_items`, and the monitor it asks for.
//!
//! Owns: what each column means here. A row that cannot run keeps its reason, in the names of its
//! columns; whatever a row says, it harms no other.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::env::original::RowDefaults;
use crate::ids::MonitorId;
use crate::limits::NAME_BYTES_MAX;
use crate::monitor::row::{Checked, Interner, MonitorRow, RowError, check};

/// The columns that say what to check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// `id`.
    pub id: MonitorId,
    /// `name`.
    pub name: Option<String>,
    /// `enable = 1`.
    pub is_enabled: bool,
    /// `url_check`.
    pub url_check: Option<String>,
    /// `type`.
    pub kind: Option<String>,
    /// `user_id`.
    pub user_id: Option<i64>,
    /// `check_interval_seconds`.
    pub interval_s: Option<i64>,
    /// `result_valid`: texts that must be there.
    pub result_valid: Option<String>,
    /// `result_error`: texts that must not.
    pub result_error: Option<String>,
    /// `stopTo`, local time, in milliseconds as if it were UTC.
    pub stop_to_ms: Option<i64>,
    /// `forceRestart`: each change of it begins the monitor anew.
    pub force_restart: bool,
    /// Of all these columns, made by the database.
    pub hash: i64,
}

/// What a row comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What runs, or why it cannot.
    pub checked: Result<Checked, String>,
    /// When the pause ends, in milliseconds since the Unix epoch; `None` where there is none.
    pub paused_until_ms: Option<u64>,
}

impl Row {
    /// Checks the row; `defaults` fill in what the original takes from its environment.
    pub fn read(
        &self,
        defaults: &RowDefaults,
        interner: &mut Interner,
        zone: &TimeZone,
        now_ms: u64,
    ) -> Read {
        let mut row = self.written();
        defaults.fill(&mut row);
        let paused_until_ms = self.stop_to_ms.map(|at| local(at, zone)).filter(|at| *at > now_ms);
        let paused = !self.is_enabled || paused_until_ms.is_some();
        let checked = check(&row, interner).map_err(words);
        Read { checked: checked.map(|checked| Checked { paused, ..checked }), paused_until_ms }
    }

    /// The row in the engine's own keys. What is blank says nothing.
    pub fn written(&self) -> MonitorRow {
        let text = |text: &Option<String>| {
            let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        MonitorRow {
            name: text(&self.name).map(|name| plain(&name)),
            kind: text(&self.kind),
            target: text(&self.url_check),
            preset: Some("original".to_owned()),
            interval: self.interval_s.map(|seconds| seconds.to_string()),
            result_valid: text(&self.result_valid),
            result_error: text(&self.result_error),
            ..MonitorRow::default()
        }
    }
}

/// A name as the engine takes one: the original lets anything stand there.
fn plain(name: &str) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let name: String = name.chars().map(plain).collect();
    name[..name.floor_char_boundary(NAME_BYTES_MAX)].trim_end().to_owned()
}

/// The errors in the names of the columns.
fn words(errors: Vec<RowError>) -> String {
    let column = |field: String| match field.as_str() {
        "target" => "url_check".to_owned(),
        "interval" => "check_interval_seconds".to_owned(),
        _ => field,
    };
    let errors = errors.into_iter().map(|error| {
        let RowError { field, value, problem, fix } = error;
        RowError { field: column(field), value, problem, fix }.to_string()
    });
    errors.collect::<Vec<_>>().join("; ")
}

/// The moment that a clock of this zone shows; one that it skips is the next it does show.
fn local(as_if_utc_ms: i64, zone: &TimeZone) -> u64 {
    let shown = Timestamp::from_millisecond(as_if_utc_ms).unwrap_or(Timestamp::MAX);
    let zoned = TimeZone::UTC.to_datetime(shown).to_zoned(zone.clone());
    let at = zoned.map_or(Timestamp::MAX, |zoned| zoned.timestamp());
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Preset;

    const NOW: u64 = 1_767_225_600_000;

    fn row(kind: &str, target: &str) -> Row {
        Row {
            id: MonitorId(7),
            is_enabled: true,
            kind: Some(kind.into()),
            url_check: Some(target.into()),
            interval_s: Some(60),
            ..Row::default()
        }
    }

    fn read(row: &Row) -> Read {
        let defaults = RowDefaults { web_timeout_ms: Some(5_000), interval_ms: Some(90_000) };
        row.read(&defaults, &mut Interner::default(), &TimeZone::UTC, NOW)
    }

    #[test]
    fn a_row_runs_with_the_defaults_of_the_original() {
        let read = read(&row("ping_web", " example.com/x "));
        let checked = read.checked.unwrap();
        assert_eq!((checked.preset, checked.timing.interval_ms), (Preset::Original, 60_000));
        assert_eq!((checked.timing.timeout_ms, checked.timing.retries), (5_000, 2));
        assert_eq!((checked.paused, checked.about.name.as_str()), (false, "example.com/x"));
    }

    #[test]
    fn an_interval_of_nothing_is_the_default_and_none_at_all_the_original_s() {
        let interval = |interval_s| {
            let row = Row { interval_s, ..row("tcp", "example.com:80") };
            read(&row).checked.unwrap().timing.interval_ms
        };
        assert_eq!(
            [Some(0), Some(-5), Some(7), None].map(interval),
            [90_000, 90_000, 7_000, 360_000]
        );
    }

    #[test]
    fn a_bad_row_keeps_its_reasons_in_the_names_of_its_columns() {
        let bad = read(&Row { interval_s: Some(i64::MAX), ..row("dns", "  ") });
        let problem = bad.checked.unwrap_err();
        for part in ["type: dns is not a type", "url_check: is missing", "check_interval_seconds:"]
        {
            assert!(problem.contains(part), "{part} in {problem}");
        }
        let secret = read(&row("tcp", "http://u:s3cret@example.com/x"));
        assert!(!secret.checked.unwrap_err().contains("s3cret"));
    }

    #[test]
    fn a_name_is_taken_whatever_stands_in_it() {
        let name = |name: &str| {
            let row = Row { name: Some(name.into()), ..row("tcp", "example.com:80") };
            read(&row).checked.unwrap().about.name
        };
        assert_eq!(name("a\nb\t "), "a b");
        assert_eq!(name(" "), "example.com:80");
        assert_eq!(name(&"ü".repeat(255)).len(), 254);
    }

    #[test]
    fn a_row_is_paused_until_its_local_time_and_while_it_is_disabled() {
        let zone = TimeZone::fixed(jiff::tz::offset(7));
        let paused = |stop_to_ms: i64| {
            let row = Row { stop_to_ms: Some(stop_to_ms), ..row("tcp", "example.com:80") };
            let read = row.read(&RowDefaults::default(), &mut Interner::default(), &zone, NOW);
            (read.checked.unwrap().paused, read.paused_until_ms)
        };
        let seven_hours = 7 * 3_600 * 1_000;
        assert_eq!(paused(NOW as i64 + seven_hours), (false, None));
        assert_eq!(paused(NOW as i64 + seven_hours + 1), (true, Some(NOW + 1)));
        assert!(paused(i64::MAX).0);
        let disabled = Row { is_enabled: false, ..row("tcp", "example.com:80") };
        assert!(read(&disabled).checked.unwrap().paused);
    }

    #[test]
    fn texts_to_look_for_are_those_between_the_commas() {
        let row = Row { result_valid: Some("a, b,,".into()), ..row("web_content", "http://h/") };
        assert!(read(&row).checked.is_ok());
        // Columns of other types are left alone, as in the original.
        let row = Row { result_error: Some("x".into()), ..self::row("tcp", "h:80") };
        assert!(read(&row).checked.is_ok());
    }
}
