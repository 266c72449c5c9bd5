//! Which part of the table one engine takes: `--limit=N` and `--chunk=K-SIZE`.
//!
//! Owns: the ends of the parts, in the table `engine.slice`. An id is given to one part once, for
//! all time, under a lock: so parts never overlap, whichever engine looks first, and nothing moves
//! when rows are enabled and disabled. A part has its size in enabled rows at the time its ids are
//! given; a new row goes to the last part until that is full.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use super::table::Table;
use crate::ids::MonitorId;
use crate::pg::{PgError, Session, Type};

/// Part `number` (from 1) of the rows, in parts of `size` enabled ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Which part.
    pub number: u64,
    /// Enabled rows in a part.
    pub size: u64,
}

/// The ids that this engine has; `None` until that is known. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ours(Arc<Mutex<Option<RangeInclusive<MonitorId>>>>);

impl Ours {
    /// The ids, where they are known.
    pub fn get(&self) -> Option<RangeInclusive<MonitorId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says which they are.
    pub fn set(&self, range: RangeInclusive<MonitorId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(range);
    }
}

/// Every id.
pub const ALL: RangeInclusive<MonitorId> = MonitorId(1)..=MonitorId(i64::MAX as u64);

/// The ids that all of these parts have in common; all ids where there is no part. Gives the rows
/// that are new since the last call to their parts first.
///
/// # Errors
///
/// The database's.
pub async fn range(
    session: &Session,
    table: &Table,
    slices: &[Slice],
) -> Result<RangeInclusive<MonitorId>, PgError> {
    let (mut start, mut end) = ALL.into_inner();
    for slice in slices {
        give_out(session, table, slice.size).await?;
        let (after, last) = ends(session, slice).await?;
        start = start.max(MonitorId(after + 1));
        end = end.min(MonitorId(last));
    }
    Ok(start..=end)
}

/// The last ids of the part before, and of this one; both the same where there is no such part.
async fn ends(session: &Session, slice: &Slice) -> Result<(u64, u64), PgError> {
    let sql = "SELECT coalesce(max(last_id) FILTER (WHERE number < $2), 0),
                      coalesce(max(last_id), 0)
               FROM engine.slice WHERE size = $1 AND number <= $2";
    let (size, number) = (slice.size.cast_signed(), slice.number.cast_signed());
    let rows = session.query(sql, &[(&size, Type::INT8), (&number, Type::INT8)]).await?;
    let Some(row) = rows.first() else { return Ok((0, 0)) };
    let (after, last): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok((after.cast_unsigned(), last.cast_unsigned()))
}

/// Gives ids that no part of this size has yet to parts: one statement, under a lock.
async fn give_out(session: &Session, table: &Table, size: u64) -> Result<(), PgError> {
    let (table, size) = (table.name(), size.cast_signed());
    let last = "(SELECT coalesce(max(last_id), 0) FROM engine.slice WHERE size = $1)";
    let any = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE id > {last})");
    let rows = session.query(&any, &[(&size, Type::INT8)]).await?;
    if !rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        return Ok(());
    }
    let given = format!(
        "WITH last AS (
             SELECT coalesce(max(number), 1) AS number, coalesce(max(last_id), 0) AS id
             FROM engine.slice WHERE size = $1
         ), held AS (
             SELECT least(count(*), $1) AS enabled FROM {table}, last
             WHERE {table}.id <= last.id AND enable = 1 AND deleted_at IS NULL
               AND {table}.id > coalesce((SELECT s.last_id FROM engine.slice s
                                          WHERE s.size = $1 AND s.number = last.number - 1), 0)
         ), fresh AS (
             SELECT {table}.id, held.enabled + count(*)
                        FILTER (WHERE enable = 1 AND deleted_at IS NULL)
                        OVER (ORDER BY {table}.id ROWS BETWEEN UNBOUNDED PRECEDING
                              AND 1 PRECEDING) AS before
             FROM {table}, last, held WHERE {table}.id > last.id
         )
         INSERT INTO engine.slice (size, number, last_id)
         SELECT $1, last.number + before / $1, max(fresh.id) FROM fresh, last GROUP BY 1, 2
         ON CONFLICT (size, number) DO UPDATE SET last_id = excluded.last_id"
    );
    session.run("BEGIN; LOCK TABLE engine.slice IN SHARE ROW EXCLUSIVE MODE").await?;
    match session.execute(&given, &[(&size, Type::INT8)]).await {
        Ok(_) => session.commit().await,
        Err(error) => {
            // A lost session has rolled back by itself.
            let _ = session.run("ROLLBACK").await;
            Err(error)
        }
    }
}
