//! Records batches: one transaction with results, states, words, certificates and transitions.
//!
//! Owns: the order of writes and the cursor that makes a repeated batch harmless. Costs 10 µs a
//! result (200,000 monitors, development build), nearly all of it the update of the state.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::fold::{Fold, Touched};
use super::sqlite::begin;
use super::words::{record_transition, record_words};
use super::{Appended, RunId, StoreError, blob, clipped, signed, unsigned};
use crate::ids::{MonitorId, ShardId};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::sample::{SampleBatch, Words};

/// Which certificate each monitor showed last, as a hash: an unchanged one costs no SQL. Empty
/// at start; at most one entry for each monitor with TLS.
pub(super) type Certs = HashMap<MonitorId, u64>;

/// Records batches; see [`super::Store::append`].
pub(super) fn apply(
    conn: &mut Connection,
    certs: &mut Certs,
    run: RunId,
    batches: &[SampleBatch],
) -> Result<Appended, StoreError> {
    let transaction = begin(conn)?;
    let new = advance_cursors(&transaction, run, batches)?;
    let mut appended =
        Appended { batches_skipped: (batches.len() - new.len()) as u64, ..Appended::default() };
    let mut certs_seen = Certs::new();
    let fold = Fold::of(&new);
    for (key, samples) in &fold.heads {
        let data = blob::pack(key.base(), key.t0_ms, samples)?;
        transaction
            .prepare_cached("INSERT INTO head (t0, lane, n, data) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![signed(key.t0_ms), signed(key.lane), samples.len() as i64, data])?;
        appended.rows += samples.len() as u64;
        appended.bytes += data.len() as u64;
    }
    for (monitor, touched) in fold.touched() {
        update_state(&transaction, monitor, &touched)?;
    }
    for batch in new {
        record_words(&transaction, batch, certs, &mut certs_seen)?;
        record_transitions(&transaction, batch)?;
    }
    transaction.commit()?;
    // Only now: a rolled back transaction has not written the certificates.
    certs.extend(certs_seen);
    Ok(appended)
}

/// Gives those batches that are new and moves the cursors of their shards past them.
fn advance_cursors<'a>(
    transaction: &Transaction<'_>,
    run: RunId,
    batches: &'a [SampleBatch],
) -> Result<Vec<&'a SampleBatch>, StoreError> {
    let mut reached: HashMap<ShardId, u64> = HashMap::new();
    let mut new = Vec::with_capacity(batches.len());
    for batch in batches {
        let seq = match reached.get(&batch.shard) {
            Some(seq) => *seq,
            None => cursor(transaction, run, batch.shard)?,
        };
        if batch.seq > seq {
            new.push(batch);
        }
        reached.insert(batch.shard, seq.max(batch.seq));
    }
    for (shard, seq) in reached {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO cursor (run_id, shard, seq) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![signed(run.0), shard.0, signed(seq)])?;
    }
    Ok(new)
}

fn cursor(transaction: &Transaction<'_>, run: RunId, shard: ShardId) -> Result<u64, StoreError> {
    let seq = transaction
        .prepare_cached("SELECT seq FROM cursor WHERE run_id = ?1 AND shard = ?2")?
        .query_row(params![signed(run.0), shard.0], |row| row.get(0))
        .optional()?;
    Ok(seq.map_or(0, unsigned))
}

/// A monitor that is not there any more has no state: then nothing is written, which is right.
fn update_state(
    transaction: &Transaction<'_>,
    monitor: MonitorId,
    touched: &Touched,
) -> Result<(), StoreError> {
    let counts = touched.counts;
    let Some(last) = touched.last else {
        transaction
            .prepare_cached(
                "UPDATE state SET count_missed = count_missed + ?2 WHERE monitor_id = ?1",
            )?
            .execute(params![signed(monitor.0), counts.missed])?;
        return Ok(());
    };
    transaction
        .prepare_cached(
            "UPDATE state SET
                since_ms = CASE WHEN verdict <> ?2 THEN ?3 ELSE since_ms END,
                verdict = ?2, due_ms = ?3, code = ?4,
                streak = min(255, CASE WHEN ?5 THEN ?6 ELSE streak + ?6 END),
                total_us = ?7, http_status = ?8,
                message = CASE WHEN ?9 <> '' THEN ?9
                    WHEN code = ?4 AND http_status = ?8 THEN message ELSE '' END,
                count_up = count_up + ?10, count_down = count_down + ?11,
                count_unknown = count_unknown + ?12, count_missed = count_missed + ?13
             WHERE monitor_id = ?1",
        )?
        .execute(params![
            signed(monitor.0),
            last.verdict as u8,
            signed(last.due_ms),
            last.code.0,
            touched.streak_reset,
            touched.streak,
            last.total_us,
            last.http_status,
            clipped(&touched.message, MESSAGE_BYTES_MAX),
            counts.up,
            counts.down,
            counts.unknown,
            counts.missed
        ])?;
    Ok(())
}

fn record_transitions(
    transaction: &Transaction<'_>,
    batch: &SampleBatch,
) -> Result<(), StoreError> {
    if batch.transitions.is_empty() {
        return Ok(());
    }
    let monitor_of = |words: &Words| Some(batch.samples.get(usize::from(words.sample))?.monitor);
    let messages: HashMap<MonitorId, &str> = batch
        .words
        .iter()
        .filter_map(|words| Some((monitor_of(words)?, &*words.message)))
        .collect();
    for transition in &batch.transitions {
        let message = messages.get(&transition.monitor).copied().unwrap_or_default();
        record_transition(transaction, transition, clipped(message, MESSAGE_BYTES_MAX))?;
    }
    Ok(())
}
