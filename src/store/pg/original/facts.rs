//! The `details` of a check as the original stores them, from what is stored of it here.
//!
//! Owns: putting a stored result back into the form that `monitor::message` speaks about. What was
//! not kept is left out there, never made up.

use std::sync::Arc;

use probes::outcome::{CertFacts, HttpFacts};
use probes::{Failure, Outcome};

use super::Item;
use crate::monitor::Preset;
use crate::monitor::message::{Told, details_json};
use crate::monitor::row::{Interner, MonitorRow, check};
use crate::sample::{CheckResult, Sample, Words};

/// The details as JSON; `None` where the row says nothing that can be checked.
pub(super) fn details(item: &Item, sample: &Sample, words: Option<&Words>) -> Option<String> {
    let row = MonitorRow {
        kind: Some(item.kind.clone()),
        target: Some(item.target.clone()),
        preset: Some("original".to_owned()),
        result_valid: item.required.clone(),
        ..MonitorRow::default()
    };
    let checked = check(&row, &mut Interner::default()).ok()?;
    let outcome = outcome(sample, words);
    let told = Told {
        kind: checked.kind,
        preset: Preset::Original,
        spec: &checked.spec,
        result: sample.code.result(),
        outcome: &outcome,
        attempts: sample.attempts,
        earlier: words.map_or(&[], |words| words.attempts.as_slice()),
        wall_s: (sample.due_ms / 1_000).cast_signed(),
    };
    // JSON writes the one character that PostgreSQL has no place for as an escape.
    Some(details_json(&told).to_string().replace("\\u0000", ""))
}

fn outcome(sample: &Sample, words: Option<&Words>) -> Outcome {
    let failure: Option<Failure> = match sample.code.result() {
        CheckResult::Down(failure) => Some(failure),
        CheckResult::Up | CheckResult::Unknown(_) | CheckResult::Missed(_) => None,
    };
    let cert: Option<Arc<CertFacts>> = words.and_then(|words| words.cert.clone());
    Outcome {
        failure,
        phase: sample.phase(),
        timings: sample.timings,
        http: (sample.http_status > 0).then(|| HttpFacts {
            status: sample.http_status,
            decoded_bytes: sample.body_bytes.into(),
            ..HttpFacts::default()
        }),
        cert,
        detail: words.and_then(|words| words.detail.clone()),
        ..Outcome::default()
    }
}
