//! When a person may be told: times of the day in a zone, and a stop until a time.
//!
//! Owns: the original's column values `alert_time_ranges`, `timezone` and `global_stop_alert_to`,
//! made right: a range may go past midnight, `5:30` is half past five, and what falls into a quiet
//! time is told at its end instead of never. Pure.

use jiff::civil::Time;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::Person;

/// The time at which this person may be told next; `None` for now.
pub fn quiet_until(person: &Person, now_ms: u64) -> Option<u64> {
    if let Some(until) = person.silent_until_ms.filter(|until| *until > now_ms) {
        return Some(until);
    }
    let ranges: Vec<(Time, Time)> = person.ranges.split(',').filter_map(range).collect();
    if ranges.is_empty() {
        return None;
    }
    let zone = zone(person.zone.as_deref())?;
    let now = Timestamp::from_millisecond(i64::try_from(now_ms).ok()?).ok()?.to_zoned(zone);
    let time = now.time().with().second(0).subsec_nanosecond(0).build().ok()?;
    if ranges.iter().any(|(from, to)| is_within(time, *from, *to)) {
        return None;
    }
    let start = |from: Time| {
        let today = now.date().to_datetime(from).to_zoned(now.time_zone().clone()).ok()?;
        if today > now {
            return Some(today);
        }
        let tomorrow = now.date().checked_add(1.day()).ok()?;
        tomorrow.to_datetime(from).to_zoned(now.time_zone().clone()).ok()
    };
    let next = ranges.iter().filter_map(|(from, _)| start(*from)).min()?;
    u64::try_from(next.timestamp().as_millisecond()).ok()
}

/// Both ends belong to a range, whole minutes each. One that ends before it starts goes past
/// midnight.
fn is_within(time: Time, from: Time, to: Time) -> bool {
    if from <= to { from <= time && time <= to } else { time >= from || time <= to }
}

/// `HH:MM-HH:MM`; what is no such thing is left out, as in the original.
fn range(text: &str) -> Option<(Time, Time)> {
    let (from, to) = text.split_once('-')?;
    let time = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
    };
    Some((time(from)?, time(to)?))
}

/// The zone of a number of the original, or of a name. `None` where there is no such zone: then
/// nothing is held back.
fn zone(text: Option<&str>) -> Option<TimeZone> {
    let text = text.unwrap_or("7").trim();
    let name = match text {
        "7" => "Asia/Ho_Chi_Minh",
        "0" => "UTC",
        "8" => "Asia/Shanghai",
        "9" => "Asia/Tokyo",
        "6" => "Asia/Dhaka",
        "-5" => "America/New_York",
        "-8" => "America/Los_Angeles",
        "-6" => "America/Chicago",
        "1" => "Europe/Berlin",
        "2" => "Europe/Helsinki",
        "3" => "Europe/Moscow",
        "4" => "Asia/Dubai",
        "5" => "Asia/Karachi",
        "10" => "Australia/Sydney",
        other => match other.parse::<f64>() {
            Ok(hours) => return fixed(hours),
            Err(_) => other,
        },
    };
    TimeZone::get(name).ok()
}

fn fixed(hours: f64) -> Option<TimeZone> {
    let seconds = (hours * 3_600.0).round();
    let within = seconds.abs() <= 18.0 * 3_600.0;
    let offset = within.then(|| SignedDuration::from_secs(seconds as i64))?;
    Offset::try_from(offset).ok().map(TimeZone::fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(ranges: &str, zone: Option<&str>, now: &str) -> Option<String> {
        let person = Person {
            ranges: ranges.to_owned(),
            zone: zone.map(str::to_owned),
            ..Person::default()
        };
        let now: Timestamp = now.parse().unwrap();
        let until = quiet_until(&person, now.as_millisecond() as u64)?;
        Some(Timestamp::from_millisecond(until as i64).unwrap().to_string())
    }

    #[test]
    fn a_range_holds_with_both_its_ends() {
        let at = |time: &str| until("08:00-17:30", Some("0"), &format!("2026-03-02T{time}Z"));
        assert_eq!(at("08:00:00"), None);
        assert_eq!(at("17:30:59"), None);
        assert_eq!(at("17:31:00").as_deref(), Some("2026-03-03T08:00:00Z"));
        assert_eq!(at("07:59:59").as_deref(), Some("2026-03-02T08:00:00Z"));
    }

    #[test]
    fn a_range_may_go_past_midnight_and_hours_need_no_zero() {
        let at = |time: &str| until("22:00-6:30", Some("0"), &format!("2026-03-02T{time}:00Z"));
        assert_eq!(at("23:59"), None);
        assert_eq!(at("00:00"), None);
        assert_eq!(at("06:30"), None);
        assert_eq!(at("06:31").as_deref(), Some("2026-03-02T22:00:00Z"));
    }

    #[test]
    fn the_number_of_a_zone_is_the_originals_and_others_are_fixed() {
        // 01:00 UTC is 08:00 in Vietnam, also where no number is given.
        assert_eq!(until("08:00-09:00", None, "2026-03-02T01:00:00Z"), None);
        assert_eq!(until("08:00-09:00", Some("7"), "2026-03-02T01:00:00Z"), None);
        // Summer time in Berlin.
        assert_eq!(until("10:00-10:00", Some("1"), "2026-07-01T08:00:00Z"), None);
        assert_eq!(until("10:00-10:00", Some("1"), "2026-01-01T09:00:00Z"), None);
        assert_eq!(until("05:30-05:30", Some("5.5"), "2026-01-01T00:00:00Z"), None);
        assert_eq!(until("21:00-21:00", Some("-3"), "2026-01-01T00:00:00Z"), None);
    }

    #[test]
    fn quiet_ends_right_on_the_night_that_lacks_the_hour() {
        // 02:30 does not exist in Berlin on that night; the range starts when it would have.
        let ends = until("02:30-04:00", Some("Europe/Berlin"), "2026-03-29T00:00:00Z");
        assert_eq!(ends.as_deref(), Some("2026-03-29T01:30:00Z"));
    }

    #[test]
    fn nonsense_holds_nothing_back_and_a_stop_holds_everything() {
        assert_eq!(until("always", Some("0"), "2026-03-02T01:00:00Z"), None);
        assert_eq!(until("08:00-09:00", Some("Mars/Base"), "2026-03-02T01:00:00Z"), None);
        let person = Person { silent_until_ms: Some(9_000), ..Person::default() };
        assert_eq!(quiet_until(&person, 8_999), Some(9_000));
        assert_eq!(quiet_until(&person, 9_000), None);
    }
}
