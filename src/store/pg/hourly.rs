//! Sums up hours of the original's checks into `monitor_stats_hourly`, which the original has and
//! never filled.
//!
//! Owns: which hour is next. An hour is summed up from its rows after it is over, in slices of
//! monitors; doing it again gives the same, and results that come late make it be done again.

use super::super::{StoreError, signed};
use super::link::{Link, Work};
use crate::limits::{HOUR_GRACE_MS, HOUR_MONITORS_MAX};
use crate::pg::{Type, Value};

const HOUR_MS: u64 = 3_600_000;

/// Sums up one slice. False where there is nothing to do.
pub(super) async fn slice(link: &mut Link, now_ms: u64) -> Result<bool, StoreError> {
    link.transaction(async |work| sum_up(work, now_ms).await).await
}

async fn sum_up(work: Work<'_>, now_ms: u64) -> Result<bool, StoreError> {
    let Some(series) = &work.places.series else { return Ok(false) };
    let over = signed(now_ms.saturating_sub(HOUR_GRACE_MS).saturating_sub(HOUR_MS));
    // Of two engines on one database, the other goes on elsewhere.
    let sql = "SELECT t0, next_id FROM engine.hour WHERE t0 <= $1
               ORDER BY t0 LIMIT 1 FOR UPDATE SKIP LOCKED";
    let rows = work.session.query(sql, &[(&over, Type::INT8)]).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    let (t0, first): (i64, i64) = (row.get(0), row.get(1));
    let (from, to) = (t0 as f64 / 1e3, (t0 + signed(HOUR_MS)) as f64 / 1e3);
    let values: [Value<'_>; 4] = [
        (&from, Type::FLOAT8),
        (&to, Type::FLOAT8),
        (&first, Type::INT8),
        (&HOUR_MONITORS_MAX, Type::INT8),
    ];
    let sql = format!(
        "WITH ids AS (
             SELECT i.id::bigint AS id FROM {}.monitor_items i WHERE i.id >= $3
             ORDER BY i.id LIMIT $4),
         sums AS (
             INSERT INTO {series}.monitor_stats_hourly (time, monitor_id, total_checks,
                 successful_checks, failed_checks, avg_response_time, min_response_time,
                 max_response_time, uptime_percentage)
             SELECT to_timestamp($1), c.monitor_id, count(*), count(*) FILTER (WHERE c.status = 1),
                    count(*) FILTER (WHERE c.status = -1), avg(c.response_time),
                    min(c.response_time), max(c.response_time),
                    round(100.0 * count(*) FILTER (WHERE c.status = 1) / count(*), 2)
             FROM {series}.monitor_checks c
             WHERE c.time >= to_timestamp($1) AND c.time < to_timestamp($2)
               AND c.monitor_id BETWEEN (SELECT min(id) FROM ids) AND (SELECT max(id) FROM ids)
             GROUP BY c.monitor_id
             ON CONFLICT (time, monitor_id) DO UPDATE SET
                 total_checks = excluded.total_checks,
                 successful_checks = excluded.successful_checks,
                 failed_checks = excluded.failed_checks,
                 avg_response_time = excluded.avg_response_time,
                 min_response_time = excluded.min_response_time,
                 max_response_time = excluded.max_response_time,
                 uptime_percentage = excluded.uptime_percentage)
         SELECT max(id), count(*) FROM ids",
        work.places.core
    );
    let rows = work.session.query(&sql, &values).await?;
    let next = rows[0].get::<_, Option<i64>>(0).map_or(0, |last| last + 1);
    let complete = rows[0].get::<_, i64>(1) < HOUR_MONITORS_MAX;
    let values = [(&t0 as _, Type::INT8), (&next as _, Type::INT8)];
    if complete {
        let sql = "DELETE FROM engine.hour WHERE t0 = $1";
        work.session.execute(sql, &values[..1]).await?;
    } else {
        let sql = "UPDATE engine.hour SET next_id = $2 WHERE t0 = $1";
        work.session.execute(sql, &values).await?;
    }
    Ok(true)
}
