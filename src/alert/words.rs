//! What people read: title and text of a notice, and the original's texts.
//!
//! Owns: the words. Plain text here; a channel that knows markup escapes what it puts in. Times
//! are those of this host's zone, as in the original.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::notice::{Event, Group, Notice};

/// One line that says it.
pub fn title(notice: &Notice) -> String {
    let name = &notice.facts.name;
    match notice.event {
        Event::Down => format!("DOWN: {name}"),
        Event::StillDown => format!("STILL DOWN: {name}"),
        Event::Up => format!("UP: {name}"),
        Event::Flapping => format!("FLAPPING: {name}"),
        Event::Gone => format!("NO LONGER WATCHED: {name}"),
        Event::ManyDown => format!("DOWN: {name} together"),
        Event::ManyStillDown => match &notice.group {
            Some(group) => {
                format!("STILL DOWN: {} of {} monitors", group.down - group.up, group.down)
            }
            None => format!("STILL DOWN: {name}"),
        },
        Event::ManyUp => match &notice.group {
            Some(group) if group.up < group.down => {
                format!("UP: {} of {} monitors", group.up, group.down)
            }
            _ => format!("UP: {name} again"),
        },
        Event::Isolated => "The engine is cut off".to_owned(),
        Event::Connected => "The engine is no longer cut off".to_owned(),
        Event::Expired => "Notices were given up".to_owned(),
        Event::Test => "Test".to_owned(),
    }
}

/// The lines below the title.
pub fn text(notice: &Notice) -> String {
    let mut lines = Vec::new();
    let facts = &notice.facts;
    if notice.monitor != 0 || notice.event == Event::Test {
        lines.push(facts.target.clone());
    }
    if !notice.message.is_empty() {
        lines.push(notice.message.clone());
    }
    match notice.event {
        Event::StillDown => lines.push(format!("{} checks failed in a row", notice.failures)),
        Event::Up if notice.total_us > 0 => {
            lines.push(format!("Response time: {:.2} ms", millis(notice.total_us)));
        }
        _ => {}
    }
    if let Some(group) = &notice.group {
        lines.push(group_text(group));
    }
    let lasted = [Event::Up, Event::StillDown, Event::ManyStillDown, Event::ManyUp, Event::Gone];
    if lasted.contains(&notice.event) {
        let lasted = notice.at_ms.saturating_sub(notice.since_ms);
        lines.push(format!("Down for {}, since {}", span(lasted), local_time(notice.since_ms)));
    } else {
        lines.push(format!("Since {}", local_time(notice.since_ms)));
    }
    if !facts.tags.is_empty() {
        lines.push(format!("Tags: {}", facts.tags.join(", ")));
    }
    lines.join("\n")
}

/// Numbers, what they share and who they are.
pub fn group_text(group: &Group) -> String {
    let mut lines = vec![format!("{} down, {} of them up again", group.down, group.up)];
    if !group.causes.is_empty() {
        lines.push(format!("In common: {}", group.causes.join(", ")));
    }
    for (name, target) in &group.members {
        match name == target {
            true => lines.push(format!("- {name}")),
            false => lines.push(format!("- {name} ({target})")),
        }
    }
    let left = group.down.saturating_sub(group.up) as usize;
    if left > group.members.len() && !group.members.is_empty() {
        lines.push(format!("… and {} more", left - group.members.len()));
    }
    lines.join("\n")
}

/// `YYYY-MM-DD HH:MM:SS` in the zone of this host.
pub fn local_time(unix_ms: u64) -> String {
    formatted(unix_ms * 1_000, "%Y-%m-%d %H:%M:%S")
}

/// `YYYY-MM-DDTHH:MM:SS.ffffff` in the zone of this host, without the zone: the original's form.
pub fn local_iso(unix_us: u64) -> String {
    formatted(unix_us, "%Y-%m-%dT%H:%M:%S.%6f")
}

/// RFC 3339 in UTC.
pub fn rfc3339(unix_ms: u64) -> String {
    timestamp(unix_ms * 1_000).to_string()
}

fn formatted(unix_us: u64, form: &str) -> String {
    timestamp(unix_us).to_zoned(TimeZone::system()).strftime(form).to_string()
}

fn timestamp(unix_us: u64) -> Timestamp {
    i64::try_from(unix_us)
        .ok()
        .and_then(|us| Timestamp::from_microsecond(us).ok())
        .unwrap_or_default()
}

/// The original's words for an interval.
pub fn interval(interval_ms: u64) -> String {
    let seconds = interval_ms / 1_000;
    match seconds {
        86_400.. => format!("{:.1}d", seconds as f64 / 86_400.0),
        3_600.. => format!("{:.1}h", seconds as f64 / 3_600.0),
        60.. => format!("{:.0}m", seconds as f64 / 60.0),
        _ => format!("{seconds}s"),
    }
}

/// A span of time in its two largest units.
fn span(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        86_400.. => format!("{days}d {hours}h"),
        3_600.. => format!("{hours}h {minutes}m"),
        60.. => format!("{minutes}m {}s", seconds % 60),
        _ => format!("{seconds}s"),
    }
}

/// Milliseconds of microseconds.
pub fn millis(micros: u32) -> f64 {
    f64::from(micros) / 1_000.0
}

/// The page of a monitor in the original's web interface.
pub fn admin_url(domain: &str, monitor: u64) -> String {
    format!("https://{domain}/member/monitor-item/edit/{monitor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_read_as_in_the_original() {
        let of = |seconds: u64| interval(seconds * 1_000);
        assert_eq!([12, 60, 90, 360].map(of), ["12s", "1m", "2m", "6m"]);
        assert_eq!([3_600, 5_400, 86_400].map(of), ["1.0h", "1.5h", "1.0d"]);
    }

    #[test]
    fn a_group_says_what_is_shared_and_how_many_it_does_not_name() {
        let group = Group {
            down: 90,
            up: 0,
            causes: vec!["addresses 10.77.3.0/24".into()],
            members: vec![("a".into(), "10.77.3.1:80".into())],
        };
        assert_eq!(
            group_text(&group),
            "90 down, 0 of them up again\nIn common: addresses 10.77.3.0/24\n\
             - a (10.77.3.1:80)\n… and 89 more"
        );
    }
}
