//! What the engine's own tables say of the rows: where states hang, and why a row cannot run.
//!
//! Owns: the first `engine.state` of a row, which goes on from what the original knew (its last
//! verdict and its counters), `engine.problem`, the end of marks of an earlier run and of what is
//! gone. Some thousand rows cost three statements.

use std::ops::RangeInclusive;

use super::known::Step;
use super::table::Table;
use crate::ids::MonitorId;
use crate::limits::FOREIGN_IDS_MAX;
use crate::pg::{PgError, Session, Type};

/// Writes down what a step changes.
///
/// # Errors
///
/// The database's; then it may be done again.
pub async fn write(
    session: &Session,
    table: &Table,
    step: &Step,
    now_ms: u64,
) -> Result<(), PgError> {
    let fresh = numbers(step.fresh.iter().map(|row| row.id));
    if !fresh.is_empty() {
        begin_states(session, table, &fresh).await?;
        tell_problems(session, &fresh, &step.problems).await?;
    }
    if !step.gone.is_empty() {
        end(session, &numbers(step.gone.iter().copied()), now_ms).await?;
    }
    Ok(())
}

async fn begin_states(session: &Session, table: &Table, ids: &Vec<i64>) -> Result<(), PgError> {
    let sql = format!(
        "INSERT INTO engine.state (monitor_id, verdict, since_ms, count_up, count_down)
         SELECT id, CASE last_check_status WHEN 1 THEN 1 WHEN -1 THEN 2 ELSE 0 END,
                CASE WHEN last_check_status IN (1, -1) AND isfinite(last_check_time)
                     THEN (extract(epoch FROM last_check_time::timestamptz) * 1000)::bigint
                     ELSE 0 END,
                coalesce(count_online, 0), coalesce(count_offline, 0)
         FROM {} WHERE id = ANY ($1) ON CONFLICT (monitor_id) DO NOTHING",
        table.name()
    );
    session.execute(&sql, &[(ids, Type::INT8_ARRAY)]).await?;
    Ok(())
}

async fn tell_problems(
    session: &Session,
    fresh: &Vec<i64>,
    problems: &[(MonitorId, String)],
) -> Result<(), PgError> {
    let sql = "WITH mended AS (
            DELETE FROM engine.problem WHERE monitor_id = ANY ($1) AND monitor_id <> ALL ($2)
        ) INSERT INTO engine.problem (monitor_id, problem) SELECT * FROM unnest($2, $3)
        ON CONFLICT (monitor_id) DO UPDATE SET problem = excluded.problem";
    let bad = numbers(problems.iter().map(|(id, _)| *id));
    let words: Vec<&str> = problems.iter().map(|(_, problem)| problem.as_str()).collect();
    let values = [
        (fresh as _, Type::INT8_ARRAY),
        (&bad as _, Type::INT8_ARRAY),
        (&words as _, Type::TEXT_ARRAY),
    ];
    session.execute(sql, &values).await?;
    Ok(())
}

/// Nobody will look at these again: what is open ends.
async fn end(session: &Session, gone: &Vec<i64>, now_ms: u64) -> Result<(), PgError> {
    let sql = "WITH forgotten AS (DELETE FROM engine.problem WHERE monitor_id = ANY ($1))
        UPDATE engine.incident SET closed_ms = greatest(opened_ms, $2)
        WHERE monitor_id = ANY ($1) AND closed_ms IS NULL";
    let now_ms = now_ms.cast_signed();
    session.execute(sql, &[(gone, Type::INT8_ARRAY), (&now_ms, Type::INT8)]).await?;
    Ok(())
}

/// Monitors of a range with something open or told, and without a row any more.
///
/// # Errors
///
/// As for [`write`].
pub async fn orphans(
    session: &Session,
    table: &Table,
    range: &RangeInclusive<MonitorId>,
) -> Result<Vec<MonitorId>, PgError> {
    let sql = format!(
        "SELECT id FROM (SELECT monitor_id FROM engine.problem
                         UNION SELECT monitor_id FROM engine.incident WHERE closed_ms IS NULL)
             AS open (id)
         WHERE id BETWEEN $1 AND $2 AND NOT EXISTS
             (SELECT 1 FROM {} row WHERE row.id = open.id AND row.deleted_at IS NULL)",
        table.name()
    );
    let (start, end) = rows_of(range);
    let rows = session.query(&sql, &[(&start, Type::INT8), (&end, Type::INT8)]).await?;
    let ids = rows.iter().map(|row| Ok(MonitorId(row.try_get::<_, i64>(0)?.cast_unsigned())));
    Ok(ids.collect::<Result<_, tokio_postgres::Error>>()?)
}

/// Forgets the marks of a range before its rows run: what an earlier run saw says nothing about
/// now. Those of other ranges are other engines'.
///
/// # Errors
///
/// As for [`write`].
pub async fn forget_marks(
    session: &Session,
    range: &RangeInclusive<MonitorId>,
) -> Result<(), PgError> {
    let (start, end) = rows_of(range);
    let sql = "DELETE FROM engine.mark WHERE monitor_id BETWEEN $1 AND $2";
    session.execute(sql, &[(&start, Type::INT8), (&end, Type::INT8)]).await?;
    Ok(())
}

/// The ends of a range, without monitors of the engine's own.
fn rows_of(range: &RangeInclusive<MonitorId>) -> (i64, i64) {
    let end = range.end().0.min(FOREIGN_IDS_MAX - 1);
    (range.start().0.cast_signed(), end.cast_signed())
}

fn numbers(ids: impl Iterator<Item = MonitorId>) -> Vec<i64> {
    ids.map(|id| id.0.cast_signed()).collect()
}
