//! The marks that monitors have now: flapping, in maintenance, unreachable.
//!
//! Owns: what is written into the table `mark`. It holds a row only for those monitors that had a
//! mark in this run.

use rusqlite::{Connection, Transaction as SqlTransaction, params};

use super::{StoreError, signed};
use crate::limits::MARK_DISORDER_MS;
use crate::sample::{Marks, Transition};

/// Forgets all: what an earlier run saw says nothing about now.
pub(super) fn forget(conn: &Connection) -> Result<(), StoreError> {
    conn.execute("DELETE FROM mark", [])?;
    Ok(())
}

/// Keeps the marks of a change, unless one is known that is so much later that this one must have
/// waited in the spool.
pub(super) fn keep(
    transaction: &SqlTransaction<'_>,
    change: &Transition,
) -> Result<(), StoreError> {
    let (monitor, at) = (signed(change.monitor.0), signed(change.at_ms));
    let updated = transaction
        .prepare_cached(
            "UPDATE mark SET marks = ?2, since_ms = max(since_ms, ?3)
             WHERE monitor_id = ?1 AND since_ms <= ?4",
        )?
        .execute(params![
            monitor,
            change.marks.number(),
            at,
            signed(change.at_ms.saturating_add(MARK_DISORDER_MS))
        ])?;
    if updated == 0 && change.marks != Marks::NONE {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO mark VALUES (?1, ?2, ?3)")?
            .execute(params![monitor, change.marks.number(), at])?;
    }
    Ok(())
}
