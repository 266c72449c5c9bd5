//! Compacts the head: the results of a window become one chunk for each group of monitors.
//!
//! Owns: when a window is ready, and the slices. A slice is one window of one lane, at most
//! `COMPACT_SAMPLES_MAX` results, in one transaction that writes the chunks and deletes the head
//! rows: a result is always in exactly one of the two. Costs 0.9 µs a result (development build).

use std::collections::VecDeque;

use rusqlite::{Connection, Transaction, params};

use super::hours::hour_start;
use super::slice::Slice;
use super::sqlite::begin;
use super::states;
use super::{Maintained, StoreError, signed, unsigned};
use crate::limits::{WINDOW_GRACE_MS, WINDOW_MS};

/// Finds windows that are over and compacts them, slice by slice.
#[derive(Debug, Default)]
pub(super) struct Compactor {
    /// Windows and lanes of this round that are still to do.
    waiting: VecDeque<(i64, i64)>,
    /// Number of the window that the last round went up to. There is one round for each window,
    /// so late results make at most one further chunk in five minutes.
    round: u64,
}

impl Compactor {
    /// Compacts one slice; `None` where no window is ready.
    pub fn slice(
        &mut self,
        conn: &mut Connection,
        now_ms: u64,
    ) -> Result<Option<Maintained>, StoreError> {
        let round = now_ms.saturating_sub(WINDOW_GRACE_MS) / WINDOW_MS;
        if self.waiting.is_empty() && round != self.round {
            self.waiting = ready(conn, round * WINDOW_MS)?;
            self.round = round;
        }
        let Some((t0, lane)) = self.waiting.front().copied() else { return Ok(None) };
        let transaction = begin(conn)?;
        // What goes from the head must be in the states.
        let advanced = states::advance(&transaction, unsigned(lane))?;
        let slice = read_slice(&transaction, (t0, lane), advanced.seq)?;
        let mut done = Maintained { more: true, ..Maintained::default() };
        done.states_written = advanced.states;
        set_aside(&transaction, &slice, now_ms, &mut done)?;
        write_chunks(&transaction, t0, &slice, &mut done)?;
        transaction
            .prepare_cached("DELETE FROM head WHERE t0 = ?1 AND lane = ?2 AND seq <= ?3")?
            .execute(params![t0, lane, slice.last_seq])?;
        transaction.commit()?;
        if !slice.more && !advanced.more {
            self.waiting.pop_front();
        }
        Ok(Some(done))
    }
}

/// The windows that start before `end_ms` and have head rows, oldest first, each with its lanes.
fn ready(conn: &Connection, end_ms: u64) -> Result<VecDeque<(i64, i64)>, StoreError> {
    let mut statement =
        conn.prepare_cached("SELECT DISTINCT t0, lane FROM head WHERE t0 < ?1 ORDER BY t0, lane")?;
    let rows = statement.query_map([signed(end_ms)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read_slice(
    transaction: &Transaction<'_>,
    (t0, lane): (i64, i64),
    last_seq: i64,
) -> Result<Slice, StoreError> {
    let mut statement = transaction.prepare_cached(
        "SELECT seq, t0, data FROM head WHERE t0 = ?1 AND lane = ?2 AND seq <= ?3 ORDER BY seq",
    )?;
    states::read_slice(statement.query(params![t0, lane, last_seq])?, lane, 0)
}

fn set_aside(
    transaction: &Transaction<'_>,
    slice: &Slice,
    now_ms: u64,
    done: &mut Maintained,
) -> Result<(), StoreError> {
    for (seq, reason) in &slice.damaged {
        transaction.execute(
            "INSERT INTO damaged (t0, lane, n, reason, found_ms, data)
             SELECT t0, lane, n, ?2, ?3, data FROM head WHERE seq = ?1",
            params![seq, reason, signed(now_ms)],
        )?;
        done.damaged.push(format!("head {seq}: {reason}"));
    }
    Ok(())
}

fn write_chunks(
    transaction: &Transaction<'_>,
    t0: i64,
    slice: &Slice,
    done: &mut Maintained,
) -> Result<(), StoreError> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO chunk (grp, t0, part, n, data) VALUES (?1, ?2,
            (SELECT coalesce(max(part) + 1, 0) FROM chunk WHERE grp = ?1 AND t0 = ?2), ?3, ?4)",
    )?;
    let mut unsummed =
        transaction.prepare_cached("INSERT INTO unsummed (t0, grp, chunk) VALUES (?1, ?2, ?3)")?;
    let hour = signed(hour_start(unsigned(t0)));
    for (grp, count, data) in slice.chunks(t0)? {
        let chunk = statement.insert(params![signed(grp), t0, count as i64, data])?;
        unsummed.execute(params![hour, signed(grp), chunk])?;
        done.samples_compacted += count as u64;
        done.chunk_bytes += data.len() as u64;
    }
    Ok(())
}
