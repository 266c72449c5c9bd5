//! Compacts the head: the results of a window become one chunk for each group of monitors.
//!
//! Owns: when a window is ready, and the slices. A slice is one window of one lane, at most
//! `COMPACT_SAMPLES_MAX` results, in one transaction that writes the chunks and deletes the head
//! rows: a result is always in exactly one of the two. Costs 0.9 µs a result (development build).

use std::collections::VecDeque;

use rusqlite::{Connection, Transaction, params};

use super::sqlite::begin;
use super::{Maintained, StoreError, blob, signed, unsigned};
use crate::limits::{COMPACT_SAMPLES_MAX, GROUP_BITS, LANE_BITS, WINDOW_GRACE_MS, WINDOW_MS};
use crate::sample::Sample;

/// Finds windows that are over and compacts them, slice by slice.
#[derive(Debug, Default)]
pub(super) struct Compactor {
    /// Windows and lanes of this round that are still to do.
    waiting: VecDeque<(i64, i64)>,
    /// Number of the window that the last round went up to. There is one round for each window,
    /// so late results make at most one further chunk in five minutes.
    round: u64,
}

/// The head rows of one slice.
#[derive(Default)]
pub(super) struct Slice {
    /// Sorted by monitor and due time once all are added.
    pub samples: Vec<Sample>,
    /// The last head row taken.
    pub last_seq: i64,
    /// True where the window has more.
    pub more: bool,
    /// Head rows that cannot be unpacked, with the reason.
    pub damaged: Vec<(i64, String)>,
}

impl Slice {
    /// Adds a head row. False where the slice is full and the row is left for the next one.
    pub fn add(&mut self, t0: i64, lane: i64, seq: i64, data: &[u8]) -> bool {
        if self.samples.len() >= COMPACT_SAMPLES_MAX {
            self.more = true;
            return false;
        }
        self.last_seq = seq;
        match blob::unpack(unsigned(lane) << LANE_BITS, unsigned(t0), data) {
            Ok(samples) => self.samples.extend(samples),
            Err(error) => self.damaged.push((seq, error.to_string())),
        }
        true
    }

    /// The results as chunks: group, number of results and blob.
    pub fn chunks(&mut self, t0: i64) -> Result<Vec<(u64, usize, Vec<u8>)>, StoreError> {
        self.samples.sort_by_key(|sample| (sample.monitor, sample.due_ms));
        let group = |sample: &Sample| sample.monitor.0 >> GROUP_BITS;
        let mut chunks = Vec::new();
        for of_group in self.samples.chunk_by(|a, b| group(a) == group(b)) {
            let grp = group(&of_group[0]);
            let data = blob::pack(grp << GROUP_BITS, unsigned(t0), of_group)?;
            chunks.push((grp, of_group.len(), data));
        }
        Ok(chunks)
    }
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
        let mut slice = read_slice(&transaction, t0, lane)?;
        let mut done = Maintained { more: true, ..Maintained::default() };
        set_aside(&transaction, &slice, now_ms, &mut done)?;
        write_chunks(&transaction, t0, &mut slice, &mut done)?;
        transaction
            .prepare_cached("DELETE FROM head WHERE t0 = ?1 AND lane = ?2 AND seq <= ?3")?
            .execute(params![t0, lane, slice.last_seq])?;
        transaction.commit()?;
        if !slice.more {
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

fn read_slice(transaction: &Transaction<'_>, t0: i64, lane: i64) -> Result<Slice, StoreError> {
    let mut statement = transaction
        .prepare_cached("SELECT seq, data FROM head WHERE t0 = ?1 AND lane = ?2 ORDER BY seq")?;
    let mut rows = statement.query(params![t0, lane])?;
    let mut slice = Slice::default();
    while let Some(row) = rows.next()? {
        let data = row.get_ref(1)?.as_blob().unwrap_or_default();
        if !slice.add(t0, lane, row.get(0)?, data) {
            break;
        }
    }
    Ok(slice)
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
    slice: &mut Slice,
    done: &mut Maintained,
) -> Result<(), StoreError> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO chunk (grp, t0, part, n, data) VALUES (?1, ?2,
            (SELECT coalesce(max(part) + 1, 0) FROM chunk WHERE grp = ?1 AND t0 = ?2), ?3, ?4)",
    )?;
    for (grp, count, data) in slice.chunks(t0)? {
        statement.execute(params![signed(grp), t0, count as i64, data])?;
        done.samples_compacted += count as u64;
        done.chunk_bytes += data.len() as u64;
    }
    Ok(())
}
