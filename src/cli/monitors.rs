//! The table of monitors.
//!
//! Owns: what `monitors` shows of each, as a table and as JSON. Leaves to others: reading the store.

use serde::{Serialize, Serializer};

use crate::cli::check_report::millis;
use crate::cli::style::{Color, Style, age_ms, duration_us, rfc3339, verdict_color};
use crate::cli::table::{self, Cell, Column};
use crate::ids::Tick;
use crate::monitor::Kind;
use crate::sample::Verdict;
use crate::sched::spread::next_due;
use crate::store::view::MonitorView;

/// One monitor and what is held to be true of it.
#[derive(Clone, Debug, Serialize)]
pub struct MonitorRow {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The sort of check.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The target as written.
    pub target: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// From due to due, in milliseconds.
    pub interval_ms: u64,
    /// Up, down, unknown, pending or paused.
    pub verdict: Verdict,
    /// Since when, in milliseconds since the Unix epoch; 0 for never. In JSON RFC 3339 or absent.
    #[serde(rename = "since", serialize_with = "time", skip_serializing_if = "is_never")]
    pub since_ms: u64,
    /// Due time of the last check; as `since_ms`.
    #[serde(rename = "last_check", serialize_with = "time", skip_serializing_if = "is_never")]
    pub last_ms: u64,
    /// How long the last check took, in microseconds; in JSON in milliseconds.
    #[serde(rename = "total_ms", serialize_with = "millis")]
    pub total_us: u32,
    /// When the next check is due; as `since_ms`. Never for one that is paused or cannot run.
    #[serde(rename = "next_due", serialize_with = "time", skip_serializing_if = "is_never")]
    pub next_due_ms: u64,
    /// The stable word of the last result.
    pub code: String,
    /// The message of the last check, or why it cannot run.
    pub message: String,
    /// Why it cannot run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl MonitorRow {
    /// The row for what the store knows, at `now_ms` (Unix time in milliseconds).
    pub fn new(view: MonitorView, now_ms: u64) -> MonitorRow {
        let runs = view.problem.is_none() && view.verdict != Verdict::Paused;
        let next_due = || next_due(view.id, view.interval_ms, Tick::at_millis(now_ms)).millis();
        let message = match &view.problem {
            Some(problem) => problem.clone(),
            None if view.message.is_empty() => view.result.unwrap_or_default().to_owned(),
            None => view.message,
        };
        MonitorRow {
            id: view.id.0,
            name: view.name,
            kind: view.kind.map_or("?", Kind::name),
            target: view.target,
            tags: view.tags,
            interval_ms: view.interval_ms,
            verdict: view.verdict,
            since_ms: view.since_ms.unwrap_or(0),
            last_ms: view.last_check_ms.unwrap_or(0),
            total_us: view.total_us.unwrap_or(0),
            next_due_ms: if runs { next_due() } else { 0 },
            code: view.result.unwrap_or_default().to_owned(),
            message,
            problem: view.problem,
        }
    }
}

const COLUMNS: [Column; 9] = [
    Column::right("ID"),
    Column::shrinking("NAME"),
    Column::left("TYPE"),
    Column::shrinking("TARGET"),
    Column::left("VERDICT"),
    Column::right("SINCE"),
    Column::right("LAST"),
    Column::right("NEXT"),
    Column::shrinking("MESSAGE"),
];

/// The table of monitors, with ages as of `now_ms` (Unix time in milliseconds) and a last line with
/// the sums.
pub fn render(rows: &[MonitorRow], now_ms: u64, style: &Style) -> String {
    if rows.is_empty() {
        return "no monitors\n".to_owned();
    }
    let cells: Vec<Vec<Cell>> = rows.iter().map(|row| cells(row, now_ms)).collect();
    let mut out = table::render(&COLUMNS, &cells, style);
    let sums = Verdict::ALL.into_iter().filter_map(|verdict| {
        let count = rows.iter().filter(|row| row.verdict == verdict).count();
        (count > 0).then(|| format!("{} {count}", verdict.name()))
    });
    let sums: Vec<String> = sums.collect();
    let line = format!("{} monitors: {}", rows.len(), sums.join(", "));
    out.push_str(&style.paint(Color::Dim, &line));
    out.push('\n');
    out
}

fn cells(row: &MonitorRow, now_ms: u64) -> Vec<Cell> {
    let since = match row.since_ms {
        0 => "–".to_owned(),
        since_ms => age_ms(now_ms.saturating_sub(since_ms)),
    };
    let last = if row.last_ms == 0 { "–".to_owned() } else { duration_us(row.total_us) };
    let next = match row.next_due_ms {
        0 => "–".to_owned(),
        next_ms => age_ms(next_ms.saturating_sub(now_ms)),
    };
    vec![
        row.id.to_string().into(),
        row.name.as_str().into(),
        row.kind.into(),
        row.target.as_str().into(),
        Cell::colored(row.verdict.name(), verdict_color(row.verdict)),
        since.into(),
        last.into(),
        next.into(),
        row.message.as_str().into(),
    ]
}

/// All monitors as one JSON array.
///
/// # Errors
///
/// None that is known: the text is always valid.
pub fn json(rows: &[MonitorRow]) -> serde_json::Result<String> {
    serde_json::to_string_pretty(rows)
}

pub(super) fn time<S: Serializer>(unix_ms: &u64, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&rfc3339(*unix_ms))
}

fn is_never(unix_ms: &u64) -> bool {
    *unix_ms == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<MonitorRow> {
        let up = MonitorRow {
            id: 1,
            name: "shop".into(),
            kind: "ping_web",
            target: "https://shop.example/".into(),
            tags: vec!["demo".into()],
            interval_ms: 60_000,
            verdict: Verdict::Up,
            since_ms: 1_000_000,
            last_ms: 1_200_000,
            total_us: 41_200,
            next_due_ms: 1_260_000,
            code: "ok".into(),
            message: "200 OK".into(),
            problem: None,
        };
        let new = MonitorRow {
            id: 12,
            name: "database".into(),
            kind: "tcp",
            target: "db:5432".into(),
            verdict: Verdict::Pending,
            since_ms: 0,
            last_ms: 0,
            message: String::new(),
            ..up.clone()
        };
        vec![up, new]
    }

    #[test]
    fn monitors_are_shown_aligned_with_their_sums() {
        let wanted = "\
ID  NAME      TYPE      TARGET                 VERDICT   SINCE     LAST  MESSAGE
 1  shop      ping_web  https://shop.example/  up       3m 20s  41.2 ms  200 OK
12  database  tcp       db:5432                pending       –        –
2 monitors: pending 1, up 1
";
        let shown = render(&rows(), 1_200_000, &Style::plain());
        assert_eq!(shown, wanted, "\n{shown}");
    }

    #[test]
    fn a_clock_behind_the_data_gives_an_age_of_zero() {
        assert!(render(&rows(), 5, &Style::plain()).contains(" 0s "));
    }

    #[test]
    fn no_monitors_are_said_in_words_and_as_an_empty_array() {
        assert_eq!(render(&[], 0, &Style::plain()), "no monitors\n");
        assert_eq!(json(&[]).unwrap(), "[]");
    }

    #[test]
    fn the_json_leaves_out_times_that_never_were() {
        let json: serde_json::Value = serde_json::from_str(&json(&rows()).unwrap()).unwrap();
        assert_eq!(json[0]["since"], "1970-01-01T00:16:40.000Z");
        assert_eq!(json[0]["total_ms"], 41.2);
        assert_eq!(json[1].get("since"), None);
        assert_eq!(json[1].get("last_check"), None);
        assert_eq!(json[1]["verdict"], "pending");
    }
}
