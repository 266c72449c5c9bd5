//! Evidence, certificates and changes of verdict: one call of a function of the migration each,
//! which goes through the rows on the server.

use super::super::super::StoreError;
use super::super::super::append::{Certs, messages_of};
use super::super::super::signed;
use super::super::super::words::{LeafTexts, detail_json, hash_of};
use super::super::link::Work;
use super::{CheckResult, EVIDENCE_MAX, MESSAGE_BYTES_MAX, SampleBatch, Type, Value, plain};
use crate::limits::{CERTS_PER_MONITOR_MAX, DETAIL_BYTES_MAX};

/// Records the words of failures, and of results that are our own trouble.
pub(super) async fn record_evidence(
    work: Work<'_>,
    batches: &[&SampleBatch],
) -> Result<(), StoreError> {
    let (mut monitors, mut dues, mut codes) = (vec![], vec![], vec![]);
    let (mut messages, mut details) = (vec![], vec![]);
    for batch in batches {
        for words in &batch.words {
            let Some(sample) = batch.samples.get(usize::from(words.sample)) else { continue };
            if matches!(sample.code.result(), CheckResult::Up | CheckResult::Missed(_)) {
                continue;
            }
            monitors.push(signed(sample.monitor.0));
            dues.push(signed(sample.due_ms));
            codes.push(i32::from(sample.code.0));
            messages.push(plain(&words.message, MESSAGE_BYTES_MAX));
            details.push(detail_json(words));
        }
    }
    if monitors.is_empty() {
        return Ok(());
    }
    let values: [Value<'_>; 6] = [
        (&monitors, Type::INT8_ARRAY),
        (&dues, Type::INT8_ARRAY),
        (&codes, Type::INT4_ARRAY),
        (&messages, Type::TEXT_ARRAY),
        (&details, Type::TEXT_ARRAY),
        (&(EVIDENCE_MAX as i32), Type::INT4),
    ];
    let sql = "SELECT engine.record_evidence($1, $2, $3, $4, $5, $6)";
    work.session.query(sql, &values).await?;
    Ok(())
}

/// Records changes of verdict and the incidents that they make.
pub(super) async fn record_transitions(
    work: Work<'_>,
    batches: &[&SampleBatch],
) -> Result<(), StoreError> {
    let (mut monitors, mut ats, mut codes) = (vec![], vec![], vec![]);
    let (mut froms, mut tos, mut messages) = (vec![], vec![], vec![]);
    for batch in batches {
        let known = messages_of(batch);
        for change in &batch.transitions {
            monitors.push(signed(change.monitor.0));
            ats.push(signed(change.at_ms));
            froms.push(change.from as i32);
            tos.push(change.to as i32);
            codes.push(i32::from(change.code.0));
            let message = known.get(&change.monitor).copied().unwrap_or_default();
            messages.push(plain(message, MESSAGE_BYTES_MAX));
        }
    }
    if monitors.is_empty() {
        return Ok(());
    }
    let values: [Value<'_>; 6] = [
        (&monitors, Type::INT8_ARRAY),
        (&ats, Type::INT8_ARRAY),
        (&froms, Type::INT4_ARRAY),
        (&tos, Type::INT4_ARRAY),
        (&codes, Type::INT4_ARRAY),
        (&messages, Type::TEXT_ARRAY),
    ];
    let sql = "SELECT engine.record_transitions($1, $2, $3, $4, $5, $6)";
    work.session.query(sql, &values).await?;
    Ok(())
}

/// Certificates by column.
#[derive(Default)]
struct Links {
    monitors: Vec<i64>,
    seen: Vec<i64>,
    texts: [Vec<String>; 8],
    starts: Vec<i64>,
    ends: Vec<i64>,
    chain_ends: Vec<i64>,
    problems: Vec<Option<i32>>,
}

/// Records certificates that `known` and `seen` do not have, and puts them into `seen`.
pub(super) async fn record_certs(
    work: Work<'_>,
    batches: &[&SampleBatch],
    known: &Certs,
    seen: &mut Certs,
) -> Result<(), StoreError> {
    let mut links = Links::default();
    for batch in batches {
        for words in &batch.words {
            let Some(sample) = batch.samples.get(usize::from(words.sample)) else { continue };
            let Some(cert) = words.cert.as_deref() else { continue };
            let hash = hash_of(cert);
            if seen.get(&sample.monitor).or_else(|| known.get(&sample.monitor)) == Some(&hash) {
                continue;
            }
            seen.insert(sample.monitor, hash);
            let Some(leaf) = cert.chain.first() else { continue };
            let LeafTexts { subject, issuer, names, serial } = LeafTexts::of(leaf);
            let texts = [
                leaf.sha256.as_str(),
                &subject,
                &issuer,
                &names,
                &serial,
                &cert.tls_version,
                &cert.cipher,
                &cert.problem_text,
            ];
            for (column, text) in links.texts.iter_mut().zip(texts) {
                // Names are JSON, bounded where they are made.
                column.push(plain(text, DETAIL_BYTES_MAX.max(text.len())));
            }
            links.monitors.push(signed(sample.monitor.0));
            links.seen.push(signed(sample.due_ms));
            links.starts.push(leaf.not_before);
            links.ends.push(leaf.not_after);
            links.chain_ends.push(cert.earliest_not_after().unwrap_or(leaf.not_after));
            links.problems.push(cert.problem.map(|problem| i32::from(problem.code())));
        }
    }
    if links.monitors.is_empty() {
        return Ok(());
    }
    write_certs(work, &links).await
}

async fn write_certs(work: Work<'_>, links: &Links) -> Result<(), StoreError> {
    let [sha256, subject, issuer, names, serial, version, cipher, problem_text] = &links.texts;
    let values: [Value<'_>; 15] = [
        (&links.monitors, Type::INT8_ARRAY),
        (&links.seen, Type::INT8_ARRAY),
        (sha256, Type::TEXT_ARRAY),
        (subject, Type::TEXT_ARRAY),
        (issuer, Type::TEXT_ARRAY),
        (names, Type::TEXT_ARRAY),
        (serial, Type::TEXT_ARRAY),
        (&links.starts, Type::INT8_ARRAY),
        (&links.ends, Type::INT8_ARRAY),
        (&links.chain_ends, Type::INT8_ARRAY),
        (version, Type::TEXT_ARRAY),
        (cipher, Type::TEXT_ARRAY),
        (&links.problems, Type::INT4_ARRAY),
        (problem_text, Type::TEXT_ARRAY),
        (&(CERTS_PER_MONITOR_MAX as i32), Type::INT4),
    ];
    let sql = "SELECT engine.record_certs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
                                          $14, $15)";
    work.session.query(sql, &values).await?;
    Ok(())
}
