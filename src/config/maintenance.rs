//! Windows of maintenance as users write them: for whom and when.
//!
//! Owns: the keys of an entry of `maintenance:`, and whether a window is open at a moment. Checks
//! go on in a window; monitors and their changes of verdict are marked. A weekly window starts at
//! a wall time of its zone: where the clock is put forward over it, it starts with the new time,
//! and where it is put back, with the first of the two.

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use crate::limits::{MAINTENANCE_MS_MAX, MAINTENANCE_MS_MIN};
use crate::monitor::row::RowError;
use crate::monitor::row::written::{duration_ms, read_into, show_ms};

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];
const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// A window of maintenance.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Monitors with one of these tags, those that were added over the API too.
    pub tags: Vec<String>,
    /// And monitors with these names.
    pub monitors: Vec<String>,
    /// When it is open.
    pub when: When,
}

/// When a window is open.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// Once, in milliseconds since the Unix epoch; the end is not included.
    Once {
        /// Its start.
        from_ms: u64,
        /// Its end.
        to_ms: u64,
    },
    /// Every week.
    Weekly {
        /// On these days.
        days: Vec<Weekday>,
        /// From this time of the day.
        at: Time,
        /// For so long, in milliseconds.
        lasts_ms: u64,
        /// In this zone.
        zone: TimeZone,
    },
}

impl When {
    /// True where it is open at a moment, in milliseconds since the Unix epoch.
    pub fn is_open(&self, now_ms: u64) -> bool {
        self.next(now_ms, now_ms.saturating_add(1)).is_some()
    }

    /// The time in which it is open at a moment or next, when that begins before `until_ms`: start
    /// and end, in milliseconds since the Unix epoch.
    pub fn next(&self, now_ms: u64, until_ms: u64) -> Option<(u64, u64)> {
        let wanted = |&(from_ms, to_ms): &(u64, u64)| to_ms > now_ms && from_ms < until_ms;
        match self {
            When::Once { from_ms, to_ms } => Some((*from_ms, *to_ms)).filter(wanted),
            When::Weekly { days, at, lasts_ms, zone } => {
                let signed = i64::try_from(now_ms).ok()?;
                let today = Timestamp::from_millisecond(signed).ok()?.to_zoned(zone.clone()).date();
                // The earliest day whose window may still be open, and one for a put-back clock.
                let back = (lasts_ms / DAY_MS + 1) as i64;
                let ahead = (until_ms.saturating_sub(now_ms) / DAY_MS + 1) as i64;
                let dates = (-back..=ahead).filter_map(|day| today.checked_add(day.days()).ok());
                let dates = dates.filter(|date| days.contains(&date.weekday()));
                let begins = dates.filter_map(|date| starts(date.to_datetime(*at), zone));
                begins.map(|start| (start, start + lasts_ms)).find(wanted)
            }
        }
    }
}

/// A wall time of a zone, in milliseconds since the Unix epoch.
fn starts(wall: DateTime, zone: &TimeZone) -> Option<u64> {
    let at = wall.to_zoned(zone.clone()).ok()?;
    u64::try_from(at.timestamp().as_millisecond()).ok()
}

/// The keys of one window while they are read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    tags: Option<Vec<String>>,
    monitors: Option<Vec<String>>,
    days: Option<Vec<String>>,
    at: Option<String>,
    lasts: Option<String>,
    from: Option<String>,
    to: Option<String>,
    zone: Option<String>,
}

impl Draft {
    const KEYS: &'static [&'static str] =
        &["tags", "monitors", "days", "at", "lasts", "from", "to", "zone"];

    /// Sets one key from its value.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Result<(), RowError> {
        match key {
            "tags" => read_into(key, value, &mut self.tags),
            "monitors" => read_into(key, value, &mut self.monitors),
            "days" => read_into(key, value, &mut self.days),
            "at" => read_into(key, value, &mut self.at),
            "lasts" => read_into(key, value, &mut self.lasts),
            "from" => read_into(key, value, &mut self.from),
            "to" => read_into(key, value, &mut self.to),
            "zone" => read_into(key, value, &mut self.zone),
            _ => Err(RowError::unknown_key(key, Draft::KEYS)),
        }
    }

    /// The window, or everything that is wrong with it.
    pub(super) fn finish(self) -> Result<Window, Vec<RowError>> {
        let mut errors = Vec::new();
        let zone = self.zone().unwrap_or_else(|error| {
            errors.push(error);
            TimeZone::UTC
        });
        let when = if self.from.is_some() || self.to.is_some() {
            self.once(&zone, &mut errors)
        } else {
            self.weekly(zone, &mut errors)
        };
        let (tags, monitors) = (self.tags.unwrap_or_default(), self.monitors.unwrap_or_default());
        if tags.is_empty() && monitors.is_empty() {
            let fix = "write `tags`, `monitors` or both";
            errors.push(RowError::new("maintenance", "", "names nobody", fix));
        }
        match when {
            Some(when) if errors.is_empty() => Ok(Window { tags, monitors, when }),
            _ => Err(errors),
        }
    }

    fn zone(&self) -> Result<TimeZone, RowError> {
        let Some(name) = &self.zone else { return Ok(TimeZone::system()) };
        TimeZone::get(name).map_err(|_| {
            let fix = "write a name such as Europe/Berlin or UTC";
            RowError::new("zone", name, "is not a known time zone", fix)
        })
    }

    fn once(&self, zone: &TimeZone, errors: &mut Vec<RowError>) -> Option<When> {
        for (key, given) in [
            ("days", self.days.is_some()),
            ("at", self.at.is_some()),
            ("lasts", self.lasts.is_some()),
        ] {
            if given {
                let fix = "remove it, or write `days`, `at` and `lasts` without `from` and `to`";
                errors.push(RowError::new(key, "", "does not go with `from` and `to`", fix));
            }
        }
        let mut read = |key: &str, written: &Option<String>| {
            let at = written.as_deref().and_then(|text| moment(text, zone));
            if at.is_none() {
                let shown = written.as_deref().unwrap_or_default();
                let problem = if shown.is_empty() { "is missing" } else { "is not a time" };
                let fix = "write it like 2026-12-24 22:00 or 2026-12-24T22:00:00Z";
                errors.push(RowError::new(key, shown, problem, fix));
            }
            at
        };
        let (from, to) = (read("from", &self.from), read("to", &self.to));
        let (from_ms, to_ms) = (from?, to?);
        if from_ms >= to_ms {
            let shown = self.to.as_deref().unwrap_or_default();
            errors.push(RowError::new("to", shown, "is not after `from`", "write a later time"));
        }
        Some(When::Once { from_ms, to_ms })
    }

    fn weekly(&self, zone: TimeZone, errors: &mut Vec<RowError>) -> Option<When> {
        let days = self.days(errors);
        let at: Option<Time> = self.at.as_deref().and_then(|text| text.trim().parse().ok());
        if at.is_none() {
            let shown = self.at.as_deref().unwrap_or_default();
            let problem = if shown.is_empty() { "is missing" } else { "is not a time of day" };
            let fix = "write it like 02:30, in quotes; or write `from` and `to`";
            errors.push(RowError::new("at", shown, problem, fix));
        }
        let bounds = MAINTENANCE_MS_MIN..=MAINTENANCE_MS_MAX;
        let lasts = self.lasts.as_deref().and_then(duration_ms).filter(|ms| bounds.contains(ms));
        if lasts.is_none() {
            let shown = self.lasts.as_deref().unwrap_or_default();
            let problem =
                if shown.is_empty() { "is missing" } else { "is no duration within bounds" };
            let (min, max) = (show_ms(MAINTENANCE_MS_MIN), show_ms(MAINTENANCE_MS_MAX));
            errors.push(RowError::new("lasts", shown, problem, format!("write {min} to {max}")));
        }
        Some(When::Weekly { days, at: at?, lasts_ms: lasts?, zone })
    }

    /// The days, all of them where none is given.
    fn days(&self, errors: &mut Vec<RowError>) -> Vec<Weekday> {
        let Some(names) = &self.days else { return DAYS.map(|(_, day)| day).to_vec() };
        let day = |name: &String| {
            let name = name.trim().to_ascii_lowercase();
            DAYS.into_iter().find(|(known, _)| *known == name).map(|(_, day)| day)
        };
        for name in names.iter().filter(|name| day(name).is_none()) {
            let fix = format!("write some of {}", DAYS.map(|(known, _)| known).join(", "));
            errors.push(RowError::new("days", name, "is not a day", fix));
        }
        names.iter().filter_map(day).collect()
    }
}

/// A moment: with an offset of its own, or a wall time of the zone.
fn moment(text: &str, zone: &TimeZone) -> Option<u64> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return u64::try_from(at.as_millisecond()).ok();
    }
    starts(text.parse().ok()?, zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<Window, Vec<String>> {
        let mut draft = Draft::default();
        for (key, value) in values {
            draft.set(key, &Value::from(*value)).map_err(|error| vec![error.to_string()])?;
        }
        let told = |errors: Vec<RowError>| errors.iter().map(RowError::to_string).collect();
        draft.finish().map_err(told)
    }

    fn at(text: &str) -> u64 {
        moment(text, &TimeZone::UTC).unwrap()
    }

    #[test]
    fn a_window_once_is_open_from_its_start_to_before_its_end_in_its_zone() {
        let once = [
            ("monitors", "shop"),
            ("from", "2026-12-24 22:00"),
            ("to", "2026-12-25 04:00"),
            ("zone", "Europe/Berlin"),
        ];
        let when = read(&once).unwrap().when;
        for (time, open) in [
            ("2026-12-24T20:59:59Z", false),
            ("2026-12-24T21:00:00Z", true),
            ("2026-12-25T02:59:59Z", true),
            ("2026-12-25T03:00:00Z", false),
        ] {
            assert_eq!(when.is_open(at(time)), open, "{time}");
        }
    }

    #[test]
    fn a_weekly_window_goes_over_midnight_and_keeps_to_the_wall_clock_of_its_zone() {
        let weekly = [
            ("tags", "db"),
            ("days", "sat"),
            ("at", "23:00"),
            ("lasts", "3h"),
            ("zone", "Europe/Berlin"),
        ];
        let when = read(&weekly).unwrap().when;
        for (time, open) in [
            // Winter, UTC+1: Saturday 23:00 to Sunday 02:00.
            ("2026-01-10T21:59:59Z", false),
            ("2026-01-10T22:00:00Z", true),
            ("2026-01-11T00:59:59Z", true),
            ("2026-01-11T01:00:00Z", false),
            // Summer, UTC+2.
            ("2026-07-11T20:59:59Z", false),
            ("2026-07-11T21:00:00Z", true),
            ("2026-07-12T00:00:00Z", false),
            // The night in which the clock is put forward: three hours all the same.
            ("2026-03-28T22:00:00Z", true),
            ("2026-03-29T00:59:59Z", true),
            ("2026-03-29T01:00:00Z", false),
        ] {
            assert_eq!(when.is_open(at(time)), open, "{time}");
        }
    }

    #[test]
    fn the_next_time_of_a_window_is_the_one_that_is_open_or_the_first_to_come() {
        let weekly =
            [("tags", "x"), ("days", "sat"), ("at", "23:00"), ("lasts", "3h"), ("zone", "UTC")];
        let weekly = read(&weekly).unwrap().when;
        let next = |when: &When, now: &str, until: &str| when.next(at(now), at(until));
        let saturday = (at("2026-01-10T23:00:00Z"), at("2026-01-11T02:00:00Z"));
        for now in ["2026-01-05T00:00:00Z", "2026-01-10T23:30:00Z", "2026-01-11T01:59:59Z"] {
            assert_eq!(next(&weekly, now, "2026-01-12T00:00:00Z"), Some(saturday), "{now}");
        }
        assert_eq!(next(&weekly, "2026-01-11T02:00:00Z", "2026-01-17T22:00:00Z"), None);
        let once = When::Once { from_ms: at("2026-01-10T23:00:00Z"), to_ms: saturday.1 };
        assert_eq!(next(&once, "2026-01-01T00:00:00Z", "2026-01-12T00:00:00Z"), Some(saturday));
        assert_eq!(next(&once, "2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z"), None);
        assert_eq!(next(&once, "2026-01-11T02:00:00Z", "2026-01-18T00:00:00Z"), None);
    }

    #[test]
    fn a_window_of_every_day_that_starts_in_a_skipped_hour_starts_with_the_new_time() {
        let daily = [("tags", "x"), ("at", "02:30"), ("lasts", "1h"), ("zone", "Europe/Berlin")];
        let when = read(&daily).unwrap().when;
        // 02:30 is not on that clock: it is read as 03:30 summer time.
        assert!(!when.is_open(at("2026-03-29T01:29:59Z")));
        assert!(when.is_open(at("2026-03-29T01:30:00Z")));
        // Put back: the first 02:30 of two.
        assert!(when.is_open(at("2026-10-25T00:30:00Z")));
        assert!(!when.is_open(at("2026-10-25T01:30:00Z")));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        let wrong = read(&[("zone", "Mars/Olympus"), ("at", "25:00"), ("days", "someday")]);
        let wrong = wrong.unwrap_err();
        assert_eq!(
            wrong[0],
            "zone: Mars/Olympus is not a known time zone; write a name such as Europe/Berlin or UTC"
        );
        assert!(wrong[1].starts_with("days: someday is not a day; write some of mon, tue"));
        assert!(wrong[2].starts_with("at: 25:00 is not a time of day; write it like 02:30"));
        assert!(wrong[3].starts_with("lasts: is missing; write 1m to 7d"), "{}", wrong[3]);
        assert!(wrong[4].starts_with("maintenance: names nobody; write `tags`"));
        let early = [("tags", "x"), ("from", "2026-12-24 22:00"), ("to", "2026-12-24 21:00")];
        assert_eq!(
            read(&early).unwrap_err(),
            ["to: 2026-12-24 21:00 is not after `from`; write a later time"]
        );
        let both = [("tags", "x"), ("from", "2026-12-24 22:00"), ("at", "02:00")];
        assert_eq!(read(&both).unwrap_err().len(), 2);
    }
}
