//! The table of one monitor's results.
//!
//! Owns: what `results` shows of each check. Leaves to others: reading them (`store`).

use std::fmt::Write;

use serde::Serialize;

use crate::cli::style::{Color, Style, duration_us, printable, verdict_color};
use crate::cli::table::{self, Cell, Column};
use crate::store::view::{Evidence, ResultView};

/// What is known of one monitor's checks; `--json` prints it as it is.
#[derive(Clone, Debug, Serialize)]
pub struct ResultsPage {
    /// The monitor's number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The checks, in the order in which they are shown.
    pub results: Vec<ResultView>,
    /// Words about its failures: each is shown with the results of its time and code.
    pub evidence: Vec<Evidence>,
    /// What is stored and could not be read.
    pub damaged: Vec<String>,
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

/// The table of results, and a line for each stored thing that could not be read.
pub fn render(page: &ResultsPage, style: &Style) -> String {
    let mut out = if page.results.is_empty() {
        "no results\n".to_owned()
    } else {
        let rows = page.results.iter().map(|result| cells(result, &page.evidence, style));
        table::render(&COLUMNS, &rows.collect::<Vec<_>>(), style)
    };
    for damaged in &page.damaged {
        let line = format!("not readable: {}", printable(damaged));
        let _ = writeln!(out, "{}", style.paint(Color::Yellow, &line));
    }
    out
}

fn cells(result: &ResultView, evidence: &[Evidence], style: &Style) -> Vec<Cell> {
    let word = match result.http_status {
        Some(status) => format!("{} {status}", result.result),
        None => result.result.to_owned(),
    };
    let time = |micros: Option<u32>| micros.map_or_else(|| "–".to_owned(), duration_us);
    let started = (result.attempts > 0).then_some(result.total_us).flatten();
    let phases = &result.phases;
    let about = evidence.iter().find(|evidence| {
        evidence.code == result.code
            && (evidence.first_ms..=evidence.last_ms).contains(&result.due_ms)
    });
    vec![
        style.time(result.due_ms).into(),
        Cell::colored(result.verdict.name(), verdict_color(result.verdict)),
        word.into(),
        time(started).into(),
        time(phases.resolve).into(),
        time(phases.connect).into(),
        time(phases.tls).into(),
        time(phases.wait).into(),
        time(phases.transfer).into(),
        about.map_or("", |evidence| evidence.message.as_str()).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Verdict;
    use crate::store::view::Phases;

    const DUE_MS: u64 = 1_795_444_849_000;

    fn page() -> ResultsPage {
        let good = ResultView {
            due_ms: DUE_MS,
            lag_us: Some(900),
            total_us: Some(41_200),
            phases: Phases { connect: Some(380), wait: Some(40_820), ..Phases::default() },
            code: 0,
            result: "ok",
            http_status: Some(200),
            phase: Some("transfer"),
            attempts: 1,
            verdict: Verdict::Up,
            body_bytes: 1_024,
        };
        let missed = ResultView {
            due_ms: DUE_MS - 60_000,
            total_us: Some(0),
            phases: Phases::default(),
            code: 2001,
            result: "overrun",
            http_status: None,
            attempts: 0,
            ..good.clone()
        };
        let refused = ResultView {
            due_ms: DUE_MS - 120_000,
            phases: Phases::default(),
            code: 10,
            result: "connect_refused",
            http_status: None,
            verdict: Verdict::Down,
            ..good.clone()
        };
        let evidence = |code, first_ms, message: &str| Evidence {
            first_ms,
            last_ms: DUE_MS,
            times: 2,
            code,
            result: "connect_refused",
            message: message.into(),
            detail: None,
        };
        ResultsPage {
            id: 1,
            name: "shop".into(),
            results: vec![good, missed, refused],
            evidence: vec![
                evidence(10, DUE_MS - 60_000, "too late"),
                evidence(12, DUE_MS - 180_000, "other code"),
                evidence(10, DUE_MS - 180_000, "connection refused"),
            ],
            damaged: vec!["chunk 1: \x1bbad".into()],
        }
    }

    #[test]
    fn a_failure_has_its_words_and_a_missed_check_no_times() {
        let wanted = [
            "DUE VERDICT RESULT TOTAL RESOLVE CONNECT TLS WAIT TRANSFER MESSAGE",
            "2026-11-23 14:40:49 up ok 200 41.2 ms – 0.38 ms – 40.8 ms –",
            "2026-11-23 14:39:49 up overrun – – – – – –",
            "2026-11-23 14:38:49 down connect_refused 41.2 ms – – – – – connection refused",
            "not readable: chunk 1: ·bad",
        ];
        let shown = render(&page(), &Style::plain());
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(shown.lines().map(words).collect::<Vec<_>>(), wanted, "\n{shown}");
    }

    #[test]
    fn no_results_are_said_in_words() {
        let page = ResultsPage { results: vec![], damaged: vec![], ..page() };
        assert_eq!(render(&page, &Style::plain()), "no results\n");
    }
}
