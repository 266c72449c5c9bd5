//! Records batches: one transaction with results, states, words, certificates and transitions.
//!
//! Owns: the order of writes and the cursor that makes a repeated batch harmless. Costs 10 µs a
//! result (200,000 monitors, development build), nearly all of it the update of the state.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::cursor::Cursor;
use super::fold::{Counts, Fold, Touched};
use super::incident::record_transition;
use super::sqlite::begin;
use super::words::record_words;
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
    // Changes first: they say when a verdict began, and the results then agree with it.
    for batch in new {
        record_words(&transaction, batch, certs, &mut certs_seen)?;
        record_transitions(&transaction, batch)?;
    }
    for (monitor, touched) in fold.touched() {
        update_state(&transaction, monitor, &touched)?;
    }
    transaction.commit()?;
    // Only now: a rolled back transaction has not written the certificates.
    certs.extend(certs_seen);
    Ok(appended)
}

/// Gives those batches that are new and marks their numbers as applied.
fn advance_cursors<'a>(
    transaction: &Transaction<'_>,
    run: RunId,
    batches: &'a [SampleBatch],
) -> Result<Vec<&'a SampleBatch>, StoreError> {
    let mut cursors: HashMap<ShardId, Cursor> = HashMap::new();
    let mut new = Vec::with_capacity(batches.len());
    for batch in batches {
        let cursor = match cursors.entry(batch.shard) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(load_cursor(transaction, run, batch.shard)?),
        };
        if cursor.take(batch.seq) {
            new.push(batch);
        }
    }
    for (shard, cursor) in cursors {
        let holes = serde_json::to_string(&cursor.holes).map_err(malformed)?;
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO cursor (run_id, shard, seq, holes) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![signed(run.0), shard.0, signed(cursor.last), holes])?;
    }
    Ok(new)
}

fn load_cursor(
    transaction: &Transaction<'_>,
    run: RunId,
    shard: ShardId,
) -> Result<Cursor, StoreError> {
    let stored: Option<(i64, String)> = transaction
        .prepare_cached("SELECT seq, holes FROM cursor WHERE run_id = ?1 AND shard = ?2")?
        .query_row(params![signed(run.0), shard.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((last, holes)) = stored else { return Ok(Cursor::default()) };
    Ok(Cursor { last: unsigned(last), holes: serde_json::from_str(&holes).map_err(malformed)? })
}

/// A cursor that was not written by us.
pub(super) fn malformed(error: serde_json::Error) -> StoreError {
    StoreError::Database(format!("cursor with malformed holes: {error}"))
}

/// A monitor that is not there any more has no state: then nothing is written, which is right.
fn update_state(
    transaction: &Transaction<'_>,
    monitor: MonitorId,
    touched: &Touched,
) -> Result<(), StoreError> {
    let counts = touched.counts;
    let Some(last) = touched.last else { return add_counts(transaction, monitor, counts) };
    let updated = transaction
        .prepare_cached(
            "UPDATE state SET
                since_ms = CASE WHEN verdict <> ?2 AND since_ms <= ?3 THEN ?3 ELSE since_ms END,
                verdict = CASE WHEN since_ms <= ?3 THEN ?2 ELSE verdict END,
                due_ms = ?3, code = ?4,
                streak = min(255, CASE WHEN ?5 THEN ?6 ELSE streak + ?6 END),
                total_us = ?7, http_status = ?8,
                message = CASE WHEN ?9 <> '' THEN ?9
                    WHEN code = ?4 AND http_status = ?8 THEN message ELSE '' END,
                count_up = count_up + ?10, count_down = count_down + ?11,
                count_unknown = count_unknown + ?12, count_missed = count_missed + ?13
             WHERE monitor_id = ?1 AND due_ms <= ?3",
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
    if updated == 0 { add_counts(transaction, monitor, counts) } else { Ok(()) }
}

/// Counts results that say nothing about the present.
fn add_counts(
    transaction: &Transaction<'_>,
    monitor: MonitorId,
    counts: Counts,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "UPDATE state SET
                count_up = count_up + ?2, count_down = count_down + ?3,
                count_unknown = count_unknown + ?4, count_missed = count_missed + ?5
             WHERE monitor_id = ?1",
        )?
        .execute(params![
            signed(monitor.0),
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
    let messages = messages_of(batch);
    for transition in &batch.transitions {
        let message = messages.get(&transition.monitor).copied().unwrap_or_default();
        record_transition(transaction, transition, clipped(message, MESSAGE_BYTES_MAX))?;
    }
    Ok(())
}

/// The last message of each monitor that a batch has words about.
pub(super) fn messages_of(batch: &SampleBatch) -> HashMap<MonitorId, &str> {
    let monitor_of = |words: &Words| Some(batch.samples.get(usize::from(words.sample))?.monitor);
    let messages = batch.words.iter();
    messages.filter_map(|words| Some((monitor_of(words)?, &*words.message))).collect()
}
