//! Keeps the database small: deletes what is too old or too much.
//!
//! Owns: the order of deletion and the size of a step, as in the SQLite store; and the ages of the
//! original's time series, which nothing else deletes where the extension is not there. Room that
//! becomes free is used again; giving it back to the disk is the server's `VACUUM`.

use super::super::retain::{AGED, Aged};
use super::super::{Maintained, Retention, StoreError, signed, unsigned};
use super::link::{Link, Work};
use super::original::{Days, day_table};
use super::schema::Form;
use crate::limits::{
    DELETE_CHUNKS_MAX, DELETE_ROWS_MAX, HOURS_AGE_MS, RETAIN_EVERY_MS, SERIES_CHECKS_MS,
    SERIES_DAYS_AHEAD, SERIES_DELETE_MAX, SERIES_HOURS_MS, SERIES_METRICS_MS, WINDOW_MS,
};
use crate::pg::{Type, Value};

const DAY_MS: u64 = 86_400_000;

/// Looks at ages and sizes from time to time, and works while there is something to do.
#[derive(Debug)]
pub(super) struct Keeper {
    retention: Retention,
    next_look_ms: u64,
    over_size: bool,
}

impl Keeper {
    /// A keeper that looks at the first call.
    pub fn new(retention: Retention) -> Keeper {
        Keeper { retention, next_look_ms: 0, over_size: false }
    }

    /// Does one step.
    pub async fn slice(
        &mut self,
        link: &mut Link,
        days: &mut Days,
        now_ms: u64,
    ) -> Result<Maintained, StoreError> {
        let mut done = Maintained { over_size: self.over_size, ..Maintained::default() };
        if now_ms < self.next_look_ms {
            return Ok(done);
        }
        let retention = self.retention;
        let step = link.transaction(async |work| {
            let mut step = Maintained {
                chunks_deleted: old_chunks(work, &retention, now_ms).await?,
                rows_deleted: old_rows(work, &retention, now_ms).await?,
                ..Maintained::default()
            };
            step.rows_deleted += hours_before(work, now_ms.saturating_sub(HOURS_AGE_MS)).await?;
            if step.chunks_deleted == 0 {
                let surplus = used_bytes(work).await?.saturating_sub(retention.bytes_max);
                if surplus > 0 {
                    step.chunks_deleted = oldest_chunks(work, surplus).await?;
                    // Hours go last: they are the little that is left of results that went before.
                    let hours = match step.chunks_deleted {
                        0 => hours_before(work, u64::MAX >> 1).await?,
                        _ => 0,
                    };
                    step.rows_deleted += hours;
                    step.over_size = step.chunks_deleted + hours == 0;
                }
            }
            step.rows_deleted += old_series(work, days, now_ms).await?;
            Ok(step)
        });
        match step.await {
            Ok(step) => done = step,
            Err(error) => {
                days.forget();
                return Err(error);
            }
        }
        self.over_size = done.over_size;
        done.more = done.chunks_deleted > 0 || done.rows_deleted > 0;
        if !done.more {
            self.next_look_ms = now_ms.saturating_add(RETAIN_EVERY_MS);
        }
        Ok(done)
    }
}

/// Deletes rows of a table that a query names; gives how many.
async fn delete(work: Work<'_>, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
    Ok(work.session.execute(sql, values).await?)
}

async fn old_chunks(work: Work<'_>, retention: &Retention, now_ms: u64) -> Result<u64, StoreError> {
    let before = signed(now_ms.saturating_sub(retention.results_ms).saturating_sub(WINDOW_MS));
    let most = DELETE_CHUNKS_MAX as i64;
    let values: [Value<'_>; 2] = [(&before, Type::INT8), (&most, Type::INT8)];
    let chunks = "DELETE FROM engine.chunk WHERE id IN
                      (SELECT id FROM engine.chunk WHERE t0 < $1 ORDER BY t0 LIMIT $2)";
    let damaged = "DELETE FROM engine.damaged WHERE id IN
                       (SELECT id FROM engine.damaged WHERE t0 < $1 LIMIT $2)";
    Ok(delete(work, chunks, &values).await? + delete(work, damaged, &values).await?)
}

/// Deletes the oldest sums of hours that began before a time, as many as a step may.
async fn hours_before(work: Work<'_>, before_ms: u64) -> Result<u64, StoreError> {
    let (before, most) = (signed(before_ms), DELETE_CHUNKS_MAX as i64);
    let sql = "DELETE FROM engine.hour_sum WHERE id IN
                   (SELECT id FROM engine.hour_sum WHERE t0 < $1 ORDER BY t0 LIMIT $2)";
    delete(work, sql, &[(&before, Type::INT8), (&most, Type::INT8)]).await
}

async fn old_rows(work: Work<'_>, retention: &Retention, now_ms: u64) -> Result<u64, StoreError> {
    let before = signed(now_ms.saturating_sub(retention.events_ms));
    let most = DELETE_ROWS_MAX as i64;
    let values: [Value<'_>; 2] = [(&before, Type::INT8), (&most, Type::INT8)];
    let set_aside = Aged { table: "dead_letter", column: "at_ms", rows_max: u64::MAX };
    let mut deleted = 0;
    for Aged { table, column, rows_max } in AGED.iter().chain([&set_aside]) {
        let sql = format!(
            "DELETE FROM engine.{table} WHERE id IN
                (SELECT id FROM engine.{table} WHERE {column} < $1 ORDER BY {column} LIMIT $2)"
        );
        deleted += delete(work, &sql, &values).await?;
        deleted += surplus_rows(work, table, column, *rows_max).await?;
    }
    deleted += removed_monitors(work, before).await?;
    // Runs of which nothing is known any more, but not those that are to be made known yet.
    let sql = "DELETE FROM engine.cursor c WHERE NOT EXISTS
                   (SELECT 1 FROM engine.run r WHERE r.id = c.run_id)
               AND c.run_id < (SELECT max(id) FROM engine.run)";
    Ok(deleted + delete(work, sql, &[]).await?)
}

/// Deletes the oldest rows past `rows_max`.
async fn surplus_rows(
    work: Work<'_>,
    table: &str,
    column: &str,
    rows_max: u64,
) -> Result<u64, StoreError> {
    // Ids rise by one, so their span is never less than the number of rows; mostly it is enough.
    let sql = format!("SELECT coalesce(max(id) - min(id) + 1, 0)::bigint FROM engine.{table}");
    let span: i64 = work.session.query(&sql, &[]).await?[0].get(0);
    if span <= signed(rows_max.min(i64::MAX as u64)) {
        return Ok(0);
    }
    let count: i64 =
        work.session.query(&format!("SELECT count(*) FROM engine.{table}"), &[]).await?[0].get(0);
    let surplus = unsigned(count).saturating_sub(rows_max).min(DELETE_ROWS_MAX as u64);
    let sql = format!(
        "DELETE FROM engine.{table} WHERE id IN
            (SELECT id FROM engine.{table} WHERE {column} IS NOT NULL ORDER BY {column} LIMIT $1)"
    );
    delete(work, &sql, &[(&signed(surplus), Type::INT8)]).await
}

/// Deletes monitors that were removed long ago, with all that is kept of them but results, which
/// are gone before. Their ids are never given again.
async fn removed_monitors(work: Work<'_>, before: i64) -> Result<u64, StoreError> {
    let most = DELETE_CHUNKS_MAX as i64;
    let sql = "DELETE FROM engine.monitor WHERE id IN
                   (SELECT id FROM engine.monitor WHERE removed_ms < $1
                    ORDER BY removed_ms LIMIT $2)
               RETURNING id";
    let values = [(&before as _, Type::INT8), (&most as _, Type::INT8)];
    let gone = work.session.query(sql, &values).await?;
    let gone: Vec<i64> = gone.iter().map(|row| row.get(0)).collect();
    if gone.is_empty() {
        return Ok(0);
    }
    for table in ["state", "mark", "evidence", "transition", "incident", "monitor_cert"] {
        let sql = format!("DELETE FROM engine.{table} WHERE monitor_id = ANY($1)");
        delete(work, &sql, &[(&gone, Type::INT8_ARRAY)]).await?;
    }
    let sql = "DELETE FROM engine.cert c WHERE NOT EXISTS
                   (SELECT 1 FROM engine.monitor_cert l WHERE l.cert_id = c.id)";
    delete(work, sql, &[]).await?;
    Ok(gone.len() as u64)
}

/// Deletes the oldest chunks until at least `surplus` bytes are free, or as many as a step may.
async fn oldest_chunks(work: Work<'_>, surplus: u64) -> Result<u64, StoreError> {
    let most = DELETE_CHUNKS_MAX as i64;
    let sql = "DELETE FROM engine.chunk WHERE id IN (
                   SELECT id FROM (
                       SELECT id, sum(octet_length(data)) OVER (ORDER BY t0, id)
                                  - octet_length(data) AS before
                       FROM (SELECT id, t0, data FROM engine.chunk ORDER BY t0, id LIMIT $2) o
                   ) f WHERE before < $1)";
    delete(work, sql, &[(&signed(surplus), Type::INT8), (&most, Type::INT8)]).await
}

/// Bytes of the results, without room that is free: lengths are known without reading the data.
async fn used_bytes(work: Work<'_>) -> Result<u64, StoreError> {
    let sql = "SELECT coalesce((SELECT sum(octet_length(data)) FROM engine.chunk), 0)::bigint
                    + coalesce((SELECT sum(octet_length(data)) FROM engine.head), 0)::bigint";
    Ok(unsigned(work.session.query(sql, &[]).await?[0].get(0)))
}

/// Makes the tables of the next days and drops those past their age, or deletes rows where the
/// table was not made by us.
async fn old_series(work: Work<'_>, days: &mut Days, now_ms: u64) -> Result<u64, StoreError> {
    let Some(series) = &work.places.series else { return Ok(0) };
    let today = signed(now_ms / DAY_MS);
    let mut deleted = 0;
    match work.places.form {
        Form::Hypertable => return Ok(0),
        Form::Plain => {
            deleted +=
                old_times(work, &format!("{series}.monitor_checks"), now_ms, SERIES_CHECKS_MS)
                    .await?;
        }
        Form::Days => {
            for day in today..=today + SERIES_DAYS_AHEAD {
                days.make(work, series, day).await?;
            }
            let oldest = today - signed(SERIES_CHECKS_MS / DAY_MS);
            deleted += drop_days(work, series, &day_table(oldest)?).await?;
        }
    }
    for (table, age_ms) in
        [("monitor_stats_hourly", SERIES_HOURS_MS), ("monitor_system_metrics", SERIES_METRICS_MS)]
    {
        deleted += old_times(work, &format!("{series}.{table}"), now_ms, age_ms).await?;
    }
    Ok(deleted)
}

/// Drops the tables of days before the one named: names sort by day.
async fn drop_days(work: Work<'_>, series: &str, oldest: &str) -> Result<u64, StoreError> {
    let sql = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = to_regclass($1) AND c.relname ~ '^monitor_checks_p[0-9]{8}$'
                 AND c.relname::text COLLATE \"C\" < $2";
    let parent = format!("{series}.monitor_checks");
    let values = [(&parent as _, Type::TEXT), (&oldest as _, Type::TEXT)];
    let tables = work.session.query(sql, &values).await?;
    for table in &tables {
        work.session.run(&format!("DROP TABLE {series}.{}", table.get::<_, &str>(0))).await?;
    }
    Ok(tables.len() as u64)
}

/// Deletes rows past an age, as many as a step may. The age is asked of each of them again: in a
/// table of several parts, such as a hypertable, rows of other parts have the same places.
async fn old_times(
    work: Work<'_>,
    table: &str,
    now_ms: u64,
    age_ms: u64,
) -> Result<u64, StoreError> {
    let before = signed(now_ms.saturating_sub(age_ms));
    let sql = format!(
        "DELETE FROM {table} WHERE time < to_timestamp($1::float8 / 1000) AND ctid = ANY (ARRAY(
             SELECT ctid FROM {table} WHERE time < to_timestamp($1::float8 / 1000) LIMIT $2))"
    );
    let values =
        [(&(before as f64) as _, Type::FLOAT8), (&signed(SERIES_DELETE_MAX) as _, Type::INT8)];
    delete(work, &sql, &values).await
}
