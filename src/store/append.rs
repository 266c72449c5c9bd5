//! Records batches: one transaction with results, states, words, certificates and transitions.
//!
//! Owns: the order of writes and the cursor that makes a repeated batch harmless. A state is
//! written here only where there is news; see `states` for the others.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::cursor::Cursor;
use super::fold::Fold;
use super::incident::record_transition;
use super::sqlite::begin;
use super::states::{self, Lanes};
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
    lanes: &mut Lanes,
    run: RunId,
    batches: &[SampleBatch],
) -> Result<Appended, StoreError> {
    let transaction = begin(conn)?;
    let New { batches: new, late } = advance_cursors(&transaction, run, batches)?;
    let mut appended =
        Appended { batches_skipped: (batches.len() - new.len()) as u64, ..Appended::default() };
    let mut certs_seen = Certs::new();
    let fold = Fold::of_news(&new);
    if late {
        // Old news meet a state only with all that is newer in it.
        for lane in fold.lanes_with_news() {
            while states::advance(&transaction, lane)?.more {}
        }
    }
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
    let grown: Vec<u64> = fold.heads.keys().map(|key| key.lane).collect();
    for (monitor, news) in fold.touched() {
        states::write_news(&transaction, monitor, &news)?;
    }
    transaction.commit()?;
    grown.into_iter().for_each(|lane| lanes.touch(lane));
    // Only now: a rolled back transaction has not written the certificates.
    certs.extend(certs_seen);
    Ok(appended)
}

/// Batches that were not applied before.
struct New<'a> {
    batches: Vec<&'a SampleBatch>,
    /// True where later ones may have passed one of them, because it waited in the spool.
    late: bool,
}

/// Finds those batches that are new and marks their numbers as applied.
fn advance_cursors<'a>(
    transaction: &Transaction<'_>,
    run: RunId,
    batches: &'a [SampleBatch],
) -> Result<New<'a>, StoreError> {
    let mut cursors: HashMap<ShardId, Cursor> = HashMap::new();
    let mut new = New { batches: Vec::with_capacity(batches.len()), late: false };
    new.late = transaction
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM cursor WHERE run_id > ?1)")?
        .query_row([signed(run.0)], |row| row.get(0))?;
    for batch in batches {
        let cursor = match cursors.entry(batch.shard) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(load_cursor(transaction, run, batch.shard)?),
        };
        let passed = batch.seq < cursor.last;
        if cursor.take(batch.seq) {
            new.late |= passed;
            new.batches.push(batch);
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
