//! Keeps the database small: deletes what is too old or too much, and gives room back.
//!
//! Owns: the order of deletion and the size of a step. Age goes first; then rows past their
//! number; then, while the database is larger than allowed, the oldest chunks. Each step is one
//! transaction of bounded size.

use rusqlite::{Connection, Transaction};

use super::sqlite::begin;
use super::{Maintained, Retention, StoreError, signed, unsigned};
use crate::limits::{
    DELETE_CHUNKS_MAX, DELETE_ROWS_MAX, EVIDENCE_ROWS_MAX, FREE_PAGES_KEPT, HOURS_AGE_MS,
    INCIDENT_ROWS_MAX, OPTIMIZE_EVERY_MS, RETAIN_EVERY_MS, TRANSITION_ROWS_MAX, VACUUM_PAGES_MAX,
    WINDOW_MS,
};

/// Looks at ages and sizes from time to time, and works while there is something to do.
#[derive(Debug)]
pub(super) struct Keeper {
    retention: Retention,
    next_look_ms: u64,
    next_optimize_ms: u64,
    over_size: bool,
}

/// A table whose rows go by age and by number.
pub(super) struct Aged {
    pub table: &'static str,
    /// The column with the time that decides; rows where it is NULL stay.
    pub column: &'static str,
    pub rows_max: u64,
}

pub(super) const AGED: [Aged; 5] = [
    Aged { table: "evidence", column: "last_ms", rows_max: EVIDENCE_ROWS_MAX },
    Aged { table: "transition", column: "at_ms", rows_max: TRANSITION_ROWS_MAX },
    Aged { table: "incident", column: "closed_ms", rows_max: INCIDENT_ROWS_MAX },
    Aged { table: "gap", column: "to_ms", rows_max: u64::MAX },
    Aged { table: "run", column: "stopped_ms", rows_max: u64::MAX },
];

impl Keeper {
    /// A keeper that looks at the first call.
    pub fn new(retention: Retention) -> Keeper {
        Keeper { retention, next_look_ms: 0, next_optimize_ms: 0, over_size: false }
    }

    /// Does one step.
    pub fn slice(&mut self, conn: &mut Connection, now_ms: u64) -> Result<Maintained, StoreError> {
        let mut done = Maintained { over_size: self.over_size, ..Maintained::default() };
        if now_ms < self.next_look_ms {
            return Ok(done);
        }
        let transaction = begin(conn)?;
        done.chunks_deleted = self.old_chunks(&transaction, now_ms)?;
        done.rows_deleted = self.old_rows(&transaction, now_ms)?;
        done.rows_deleted += hours_before(&transaction, now_ms.saturating_sub(HOURS_AGE_MS))?;
        let surplus = used_bytes(&transaction)?.saturating_sub(self.retention.bytes_max);
        let mut made_room = done.chunks_deleted > 0;
        if !made_room && surplus > 0 {
            done.chunks_deleted = oldest_chunks(&transaction, surplus)?;
            // Hours go last: they are the little that is left of results that went before.
            let hours = match done.chunks_deleted {
                0 => hours_before(&transaction, u64::MAX >> 1)?,
                _ => 0,
            };
            done.rows_deleted += hours;
            made_room = done.chunks_deleted + hours > 0;
        }
        transaction.commit()?;
        self.over_size = surplus > 0 && !made_room;
        done.over_size = self.over_size;
        let given_back = self.give_back(conn)?;
        done.more = done.chunks_deleted > 0 || done.rows_deleted > 0 || given_back;
        if !done.more {
            self.next_look_ms = now_ms.saturating_add(RETAIN_EVERY_MS);
            self.optimize(conn, now_ms)?;
        }
        Ok(done)
    }

    fn old_chunks(&self, transaction: &Transaction<'_>, now_ms: u64) -> Result<u64, StoreError> {
        let before = now_ms.saturating_sub(self.retention.results_ms).saturating_sub(WINDOW_MS);
        let chunks = transaction.execute(
            "DELETE FROM chunk WHERE id IN
                (SELECT id FROM chunk WHERE t0 < ?1 ORDER BY t0 LIMIT ?2)",
            [signed(before), DELETE_CHUNKS_MAX as i64],
        )?;
        let damaged = transaction.execute(
            "DELETE FROM damaged WHERE id IN (SELECT id FROM damaged WHERE t0 < ?1 LIMIT ?2)",
            [signed(before), DELETE_CHUNKS_MAX as i64],
        )?;
        Ok((chunks + damaged) as u64)
    }

    fn old_rows(&self, transaction: &Transaction<'_>, now_ms: u64) -> Result<u64, StoreError> {
        let before = signed(now_ms.saturating_sub(self.retention.events_ms));
        let mut deleted = 0;
        for Aged { table, column, rows_max } in AGED {
            let sql = format!(
                "DELETE FROM {table} WHERE id IN
                    (SELECT id FROM {table} WHERE {column} < ?1 ORDER BY {column} LIMIT ?2)"
            );
            deleted += transaction.execute(&sql, [before, DELETE_ROWS_MAX as i64])?;
            deleted += surplus_rows(transaction, table, column, rows_max)?;
        }
        deleted += removed_monitors(transaction, before)?;
        deleted += transaction.execute(
            "DELETE FROM cursor WHERE run_id NOT IN (SELECT id FROM run)
                AND run_id < (SELECT max(id) FROM run)",
            [],
        )?;
        Ok(deleted as u64)
    }

    /// Gives free pages back to the disk, where they are many or the file is too large.
    fn give_back(&self, conn: &Connection) -> Result<bool, StoreError> {
        let free = number(conn, "freelist_count")?;
        let file_bytes = number(conn, "page_count")?.saturating_mul(number(conn, "page_size")?);
        let kept = if file_bytes > self.retention.bytes_max { 0 } else { FREE_PAGES_KEPT };
        let pages = free.saturating_sub(kept).min(VACUUM_PAGES_MAX);
        if pages == 0 {
            return Ok(false);
        }
        // The pragma frees one page each time it is stepped.
        let mut statement = conn.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(number(conn, "freelist_count")? < free)
    }

    fn optimize(&mut self, conn: &Connection, now_ms: u64) -> Result<(), StoreError> {
        if now_ms >= self.next_optimize_ms {
            self.next_optimize_ms = now_ms.saturating_add(OPTIMIZE_EVERY_MS);
            conn.execute_batch("PRAGMA optimize")?;
        }
        Ok(())
    }
}

/// Deletes the oldest rows past `rows_max`.
fn surplus_rows(
    transaction: &Transaction<'_>,
    table: &str,
    column: &str,
    rows_max: u64,
) -> Result<usize, StoreError> {
    // Ids rise by one, so their span is never less than the number of rows; mostly it is enough.
    let span: i64 = transaction.query_row(
        &format!("SELECT coalesce(max(id) - min(id) + 1, 0) FROM {table}"),
        [],
        |row| row.get(0),
    )?;
    if span <= signed(rows_max.min(i64::MAX as u64)) {
        return Ok(0);
    }
    let count: i64 =
        transaction.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
    let surplus = unsigned(count).saturating_sub(rows_max).min(DELETE_ROWS_MAX as u64);
    let sql = format!(
        "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {column} IS NOT NULL
                                          ORDER BY {column} LIMIT ?1)"
    );
    Ok(transaction.execute(&sql, [signed(surplus)])?)
}

/// Deletes monitors that were removed long ago, with all that is kept of them but results, which
/// are gone before. Their ids are never given again.
fn removed_monitors(transaction: &Transaction<'_>, before: i64) -> Result<usize, StoreError> {
    let mut statement = transaction.prepare_cached(
        "SELECT id FROM monitor WHERE removed_ms < ?1 ORDER BY removed_ms LIMIT ?2",
    )?;
    let ids: Vec<i64> = statement
        .query_map([before, DELETE_CHUNKS_MAX as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in &ids {
        for table in ["state", "mark", "evidence", "transition", "incident", "monitor_cert"] {
            let sql = format!("DELETE FROM {table} WHERE monitor_id = ?1");
            transaction.prepare_cached(&sql)?.execute([id])?;
        }
        transaction.prepare_cached("DELETE FROM monitor WHERE id = ?1")?.execute([id])?;
    }
    if !ids.is_empty() {
        transaction
            .execute("DELETE FROM cert WHERE id NOT IN (SELECT cert_id FROM monitor_cert)", [])?;
    }
    Ok(ids.len())
}

/// Deletes the oldest sums of hours that began before a time, as many as a step may.
fn hours_before(transaction: &Transaction<'_>, before_ms: u64) -> Result<u64, StoreError> {
    let deleted = transaction.execute(
        "DELETE FROM hour_sum WHERE id IN
            (SELECT id FROM hour_sum WHERE t0 < ?1 ORDER BY t0 LIMIT ?2)",
        [signed(before_ms), DELETE_CHUNKS_MAX as i64],
    )?;
    Ok(deleted as u64)
}

/// Deletes the oldest chunks until at least `surplus` bytes are free, or as many as a step may.
fn oldest_chunks(transaction: &Transaction<'_>, surplus: u64) -> Result<u64, StoreError> {
    let mut oldest = transaction
        .prepare_cached("SELECT id, length(data) FROM chunk ORDER BY t0, id LIMIT ?1")?;
    let mut delete = transaction.prepare_cached("DELETE FROM chunk WHERE id = ?1")?;
    let sizes: Vec<(i64, u32)> = oldest
        .query_map([DELETE_CHUNKS_MAX as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let (mut deleted, mut freed) = (0, 0);
    for (id, bytes) in sizes {
        if freed >= surplus {
            break;
        }
        delete.execute([id])?;
        deleted += 1;
        freed += u64::from(bytes);
    }
    Ok(deleted)
}

/// Bytes of the database without free pages.
fn used_bytes(conn: &Connection) -> Result<u64, StoreError> {
    let pages = number(conn, "page_count")?.saturating_sub(number(conn, "freelist_count")?);
    Ok(pages.saturating_mul(number(conn, "page_size")?))
}

fn number(conn: &Connection, pragma: &str) -> Result<u64, StoreError> {
    let number: i64 = conn.pragma_query_value(None, pragma, |row| row.get(0))?;
    Ok(u64::try_from(number).unwrap_or(0))
}
