//! Colours, widths and times for people.
//!
//! Owns: the decision whether colours are used and how wide a line may be, and the words for
//! durations. Decided once per command and passed on, so that everything below is testable.

use std::borrow::Cow;
use std::io::IsTerminal;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::crossterm::terminal;
use ratatui::text::Span;

use crate::cli::args::ColorWhen;
use crate::sample::Verdict;

/// How output is to look.
#[derive(Clone, Debug)]
pub struct Style {
    /// True where ANSI colours are wanted.
    pub color: bool,
    /// Columns of the terminal; `None` where lines are not cut.
    pub width: Option<usize>,
    /// The zone in which times are shown to people. Programs get UTC.
    pub zone: TimeZone,
}

/// A colour of the terminal's own palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Good.
    Green,
    /// Bad.
    Red,
    /// Doubtful.
    Yellow,
    /// Neither.
    Cyan,
    /// Less important.
    Dim,
    /// More important.
    Bold,
}

impl Style {
    /// No colours, no cutting, UTC: for files, pipes and tests.
    pub fn plain() -> Style {
        Style { color: false, width: None, zone: TimeZone::UTC }
    }

    /// The style of standard output.
    pub fn stdout(when: ColorWhen) -> Style {
        let tty = std::io::stdout().is_terminal();
        let width = if tty { terminal::size().ok() } else { None };
        Style {
            color: wants_color(when, tty, |name| std::env::var(name).ok()),
            width: width.map(|(columns, _)| usize::from(columns)),
            zone: TimeZone::system(),
        }
    }

    /// `text` in this colour, or as it is.
    pub fn paint(&self, color: Color, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match color {
            Color::Green => "32",
            Color::Red => "31",
            Color::Yellow => "33",
            Color::Cyan => "36",
            Color::Dim => "2",
            Color::Bold => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The word of a verdict in capitals, coloured.
    pub fn verdict(&self, verdict: Verdict) -> String {
        self.paint(verdict_color(verdict), &verdict.name().to_uppercase())
    }

    /// A wall time in the style's zone: `2026-11-23 14:40:49`.
    pub fn time(&self, unix_ms: u64) -> String {
        self.format_time(unix_ms, "%Y-%m-%d %H:%M:%S")
    }

    /// The time of day in the style's zone: `14:40:49`.
    pub fn time_of_day(&self, unix_ms: u64) -> String {
        self.format_time(unix_ms, "%H:%M:%S")
    }

    fn format_time(&self, unix_ms: u64, format: &str) -> String {
        match timestamp(unix_ms) {
            Some(at) => at.to_zoned(self.zone.clone()).strftime(format).to_string(),
            None => "–".to_owned(),
        }
    }
}

/// The colour that stands for a verdict.
pub fn verdict_color(verdict: Verdict) -> Color {
    match verdict {
        Verdict::Up => Color::Green,
        Verdict::Down => Color::Red,
        Verdict::Unknown => Color::Yellow,
        Verdict::Pending | Verdict::Paused => Color::Dim,
    }
}

/// Whether colours are wanted: the flag decides, then NO_COLOR (no-color.org), CLICOLOR_FORCE and
/// CLICOLOR (bixense.com/clicolors), then whether a terminal that knows colours reads it.
fn wants_color(when: ColorWhen, tty: bool, env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| env(name).is_some_and(|value| !value.is_empty());
    let is = |name, wanted: &str| env(name).as_deref() == Some(wanted);
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto if set("NO_COLOR") => false,
        ColorWhen::Auto if set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0") => true,
        ColorWhen::Auto => tty && !is("TERM", "dumb") && !is("CLICOLOR", "0"),
    }
}

/// `text` without anything that moves a cursor or turns text around: control characters, line
/// breaks and bidirectional overrides (Unicode TR9) become `·`.
pub fn printable(text: &str) -> Cow<'_, str> {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}');
    let isolates = |c: char| matches!(c, '\u{2066}'..='\u{2069}');
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let bad = |c: char| breaks(c) || turns(c) || isolates(c);
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(bad, "·"))
}

/// Columns that `text` takes on a terminal.
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// `text` cut to `columns` columns, with `…` at the end where something was cut off.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut used = 0;
    for character in text.chars() {
        let wide = width(character.encode_utf8(&mut [0; 4]));
        if used + wide + 1 > columns {
            break;
        }
        used += wide;
        kept.push(character);
    }
    if columns > 0 {
        kept.push('…');
    }
    Cow::Owned(kept)
}

/// Microseconds for people: `0.38 ms`, `41.2 ms`, `1.84 s`.
pub fn duration_us(micros: u32) -> String {
    let millis = f64::from(micros) / 1_000.0;
    match micros {
        0..10_000 => format!("{millis:.2} ms"),
        10_000..1_000_000 => format!("{millis:.1} ms"),
        _ => format!("{:.2} s", millis / 1_000.0),
    }
}

/// A longer time for people, in its two largest units: `8s`, `3m 20s`, `2h 05m`, `4d 02h`.
pub fn age_ms(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m {:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h {:02}m", minutes % 60),
        _ => format!("{days}d {:02}h", hours % 24),
    }
}

/// A time for programs: RFC 3339 in UTC with milliseconds; empty for one after the year 9999.
pub fn rfc3339(unix_ms: u64) -> String {
    let format = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    timestamp(unix_ms).map(format).unwrap_or_default()
}

fn timestamp(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_flag_then_the_environment_then_the_terminal() {
        use ColorWhen::{Always, Auto, Never};
        type Env = &'static [(&'static str, &'static str)];
        let cases: &[(ColorWhen, bool, Env, bool)] = &[
            (Auto, true, &[], true),
            (Auto, false, &[], false),
            (Auto, true, &[("NO_COLOR", "1")], false),
            (Auto, true, &[("NO_COLOR", "")], true),
            (Auto, true, &[("TERM", "dumb")], false),
            (Auto, true, &[("CLICOLOR", "0")], false),
            (Auto, false, &[("CLICOLOR_FORCE", "1")], true),
            (Auto, false, &[("CLICOLOR_FORCE", "0")], false),
            (Auto, false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
            (Always, false, &[("NO_COLOR", "1")], true),
            (Never, true, &[("CLICOLOR_FORCE", "1")], false),
        ];
        for (when, tty, env, wanted) in cases {
            let find = |name: &str| {
                let pair = env.iter().find(|(known, _)| *known == name);
                pair.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(wants_color(*when, *tty, find), *wanted, "{when:?} {tty} {env:?}");
        }
    }

    #[test]
    fn hostile_text_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\r\nc\u{202e}d\u{9b}"), "a·[2Jb··c·d·");
        assert!(matches!(printable("größe 日本"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_cut_text_is_never_wider_than_asked() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn durations_keep_three_digits() {
        let shown = [0, 380, 9_999, 41_250, 999_949, 1_840_000].map(duration_us);
        let wanted = ["0.00 ms", "0.38 ms", "10.00 ms", "41.2 ms", "999.9 ms", "1.84 s"];
        assert_eq!(shown, wanted);
        let shown = [999, 8_000, 200_000, 7_500_000, 352_800_000].map(age_ms);
        assert_eq!(shown, ["0s", "8s", "3m 20s", "2h 05m", "4d 02h"]);
    }

    #[test]
    fn times_out_of_any_calendar_are_not_shown() {
        assert_eq!(Style::plain().time(1_795_444_849_000), "2026-11-23 14:40:49");
        assert_eq!(rfc3339(1_795_444_849_123), "2026-11-23T14:40:49.123Z");
        assert_eq!(Style::plain().time(u64::MAX), "–");
        assert_eq!(rfc3339(u64::MAX), "");
    }
}
