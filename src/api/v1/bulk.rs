//! Many monitors at once: a stream of rows, one JSON object a line.
//!
//! Owns: the stream. What is held of it is one part of rows, however long it is. A line that
//! cannot be used is told with its number, and the others are taken.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::StreamExt;
use serde::Serialize;
use utoipa::ToSchema;

use super::writes::{Changed, changed, checked, of_kind};
use super::{Shared, V1};
use crate::api::answer::Answer;
use crate::api::problem::Problem;
use crate::limits::{API_BULK_PROBLEMS_MAX, API_BULK_ROWS, API_ROW_BYTES_MAX};
use crate::monitor::row::{Checked, Interner, MonitorRow};

/// What came of a stream.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct BulkReport {
    /// Monitors by what became of them.
    #[serde(flatten)]
    pub changed: Changed,
    /// Lines that could not be used.
    pub refused: usize,
    /// The first of those.
    pub problems: Vec<BulkProblem>,
}

/// A line that could not be used.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkProblem {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub detail: String,
}

/// Rows that were read and are not stored yet.
#[derive(Default)]
struct Part {
    lines: Vec<usize>,
    rows: Vec<MonitorRow>,
    checked: Vec<Checked>,
}

/// Adds or changes many monitors by name: one JSON object a line. Lines that cannot be used are
/// told; the others are taken. Sending it again changes nothing.
#[utoipa::path(
    post, path = "/api/v1/monitors/bulk", tag = "monitors",
    request_body(
        content = String, content_type = "application/x-ndjson",
        example = json!("{\"name\":\"a\",\"type\":\"tcp\",\"target\":\"a.example:443\"}\n"),
    ),
    responses(
        (status = 200, body = BulkReport),
        (status = 400, body = Problem, description = "The stream ended early"),
        (status = 413, body = Problem, description = "A line is too long; the others stay"),
        (status = 415, body = Problem),
    )
)]
pub async fn bulk(State(api): Shared, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    of_kind(&headers, &["application/x-ndjson"])?;
    let mut stream = body.into_data_stream();
    let mut report = BulkReport::default();
    let mut part = Part::default();
    let (mut line, mut number) = (Vec::new(), 0);
    while let Some(bytes) = stream.next().await {
        let broken = |error| Problem::field("body", format!("the stream ended early: {error}"));
        let bytes = bytes.map_err(broken)?;
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        line.extend_from_slice(pieces.next().unwrap_or_default());
        for piece in pieces {
            number += 1;
            api.take(&line, number, &mut part, &mut report).await?;
            line.clear();
            line.extend_from_slice(piece);
        }
        if line.len() > API_ROW_BYTES_MAX {
            let detail =
                format!("line {}: a row has at most {API_ROW_BYTES_MAX} bytes", number + 1);
            api.flush(&mut part, &mut report).await?;
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
    }
    api.take(&line, number + 1, &mut part, &mut report).await?;
    api.flush(&mut part, &mut report).await?;
    Ok(Answer::json(&report)?.to(&HeaderMap::new()))
}

impl V1 {
    async fn take(
        &self,
        line: &[u8],
        number: usize,
        part: &mut Part,
        report: &mut BulkReport,
    ) -> Result<(), Problem> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let row = serde_json::from_slice(line).map_err(|error| format!("no JSON object: {error}"));
        let mut interner = self.writer.lock().await;
        match row.and_then(|row| read(row, &mut interner)) {
            Ok((row, checked)) => {
                part.lines.push(number);
                part.rows.push(row);
                part.checked.push(checked);
            }
            Err(detail) => report.refuse(number, detail),
        }
        drop(interner);
        if part.rows.len() >= API_BULK_ROWS { self.flush(part, report).await } else { Ok(()) }
    }

    async fn flush(&self, part: &mut Part, report: &mut BulkReport) -> Result<(), Problem> {
        let Part { lines, rows, checked } = std::mem::take(part);
        if rows.is_empty() {
            return Ok(());
        }
        let _interner = self.writer.lock().await;
        let made = self.edit(rows, checked, Vec::new()).await?;
        for refused in &made.refused {
            let line = lines.get(refused.index).copied().unwrap_or_default();
            report.refuse(line, refused.reason.clone());
        }
        let Changed { added, changed, equal } = changed(&made);
        report.changed.added += added;
        report.changed.changed += changed;
        report.changed.equal += equal;
        Ok(())
    }
}

fn read(
    row: serde_json::Map<String, serde_json::Value>,
    interner: &mut Interner,
) -> Result<(MonitorRow, Checked), String> {
    checked(row, interner).map_err(|problem| problem.detail)
}

impl BulkReport {
    fn refuse(&mut self, line: usize, detail: String) {
        self.refused += 1;
        if self.problems.len() < API_BULK_PROBLEMS_MAX {
            self.problems.push(BulkProblem { line, detail });
        }
    }
}
