//! Records what people read: evidence of failures and certificates.
//!
//! Owns: their tables and their bounds for each monitor. The target chooses most of these bytes,
//! so each text and each count has a limit. Bounds over all monitors are in `retain`.

use std::hash::{DefaultHasher, Hash, Hasher};

use probes::outcome::{CertFacts, CertInfo, Detail};
use rusqlite::{Transaction, params};
use serde_json::{Value, json};

use super::append::Certs;
use super::{StoreError, clipped, signed};
use crate::ids::MonitorId;
use crate::limits::{
    CERT_NAMES_MAX, CERTS_PER_MONITOR_MAX, DETAIL_BYTES_MAX, EVIDENCE_MAX, MESSAGE_BYTES_MAX,
};
use crate::sample::{CheckResult, Sample, SampleBatch, Words};

/// Records evidence and certificates of one batch. Certificates that `known` has are skipped;
/// those written are put into `seen`.
pub(super) fn record_words(
    transaction: &Transaction<'_>,
    batch: &SampleBatch,
    known: &Certs,
    seen: &mut Certs,
) -> Result<(), StoreError> {
    for words in &batch.words {
        let Some(sample) = batch.samples.get(usize::from(words.sample)) else { continue };
        if matches!(sample.code.result(), CheckResult::Down(_) | CheckResult::Unknown(_)) {
            record_evidence(transaction, sample, words)?;
        }
        let Some(cert) = &words.cert else { continue };
        let hash = hash_of(cert);
        if seen.get(&sample.monitor).or_else(|| known.get(&sample.monitor)) != Some(&hash) {
            record_cert(transaction, sample, cert)?;
            seen.insert(sample.monitor, hash);
        }
    }
    Ok(())
}

/// Adds to the newest entry of the monitor where it says the same, else makes a new one and
/// deletes those past `EVIDENCE_MAX`.
fn record_evidence(
    transaction: &Transaction<'_>,
    sample: &Sample,
    words: &Words,
) -> Result<(), StoreError> {
    let monitor = signed(sample.monitor.0);
    let message = clipped(&words.message, MESSAGE_BYTES_MAX);
    let repeated = transaction
        .prepare_cached(
            "UPDATE evidence SET times = times + 1, last_ms = max(last_ms, ?2)
             WHERE id = (SELECT id FROM evidence WHERE monitor_id = ?1
                         ORDER BY last_ms DESC, id DESC LIMIT 1)
               AND code = ?3 AND message = ?4",
        )?
        .execute(params![monitor, signed(sample.due_ms), sample.code.0, message])?;
    if repeated > 0 {
        return Ok(());
    }
    transaction
        .prepare_cached(
            "INSERT INTO evidence (monitor_id, first_ms, last_ms, times, code, message, detail)
             VALUES (?1, ?2, ?2, 1, ?3, ?4, ?5)",
        )?
        .execute(params![
            monitor,
            signed(sample.due_ms),
            sample.code.0,
            message,
            detail_json(words)
        ])?;
    transaction
        .prepare_cached(
            "DELETE FROM evidence WHERE id IN (SELECT id FROM evidence WHERE monitor_id = ?1
                                               ORDER BY last_ms DESC, id DESC
                                               LIMIT -1 OFFSET ?2)",
        )?
        .execute([monitor, EVIDENCE_MAX as i64])?;
    Ok(())
}

/// The detail and the messages of earlier attempts as a JSON object of at most
/// `DETAIL_BYTES_MAX`; `None` where there is nothing to say.
pub(super) fn detail_json(words: &Words) -> Option<String> {
    let detail = words.detail.as_deref();
    if detail.is_none() && words.attempts.is_empty() {
        return None;
    }
    let mut object = detail.map_or_else(|| json!({}), detail_value);
    if !words.attempts.is_empty() {
        object["attempts"] = words.attempts.iter().map(|text| Value::from(&**text)).collect();
    }
    let text = object.to_string();
    if text.len() <= DETAIL_BYTES_MAX {
        return Some(text);
    }
    // JSON writes one byte as six at the most, so an eighth always fits.
    let first_words = detail.map_or("", |detail| &detail.text);
    let first_words = clipped(first_words, DETAIL_BYTES_MAX / 8);
    Some(json!({ "text": first_words, "shortened": true }).to_string())
}

fn detail_value(detail: &Detail) -> Value {
    let mut object = json!({});
    let texts = [
        ("text", &detail.text),
        ("reason", &detail.reason),
        ("url", &detail.url),
        ("excerpt", &detail.excerpt),
    ];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        object[name] = Value::from(text.as_str());
    }
    if !detail.missing.is_empty() {
        object["missing"] = Value::from(detail.missing.as_slice());
    }
    if !detail.headers.is_empty() {
        object["headers"] =
            detail.headers.iter().map(|(name, value)| json!([name, value])).collect();
    }
    object
}

/// A hash of all that is stored of a certificate and of how it was seen.
pub(super) fn hash_of(cert: &CertFacts) -> u64 {
    let mut hasher = DefaultHasher::new();
    cert.chain.first().map(|leaf| &leaf.sha256).hash(&mut hasher);
    cert.earliest_not_after().hash(&mut hasher);
    (cert.problem, &cert.problem_text, &cert.tls_version, &cert.cipher).hash(&mut hasher);
    hasher.finish()
}

fn record_cert(
    transaction: &Transaction<'_>,
    sample: &Sample,
    cert: &CertFacts,
) -> Result<(), StoreError> {
    let Some(leaf) = cert.chain.first() else { return Ok(()) };
    let cert_id = cert_id(transaction, leaf)?;
    transaction
        .prepare_cached(
            "INSERT INTO monitor_cert (monitor_id, cert_id, first_seen_ms, current_since_ms,
                    chain_not_after_s, tls_version, cipher, problem, problem_text)
             VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO UPDATE SET current_since_ms = excluded.current_since_ms,
                    chain_not_after_s = excluded.chain_not_after_s,
                    tls_version = excluded.tls_version, cipher = excluded.cipher,
                    problem = excluded.problem, problem_text = excluded.problem_text
                WHERE excluded.current_since_ms >= current_since_ms",
        )?
        .execute(params![
            signed(sample.monitor.0),
            cert_id,
            signed(sample.due_ms),
            cert.earliest_not_after().unwrap_or(leaf.not_after),
            clipped(&cert.tls_version, MESSAGE_BYTES_MAX),
            clipped(&cert.cipher, MESSAGE_BYTES_MAX),
            cert.problem.map(|problem| problem.code()),
            clipped(&cert.problem_text, MESSAGE_BYTES_MAX)
        ])?;
    forget_old_certs(transaction, sample.monitor)
}

/// The texts of a leaf certificate as they are stored, each within its bound.
pub(super) struct LeafTexts {
    /// Distinguished names.
    pub subject: String,
    pub issuer: String,
    /// JSON list.
    pub names: String,
    pub serial: String,
}

impl LeafTexts {
    pub fn of(leaf: &CertInfo) -> LeafTexts {
        let name_text = |parts: &[(String, String)]| {
            let parts: Vec<String> =
                parts.iter().map(|(name, value)| format!("{name}={value}")).collect();
            clipped(&parts.join(", "), MESSAGE_BYTES_MAX).to_owned()
        };
        let names: Vec<&str> = leaf
            .names
            .iter()
            .take(CERT_NAMES_MAX)
            .map(|name| clipped(name, crate::limits::NAME_BYTES_MAX))
            .collect();
        LeafTexts {
            subject: name_text(&leaf.subject),
            issuer: name_text(&leaf.issuer),
            names: Value::from(names).to_string(),
            serial: clipped(&leaf.serial, MESSAGE_BYTES_MAX).to_owned(),
        }
    }
}

/// The number of a leaf certificate; makes its row where it was never seen before.
fn cert_id(transaction: &Transaction<'_>, leaf: &CertInfo) -> Result<i64, StoreError> {
    let texts = LeafTexts::of(leaf);
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO cert
                    (sha256, subject, issuer, names, serial, not_before_s, not_after_s)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            leaf.sha256,
            texts.subject,
            texts.issuer,
            texts.names,
            texts.serial,
            leaf.not_before,
            leaf.not_after
        ])?;
    Ok(transaction
        .prepare_cached("SELECT id FROM cert WHERE sha256 = ?1")?
        .query_row([&leaf.sha256], |row| row.get(0))?)
}

/// Deletes the links of a monitor past `CERTS_PER_MONITOR_MAX`, and certificates left without one.
fn forget_old_certs(transaction: &Transaction<'_>, monitor: MonitorId) -> Result<(), StoreError> {
    let old: Vec<i64> = transaction
        .prepare_cached(
            "SELECT cert_id FROM monitor_cert WHERE monitor_id = ?1
             ORDER BY current_since_ms DESC, cert_id DESC LIMIT -1 OFFSET ?2",
        )?
        .query_map([signed(monitor.0), CERTS_PER_MONITOR_MAX as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for cert in old {
        transaction
            .prepare_cached("DELETE FROM monitor_cert WHERE monitor_id = ?1 AND cert_id = ?2")?
            .execute(params![signed(monitor.0), cert])?;
        transaction
            .prepare_cached(
                "DELETE FROM cert WHERE id = ?1
                 AND NOT EXISTS (SELECT 1 FROM monitor_cert WHERE cert_id = ?1)",
            )?
            .execute([cert])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(detail: Detail) -> Words {
        Words {
            sample: 0,
            message: "m".into(),
            detail: Some(Box::new(detail)),
            cert: None,
            attempts: vec!["first".into()],
        }
    }

    #[test]
    fn a_detail_keeps_what_is_there_and_leaves_out_what_is_empty() {
        let detail = Detail {
            text: "bad".to_owned(),
            headers: vec![("Server".to_owned(), "x".to_owned())],
            ..Detail::default()
        };
        let value: Value = serde_json::from_str(&detail_json(&words(detail)).unwrap()).unwrap();
        let expected =
            json!({ "text": "bad", "headers": [["Server", "x"]], "attempts": ["first"] });
        assert_eq!(value, expected);
    }

    #[test]
    fn the_longest_detail_fits_its_bound_and_is_still_json() {
        let detail = Detail { text: "\u{1}".repeat(100_000), ..Detail::default() };
        let text = detail_json(&words(detail)).unwrap();
        assert!(text.len() <= DETAIL_BYTES_MAX, "{} bytes", text.len());
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["shortened"], true);
    }
}
