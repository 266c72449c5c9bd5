//! Records changes of verdict, and the incidents that they make, in whatever order they come.
//!
//! Owns: the rule. An incident goes from a change to down to the next change to up; unknown in
//! between neither ends nor starts one. A change that waited in the spool is put in its place:
//! it may open an incident that later changes have closed, begin an open one earlier, or cut one
//! in two. The common case, a change later than all others, costs two look-ups in an index.

use rusqlite::{OptionalExtension, Transaction as SqlTransaction, params};

use super::{StoreError, marks, signed};
use crate::sample::{Transition, Verdict};

/// Records a change of verdict.
pub(super) fn record_transition(
    transaction: &SqlTransaction<'_>,
    change: &Transition,
    message: &str,
) -> Result<(), StoreError> {
    let (monitor, at) = (signed(change.monitor.0), signed(change.at_ms));
    transaction
        .prepare_cached(
            "INSERT INTO transition
                (monitor_id, at_ms, from_verdict, to_verdict, code, message, marks)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            monitor,
            at,
            change.from as u8,
            change.to as u8,
            change.code.0,
            message,
            change.marks.number()
        ])?;
    marks::keep(transaction, change)?;
    if !change.is_change() {
        return Ok(());
    }
    update_state(transaction, monitor, at, change.to)?;
    match change.to {
        Verdict::Down => went_down(transaction, monitor, at, change.code.0, message),
        Verdict::Up => came_up(transaction, monitor, at),
        Verdict::Pending | Verdict::Unknown | Verdict::Paused => Ok(()),
    }
}

/// A change that is not the latest news only says since when the verdict holds, if no later change
/// is known.
fn update_state(
    transaction: &SqlTransaction<'_>,
    monitor: i64,
    at: i64,
    to: Verdict,
) -> Result<(), StoreError> {
    let updated = transaction
        .prepare_cached(
            "UPDATE state SET verdict = ?2, since_ms = ?3
             WHERE monitor_id = ?1 AND due_ms <= ?3 AND since_ms <= ?3",
        )?
        .execute(params![monitor, to as u8, at])?;
    if updated == 0 {
        transaction
            .prepare_cached(
                "UPDATE state SET since_ms = ?3 WHERE monitor_id = ?1 AND verdict = ?2
                 AND NOT EXISTS (SELECT 1 FROM transition WHERE monitor_id = ?1 AND at_ms > ?3)",
            )?
            .execute(params![monitor, to as u8, at])?;
    }
    Ok(())
}

fn went_down(
    transaction: &SqlTransaction<'_>,
    monitor: i64,
    at: i64,
    code: u16,
    message: &str,
) -> Result<(), StoreError> {
    if covering(transaction, monitor, at)?.is_some() {
        return Ok(());
    }
    let later: Option<(i64, i64)> = transaction
        .prepare_cached(
            "SELECT id, opened_ms FROM incident WHERE monitor_id = ?1 AND opened_ms > ?2
             ORDER BY opened_ms LIMIT 1",
        )?
        .query_row([monitor, at], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let up: Option<i64> = transaction
        .prepare_cached(
            "SELECT at_ms FROM transition WHERE monitor_id = ?1 AND at_ms > ?2 AND to_verdict = ?3
             ORDER BY at_ms LIMIT 1",
        )?
        .query_row(params![monitor, at, Verdict::Up as u8], |row| row.get(0))
        .optional()?;
    match later.filter(|(_, opened)| up.is_none_or(|up| up > *opened)) {
        Some((id, _)) => transaction
            .prepare_cached(
                "UPDATE incident SET opened_ms = ?2, code = ?3, message = ?4 WHERE id = ?1",
            )?
            .execute(params![id, at, code, message])?,
        None => transaction
            .prepare_cached(
                "INSERT INTO incident (monitor_id, opened_ms, closed_ms, code, message)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![monitor, at, up, code, message])?,
    };
    Ok(())
}

fn came_up(transaction: &SqlTransaction<'_>, monitor: i64, at: i64) -> Result<(), StoreError> {
    let Some((id, closed)) = covering(transaction, monitor, at)? else { return Ok(()) };
    transaction
        .prepare_cached("UPDATE incident SET closed_ms = ?2 WHERE id = ?1")?
        .execute([id, at])?;
    transaction
        .prepare_cached(
            "INSERT INTO incident (monitor_id, opened_ms, closed_ms, code, message)
             SELECT monitor_id, at_ms, ?4, code, message FROM transition
             WHERE monitor_id = ?1 AND at_ms > ?2 AND to_verdict = ?3
               AND (?4 IS NULL OR at_ms < ?4)
             ORDER BY at_ms, id LIMIT 1",
        )?
        .execute(params![monitor, at, Verdict::Down as u8, closed])?;
    Ok(())
}

/// The incident that goes on at a time, and its end.
fn covering(
    transaction: &SqlTransaction<'_>,
    monitor: i64,
    at: i64,
) -> Result<Option<(i64, Option<i64>)>, StoreError> {
    Ok(transaction
        .prepare_cached(
            "SELECT id, closed_ms FROM incident
             WHERE monitor_id = ?1 AND opened_ms <= ?2 AND (closed_ms IS NULL OR closed_ms > ?2)
             ORDER BY opened_ms DESC LIMIT 1",
        )?
        .query_row([monitor, at], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}
