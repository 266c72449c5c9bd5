//! The table of one monitor's results.
//!
//! Owns: what `results` shows of each check, as a table and as JSON. Leaves to others: reading them.

use probes::{Phase, Timings};
use serde::Serialize;

use crate::cli::check_report::{millis, phases_ms};
use crate::cli::monitors::time;
use crate::cli::style::{Style, duration_us, verdict_color};
use crate::cli::table::{self, Cell, Column};
use crate::sample::Verdict;
use crate::store::view::ResultView;

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct ResultRow {
    /// When it was due, in milliseconds since the Unix epoch; in JSON RFC 3339.
    #[serde(rename = "due", serialize_with = "time")]
    pub due_ms: u64,
    /// The verdict after it.
    pub verdict: Verdict,
    /// The stable word of the result: `ok`, a failure, a fault or why it was missed.
    pub code: String,
    /// Status of the HTTP answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// How long it took, in microseconds; in JSON in milliseconds.
    #[serde(rename = "total_ms", serialize_with = "millis")]
    pub total_us: u32,
    /// Time per phase; in JSON in milliseconds, without the phases that were not reached.
    #[serde(rename = "phases_ms", serialize_with = "phases_ms")]
    pub phases: Timings,
    /// Attempts made; 0 where it never started.
    pub attempts: u8,
    /// The message; empty where it was not kept.
    pub message: String,
}

impl ResultRow {
    /// The row for a stored result and the message that was kept about it.
    pub fn new(view: ResultView, message: String) -> ResultRow {
        let phases = view.phases;
        let micros =
            [phases.resolve, phases.connect, phases.tls, phases.wait, phases.transfer];
        let mut timings = Timings::NONE;
        for (phase, micros) in Phase::ALL.into_iter().zip(micros) {
            if let Some(micros) = micros {
                timings.set_micros(phase, micros);
            }
        }
        ResultRow {
            due_ms: view.due_ms,
            verdict: view.verdict,
            code: view.result.to_owned(),
            http_status: view.http_status,
            total_us: view.total_us.unwrap_or(0),
            phases: timings,
            attempts: view.attempts,
            message,
        }
    }
}

const COLUMNS: [Column; 10] = [
    Column::left("DUE"),
    Column::left("VERDICT"),
    Column::left("RESULT"),
    Column::right("TOTAL"),
    Column::right("RESOLVE"),
    Column::right("CONNECT"),
    Column::right("TLS"),
    Column::right("WAIT"),
    Column::right("TRANSFER"),
    Column::shrinking("MESSAGE"),
];

/// The table of results, in the order given.
pub fn render(rows: &[ResultRow], style: &Style) -> String {
    if rows.is_empty() {
        return "no results\n".to_owned();
    }
    let cells: Vec<Vec<Cell>> = rows.iter().map(|row| cells(row, style)).collect();
    table::render(&COLUMNS, &cells, style)
}

fn cells(row: &ResultRow, style: &Style) -> Vec<Cell> {
    let result = match row.http_status {
        Some(status) => format!("{} {status}", row.code),
        None => row.code.clone(),
    };
    let total = if row.attempts == 0 { "–".to_owned() } else { duration_us(row.total_us) };
    let mut cells = vec![
        style.time(row.due_ms).into(),
        Cell::colored(row.verdict.name(), verdict_color(row.verdict)),
        result.into(),
        total.into(),
    ];
    let phase = |phase| row.phases.get(phase).map_or_else(|| "–".to_owned(), duration_us);
    cells.extend(Phase::ALL.map(|name| phase(name).into()));
    cells.push(row.message.as_str().into());
    cells
}

/// All results as one JSON array.
///
/// # Errors
///
/// None that is known: the text is always valid.
pub fn json(rows: &[ResultRow]) -> serde_json::Result<String> {
    serde_json::to_string_pretty(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<ResultRow> {
        let mut phases = Timings::NONE;
        phases.set_micros(Phase::Connect, 380);
        phases.set_micros(Phase::Wait, 40_820);
        let good = ResultRow {
            due_ms: 1_795_444_849_000,
            verdict: Verdict::Up,
            code: "ok".into(),
            http_status: Some(200),
            total_us: 41_200,
            phases,
            attempts: 1,
            message: String::new(),
        };
        let missed = ResultRow {
            code: "overrun".into(),
            http_status: None,
            total_us: 0,
            phases: Timings::NONE,
            attempts: 0,
            ..good.clone()
        };
        vec![good, missed]
    }

    #[test]
    fn a_missed_check_has_no_times() {
        let wanted = "\
DUE                  VERDICT  RESULT     TOTAL  RESOLVE  CONNECT  TLS     WAIT  TRANSFER  MESSAGE
2026-11-23 14:40:49  up       ok 200   41.2 ms        –  0.38 ms    –  40.8 ms         –
2026-11-23 14:40:49  up       overrun        –        –        –    –        –         –
";
        let shown = render(&rows(), &Style::plain());
        assert_eq!(shown, wanted, "\n{shown}");
        assert_eq!(render(&[], &Style::plain()), "no results\n");
    }

    #[test]
    fn the_json_has_only_the_phases_that_were_reached() {
        let json: serde_json::Value = serde_json::from_str(&json(&rows()).unwrap()).unwrap();
        assert_eq!(json[0]["phases_ms"], serde_json::json!({"connect": 0.38, "wait": 40.82}));
        assert_eq!(json[0]["due"], "2026-11-23T14:40:49.000Z");
        assert_eq!(json[1]["phases_ms"], serde_json::json!({}));
        assert_eq!(json[1].get("http_status"), None);
    }
}
